//! Who asks, from where, and whether that is too often.

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr},
    time::Instant,
};

use axum::{
    extract::{FromRequestParts, Request, State},
    http::request::Parts,
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{App, error::RestError, origin};
use crate::{
    accept::Asked,
    limits::{Caller, Limit},
};

/// Where a request comes from, and how it came.
#[derive(Debug, Clone)]
pub(super) struct Asker {
    pub(super) caller: Caller,
    /// It came to the port that has neither the page nor the sockets.
    pub(super) rest_alone: bool,
}

impl Asker {
    pub(super) fn address(&self) -> IpAddr {
        self.caller.address
    }
}

/// Finds out who asks, and refuses who asks too often, and pages that may not ask.
pub(super) async fn admit(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let asked = request.extensions().get::<Asked>().copied();
    let (peer, tls, rest_alone) = asked
        .map_or((IpAddr::V4(Ipv4Addr::LOCALHOST), false, false), |asked| {
            (asked.from.ip(), asked.tls, asked.rest_alone)
        });
    let settings = &app.broker.settings;
    let caller = Caller::of(peer, tls, request.headers(), &settings.trusted_proxies);
    let admitted = app.broker.limiter.admit(Limit::Calls, caller.address, Instant::now());
    if let Err(refused) = admitted {
        return RestError::too_often(&refused).into_response();
    }
    // Browsers do not ask before a plain POST: a foreign page could sign somebody in, whose answer
    // it cannot read. A socket they never ask about.
    if !origin::allowed(settings, request.headers(), &caller) {
        return RestError::forbidden(
            "this page may not call here; the server's allowed_origins says which may",
        )
        .into_response();
    }
    request.extensions_mut().insert(Asker { caller, rest_alone });
    next.run(request).await
}

impl FromRequestParts<App> for Asker {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Infallible> {
        let local = || Self {
            caller: Caller {
                address: IpAddr::V4(Ipv4Addr::LOCALHOST),
                proxied: false,
                secure: false,
                host: None,
            },
            rest_alone: false,
        };
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_else(local))
    }
}
