//! The three routes.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Query, State},
    http::{HeaderMap, Method, header},
    response::IntoResponse,
    routing::{get, post},
};
use halyard_protocol::{
    access::Access,
    ids::PeerId,
    limits::MAX_TOKEN_BYTES,
    signal::{Candidate, Grant},
    token::Token,
};
use halyard_server::rights::Tokens;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use tokio::sync::{mpsc, oneshot, watch};
use tower_http::cors::{Any, CorsLayer};

use super::{refusal::Refusal, status};
use crate::{
    agent::{DirectAsk, DirectRefused, Held},
    session::Shared,
};

/// Largest body. A session description without trickle, with three fingerprints and a dozen
/// candidates, stays below 16 KiB.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// How long an asker waits for the agent. Looking for candidates takes two seconds at most.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// What the routes need.
#[derive(Clone)]
pub struct Direct {
    /// To the agent.
    pub asks: mpsc::Sender<DirectAsk>,
    /// The room and its first tokens, once there is one.
    pub room: watch::Receiver<Option<Held>>,
    /// For the status.
    pub shared: Arc<Shared>,
    /// What tokens open. They are replaced while the worker runs, so it is asked every time.
    pub tokens: Tokens,
    /// Nobody needs a token.
    pub trusted_network: bool,
    /// When the worker started.
    pub started: Instant,
}

/// The routes, to be served beside the broker's.
pub fn routes(direct: Direct) -> Router {
    let cors = CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE]);
    Router::new()
        .route("/offer", post(offer))
        .route("/ice-candidate", post(candidate))
        .route("/status", get(status))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(cors)
        .with_state(direct)
}

#[derive(Deserialize)]
struct Offer {
    sdp: String,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Serialize)]
struct Answer {
    sdp: String,
    #[serde(rename = "type")]
    kind: &'static str,
    /// What to name in `POST /ice-candidate`.
    id: PeerId,
}

/// What may stand behind `?`.
#[derive(Deserialize)]
struct OfferQuery {
    /// Which picture; the first one where not said.
    track: Option<String>,
}

async fn offer(
    State(direct): State<Direct>,
    Query(OfferQuery { track }): Query<OfferQuery>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<impl IntoResponse, Refusal> {
    let (access, grant) = direct.access(&headers).await?;
    if let Some(track) = &track {
        direct.shared.tracks.find(track).map_err(|unknown| Refusal::track(&unknown))?;
    }
    let Offer { sdp, kind } = parsed(&body, "{\"sdp\": \"v=0…\", \"type\": \"offer\"}")?;
    if kind != "offer" {
        return Err(Refusal::bad(format!("the type is {kind:?}, accepted is \"offer\"")));
    }
    let answer = direct.ask(|reply| DirectAsk::Offer { sdp, track, access, grant, reply }).await?;
    Ok(Json(Answer { sdp: answer.sdp, kind: "answer", id: answer.peer }))
}

/// Browsers' `RTCIceCandidateInit`, alone or as `candidate`, with or without an `id`.
#[derive(Deserialize)]
struct CandidateBody {
    #[serde(default)]
    id: Option<PeerId>,
    candidate: OneOrInside,
    #[serde(default, rename = "sdpMid")]
    sdp_mid: Option<String>,
    #[serde(default, rename = "sdpMLineIndex")]
    sdp_m_line_index: Option<u16>,
    #[serde(default, rename = "usernameFragment")]
    username_fragment: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrInside {
    Line(String),
    Inside(Candidate),
}

async fn candidate(
    State(direct): State<Direct>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<impl IntoResponse, Refusal> {
    direct.access(&headers).await?;
    let accepted = "{\"id\": \"direct-…\", \"candidate\": \"candidate:…\", \"sdpMid\": \"0\"}";
    let body: CandidateBody = parsed(&body, accepted)?;
    let candidate = match body.candidate {
        OneOrInside::Inside(candidate) => candidate,
        OneOrInside::Line(candidate) => Candidate {
            candidate,
            sdp_mid: body.sdp_mid,
            sdp_m_line_index: body.sdp_m_line_index,
            username_fragment: body.username_fragment,
        },
    };
    let peer = body.id;
    direct.ask(|reply| DirectAsk::Candidate { peer, candidate, reply }).await?;
    Ok(Json(serde_json::json!({"status": "ok"})))
}

async fn status(
    State(direct): State<Direct>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Refusal> {
    direct.access(&headers).await?;
    let room_id = direct.room.borrow().as_ref().map(|held| held.room_id.clone());
    Ok(Json(status::status(&direct.shared, room_id, direct.started)))
}

fn parsed<'a, T: Deserialize<'a>>(body: &'a [u8], accepted: &str) -> Result<T, Refusal> {
    serde_json::from_slice(body)
        .map_err(|error| Refusal::bad(format!("{error}; accepted is {accepted}")))
}

impl Direct {
    /// What the bearer of this request may do.
    async fn access(&self, headers: &HeaderMap) -> Result<(Access, Option<Grant>), Refusal> {
        let said = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim())
            .filter(|token| !token.is_empty() && token.len() <= MAX_TOKEN_BYTES);
        match said {
            Some(said) => {
                let held = self.room.borrow().clone().ok_or_else(Refusal::stopping)?;
                let token = Token::new(said);
                match self.tokens.access(&held.room_id, &token).await {
                    Ok(Some(access)) => Ok((access, Some(Grant::of_token(access, &token)))),
                    Ok(None) if was_good(said, &held) => Err(Refusal::revoked()),
                    Ok(None) => Err(Refusal::token()),
                    Err(error) => {
                        tracing::error!(%error, "the room store failed");
                        Err(Refusal::unconfirmed())
                    }
                }
            }
            None if self.trusted_network => Ok((Access::Operator, None)),
            None => Err(Refusal::token()),
        }
    }

    async fn ask<T>(
        &self,
        ask: impl FnOnce(oneshot::Sender<Result<T, DirectRefused>>) -> DirectAsk,
    ) -> Result<T, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.asks.try_send(ask(reply)).map_err(|_| Refusal::stopping())?;
        match tokio::time::timeout(ANSWER_WITHIN, answer).await {
            Ok(Ok(answer)) => Ok(answer?),
            Ok(Err(_)) | Err(_) => Err(Refusal::stopping()),
        }
    }
}

/// Whether this is a token that the room began with. Both are always compared, so that time tells
/// nothing.
fn was_good(said: &str, held: &Held) -> bool {
    let same = |token: &Token| bool::from(said.as_bytes().ct_eq(token.expose().as_bytes()));
    let (operator, viewer) = (same(&held.token), held.viewer.as_ref().is_some_and(same));
    operator || viewer
}
