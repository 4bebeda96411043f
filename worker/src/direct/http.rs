//! The three routes of direct mode itself.

use axum::{
    Json, Router,
    extract::{Query, State},
    response::IntoResponse,
    routing::{get, post},
};
use halyard_protocol::{ids::PeerId, signal::Candidate};
use serde::{Deserialize, Serialize};

use super::{
    asker::Asker,
    body::Body,
    door::{Door, TrackQuery},
    refusal::Refusal,
    status,
};
use crate::agent::DirectAsk;

pub(super) fn routes() -> Router<Door> {
    Router::new()
        .route("/offer", post(offer))
        .route("/ice-candidate", post(candidate))
        .route("/status", get(status))
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

async fn offer(
    State(door): State<Door>,
    Query(TrackQuery { track }): Query<TrackQuery>,
    asker: Asker,
    Body(body): Body,
) -> Result<impl IntoResponse, Refusal> {
    let pass = door.admit(&asker).await?;
    door.knows(track.as_deref())?;
    let Offer { sdp, kind } = parsed(&body, "{\"sdp\": \"v=0…\", \"type\": \"offer\"}")?;
    if kind != "offer" {
        return Err(Refusal::bad(format!("the type is {kind:?}, accepted is \"offer\"")));
    }
    door.shares.offer(&asker)?;
    let (access, grant) = (pass.access, pass.grant());
    let answer = door.ask(|reply| DirectAsk::Offer { sdp, track, access, grant, reply }).await?;
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
    State(door): State<Door>,
    asker: Asker,
    Body(body): Body,
) -> Result<impl IntoResponse, Refusal> {
    door.admit(&asker).await?;
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
    door.ask(|reply| DirectAsk::Candidate { peer, candidate, reply }).await?;
    Ok(Json(serde_json::json!({"status": "ok"})))
}

async fn status(State(door): State<Door>, asker: Asker) -> Result<impl IntoResponse, Refusal> {
    door.admit(&asker).await?;
    Ok(Json(status::status(&door.direct)))
}

fn parsed<'a, T: Deserialize<'a>>(body: &'a [u8], accepted: &str) -> Result<T, Refusal> {
    serde_json::from_slice(body)
        .map_err(|error| Refusal::bad(format!("{error}; accepted is {accepted}")))
}
