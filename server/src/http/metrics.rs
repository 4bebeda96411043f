//! Counting answers, and handing the counts out.

use std::time::Instant;

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderValue, Method, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tracing::Instrument;

use super::{
    App,
    error::{ReachedLimit, RefusalCode},
};
use crate::metrics::{Format, Interface};

/// The route of what no other route has: the files of the page, and what is not there.
const FILES: &str = "page";

/// Counts what was asked and answered.
pub(super) async fn count(State(app): State<App>, request: Request, next: Next) -> Response {
    let asked = Instant::now();
    let method = method_word(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or(FILES, MatchedPath::as_str);
    let span = tracing::info_span!(
        target: crate::SPANS,
        "request",
        otel.name = format!("{method} {route}"),
        otel.kind = "server",
        otel.status_code = tracing::field::Empty,
        http.request.method = method,
        http.route = route,
        http.response.status_code = tracing::field::Empty,
    );
    let response = next.run(request).instrument(span.clone()).await;
    span.record("http.response.status_code", response.status().as_u16());
    if response.status().is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
    let metrics = &app.broker.metrics;
    metrics.answered(method, route, response.status().as_u16(), asked.elapsed());
    if let Some(RefusalCode(code)) = response.extensions().get() {
        metrics.refused_over(Interface::Rest, code);
    }
    if let Some(ReachedLimit(limit)) = response.extensions().get() {
        metrics.limited(limit.name());
    }
    response
}

/// A word of this program's: what a caller may invent is counted together.
fn method_word(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        _ => "other",
    }
}

/// `GET /metrics`
pub(super) async fn scrape(State(app): State<App>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let format = Format::of(accept);
    let text = app.broker.metrics.render(&app.broker.hall.census(), format);
    let content_type = HeaderValue::from_static(format.content_type());
    ([(header::CONTENT_TYPE, content_type)], text).into_response()
}
