//! The page, REST and the upgrade to a WebSocket, on one port.

mod auth;
mod body;
mod error;
mod headers;
mod health;
mod legacy;
mod links;
mod origin;
mod page;
mod rooms;
mod socket;

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::{HeaderValue, Method, header},
    middleware,
    routing::{any, get, post},
};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::{broker::Broker, settings::AllowedOrigins};

/// Largest body of a REST call: the biggest that means anything has a few hundred bytes.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) broker: Arc<Broker>,
    /// The address that was taken, for links when nobody says another.
    pub(crate) local_addr: SocketAddr,
    /// Fires when the broker should stop.
    pub(crate) stop: CancellationToken,
    /// Fires when waiting for a graceful end is over.
    pub(crate) kill: CancellationToken,
    /// The tasks of sockets, so that somebody waits for them.
    pub(crate) tasks: TaskTracker,
}

/// One connection's share of the most that may be open; it goes where the connection goes.
#[derive(Debug, Clone)]
pub(crate) struct Permit(
    #[expect(dead_code, reason = "held, not read")] pub(crate) Arc<OwnedSemaphorePermit>,
);

/// Every route of the broker.
pub(crate) fn routes(app: App) -> Router {
    Router::new()
        .route("/", any(socket::page_or_socket))
        .route("/ws", any(socket::socket))
        .route("/r/{room}", get(page::room))
        .route("/anonymous-signin", post(auth::anonymous_sign_in))
        .route("/create-room", post(rooms::create))
        .route("/rooms", get(rooms::list))
        .route("/rooms/{id}", get(rooms::show).delete(rooms::delete))
        .route("/rooms/{id}/extend", post(rooms::extend))
        .route("/rooms/{id}/revoke", post(rooms::revoke))
        .route("/delete-peer", post(legacy::delete_peer))
        .route("/delete-peers-and-room", post(legacy::delete_peers_and_room))
        .route("/ice-servers", get(rooms::ice_servers))
        .route("/.well-known/jwks.json", get(auth::jwks))
        .merge(health::routes())
        .fallback(page::asset)
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(cors(&app.broker.settings.allowed_origins))
        .layer(middleware::from_fn(headers::secure))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(app)
}

/// The routes of the second address.
pub(crate) fn admin_routes(app: App) -> Router {
    health::routes()
        .fallback(error::not_found)
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(middleware::from_fn(headers::secure))
        .with_state(app)
}

/// What pages from elsewhere may do. A page of the broker's own needs none of it.
fn cors(allowed: &AllowedOrigins) -> CorsLayer {
    let origin = match allowed {
        AllowedOrigins::Any => AllowOrigin::any(),
        AllowedOrigins::Only(listed) => {
            AllowOrigin::list(listed.iter().filter_map(|text| HeaderValue::from_str(text).ok()))
        }
    };
    CorsLayer::new()
        .allow_origin(origin)
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE])
}
