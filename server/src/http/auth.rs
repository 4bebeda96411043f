//! Who calls.

use std::time::Instant;

use axum::{
    Json,
    extract::{FromRequestParts, State},
    http::{StatusCode, header, request::Parts},
};
use halyard_protocol::token::Token;
use serde_json::{Value, json};

use super::{
    App,
    caller::Asker,
    error::RestError,
    openapi::shapes::{Jwks, Refusal, Refused, SignedIn, Unknown},
};
use crate::{identity::Subject, limits::Limit, time::Now};

/// The bearer of a good identity token.
pub(super) struct Caller(pub(super) Subject);

/// The same, where the call works without one, too.
pub(super) struct MaybeCaller(pub(super) Option<Subject>);

impl FromRequestParts<App> for MaybeCaller {
    type Rejection = RestError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, RestError> {
        let Some(value) = parts.headers.get(header::AUTHORIZATION) else {
            return Ok(Self(None));
        };
        let bearer = value.to_str().ok().and_then(|text| {
            let (scheme, token) = text.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| Token::new(token.trim()))
        });
        let token = bearer.ok_or_else(|| {
            RestError::unauthorized("Invalid authorization header: it must be Bearer ID_TOKEN")
        })?;
        Ok(Self(Some(app.broker.identity.verify(&token, Now::read()).await?)))
    }
}

impl FromRequestParts<App> for Caller {
    type Rejection = RestError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, RestError> {
        let MaybeCaller(caller) = MaybeCaller::from_request_parts(parts, app).await?;
        caller.map(Self).ok_or_else(|| {
            RestError::unauthorized(
                "the header Authorization: Bearer ID_TOKEN is missing; POST /anonymous-signin \
                 gives an id_token",
            )
        })
    }
}

/// A new identity, or a fresh token for the caller's own.
#[utoipa::path(
    post,
    path = "/anonymous-signin",
    tag = "identity",
    security((), ("id_token" = [])),
    responses((status = 200, description = "The identity and its token", body = SignedIn), Unknown, Refused)
)]
pub(super) async fn anonymous_sign_in(
    State(app): State<App>,
    asker: Asker,
    MaybeCaller(caller): MaybeCaller,
) -> Result<Json<Value>, RestError> {
    let limiter = &app.broker.limiter;
    let admitted = limiter.admit(Limit::SignIns, asker.address(), Instant::now());
    admitted.map_err(|refused| RestError::too_often(&refused))?;
    let signed = app.broker.identity.sign_in(caller, Now::read()).await?;
    Ok(Json(json!({
        "id_token": signed.id_token,
        "username": signed.subject,
        "expires_in": signed.expires_in.as_secs(),
    })))
}

/// The public keys that verify identity tokens.
#[utoipa::path(
    get,
    path = "/.well-known/jwks.json",
    tag = "identity",
    responses((status = 200, description = "The keys", body = Jwks), (status = 404, description = "They are at the identity provider", body = Refusal))
)]
pub(super) async fn jwks(State(app): State<App>) -> Result<Json<Value>, RestError> {
    app.broker.identity.jwks().map(Json).ok_or_else(|| {
        RestError::new(StatusCode::NOT_FOUND, "NOT_FOUND", "the keys are at the identity provider")
    })
}
