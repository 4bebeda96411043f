//! Who gets in, with what rights, and for how long.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::http::{HeaderMap, header};
use halyard_protocol::{access::Access, limits::MAX_TOKEN_BYTES, signal::Grant, token::Token};
use halyard_server::rights::Tokens;
use serde::Deserialize;
use subtle::ConstantTimeEq;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{ANSWER_WITHIN, asker::Asker, refusal::Refusal, shares::Shares, tickets::Tickets};
use crate::{
    agent::{DirectAsk, DirectRefused, Held},
    media::{VideoCodec, stills::Stills},
    session::Shared,
};

/// How often an open stream's rights are looked at: who loses them is out within a second.
const LOOK_EVERY: Duration = Duration::from_millis(400);

/// Looks in a row at a store that fails, which a stream survives: some 20 seconds.
const UNCONFIRMED_LOOKS: u32 = 50;

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
    /// Whether offers are answered at all.
    pub webrtc: bool,
    /// The pictures as JPEGs, in the order of the worker's tracks; none where that is turned off.
    pub stills: Arc<[Stills]>,
    /// How many may watch each of them.
    pub viewers: usize,
    /// The address under which peers see this worker, where that is another.
    pub public_url: Option<Url>,
    /// When the worker started.
    pub started: Instant,
    /// Ends streams.
    pub stop: CancellationToken,
}

/// What may stand behind `?`.
#[derive(Deserialize)]
pub(super) struct TrackQuery {
    /// Which picture; the first one where not said.
    pub(super) track: Option<String>,
}

/// The routes' shared state.
#[derive(Clone)]
pub(super) struct Door {
    pub(super) direct: Direct,
    pub(super) tickets: Arc<Tickets>,
    pub(super) shares: Arc<Shares>,
}

/// Who was let in.
#[derive(Debug, Clone)]
pub(super) struct Pass {
    pub(super) access: Access,
    /// None on a trusted network.
    token: Option<Token>,
}

impl Pass {
    #[cfg(test)]
    pub(super) fn for_tests() -> Self {
        Self { access: Access::Viewer, token: None }
    }

    /// What the broker knows it by.
    pub(super) fn grant(&self) -> Option<Grant> {
        self.token.as_ref().map(|token| Grant::of_token(self.access, token))
    }
}

impl Direct {
    /// What stands in front of the paths where peers see them: empty, or like `/robot`.
    pub(super) fn prefix(&self) -> &str {
        self.public_url.as_ref().map_or("", Url::path).trim_end_matches('/')
    }
}

impl Door {
    pub(super) fn new(direct: Direct) -> Self {
        let shares = Shares::new(direct.stills.len(), direct.viewers);
        Self { direct, tickets: Arc::default(), shares: Arc::new(shares) }
    }

    /// What the bearer of this request may do.
    pub(super) async fn admit(&self, asker: &Asker) -> Result<Pass, Refusal> {
        match bearer(&asker.headers) {
            Some(said) => self.open(&Token::new(said)).await,
            None if self.direct.trusted_network => {
                asker.may_do_without_token(self.direct.public_url.as_ref())?;
                Ok(Pass { access: Access::Operator, token: None })
            }
            None => Err(Refusal::token()),
        }
    }

    async fn open(&self, token: &Token) -> Result<Pass, Refusal> {
        let held = self.direct.room.borrow().clone().ok_or_else(Refusal::stopping)?;
        match self.direct.tokens.access(&held.room_id, token).await {
            Ok(Some(access)) => Ok(Pass { access, token: Some(token.clone()) }),
            Ok(None) if was_good(token, &held) => Err(Refusal::revoked()),
            Ok(None) => Err(Refusal::wrong_token()),
            Err(error) => {
                tracing::error!(%error, "the room store failed");
                Err(Refusal::unconfirmed())
            }
        }
    }

    /// Which picture this is, counted from 0: the first where none is named.
    pub(super) fn knows(&self, track: Option<&str>) -> Result<usize, Refusal> {
        let Some(track) = track else { return Ok(0) };
        let found = self.direct.shared.tracks.find(track);
        found.map(|(number, _)| number).map_err(|unknown| Refusal::track(&unknown))
    }

    /// The same, where it is H.264: players agree on that before they see what comes.
    pub(super) fn plays(&self, track: Option<&str>) -> Result<usize, Refusal> {
        let number = self.knows(track)?;
        let codec = self.direct.shared.tracks.iter().nth(number).map(|track| track.info().codec);
        match codec {
            Some(codec) if codec != VideoCodec::H264.word() => Err(Refusal::codec(&codec)),
            _ => Ok(number),
        }
    }

    /// Whether who was let in would be again, with the same rights.
    pub(super) async fn still_open(&self, pass: &Pass) -> Result<(), Refusal> {
        let Some(token) = &pass.token else { return Ok(()) };
        let now = self.open(token).await?;
        if now.access == pass.access { Ok(()) } else { Err(Refusal::revoked()) }
    }

    /// Asks the agent something.
    pub(super) async fn ask<T>(
        &self,
        ask: impl FnOnce(oneshot::Sender<Result<T, DirectRefused>>) -> DirectAsk,
    ) -> Result<T, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.direct.asks.try_send(ask(reply)).map_err(|_| Refusal::stopping())?;
        match tokio::time::timeout(ANSWER_WITHIN, answer).await {
            Ok(Ok(answer)) => Ok(answer?),
            Ok(Err(_)) | Err(_) => Err(Refusal::stopping()),
        }
    }
}

/// Looks after the rights that a stream was opened with.
pub(super) struct Watch {
    door: Door,
    pass: Pass,
    next: tokio::time::Instant,
    unconfirmed: u32,
}

impl Watch {
    pub(super) fn over(door: Door, pass: Pass) -> Self {
        let next = tokio::time::Instant::now() + LOOK_EVERY;
        Self { door, pass, next, unconfirmed: 0 }
    }

    /// Waits until who was let in would not be any more. A store that fails for a moment takes
    /// nobody's rights. Cancel safe.
    pub(super) async fn shut_out(&mut self) -> Refusal {
        loop {
            tokio::time::sleep_until(self.next).await;
            let is_open = self.door.still_open(&self.pass).await;
            self.next = tokio::time::Instant::now() + LOOK_EVERY;
            match is_open {
                Ok(()) => self.unconfirmed = 0,
                Err(refusal) if refusal.may_pass() && self.unconfirmed < UNCONFIRMED_LOOKS => {
                    self.unconfirmed += 1;
                }
                Err(refusal) => return refusal,
            }
        }
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && token.len() <= MAX_TOKEN_BYTES)
        .then_some(token)
}

/// Whether this is a token that the room began with. Both are always compared, so that time tells
/// nothing.
fn was_good(said: &Token, held: &Held) -> bool {
    let said = said.expose().as_bytes();
    let same = |token: &Token| bool::from(said.ct_eq(token.expose().as_bytes()));
    let (operator, viewer) = (same(&held.token), held.viewer.as_ref().is_some_and(same));
    operator || viewer
}
