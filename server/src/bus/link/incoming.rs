//! The receiver's end of a link.

use bytes::{Bytes, BytesMut};

use super::MAX_MESSAGE_BYTES;

/// What came of a piece.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::bus) enum Taken {
    /// A message is whole.
    Message(Bytes),
    /// Nothing yet, or it was here before; say where this end stands.
    Nothing,
    /// It belongs to an epoch whose beginning was not heard here: the sender must start again.
    Unknown,
    /// It belongs to an epoch that is over.
    Old,
}

/// What has arrived of the other end's messages.
#[derive(Debug, Default)]
pub(in crate::bus) struct Incoming {
    /// Epochs count up from 1.
    epoch: u64,
    next: u64,
    part: BytesMut,
}

impl Incoming {
    /// Where this end stands: the epoch, and the number it waits for.
    pub(in crate::bus) fn position(&self) -> (u64, u64) {
        (self.epoch, self.next)
    }

    pub(in crate::bus) fn take(
        &mut self,
        epoch: u64,
        number: u64,
        last: bool,
        piece: &Bytes,
    ) -> Taken {
        if epoch < self.epoch {
            return Taken::Old;
        }
        if epoch > self.epoch {
            if number != 1 {
                return Taken::Unknown;
            }
            *self = Self { epoch, next: 1, part: BytesMut::new() };
        }
        if number != self.next {
            return Taken::Nothing;
        }
        self.next += 1;
        if last && self.part.is_empty() {
            return Taken::Message(piece.clone());
        }
        if self.part.len() + piece.len() > MAX_MESSAGE_BYTES {
            // No node of ours sends this.
            self.part = BytesMut::new();
            return Taken::Nothing;
        }
        self.part.extend_from_slice(piece);
        if last { Taken::Message(std::mem::take(&mut self.part).freeze()) } else { Taken::Nothing }
    }
}
