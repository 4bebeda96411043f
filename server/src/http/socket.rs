//! From an HTTP request to a WebSocket.
//!
//! The handshake is tungstenite's. The stream is taken back from hyper as the TCP stream that it
//! was, so that a connection's end can be made graceful and nothing of HTTP stays behind.

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;

use super::{
    App, Permit,
    error::{RestError, method_not_allowed},
    origin, page,
};
use crate::connection::Connection;

/// `/`: the page for people, the socket for existing clients.
pub(super) async fn page_or_socket(State(app): State<App>, request: Request) -> Response {
    if request.headers().contains_key(header::UPGRADE) {
        return socket(State(app), request).await;
    }
    match *request.method() {
        Method::GET | Method::HEAD => page::index(request.headers()).await,
        _ => method_not_allowed().await.into_response(),
    }
}

/// `/ws`
pub(super) async fn socket(State(app): State<App>, mut request: Request) -> Response {
    if !request.headers().contains_key(header::UPGRADE) {
        let mut response = RestError::new(
            StatusCode::UPGRADE_REQUIRED,
            "UPGRADE_REQUIRED",
            "this is a WebSocket; connect with ws:// or wss://",
        )
        .into_response();
        response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        return response;
    }
    if !origin::allowed(&app.broker.settings, request.headers()) {
        return RestError::forbidden(
            "this page may not connect here; the server's allowed_origins says which may",
        )
        .into_response();
    }
    if app.stop.is_cancelled() {
        return RestError::unavailable(None).into_response();
    }
    let response = match create_response_with_body(&request, Body::empty) {
        Ok(response) if *request.method() == Method::GET => response,
        Ok(_) => return method_not_allowed().await.into_response(),
        Err(error) => {
            let message = format!("this is no WebSocket handshake: {error}");
            return RestError::invalid(message).into_response();
        }
    };
    let permit = request.extensions().get::<Permit>().cloned();
    let upgrade = hyper::upgrade::on(&mut request);
    app.clone().tasks.spawn(async move {
        let Ok(upgraded) = upgrade.await else {
            tracing::debug!("a socket was gone before it was upgraded");
            return;
        };
        start(upgraded, app, permit);
    });
    response
}

/// Starts the socket's own task. That one lives as long as the socket, so it has nothing of the
/// upgrade in it.
fn start(upgraded: Upgraded, app: App, permit: Option<Permit>) {
    let broker = app.broker.clone();
    match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(parts) => {
            let first = parts.read_buf.to_vec();
            let connection = Connection::new(parts.io.into_inner(), first, broker);
            app.tasks.spawn(connection.run(app.stop, app.kill, permit));
        }
        Err(upgraded) => {
            let connection = Connection::new(TokioIo::new(upgraded), Vec::new(), broker);
            app.tasks.spawn(connection.run(app.stop, app.kill, permit));
        }
    }
}
