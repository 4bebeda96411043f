//! Direct mode: the robot itself answers peers over plain HTTP, with no broker between.
//!
//! * `POST /offer` `{"sdp","type":"offer"}` gives `{"sdp","type":"answer","id"}`: the whole
//!   connection in two messages, all candidates inside.
//! * `POST /ice-candidate` takes one more candidate of the asker, in the browsers' own shape, with
//!   the `id` beside it where there are several direct peers.
//! * `POST /whep` does the same for any player that speaks [WHEP](crate::whep), which is shown the
//!   picture and nothing else; `PATCH` and `DELETE` on the address in its answer's `Location`.
//! * `GET /mjpeg` and `GET /snapshot.jpg` show the picture without WebRTC, as JPEG.
//! * `GET /status` says what is shown, who watches, and how the machine is.
//!
//! All of it needs the room's token as `Authorization: Bearer TOKEN` ([`door`]), or a ticket got with
//! it where an `<img>` can send no header ([`tickets`]). What the token allows is what the peer may
//! do, unless the owner said that the network is to be trusted. A page of any origin may ask with a
//! token (CORS): what protects the machine is the token, never where a page came from. Without one,
//! on a trusted network, it is the worker's own page alone that may ([`asker`]). Who loses its rights
//! loses its session and its stream. What there is little of, offers and streams of pictures, nobody
//! gets all of ([`shares`]).

mod asker;
mod body;
mod door;
mod http;
mod mjpeg;
mod refusal;
mod shares;
mod status;
mod tickets;
mod whep;

use std::time::Duration;

use axum::{
    Router,
    http::{HeaderName, HeaderValue, Method, StatusCode, header},
};
use tower_http::{
    cors::{Any, CorsLayer},
    set_header::SetResponseHeaderLayer,
};

pub use door::Direct;

use self::{door::Door, refusal::Refusal};

/// How long an asker waits for the agent. Looking for candidates takes two seconds at most.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// How long a browser may remember what it is allowed.
const PREFLIGHT_GOOD_FOR: Duration = Duration::from_mins(10);

/// The routes, to be served beside the broker's.
pub fn routes(direct: Direct) -> Router {
    let cors = CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::PATCH, Method::DELETE])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE, header::IF_MATCH])
        .expose_headers([
            header::LOCATION,
            header::ETAG,
            header::LINK,
            header::RETRY_AFTER,
            header::WWW_AUTHENTICATE,
            whep::ACCEPT_PATCH,
            mjpeg::X_TIMESTAMP,
        ])
        .max_age(PREFLIGHT_GOOD_FOR);
    let always = |name: HeaderName, value: &'static str| {
        SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value))
    };
    http::routes()
        .merge(whep::routes())
        .merge(mjpeg::routes())
        .method_not_allowed_fallback(async || {
            let words = "this address is for another method; the header Allow says which";
            Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", words)
        })
        .layer(cors)
        .layer(always(header::CACHE_CONTROL, "no-store"))
        .layer(always(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(always(header::REFERRER_POLICY, "no-referrer"))
        .layer(always(whep::ACCEPT_POST, "application/sdp"))
        .with_state(Door::new(direct))
}
