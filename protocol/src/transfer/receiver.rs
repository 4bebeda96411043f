//! The receiving end of one transfer.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;

use super::{Failure, sender::reading_time};
use crate::{
    channel::{
        Chunk, FileErrorCode, Message, TransferAccept, TransferCancel, TransferDone, TransferEnd,
        TransferId, TransferOffer, TransferProgress, TransferRefuse,
    },
    limits::{CHUNK_BYTES, DURABLE_EVERY, DURABLE_EVERY_BYTES, TRANSFER_STALL},
};

/// What the receiving end wants done, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum ReceiverAction {
    /// Say this on `control`.
    Say(Message),
    /// Read up to this many bytes of the unfinished file at this offset and hand them to
    /// [`Receiver::supply`]; fewer are fine, none means that it ends there.
    ReadHeld {
        /// Where.
        offset: u64,
        /// How many at most.
        most: usize,
    },
    /// Cut the unfinished file to no bytes.
    Truncate,
    /// Write these bytes of the unfinished file. Offsets follow each other without a gap.
    Write {
        /// Where.
        offset: u64,
        /// What.
        bytes: Bytes,
    },
    /// Make what was written so far safe against a power cut, then call [`Receiver::synced`] with
    /// this number. Writing may go on meanwhile.
    Sync {
        /// Bytes from the start.
        upto: u64,
    },
    /// All bytes are there and are the right ones: make them safe, give the file its time and its
    /// name, then call [`Receiver::finished`].
    Finish,
    /// Remove the unfinished file: nothing of it can be used.
    Discard,
    /// The file is whole and in its place. The last action.
    Finished,
    /// It came to nothing; what had to be said about it came before, and the unfinished file stays
    /// unless [`ReceiverAction::Discard`] came. The last action.
    Failed(Failure),
}

/// One file on its way in.
///
/// Create it once the offer's name is checked and the unfinished file is open; feed it what comes,
/// then take [`Receiver::poll`]'s actions until there are none. Times are since any fixed moment.
#[derive(Debug)]
pub struct Receiver {
    transfer: TransferId,
    size: u64,
    state: State,
    hasher: blake3::Hasher,
    /// Bytes that went into `hasher`: the next chunk belongs here.
    position: u64,
    /// What was held when the file was accepted.
    held: u64,
    /// Whether any byte has come; until then the sender may still start from 0.
    begun: bool,
    end: Option<blake3::Hash>,
    durable: u64,
    /// Up to where a [`ReceiverAction::Sync`] was asked for.
    syncing: u64,
    synced_last: Duration,
    reading: bool,
    patience: Duration,
    deadline: Duration,
    actions: VecDeque<ReceiverAction>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Hashing what is held from an earlier try.
    Hashing,
    /// Accepted.
    Receiving,
    /// [`ReceiverAction::Finish`] is out.
    Finishing,
    /// The last action is out.
    Over,
}

impl Receiver {
    /// The most that one [`ReceiverAction::ReadHeld`] asks for.
    pub const MAX_READ_BYTES: usize = 16 * CHUNK_BYTES;

    /// A receiver for this offer, of which `held` bytes are there from an earlier try.
    pub fn new(offer: &TransferOffer, held: u64, now: Duration) -> Self {
        // More than the file has cannot be its beginning.
        let usable = if held > offer.size { 0 } else { held };
        let mut receiver = Self {
            transfer: offer.transfer,
            size: offer.size,
            state: State::Hashing,
            hasher: blake3::Hasher::new(),
            position: 0,
            held: usable,
            begun: false,
            end: None,
            durable: 0,
            syncing: 0,
            synced_last: now,
            reading: false,
            patience: TRANSFER_STALL,
            deadline: now,
            actions: VecDeque::new(),
        };
        if held > usable {
            receiver.actions.push_back(ReceiverAction::Truncate);
        }
        receiver.accept_if_hashed(now);
        receiver
    }

    /// The next thing to do. `None` until something else is fed in.
    pub fn poll(&mut self) -> Option<ReceiverAction> {
        self.actions.pop_front().or_else(|| self.read())
    }

    /// Takes the bytes that a [`ReceiverAction::ReadHeld`] asked for. No bytes: it ends there.
    pub fn supply(&mut self, bytes: &[u8], now: Duration) {
        if !std::mem::take(&mut self.reading) || self.state != State::Hashing {
            return;
        }
        let wanted = usize::try_from(self.held - self.position).unwrap_or(usize::MAX);
        let bytes = &bytes[..bytes.len().min(wanted)];
        self.hasher.update(bytes);
        self.position += bytes.len() as u64;
        if bytes.is_empty() {
            self.held = self.position;
        }
        self.accept_if_hashed(now);
    }

    /// Takes what the sender says about this transfer. Other messages are not looked at.
    pub fn hear(&mut self, message: &Message, now: Duration) {
        match message {
            Message::TransferEnd(word) => self.ended(word, now),
            Message::TransferCancel(word) => self.cancelled(word),
            _ => {}
        }
    }

    fn ended(&mut self, word: &TransferEnd, now: Duration) {
        // Once the file is on its way to its name, it ended.
        if matches!(self.state, State::Finishing | State::Over) {
            return;
        }
        let Ok(hash) = blake3::Hash::from_hex(&word.blake3) else {
            return self.break_off(Failure::protocol(
                "the end of the file has no BLAKE3 in it: 64 hexadecimal digits are accepted",
            ));
        };
        if self.state == State::Hashing {
            return self.break_off(Failure::protocol("the file ended before it was accepted"));
        }
        if self.end.is_some_and(|earlier| earlier != hash) {
            return self.break_off(Failure::protocol("the file ended twice with different hashes"));
        }
        self.end = Some(hash);
        self.deadline = now + self.patience;
        self.verify_if_all();
    }

    fn cancelled(&mut self, word: &TransferCancel) {
        // Too late once the file is on its way to its name.
        if matches!(self.state, State::Hashing | State::Receiving) {
            self.actions.clear();
            if word.code == FileErrorCode::Cancelled {
                self.actions.push_back(ReceiverAction::Discard);
            }
            self.over(ReceiverAction::Failed(Failure::new(word.code, word.message.clone())));
        }
    }

    /// Takes a chunk of this transfer from `bulk`.
    pub fn chunk(&mut self, chunk: Chunk, now: Duration) {
        match self.state {
            State::Receiving => {}
            State::Over => return,
            State::Hashing => {
                return self
                    .break_off(Failure::protocol("bytes came before the file was accepted"));
            }
            State::Finishing => {
                return self.break_off(Failure::protocol("bytes came after the end of the file"));
            }
        }
        let Chunk { offset, bytes, .. } = chunk;
        if bytes.is_empty() || bytes.len() > CHUNK_BYTES {
            return self.break_off(Failure::protocol(format_args!(
                "a chunk of {} bytes came, 1 to {CHUNK_BYTES} are accepted",
                bytes.len()
            )));
        }
        if !self.begun && offset == 0 && self.position > 0 {
            // What is held is not the beginning of the sender's file.
            self.hasher.reset();
            self.position = 0;
            self.actions.push_back(ReceiverAction::Truncate);
        }
        if offset != self.position {
            return self.break_off(Failure::protocol(format_args!(
                "a chunk for byte {offset} came where byte {} was next",
                self.position
            )));
        }
        if bytes.len() as u64 > self.size - self.position {
            return self.break_off(Failure::protocol(format_args!(
                "the file was offered with {} bytes, but more came",
                self.size
            )));
        }
        if !self.begun {
            self.begun = true;
            self.patience = TRANSFER_STALL;
            self.durable = self.position;
            self.syncing = self.position;
            self.synced_last = now;
            // Tells the sender at once that progress is reported here.
            self.say_progress();
        }
        self.deadline = now + self.patience;
        self.hasher.update(&bytes);
        self.position += bytes.len() as u64;
        self.actions.push_back(ReceiverAction::Write { offset, bytes });
        self.sync_if_due(now);
        self.verify_if_all();
    }

    /// What a [`ReceiverAction::Sync`] asked for is safe.
    pub fn synced(&mut self, upto: u64, now: Duration) {
        if self.state != State::Receiving || upto <= self.durable || upto > self.syncing {
            return;
        }
        self.durable = upto;
        self.synced_last = now;
        self.say_progress();
        self.sync_if_due(now);
    }

    /// What [`ReceiverAction::Finish`] asked for is done.
    pub fn finished(&mut self) {
        if self.state == State::Finishing {
            self.durable = self.size;
            let done = TransferDone { transfer: self.transfer };
            self.actions.push_back(ReceiverAction::Say(Message::TransferDone(done)));
            self.over(ReceiverAction::Finished);
        }
    }

    /// Gives up, for a reason of this end: tells the sender.
    ///
    /// With [`FileErrorCode::Cancelled`] what came so far is removed; with any other code it stays
    /// for another try.
    pub fn refuse(&mut self, failure: Failure) {
        if self.state != State::Over {
            let discard = failure.code == FileErrorCode::Cancelled;
            self.break_off_with(failure, discard);
        }
    }

    /// Lets time pass: reports progress on a slow link, and gives up when the sender owes something
    /// for too long.
    pub fn tick(&mut self, now: Duration) {
        if self.state != State::Receiving {
            return;
        }
        if now >= self.deadline {
            let waited = self.patience.as_secs();
            return self.break_off(Failure::protocol(format_args!(
                "nothing of the file came for {waited} s; send it again to resume"
            )));
        }
        self.sync_if_due(now);
    }

    /// When [`Receiver::tick`] has something to do.
    pub fn deadline(&self) -> Option<Duration> {
        if self.state != State::Receiving {
            return None;
        }
        let due = self.synced_last + DURABLE_EVERY;
        let unsynced = self.position > self.syncing && self.syncing == self.durable;
        Some(if unsynced && self.begun { due.min(self.deadline) } else { self.deadline })
    }

    /// Bytes of the file.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Bytes that are here, safe or not.
    pub fn received(&self) -> u64 {
        self.position
    }

    /// Whether the last action is out or waits to be polled.
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    fn read(&mut self) -> Option<ReceiverAction> {
        if self.state != State::Hashing || std::mem::replace(&mut self.reading, true) {
            return None;
        }
        let left = usize::try_from(self.held - self.position).unwrap_or(usize::MAX);
        let most = left.min(Self::MAX_READ_BYTES);
        Some(ReceiverAction::ReadHeld { offset: self.position, most })
    }

    fn accept_if_hashed(&mut self, now: Duration) {
        if self.position != self.held {
            return;
        }
        self.state = State::Receiving;
        // The sender reads back as much as we hold before it answers.
        self.patience = TRANSFER_STALL + reading_time(self.held);
        self.deadline = now + self.patience;
        self.durable = self.held;
        self.syncing = self.held;
        let prefix = (self.held > 0).then(|| self.hasher.finalize().to_hex().to_string());
        let accept = TransferAccept { transfer: self.transfer, offset: self.held, prefix };
        self.actions.push_back(ReceiverAction::Say(Message::TransferAccept(accept)));
    }

    fn sync_if_due(&mut self, now: Duration) {
        let unsafe_bytes = self.position - self.syncing;
        let one_at_a_time = self.syncing == self.durable;
        let due = unsafe_bytes >= DURABLE_EVERY_BYTES
            || (unsafe_bytes > 0 && now >= self.synced_last + DURABLE_EVERY);
        // The end makes everything safe by itself.
        if self.begun && one_at_a_time && due && self.position < self.size {
            self.syncing = self.position;
            self.actions.push_back(ReceiverAction::Sync { upto: self.position });
        }
    }

    fn verify_if_all(&mut self) {
        let Some(expected) = self.end else { return };
        if self.position != self.size {
            return;
        }
        if self.hasher.finalize() == expected {
            self.state = State::Finishing;
            self.actions.push_back(ReceiverAction::Finish);
        } else if self.begun || self.held == 0 {
            self.break_off_with(
                Failure::new(
                    FileErrorCode::HashMismatch,
                    "the bytes that arrived are not the bytes that were sent (their BLAKE3 \
                     differs); send the file again",
                ),
                true,
            );
        }
        // Otherwise all bytes were held but are not the sender's: its chunks from byte 0 on are
        // still on their way on the other lane.
    }

    fn say_progress(&mut self) {
        let progress = TransferProgress { transfer: self.transfer, durable: self.durable };
        self.actions.push_back(ReceiverAction::Say(Message::TransferProgress(progress)));
    }

    fn break_off(&mut self, failure: Failure) {
        self.break_off_with(failure, false);
    }

    /// Writes that were not taken yet are dropped: what is on the disk stays a beginning of the
    /// file without a gap.
    fn break_off_with(&mut self, failure: Failure, discard: bool) {
        self.actions.clear();
        if discard {
            self.actions.push_back(ReceiverAction::Discard);
        }
        let refuse = TransferRefuse {
            transfer: self.transfer,
            code: failure.code,
            message: failure.message.clone(),
        };
        self.actions.push_back(ReceiverAction::Say(Message::TransferRefuse(refuse)));
        self.over(ReceiverAction::Failed(failure));
    }

    fn over(&mut self, last: ReceiverAction) {
        self.state = State::Over;
        self.actions.push_back(last);
    }
}
