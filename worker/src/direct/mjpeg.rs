//! The picture without WebRTC: `GET /mjpeg`, an endless row of JPEGs, and `GET /snapshot.jpg`.

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant, UNIX_EPOCH},
};

use axum::{
    Json, Router,
    body::Body,
    extract::{Query, State},
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{
    asker::Asker,
    door::{Door, Pass, Watch},
    refusal::Refusal,
    shares::Seat,
    tickets::TICKET_LIVES,
};
use crate::media::stills::{Crowded, Still, Stills, Trouble, Watching};

/// Seconds since 1970 at which a picture was taken, with six decimals, on the worker's clock.
pub(super) const X_TIMESTAMP: HeaderName = HeaderName::from_static("x-timestamp");

/// A source that rests needs a moment for its first picture; one that is out of order needs longer
/// than people wait.
const FIRST_WITHIN: Duration = Duration::from_secs(5);

/// What stands between two pictures.
const BOUNDARY: &str = "halyard-picture";

pub(super) fn routes() -> Router<Door> {
    Router::new()
        .route("/mjpeg", get(stream))
        .route("/mjpeg/ticket", post(ticket))
        .route("/snapshot.jpg", get(snapshot))
}

#[derive(Deserialize)]
struct Asked {
    /// Instead of the header.
    ticket: Option<String>,
    /// Which picture; the first one where not said.
    track: Option<String>,
}

async fn ticket(State(door): State<Door>, asker: Asker) -> Result<Response, Refusal> {
    let pass = door.admit(&asker).await?;
    stills(&door, None)?;
    let ticket = door.tickets.give(pass, Instant::now());
    let body = json!({
        "ticket": ticket,
        "url": format!("{}/mjpeg?ticket={ticket}", door.direct.prefix()),
        "expires_in": TICKET_LIVES.as_secs(),
    });
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

async fn stream(
    State(door): State<Door>,
    asker: Asker,
    Query(asked): Query<Asked>,
) -> Result<Response, Refusal> {
    let pass = admit(&door, &asker, asked.ticket).await?;
    let (mut watching, seat) = watch(&door, &asker, asked.track.as_deref())?;
    let first = first(&mut watching).await?;
    let stop = door.direct.stop.clone();
    let rights = Watch::over(door, pass);
    let reel = Reel { watching, seat, first: Some(first), is_open: false, rights, stop };
    let parts = futures_util::stream::unfold(reel, Reel::next);
    let media_type =
        HeaderValue::from_static("multipart/x-mixed-replace; boundary=halyard-picture");
    Ok(([(header::CONTENT_TYPE, media_type)], Body::from_stream(parts)).into_response())
}

async fn snapshot(
    State(door): State<Door>,
    asker: Asker,
    Query(asked): Query<Asked>,
) -> Result<Response, Refusal> {
    admit(&door, &asker, asked.ticket).await?;
    let (mut watching, _seat) = watch(&door, &asker, asked.track.as_deref())?;
    let still = first(&mut watching).await?;
    let mut response = still.jpeg.clone().into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("image/jpeg"));
    if let Ok(taken) = HeaderValue::from_str(&taken(&still)) {
        headers.insert(X_TIMESTAMP, taken);
    }
    Ok(response)
}

/// An open stream. It has one picture at a time: the next is looked for when the connection has
/// taken the last one.
struct Reel {
    watching: Watching,
    #[expect(dead_code, reason = "held, not read")]
    seat: Option<Seat>,
    first: Option<Arc<Still>>,
    is_open: bool,
    rights: Watch,
    stop: CancellationToken,
}

impl Reel {
    /// For the next picture; nothing where there is none any more, or none for this viewer.
    async fn wait(&mut self) -> Option<Arc<Still>> {
        tokio::select! {
            // Who may not watch any more is not shown the next one.
            biased;

            () = self.stop.cancelled() => None,
            refusal = self.rights.shut_out() => {
                tracing::info!(?refusal, "a stream of pictures is over");
                None
            }
            next = self.watching.next() => next.ok(),
        }
    }

    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        let still = match self.first.take() {
            Some(first) => first,
            None => self.wait().await?,
        };
        let mut part = Vec::with_capacity(still.jpeg.len() + 256);
        if !self.is_open {
            part.extend_from_slice(format!("--{BOUNDARY}\r\n").as_bytes());
            self.is_open = true;
        }
        let head = format!(
            "Content-Type: image/jpeg\r\nContent-Length: {}\r\nX-Timestamp: {}\r\n\r\n",
            still.jpeg.len(),
            taken(&still)
        );
        part.extend_from_slice(head.as_bytes());
        part.extend_from_slice(&still.jpeg);
        // The boundary goes along with the picture and not with the next one: browsers show a part
        // when they have seen its end.
        part.extend_from_slice(format!("\r\n--{BOUNDARY}\r\n").as_bytes());
        Some((Ok(part.into()), self))
    }
}

/// By token or by ticket.
async fn admit(door: &Door, asker: &Asker, ticket: Option<String>) -> Result<Pass, Refusal> {
    match ticket {
        Some(ticket) => {
            let pass = door.tickets.take(&ticket, Instant::now()).ok_or_else(Refusal::ticket)?;
            // Rights may have ended since it was given.
            door.still_open(&pass).await?;
            Ok(pass)
        }
        None => door.admit(asker).await,
    }
}

/// Which picture, and its number.
fn stills<'a>(door: &'a Door, track: Option<&str>) -> Result<(usize, &'a Stills), Refusal> {
    let number = door.knows(track)?;
    let words = "this worker shows no picture over HTTP (--video none, or mjpeg_viewers = 0)";
    let none = || Refusal::new(StatusCode::NOT_FOUND, "NO_PICTURE", words);
    door.direct.stills.get(number).map(|stills| (number, stills)).ok_or_else(none)
}

fn watch(
    door: &Door,
    asker: &Asker,
    track: Option<&str>,
) -> Result<(Watching, Option<Seat>), Refusal> {
    let (number, stills) = stills(door, track)?;
    let seat = door.shares.seat(asker, number)?;
    Ok((stills.watch()?, seat))
}

async fn first(watching: &mut Watching) -> Result<Arc<Still>, Refusal> {
    if let Ok(first) = tokio::time::timeout(FIRST_WITHIN, watching.next()).await {
        return Ok(first?);
    }
    let why = watching.trouble().unwrap_or_else(|| "the source gives none".to_owned());
    let words = format!("no picture came within {FIRST_WITHIN:?}: {why}");
    Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "NO_PICTURE", words))
}

fn taken(still: &Still) -> String {
    let since = still.taken.duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{}.{:06}", since.as_secs(), since.subsec_micros())
}

impl From<Crowded> for Refusal {
    fn from(crowded: Crowded) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "LIMIT_EXCEEDED", crowded.to_string())
    }
}

impl From<Trouble> for Refusal {
    fn from(trouble: Trouble) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "NO_PICTURE", trouble.to_string())
    }
}
