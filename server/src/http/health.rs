//! Whether the broker lives, and whether it wants work.

use std::time::SystemTime;

use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use super::{
    App,
    openapi::shapes::{Health, Ready},
};
use crate::health::{PROBE_WITHIN, Verdict};

pub(super) fn routes() -> Router<App> {
    Router::new().route("/health", get(health)).route("/ready", get(ready))
}

/// Whether the process serves.
///
/// Never tied to a backend, because who asks this kills what does
/// not answer, and a broker whose store is away still holds the sockets of its peers. The original's
/// shape.
#[utoipa::path(
    get,
    path = "/health",
    tag = "health",
    responses((status = 200, description = "It lives", body = Health))
)]
pub(super) async fn health() -> Json<Value> {
    Json(json!({
        "status": "healthy",
        "timestamp": humantime::format_rfc3339_micros(SystemTime::now()).to_string(),
        "version": env!("CARGO_PKG_VERSION"),
    }))
}

/// Whether new peers should come here.
///
/// Not while draining, or while a backend is down: a load balancer should send them elsewhere. Says which backend it is, and nothing of how it is reached.
#[utoipa::path(
    get,
    path = "/ready",
    tag = "health",
    responses((status = 200, description = "It wants work", body = Ready), (status = 503, description = "It does not", body = Ready))
)]
pub(super) async fn ready(State(app): State<App>) -> (StatusCode, Json<Value>) {
    if app.stop.has_fired() {
        return (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "status": "draining" })));
    }
    let health = &app.broker.health;
    // At the start nothing is known for a moment.
    let settled = timeout(PROBE_WITHIN, health.settled()).await.is_ok();
    let (status, word) = match health.verdict() {
        _ if !settled => (StatusCode::SERVICE_UNAVAILABLE, "starting"),
        Verdict::Ready => (StatusCode::OK, "ready"),
        Verdict::Degraded => (StatusCode::OK, "degraded"),
        Verdict::Unready => (StatusCode::SERVICE_UNAVAILABLE, "unready"),
    };
    let backends: Map<String, Value> = health
        .backends()
        .into_iter()
        .map(|(backend, up)| (backend.word().to_owned(), if up { "up" } else { "down" }.into()))
        .collect();
    (status, Json(json!({ "status": word, "backends": backends })))
}
