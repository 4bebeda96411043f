//! Files on the original's single channel: `FILE_META`, raw bytes, `END_OF_FILE`.
//!
//! There is no answer, no hash and no resume; what can be checked is the size. One file at a time
//! in each direction.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{Failure, NameError, RelativeName};
use crate::channel::{
    FileErrorCode,
    legacy::{KEEP_ALIVE, LegacyMessage},
};

/// File bytes in one binary frame. The original's workers send so many, and every stack takes them.
pub const LEGACY_CHUNK_BYTES: usize = 32 * 1024;

/// What the receiving end of the single channel wants done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LegacyAction {
    /// Open an empty unfinished file for this name, or call [`LegacyReceiver::refuse`].
    Open {
        /// Where it belongs.
        name: RelativeName,
        /// Bytes.
        size: u64,
        /// Whatever stood behind the size.
        hint: Option<String>,
    },
    /// Append these bytes.
    Write(Bytes),
    /// It has the size that was announced: give it its name.
    Finish,
    /// Remove the unfinished file.
    Discard(Failure),
    /// Not about files: somebody else's business.
    Pass(LegacyMessage),
}

/// Everything that comes in on one legacy channel.
#[derive(Debug, Default)]
pub struct LegacyReceiver {
    state: State,
    actions: VecDeque<LegacyAction>,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum State {
    /// No file is announced.
    #[default]
    Idle,
    /// Bytes of this file follow.
    Open { size: u64, position: u64 },
    /// The file was refused; its bytes pass by.
    Skipping,
}

impl LegacyReceiver {
    /// A channel on which nothing was said yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next thing to do. `None` until something else is fed in.
    pub fn poll(&mut self) -> Option<LegacyAction> {
        self.actions.pop_front()
    }

    /// Takes a text frame.
    pub fn text(&mut self, text: &str) {
        match LegacyMessage::decode(text) {
            LegacyMessage::FileMeta { name, size, hint } => self.announced(name, size, hint),
            LegacyMessage::EndOfFile => self.ended(),
            other => self.actions.push_back(LegacyAction::Pass(other)),
        }
    }

    /// Takes a binary frame. [`KEEP_ALIVE`] is dropped, also in the middle of a file.
    pub fn binary(&mut self, bytes: Bytes) {
        if bytes == KEEP_ALIVE || bytes.is_empty() {
            return;
        }
        match &mut self.state {
            State::Skipping => {}
            State::Idle => {
                self.discard(Failure::protocol(
                    "bytes came without a FILE_META::name:size:hint before them",
                ));
            }
            State::Open { size, position } => {
                if bytes.len() as u64 > *size - *position {
                    let size = *size;
                    return self.discard(Failure::protocol(format_args!(
                        "the file was announced with {size} bytes, but more came"
                    )));
                }
                *position += bytes.len() as u64;
                self.actions.push_back(LegacyAction::Write(bytes));
            }
        }
    }

    /// The file that is open is not wanted, or could not be written: its bytes pass by from here,
    /// and [`LegacyAction::Discard`] is next. `false` when no file is open.
    pub fn refuse(&mut self, failure: Failure) -> bool {
        let open = matches!(self.state, State::Open { .. });
        if open {
            self.discard(failure);
        }
        open
    }

    fn announced(&mut self, name: String, size: u64, hint: Option<String>) {
        if matches!(self.state, State::Open { .. }) {
            self.discard(Failure::protocol(
                "another file was announced before END_OF_FILE; the unfinished one is dropped",
            ));
        }
        match RelativeName::new(name) {
            Ok(name) => {
                self.state = State::Open { size, position: 0 };
                self.actions.push_back(LegacyAction::Open { name, size, hint });
            }
            Err(error) => self.discard(error.into()),
        }
    }

    fn ended(&mut self) {
        match std::mem::take(&mut self.state) {
            State::Open { size, position } if position == size => {
                self.actions.push_back(LegacyAction::Finish);
            }
            State::Open { size, position } => {
                self.discard(Failure::new(
                    FileErrorCode::HashMismatch,
                    format!("the file was announced with {size} bytes, but {position} came"),
                ));
                self.state = State::Idle;
            }
            State::Idle | State::Skipping => {}
        }
    }

    /// Waiting writes of the file are dropped with it.
    fn discard(&mut self, failure: Failure) {
        self.actions.retain(|action| matches!(action, LegacyAction::Pass(_)));
        self.actions.push_back(LegacyAction::Discard(failure));
        self.state = State::Skipping;
    }
}

/// The frames around one file on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegacySender {
    meta: LegacyMessage,
}

impl LegacySender {
    /// Announces a file. `hint` stands behind the size: a folder, or `True`/`False` for the GUI.
    ///
    /// The original splits at every `:`, so a name or hint with one cannot be told.
    pub fn new(name: &RelativeName, size: u64, hint: Option<String>) -> Result<Self, NameError> {
        let colon = |text: &str| text.find(':');
        let at = colon(name.as_str()).or_else(|| hint.as_deref().and_then(colon));
        if let Some(at) = at {
            return Err(NameError::BadCharacter { found: ':', at });
        }
        let name = name.as_str().to_owned();
        Ok(Self { meta: LegacyMessage::FileMeta { name, size, hint } })
    }

    /// The text before the bytes.
    pub fn opening(&self) -> String {
        self.meta.encode()
    }

    /// The text behind them.
    pub fn closing(&self) -> String {
        LegacyMessage::EndOfFile.encode()
    }

    /// Cuts bytes of the file into binary frames, none of which reads as [`KEEP_ALIVE`].
    pub fn frames(mut bytes: Bytes) -> Vec<Bytes> {
        let mut frames = Vec::with_capacity(bytes.len().div_ceil(LEGACY_CHUNK_BYTES) + 1);
        while !bytes.is_empty() {
            let frame = bytes.split_to(bytes.len().min(LEGACY_CHUNK_BYTES));
            if frame == KEEP_ALIVE {
                frames.push(frame.slice(..1));
                frames.push(frame.slice(1..));
            } else {
                frames.push(frame);
            }
        }
        frames
    }
}
