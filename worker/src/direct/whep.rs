//! The routes of WHEP.

use axum::{
    Router,
    extract::{Path, Query, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{patch, post},
};
use halyard_protocol::{ids::PeerId, signal::IceServer};

use super::{
    asker::Asker,
    body::Body,
    door::{Door, TrackQuery},
    refusal::Refusal,
};
use crate::{
    agent::{DirectAsk, DirectRefused, Watched},
    whep::{Fragment, Offer, OfferError},
};

/// RFC 5789.
pub(super) const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");

/// Linked Data Platform, as the draft asks for it.
pub(super) const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");

const SDP: &str = "application/sdp";
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";

pub(super) fn routes() -> Router<Door> {
    Router::new()
        .route("/whep", post(begin).get(nothing).head(is_whep))
        .route("/whep/{session}", patch(change).delete(end).get(nothing))
}

/// A session begins.
async fn begin(
    State(door): State<Door>,
    Query(TrackQuery { track }): Query<TrackQuery>,
    asker: Asker,
    Body(body): Body,
) -> Result<Response, Refusal> {
    let pass = door.admit(&asker).await?;
    door.plays(track.as_deref())?;
    if !is_type(&asker.headers, SDP) {
        return Err(Refusal::media_type(SDP));
    }
    let offer = Offer::check(&body)?;
    door.shares.offer(&asker)?;
    let (access, grant) = (pass.access, pass.grant());
    let watched = door.ask(|reply| DirectAsk::Watch { offer, track, access, grant, reply }).await?;
    let location = format!("{}/whep/{}", door.direct.prefix(), watched.session);
    let mut response = answer(StatusCode::CREATED, SDP, &watched, watched.sdp.clone());
    let headers = response.headers_mut();
    headers.insert(ACCEPT_PATCH, HeaderValue::from_static(FRAGMENT));
    if let Ok(location) = HeaderValue::from_str(&location) {
        headers.insert(header::LOCATION, location);
    }
    for link in watched.ice_servers.iter().flat_map(links) {
        // It may hold a password.
        if let Ok(mut link) = HeaderValue::from_str(&link) {
            link.set_sensitive(true);
            headers.append(header::LINK, link);
        }
    }
    Ok(response)
}

/// Candidates, or an ICE restart.
async fn change(
    State(door): State<Door>,
    Path(session): Path<String>,
    asker: Asker,
    Body(body): Body,
) -> Result<Response, Refusal> {
    let pass = door.admit(&asker).await?;
    let session = session_id(session)?;
    if !is_type(&asker.headers, FRAGMENT) {
        return Err(Refusal::media_type(FRAGMENT).with(ACCEPT_PATCH, FRAGMENT));
    }
    let text = std::str::from_utf8(&body).map_err(|_| Refusal::bad("this is not text"))?;
    let fragment = Fragment::parse(text).map_err(|error| Refusal::bad(error.to_string()))?;
    let if_match = match asker.headers.get(header::IF_MATCH).map(HeaderValue::to_str) {
        Some(Ok(text)) => Some(text.to_owned()),
        Some(Err(_)) => return Err(Refusal::bad("If-Match is not text")),
        None => None,
    };
    let access = pass.access;
    let ask = |reply| DirectAsk::Patch { session, access, if_match, fragment, reply };
    Ok(match door.ask(ask).await? {
        None => StatusCode::NO_CONTENT.into_response(),
        Some(watched) => {
            let own = Fragment::of_answer(&watched.sdp);
            answer(StatusCode::OK, FRAGMENT, &watched, own)
        }
    })
}

/// A session ends. Entity tags are ignored here, as the draft wants it.
async fn end(
    State(door): State<Door>,
    Path(session): Path<String>,
    asker: Asker,
) -> Result<StatusCode, Refusal> {
    let pass = door.admit(&asker).await?;
    let (session, access) = (session_id(session)?, pass.access);
    door.ask(|reply| DirectAsk::Leave { session, access, reply }).await?;
    Ok(StatusCode::OK)
}

/// There is nothing to be read at these addresses, and a player that looks learns that they are good.
async fn nothing() -> StatusCode {
    StatusCode::NO_CONTENT
}

/// How a player finds out that an address is one of WHEP.
async fn is_whep() -> impl IntoResponse {
    [(header::CONTENT_TYPE, SDP)]
}

fn session_id(text: String) -> Result<PeerId, Refusal> {
    PeerId::new(text).map_err(|_| DirectRefused::NoSuchSession.into())
}

fn answer(
    status: StatusCode,
    media_type: &'static str,
    watched: &Watched,
    body: String,
) -> Response {
    let mut response = (status, [(header::CONTENT_TYPE, media_type)], body).into_response();
    if let Ok(etag) = HeaderValue::from_str(&watched.etag) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    response
}

/// Whether the body is said to be of this type; its parameters do not count.
fn is_type(headers: &HeaderMap, media_type: &str) -> bool {
    let said = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let said = said.and_then(|said| said.split(';').next()).unwrap_or_default();
    said.trim().eq_ignore_ascii_case(media_type)
}

/// One `Link` for each address (RFC 8288, as RFC 9725 has them in 4.6).
fn links(server: &IceServer) -> impl Iterator<Item = String> {
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    let login = match (&server.username, &server.credential) {
        (Some(username), Some(credential)) => format!(
            "; username=\"{}\"; credential=\"{}\"; credential-type=\"password\"",
            quoted(username),
            quoted(credential.expose())
        ),
        _ => String::new(),
    };
    let urls = server.urls.iter().filter(|url| !url.contains(['<', '>', '"', ' ']));
    urls.map(move |url| format!("<{url}>; rel=\"ice-server\"{login}"))
        .collect::<Vec<_>>()
        .into_iter()
}

impl From<OfferError> for Refusal {
    fn from(error: OfferError) -> Self {
        let (status, code) = match error {
            OfferError::Malformed(_) => (StatusCode::BAD_REQUEST, "INVALID_MESSAGE"),
            OfferError::Unserved(_) => (StatusCode::UNPROCESSABLE_ENTITY, "UNSUPPORTED_OFFER"),
        };
        Self::new(status, code, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use halyard_protocol::token::Token;

    use super::*;

    #[test]
    fn every_ice_server_is_a_link_with_its_login() {
        let stun = IceServer {
            urls: vec!["stun:stun.example.net".into(), "stun:two.example.net:3478".into()],
            username: None,
            credential: None,
        };
        let turn = IceServer {
            urls: vec!["turn:turn.example.net?transport=udp".into(), "turn:<bad>".into()],
            username: Some("17:\"ann\"".into()),
            credential: Some(Token::new("pass\\word")),
        };
        let told: Vec<String> = [stun, turn].iter().flat_map(links).collect();
        assert_eq!(
            told,
            [
                r#"<stun:stun.example.net>; rel="ice-server""#,
                r#"<stun:two.example.net:3478>; rel="ice-server""#,
                r#"<turn:turn.example.net?transport=udp>; rel="ice-server"; username="17:\"ann\""; credential="pass\\word"; credential-type="password""#,
            ]
        );
    }
}
