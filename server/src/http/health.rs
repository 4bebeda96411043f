//! Whether the broker lives, and whether it wants work.

use std::time::SystemTime;

use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use serde_json::{Value, json};

use super::App;

pub(super) fn routes() -> Router<App> {
    Router::new().route("/health", get(health)).route("/ready", get(ready))
}

/// The original's shape.
async fn health() -> Json<Value> {
    Json(json!({
        "status": "healthy",
        "timestamp": humantime::format_rfc3339_micros(SystemTime::now()).to_string(),
        "version": env!("CARGO_PKG_VERSION"),
    }))
}

/// False while draining: a load balancer should send new peers elsewhere.
async fn ready(State(app): State<App>) -> (StatusCode, Json<Value>) {
    if app.stop.is_cancelled() {
        (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "status": "draining" })))
    } else {
        (StatusCode::OK, Json(json!({ "status": "ready" })))
    }
}
