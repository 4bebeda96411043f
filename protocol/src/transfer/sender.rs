//! The sending end of one transfer.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;

use super::Failure;
use crate::{
    channel::{
        Chunk, FileErrorCode, Message, TransferAccept, TransferCancel, TransferEnd, TransferId,
        TransferOffer, TransferProgress, TransferRefuse,
    },
    limits::{CHUNK_BYTES, PAUSE_ABOVE_BUFFERED_BYTES, SLOWEST_DISK, TRANSFER_STALL},
};

/// What the sending end wants done, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum SenderAction {
    /// Say this on `control`.
    Say(Message),
    /// Read up to this many bytes of the file at this offset and hand them to
    /// [`Sender::supply`]; fewer are fine, none means that the file ends there.
    Read {
        /// Where.
        offset: u64,
        /// How many at most.
        most: usize,
    },
    /// Send this encoded [`Chunk`] on `bulk`.
    Chunk(Bytes),
    /// The receiver has the whole file. The last action.
    Finished,
    /// It came to nothing; what had to be said about it came before. The last action.
    Failed(Failure),
}

/// One file on its way out.
///
/// Feed it what the receiver says and what the file holds, then take [`Sender::poll`]'s actions
/// until there are none. Times are since any fixed moment.
#[derive(Debug)]
pub struct Sender {
    transfer: TransferId,
    size: u64,
    state: State,
    hasher: blake3::Hasher,
    /// Bytes of the file that went into `hasher`; while sending, also bytes sent.
    position: u64,
    /// Where the accepted part of the file begins.
    resumed_at: u64,
    /// What the receiver has on its disk, once it said so.
    durable: Option<u64>,
    /// A [`SenderAction::Read`] is out and not answered.
    reading: bool,
    patience: Duration,
    deadline: Duration,
    actions: VecDeque<SenderAction>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The receiver has not answered the offer.
    Offered,
    /// Hashing what the receiver already holds, to see whether it is ours.
    Checking { held: u64, expected: Option<blake3::Hash> },
    /// Reading and sending.
    Sending,
    /// Everything is sent; the receiver verifies.
    Ended,
    /// [`SenderAction::Finished`] or [`SenderAction::Failed`] is out.
    Over,
}

impl Sender {
    /// The most that one [`SenderAction::Read`] asks for: a whole number of chunks.
    pub const MAX_READ_BYTES: usize = 16 * CHUNK_BYTES;

    /// A sender whose first action is the offer itself.
    pub fn new(offer: TransferOffer, now: Duration) -> Self {
        let patience = TRANSFER_STALL + reading_time(offer.size);
        let mut sender = Self {
            transfer: offer.transfer,
            size: offer.size,
            state: State::Offered,
            hasher: blake3::Hasher::new(),
            position: 0,
            resumed_at: 0,
            durable: None,
            reading: false,
            patience,
            deadline: now + patience,
            actions: VecDeque::new(),
        };
        sender.say(Message::TransferOffer(offer));
        sender
    }

    /// The next thing to do. `None` until something else is fed in.
    pub fn poll(&mut self) -> Option<SenderAction> {
        self.actions.pop_front().or_else(|| self.read())
    }

    /// Takes what the receiver says about this transfer. Other messages are not looked at.
    pub fn hear(&mut self, message: &Message, now: Duration) {
        match message {
            Message::TransferAccept(word) => self.accepted(word, now),
            Message::TransferProgress(word) => self.progressed(*word, now),
            Message::TransferDone(_) => self.done(),
            Message::TransferRefuse(word) => self.refused(word),
            _ => {}
        }
    }

    fn accepted(&mut self, word: &TransferAccept, now: Duration) {
        match self.state {
            State::Offered => {}
            State::Over => return,
            _ => return self.break_off(Failure::protocol("the receiver accepted the file twice")),
        }
        if word.offset > self.size {
            return self.break_off(Failure::protocol(format_args!(
                "the receiver wants the file from byte {} on, but it has only {}",
                word.offset, self.size
            )));
        }
        self.patience = TRANSFER_STALL;
        self.deadline = now + self.patience;
        let expected = word.prefix.as_deref().and_then(|hex| blake3::Hash::from_hex(hex).ok());
        self.state = State::Checking { held: word.offset, expected };
        self.checked();
    }

    fn progressed(&mut self, word: TransferProgress, now: Duration) {
        if !matches!(self.state, State::Sending | State::Ended) {
            return;
        }
        // A receiver that claims more than was sent only harms itself.
        let durable = word.durable.min(self.position);
        self.durable = Some(self.durable.map_or(durable, |old| old.max(durable)));
        self.deadline = now + self.patience;
    }

    fn done(&mut self) {
        match self.state {
            State::Ended => {
                self.durable = Some(self.size);
                self.over(SenderAction::Finished);
            }
            State::Over => {}
            _ => self.break_off(Failure::protocol(
                "the receiver says that it has the file, but not all of it was sent",
            )),
        }
    }

    fn refused(&mut self, word: &TransferRefuse) {
        if self.state != State::Over {
            self.actions.clear();
            self.over(SenderAction::Failed(Failure::new(word.code, word.message.clone())));
        }
    }

    /// Takes the bytes that a [`SenderAction::Read`] asked for. No bytes: the file ends there.
    pub fn supply(&mut self, bytes: &[u8], now: Duration) {
        if !std::mem::take(&mut self.reading) {
            return;
        }
        let (wanted, sending) = match self.state {
            State::Checking { held, .. } => (held - self.position, false),
            State::Sending => (self.size - self.position, true),
            _ => return,
        };
        if bytes.is_empty() {
            return self.cancel(Failure::new(
                FileErrorCode::Io,
                format!(
                    "the file became shorter while it was sent: it ends at byte {}, {} were offered; \
                     send it again",
                    self.position, self.size
                ),
            ));
        }
        let bytes = &bytes[..bytes.len().min(usize::try_from(wanted).unwrap_or(usize::MAX))];
        self.hasher.update(bytes);
        self.deadline = now + self.patience;
        if sending {
            for piece in bytes.chunks(CHUNK_BYTES) {
                let mut chunk = Chunk::header(self.transfer, self.position, piece.len());
                chunk.extend_from_slice(piece);
                self.actions.push_back(SenderAction::Chunk(chunk.freeze()));
                self.position += piece.len() as u64;
            }
            self.end_if_all();
        } else {
            self.position += bytes.len() as u64;
            self.checked();
        }
    }

    /// Gives up, for a reason of this end: tells the receiver.
    ///
    /// With [`FileErrorCode::Cancelled`] the receiver also forgets what it holds; with any other
    /// code it keeps it for another try.
    pub fn cancel(&mut self, failure: Failure) {
        if self.state != State::Over {
            self.break_off(failure);
        }
    }

    /// Lets time pass: gives up when the receiver owes something for too long.
    pub fn tick(&mut self, now: Duration) {
        if self.deadline().is_some_and(|deadline| now >= deadline) {
            let waited = self.patience.as_secs();
            self.cancel(Failure::protocol(format_args!(
                "the receiver said nothing for {waited} s; send the file again to resume"
            )));
        }
    }

    /// When [`Sender::tick`] has something to do, while the receiver is waited for.
    pub fn deadline(&self) -> Option<Duration> {
        let waits = match self.state {
            State::Offered | State::Ended => true,
            State::Sending => self.window_is_full(),
            State::Checking { .. } | State::Over => false,
        };
        waits.then_some(self.deadline)
    }

    /// The carrier has taken everything that was handed out: the receiver's time to answer begins
    /// now, however slow the way to it is.
    pub fn carried(&mut self, now: Duration) {
        self.deadline = self.deadline.max(now + self.patience);
    }

    /// Bytes of the file.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Bytes handed out for sending, what the receiver already held included.
    pub fn sent(&self) -> u64 {
        match self.state {
            State::Offered | State::Checking { .. } => 0,
            _ => self.position,
        }
    }

    /// Bytes that the receiver holds safely, as far as it said.
    pub fn durable(&self) -> u64 {
        self.durable.unwrap_or(self.resumed_at)
    }

    /// Bytes that did not have to be sent, because the receiver held them.
    pub fn resumed_at(&self) -> u64 {
        self.resumed_at
    }

    /// Whether the last action is out or waits to be polled.
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// Everything that the receiver holds is hashed: it is the beginning of our file, or it is not.
    fn checked(&mut self) {
        let State::Checking { held, expected } = self.state else { return };
        // A claim that cannot be checked needs no reading.
        let whole = expected.is_none() || self.position == held;
        if !whole {
            return;
        }
        if expected == Some(self.hasher.finalize()) {
            self.resumed_at = held;
        } else {
            self.hasher.reset();
            self.position = 0;
        }
        self.state = State::Sending;
        self.end_if_all();
    }

    fn end_if_all(&mut self) {
        if self.position == self.size {
            self.state = State::Ended;
            let blake3 = self.hasher.finalize().to_hex().to_string();
            self.say(Message::TransferEnd(TransferEnd { transfer: self.transfer, blake3 }));
        }
    }

    /// Too much is sent that the receiver has not made safe. One that never reports its progress is
    /// paced by the carrier alone.
    fn window_is_full(&self) -> bool {
        let window = PAUSE_ABOVE_BUFFERED_BYTES as u64;
        self.durable.is_some_and(|durable| self.position - durable >= window)
    }

    fn read(&mut self) -> Option<SenderAction> {
        let left = match self.state {
            State::Checking { held, .. } => held - self.position,
            State::Sending if !self.window_is_full() => self.size - self.position,
            _ => return None,
        };
        if std::mem::replace(&mut self.reading, true) {
            return None;
        }
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(Self::MAX_READ_BYTES);
        Some(SenderAction::Read { offset: self.position, most })
    }

    fn say(&mut self, message: Message) {
        self.actions.push_back(SenderAction::Say(message));
    }

    fn break_off(&mut self, failure: Failure) {
        self.actions.clear();
        self.say(Message::TransferCancel(TransferCancel {
            transfer: self.transfer,
            code: failure.code,
            message: failure.message.clone(),
        }));
        self.over(SenderAction::Failed(failure));
    }

    fn over(&mut self, last: SenderAction) {
        self.state = State::Over;
        self.actions.push_back(last);
    }
}

/// How long a slow disk may take to read so much.
pub(super) fn reading_time(bytes: u64) -> Duration {
    Duration::from_secs(bytes / SLOWEST_DISK)
}
