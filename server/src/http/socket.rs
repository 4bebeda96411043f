//! From an HTTP request to a WebSocket.
//!
//! The handshake is tungstenite's. The stream is taken back from hyper as the TCP stream that it
//! was, so that a connection's end can be made graceful and nothing of HTTP stays behind.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;

use super::{
    App, Permit,
    caller::Asker,
    error::{RestError, method_not_allowed},
    page,
};
use crate::{
    connection::Connection,
    limits::{Limit, TooOften},
    write_within::WriteWithin,
};

/// When somebody may try again who has as many sockets as it may have.
const FULL_RETRY_AFTER: Duration = Duration::from_secs(5);

/// `/`: the page for people, the socket for existing clients.
pub(super) async fn page_or_socket(
    State(app): State<App>,
    asker: Asker,
    request: Request,
) -> Response {
    if request.headers().contains_key(header::UPGRADE) {
        return socket(State(app), asker, request).await;
    }
    match *request.method() {
        Method::GET | Method::HEAD => page::index(request.headers()).await,
        _ => method_not_allowed().await.into_response(),
    }
}

/// `/ws`
pub(super) async fn socket(State(app): State<App>, asker: Asker, mut request: Request) -> Response {
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
    if app.stop.has_fired() {
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
    let limiter = &app.broker.limiter;
    let from = asker.address();
    if let Err(refused) = limiter.admit(Limit::Sockets, from, Instant::now()) {
        return RestError::too_often(&refused).into_response();
    }
    // Where it came directly, its connection is counted already.
    let open = asker.caller.proxied.then(|| limiter.open.open(from));
    let Some(open) = open.map_or(Some(None), |open| open.map(Some)) else {
        return RestError::too_often(&TooOften {
            limit: Limit::ConnectionsPerAddress,
            retry_after: FULL_RETRY_AFTER,
        })
        .into_response();
    };
    let held = (request.extensions().get::<Permit>().cloned(), open);
    let upgrade = hyper::upgrade::on(&mut request);
    app.clone().tasks.spawn(async move {
        let Ok(upgraded) = upgrade.await else {
            tracing::debug!("a socket was gone before it was upgraded");
            return;
        };
        start(upgraded, app, from, held);
    });
    response
}

/// Starts the socket's own task. That one lives as long as the socket, so it has nothing of the
/// upgrade in it.
fn start(upgraded: Upgraded, app: App, from: IpAddr, held: impl Send + 'static) {
    type Io<S> = TokioIo<WriteWithin<S>>;

    // A socket bounds its writes itself.
    let upgraded = match upgraded.downcast::<Io<TcpStream>>() {
        Ok(parts) => {
            let stream = parts.io.into_inner().into_inner();
            spawn(stream, parts.read_buf.to_vec(), app, from, held);
            return;
        }
        Err(upgraded) => upgraded,
    };
    match upgraded.downcast::<Io<TlsStream<TcpStream>>>() {
        Ok(parts) => {
            let stream = parts.io.into_inner().into_inner();
            spawn(stream, parts.read_buf.to_vec(), app, from, held);
        }
        Err(upgraded) => spawn(TokioIo::new(upgraded), Vec::new(), app, from, held),
    }
}

fn spawn<S>(stream: S, first: Vec<u8>, app: App, from: IpAddr, held: impl Send + 'static)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = Connection::new(stream, first, app.broker, from);
    app.tasks.spawn(connection.run(app.stop, app.kill, held));
}
