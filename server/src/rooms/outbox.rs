//! What waits to be written to one socket.
//!
//! Bounded in bytes and in number, so that a peer that stopped reading costs a megabyte and not
//! the broker. Putting something in never waits; what does not fit is the peer's end. Nothing is
//! allocated before the first message, because most sockets are idle.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Instant,
};

use futures_util::task::AtomicWaker;
use halyard_protocol::{limits::MAX_OUTBOX_BYTES, signal::CloseCode};

use super::Text;

/// Messages that may wait. Short ones cost more than their bytes: each may hold on to the read
/// buffer that it arrived in.
const MAX_MESSAGES: usize = 4096;

/// Of this many messages that are put into one outbox, the first is timed. Reading the clock twice
/// for every one would cost as much as putting it in.
pub const RELAY_SAMPLE: u32 = 64;

/// A message was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// There is no room for it: the peer does not read.
    #[error("the outbox is full")]
    Full,
    /// The socket is being closed.
    #[error("the outbox is closed")]
    Closed,
}

/// Where a room puts what a peer should read.
pub trait Mailbox: Clone {
    /// Puts a message in. `addressed` ones are meant for this peer alone and are worth keeping for
    /// it while it is away; the others describe the room, which a returning peer is told anew.
    fn put(&self, text: Text, addressed: bool) -> Result<(), NotTaken>;

    /// Says goodbye with this code after what is in already; nothing more is taken.
    fn close(&self, code: CloseCode);

    /// Takes out the addressed messages that were not written, oldest first.
    fn unread(&self) -> Vec<Text>;
}

#[derive(Debug)]
struct Letter {
    text: Text,
    addressed: bool,
}

#[derive(Debug, Default)]
struct Inside {
    letters: VecDeque<Letter>,
    bytes: usize,
    closing: Option<CloseCode>,
    /// Messages until the next one that is timed.
    untimed: u32,
    /// Since when the timed one waits.
    timed: Option<Instant>,
}

/// The mailbox of one socket.
#[derive(Debug, Default)]
pub struct Outbox {
    inside: Mutex<Inside>,
    reader: AtomicWaker,
}

/// What the socket's task took out.
#[derive(Debug, Default)]
pub struct Batch {
    letters: VecDeque<Letter>,
    timed: Option<Instant>,
}

impl Batch {
    /// The texts, oldest first.
    pub fn texts(&self) -> impl Iterator<Item = &Text> {
        self.letters.iter().map(|letter| &letter.text)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.letters.len()
    }

    /// Since when the message of it that is timed waited, if one is.
    pub fn timed(&mut self) -> Option<Instant> {
        self.timed.take()
    }

    /// Nothing was waiting.
    pub fn is_empty(&self) -> bool {
        self.letters.is_empty()
    }

    /// Everything was written.
    pub fn clear(&mut self) {
        self.letters.clear();
        // An idle socket should not keep the room that its busiest moment needed.
        if self.letters.capacity() > 16 {
            self.letters = VecDeque::new();
        }
    }
}

impl Outbox {
    fn lock(&self) -> MutexGuard<'_, Inside> {
        // A queue is whole after every line below, so a panic elsewhere does not spoil it.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a message in whether or not there is room: for the broker's own answer to a
    /// registration, whose size has bounds of its own.
    pub fn put_welcome(&self, text: Text) {
        self.lock().letters.push_back(Letter { text, addressed: false });
        self.reader.wake();
    }

    /// Moves everything into an empty batch, and says with which code the socket should close after
    /// it, once it should.
    pub fn take(&self, batch: &mut Batch) -> Option<CloseCode> {
        let mut inside = self.lock();
        inside.bytes = 0;
        std::mem::swap(&mut inside.letters, &mut batch.letters);
        batch.timed = inside.timed.take();
        inside.closing
    }

    /// Puts back what could not be written, before anything else, so that it can be kept for the
    /// peer's return.
    pub fn put_back(&self, batch: &mut Batch) {
        let mut inside = self.lock();
        while let Some(letter) = batch.letters.pop_back() {
            inside.letters.push_front(letter);
        }
    }

    /// Ready when there is something to write or the socket should close. One task may wait.
    pub fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.reader.register(cx.waker());
        let inside = self.lock();
        if inside.letters.is_empty() && inside.closing.is_none() {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }

    /// Ready when the peer was cut off because it does not read, so that waiting for it to read
    /// must end.
    pub fn poll_cut_off(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.reader.register(cx.waker());
        match self.lock().closing {
            Some(CloseCode::SlowConsumer) => Poll::Ready(()),
            _ => Poll::Pending,
        }
    }
}

impl Mailbox for std::sync::Arc<Outbox> {
    fn put(&self, text: Text, addressed: bool) -> Result<(), NotTaken> {
        let mut inside = self.lock();
        if inside.closing.is_some() {
            return Err(NotTaken::Closed);
        }
        let bytes = inside.bytes + text.len();
        if inside.letters.len() >= MAX_MESSAGES || bytes > MAX_OUTBOX_BYTES {
            return Err(NotTaken::Full);
        }
        inside.bytes = bytes;
        inside.letters.push_back(Letter { text, addressed });
        if addressed {
            if inside.untimed == 0 {
                inside.untimed = RELAY_SAMPLE;
                // The longest wait of a batch is the one that counts.
                inside.timed.get_or_insert_with(Instant::now);
            }
            inside.untimed -= 1;
        }
        drop(inside);
        self.reader.wake();
        Ok(())
    }

    fn close(&self, code: CloseCode) {
        let mut inside = self.lock();
        if inside.closing.is_some() {
            return;
        }
        inside.closing = Some(code);
        if code == CloseCode::SlowConsumer {
            // It will not be read, and holding it would be what the bound is there to prevent.
            inside.letters = VecDeque::new();
            inside.bytes = 0;
        }
        drop(inside);
        self.reader.wake();
    }

    fn unread(&self) -> Vec<Text> {
        let mut inside = self.lock();
        inside.bytes = 0;
        let letters = std::mem::take(&mut inside.letters);
        letters.into_iter().filter(|letter| letter.addressed).map(|letter| letter.text).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn it_takes_a_megabyte_and_no_more() {
        let outbox = Arc::new(Outbox::default());
        let text = Text::from("x".repeat(MAX_OUTBOX_BYTES / 4));
        for _ in 0..4 {
            outbox.put(text.clone(), true).expect("fits");
        }
        assert_eq!(outbox.put(Text::from("y"), true), Err(NotTaken::Full));
        let mut batch = Batch::default();
        outbox.take(&mut batch);
        assert_eq!(batch.texts().count(), 4);
        outbox.put(text, true).expect("fits again");
    }

    #[test]
    fn many_short_messages_are_bounded_too() {
        let outbox = Arc::new(Outbox::default());
        for _ in 0..MAX_MESSAGES {
            outbox.put(Text::from("x"), true).expect("fits");
        }
        assert_eq!(outbox.put(Text::from("x"), true), Err(NotTaken::Full));
    }

    #[test]
    fn what_was_not_written_comes_back_in_order_without_what_describes_the_room() {
        let outbox = Arc::new(Outbox::default());
        outbox.put(Text::from("1"), true).expect("fits");
        outbox.put(Text::from("somebody joined"), false).expect("fits");
        outbox.put(Text::from("2"), true).expect("fits");
        let mut batch = Batch::default();
        outbox.take(&mut batch);
        outbox.put(Text::from("3"), true).expect("fits");
        outbox.put_back(&mut batch);
        assert_eq!(outbox.unread(), ["1", "2", "3"].map(Text::from));
    }

    #[test]
    fn a_slow_readers_letters_are_given_up_and_nothing_more_is_taken() {
        let outbox = Arc::new(Outbox::default());
        outbox.put(Text::from("1"), true).expect("fits");
        outbox.close(CloseCode::SlowConsumer);
        outbox.close(CloseCode::Normal);
        assert_eq!(outbox.put(Text::from("2"), true), Err(NotTaken::Closed));
        let mut batch = Batch::default();
        let closing = outbox.take(&mut batch);
        assert_eq!(closing, Some(CloseCode::SlowConsumer), "the first reason stays");
        assert!(batch.is_empty());
        assert!(outbox.unread().is_empty());
    }
}
