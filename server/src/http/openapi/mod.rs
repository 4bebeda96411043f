//! The REST interface described by the code that serves it, as OpenAPI.
//!
//! A route of the interface is added in [`rest`] with `routes!`, which takes the description beside
//! its handler: one that nobody described does not compile. What is served to browsers (the page,
//! the WebSocket) and to operators (the second address) is not part of the interface.

pub(super) mod shapes;

use std::sync::Arc;

use axum::{
    Extension, Json, Router,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use utoipa::{
    Modify, OpenApi,
    openapi::security::{Http, HttpAuthScheme, SecurityScheme},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{App, auth, health, legacy, rooms};

/// The name of what a caller shows who it is with.
pub(super) const ID_TOKEN: &str = "id_token";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Halyard broker",
        description = "Rooms, and who may join them. Peers talk to the broker over the WebSocket \
            at /ws, which is described in docs/protocol.md. Every refusal is a JSON object with a \
            code from a closed set and a message for people.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
    ),
    tags(
        (name = "identity", description = "Who somebody is"),
        (name = "rooms", description = "Rooms, for their owners"),
        (name = "peers", description = "What peers reach each other with"),
        (name = "health", description = "Whether the broker lives, and wants work"),
        (name = "sleap-rtc", description = "The original's calls, kept for its clients")
    ),
    modifiers(&Bearer)
)]
struct Description;

/// Identity tokens, as a security scheme.
struct Bearer;

impl Modify for Bearer {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let mut bearer = Http::new(HttpAuthScheme::Bearer);
        bearer.bearer_format = Some("JWT".to_owned());
        bearer.description = Some("the id_token of POST /anonymous-signin".to_owned());
        let components = api.components.get_or_insert_default();
        components.add_security_scheme(ID_TOKEN, SecurityScheme::Http(bearer));
    }
}

/// Every route of the interface, with the description at `/openapi.json`.
pub(super) fn rest() -> Router<App> {
    let (routes, api) = described().split_for_parts();
    // Written once: it never changes while the program runs.
    routes.layer(Extension(Arc::new(api)))
}

fn described() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(auth::anonymous_sign_in))
        .routes(routes!(auth::jwks))
        .routes(routes!(rooms::create))
        .routes(routes!(rooms::list))
        .routes(routes!(rooms::show, rooms::delete))
        .routes(routes!(rooms::extend))
        .routes(routes!(rooms::revoke))
        .routes(routes!(rooms::ice_servers))
        .routes(routes!(legacy::delete_peer))
        .routes(routes!(legacy::delete_peers_and_room))
        .routes(routes!(health::health))
        .routes(routes!(health::ready))
        .routes(routes!(describe))
}

/// This description.
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "health",
    responses((status = 200, description = "This description", body = Object))
)]
async fn describe(Extension(api): Extension<Arc<utoipa::openapi::OpenApi>>) -> Response {
    // It is the same for everybody, so any page may read it.
    let anybody = [(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"))];
    (anybody, Json(&*api)).into_response()
}

#[cfg(test)]
mod tests;
