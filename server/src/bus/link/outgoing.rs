//! The sender's end of a link.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{MAX_MESSAGE_BYTES, PIECE_BYTES};
use crate::bus::{NotSent, Worth};

/// Bytes that peers' messages may take while they wait: five seconds of NATS being away at some
/// 3 MB/s of signaling.
const MAX_PEER_BYTES: usize = 16 * 1024 * 1024;
/// The same with what the rooms themselves must say.
const MAX_BYTES: usize = 4 * MAX_PEER_BYTES;
/// Pieces that may wait: short messages cost more than their bytes.
const MAX_PEER_PIECES: usize = 64 * 1024;
/// The same with what the rooms themselves must say.
const MAX_PIECES: usize = 4 * MAX_PEER_PIECES;
/// Bytes in flight at most, so that a busy link does not drown the other server.
const MOST_IN_FLIGHT: usize = 4 * 1024 * 1024;
/// Bytes in flight at first.
const FIRST_IN_FLIGHT: usize = 64 * 1024;
/// Silence after which a piece is sent again; doubles up to [`SLOWEST_RESEND`].
const RESEND: Duration = Duration::from_millis(200);
/// Longest silence after which a piece is sent again.
const SLOWEST_RESEND: Duration = Duration::from_secs(1);

/// A piece to be sent.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::bus) struct Piece {
    pub(in crate::bus) number: u64,
    pub(in crate::bus) last: bool,
    pub(in crate::bus) bytes: Bytes,
}

#[derive(Debug)]
struct Waiting {
    bytes: Bytes,
    /// On the last piece of a message: all of it, to be handed back.
    whole: Option<Bytes>,
}

/// What waits for the other end's word that it has arrived.
#[derive(Debug)]
pub(in crate::bus) struct Outgoing {
    epoch: u64,
    /// The number of the first that waits.
    first: u64,
    waiting: VecDeque<Waiting>,
    /// How many of them were sent, and their bytes.
    sent: usize,
    in_flight: usize,
    /// The number after the last that was ever sent.
    reached: u64,
    allowed: usize,
    bytes: usize,
    silence: Duration,
    again_at: Option<Instant>,
}

impl Outgoing {
    pub(in crate::bus) fn new(epoch: u64) -> Self {
        Self {
            epoch,
            first: 1,
            waiting: VecDeque::new(),
            sent: 0,
            in_flight: 0,
            reached: 1,
            allowed: FIRST_IN_FLIGHT,
            bytes: 0,
            silence: RESEND,
            again_at: None,
        }
    }

    pub(in crate::bus) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(in crate::bus) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether the other end has anything of this epoch. If not, its beginning is still to come.
    pub(in crate::bus) fn has_begun(&self) -> bool {
        self.first > 1
    }

    pub(in crate::bus) fn push(&mut self, message: &Bytes, worth: Worth) -> Result<(), NotSent> {
        let (most_bytes, most_pieces) = match worth {
            Worth::Peer => (MAX_PEER_BYTES, MAX_PEER_PIECES),
            Worth::Rooms => (MAX_BYTES, MAX_PIECES),
        };
        if message.len() > MAX_MESSAGE_BYTES
            || self.bytes + message.len() > most_bytes
            || self.waiting.len() >= most_pieces
        {
            return Err(NotSent);
        }
        self.bytes += message.len();
        let mut from = 0;
        loop {
            let to = message.len().min(from + PIECE_BYTES);
            let last = to == message.len();
            let whole = last.then(|| message.clone());
            self.waiting.push_back(Waiting { bytes: message.slice(from..to), whole });
            if last {
                return Ok(());
            }
            from = to;
        }
    }

    /// What should be sent now.
    pub(in crate::bus) fn due(&mut self, now: Instant) -> Vec<Piece> {
        if self.again_at.is_some_and(|at| at <= now) {
            self.again();
            // One piece, to find out whether anybody is there.
            self.allowed = 1;
            self.silence = (self.silence * 2).min(SLOWEST_RESEND);
        }
        let mut pieces = Vec::new();
        while let Some(next) = self.waiting.get(self.sent) {
            if self.in_flight > 0 && self.in_flight + next.bytes.len() > self.allowed {
                break;
            }
            pieces.push(Piece {
                number: self.first + self.sent as u64,
                last: next.whole.is_some(),
                bytes: next.bytes.clone(),
            });
            self.in_flight += next.bytes.len().max(1);
            self.sent += 1;
            self.reached = self.reached.max(self.first + self.sent as u64);
        }
        if !pieces.is_empty() && self.again_at.is_none() {
            self.again_at = Some(now + self.silence);
        }
        pieces
    }

    /// Everything that was sent must be sent again.
    fn again(&mut self) {
        self.sent = 0;
        self.in_flight = 0;
        self.again_at = None;
    }

    /// The network is back: what is on the way may be lost, and waiting to find out is a pity.
    pub(in crate::bus) fn network_is_back(&mut self) {
        self.again();
        self.allowed = FIRST_IN_FLIGHT;
        self.silence = RESEND;
    }

    /// The other end has everything before `next`.
    pub(in crate::bus) fn acked(&mut self, epoch: u64, next: u64, now: Instant) {
        // Numbers that were never given out are nobody's.
        if epoch != self.epoch || next <= self.first || next > self.reached {
            return;
        }
        while self.first < next {
            let Some(arrived) = self.waiting.pop_front() else { return };
            self.first += 1;
            self.sent = self.sent.saturating_sub(1);
            self.in_flight = self.in_flight.saturating_sub(arrived.bytes.len().max(1));
            if let Some(whole) = arrived.whole {
                self.bytes = self.bytes.saturating_sub(whole.len());
            }
        }
        self.allowed = (self.allowed.max(FIRST_IN_FLIGHT / 2) * 2).min(MOST_IN_FLIGHT);
        self.silence = RESEND;
        self.again_at = (self.sent > 0).then(|| now + self.silence);
    }

    /// When [`due`](Self::due) should be asked next, if nothing happens before.
    pub(in crate::bus) fn wake_at(&self) -> Option<Instant> {
        self.again_at
    }

    /// The messages of which not everything is known to have arrived, oldest first.
    pub(in crate::bus) fn into_undelivered(self) -> Vec<Bytes> {
        self.waiting.into_iter().filter_map(|piece| piece.whole).collect()
    }
}
