//! A file on its way, as pure logic: bytes, answers and time in, actions out.
//!
//! * [`RelativeName`] is where the file belongs: a checked relative path.
//! * [`Sender`] and [`Receiver`] are the two ends of one transfer in our own words
//!   ([`TransferOffer`](crate::channel::TransferOffer) and the rest). They hash what passes, know
//!   what may follow what, and never touch a file, a socket or a clock: what has to be read,
//!   written or said comes out as a [`SenderAction`] or [`ReceiverAction`].
//! * [`legacy`] is the same for the original's single channel, which has neither answers nor
//!   hashes.
//!
//! The rule that everything else serves: a receiver never calls a file whole unless its BLAKE3 is
//! the sender's.

pub mod legacy;
mod name;
mod receiver;
mod sender;

use std::fmt;

pub use name::{NameError, PART_SUFFIX, RelativeName};
pub use receiver::{Receiver, ReceiverAction};
pub use sender::{Sender, SenderAction};

use crate::channel::FileErrorCode;

/// Why a transfer, or a question about files, came to nothing: a word for programs and words for
/// people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What kind.
    pub code: FileErrorCode,
    /// What was wrong and what to do.
    pub message: String,
}

impl Failure {
    /// A failure with its words.
    pub fn new(code: FileErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// The other side broke the rules.
    pub(crate) fn protocol(message: impl fmt::Display) -> Self {
        Self::new(FileErrorCode::Protocol, message.to_string())
    }
}

/// A name that cannot be used is a failure of its own kind.
impl From<NameError> for Failure {
    fn from(error: NameError) -> Self {
        Self::new(FileErrorCode::BadName, error.to_string())
    }
}
