//! The operator page: files that are part of the program.

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rust_embed::{EmbeddedFile, RustEmbed};

use super::error::{method_not_allowed, not_found};

/// Release builds carry the files; debug builds read them from the checkout.
#[derive(RustEmbed)]
#[folder = "../client/web"]
#[exclude = "node_modules/*"]
#[exclude = "test/*"]
#[exclude = "*.config.js"]
struct Assets;

/// What a page is made of. Anything else that lies in the folder is not for the public.
const SERVED: [&str; 12] =
    ["css", "gif", "html", "ico", "jpg", "js", "mjs", "png", "svg", "txt", "webmanifest", "woff2"];

/// `/r/{room}`: the page finds the room in its address and the token behind `#`.
pub(super) async fn room(headers: HeaderMap) -> Response {
    index(&headers).await
}

/// The page itself.
pub(super) async fn index(headers: &HeaderMap) -> Response {
    match Assets::get("index.html") {
        Some(file) => answer(&file, headers),
        None => not_found().await.into_response(),
    }
}

/// One of its files.
pub(super) async fn asset(request: Request) -> Response {
    let path = request.uri().path().trim_start_matches('/');
    let hidden = path.split('/').any(|part| part.is_empty() || part.starts_with('.'));
    let served = path.rsplit_once('.').is_some_and(|(_, ending)| SERVED.contains(&ending));
    let file = (!hidden && served).then(|| Assets::get(path)).flatten();
    match file {
        None => not_found().await.into_response(),
        Some(_) if !matches!(*request.method(), Method::GET | Method::HEAD) => {
            method_not_allowed().await.into_response()
        }
        Some(file) => answer(&file, request.headers()),
    }
}

fn answer(file: &EmbeddedFile, headers: &HeaderMap) -> Response {
    let is_page = file.metadata.mimetype() == "text/html";
    let etag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(&file.metadata.sha256_hash()[..18]));
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let unchanged =
        !is_page && known.is_some_and(|known| known.split(',').any(|tag| tag.trim() == etag));
    let mut response = if unchanged {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Body::from(file.data.to_vec()).into_response()
    };
    let out = response.headers_mut();
    out.insert(header::CONTENT_TYPE, content_type(file.metadata.mimetype()));
    if is_page {
        // Its address names a room.
        out.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        out.insert(header::CONTENT_SECURITY_POLICY, policy(headers));
        out.insert(
            header::HeaderName::from_static("permissions-policy"),
            HeaderValue::from_static("camera=(), geolocation=(), microphone=(self), payment=()"),
        );
    } else {
        // Kept, and asked about each time: a new version of the program is seen at once.
        out.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        if let Ok(etag) = HeaderValue::from_str(&etag) {
            out.insert(header::ETAG, etag);
        }
    }
    response
}

fn content_type(mime: &str) -> HeaderValue {
    let is_text = mime.starts_with("text/") || mime.ends_with("javascript");
    let text = if is_text && !mime.contains("charset") {
        format!("{mime}; charset=utf-8")
    } else {
        mime.to_owned()
    };
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("application/octet-stream"))
}

/// What the page may do: its own files, its own broker, and pictures that it makes itself.
///
/// Older browsers do not count a WebSocket to the same host as `'self'`, so it is named.
fn policy(headers: &HeaderMap) -> HeaderValue {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let plain = host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]_".contains(&b));
    let sockets = if plain && !host.is_empty() {
        format!(" ws://{host} wss://{host}")
    } else {
        String::new()
    };
    let text = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; \
         img-src 'self' blob: data:; media-src 'self' blob:; manifest-src 'self'; \
         connect-src 'self'{sockets}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("default-src 'self'"))
}
