//! What is said about files. Control messages go on `control`, bytes on `bulk`.
//!
//! One transfer: the sender offers, the receiver accepts from an offset, chunks follow on `bulk`,
//! the sender ends with the hash of the whole file, the receiver verifies, renames and says done.
//! Either side may be the worker. `TRANSFER_OFFER`, `TRANSFER_END` and `TRANSFER_CANCEL` are the
//! sender's words; `TRANSFER_ACCEPT`, `TRANSFER_PROGRESS`, `TRANSFER_DONE` and `TRANSFER_REFUSE`
//! the receiver's: so an id never needs a direction beside it.

use serde::{Deserialize, Serialize};

/// Chosen by the sender of the file, unique among its transfers on this connection.
pub type TransferId = u32;

/// In `HELLO::`: whether files are served and taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilesInfo {
    /// The listener may list and fetch.
    pub readable: bool,
    /// The listener may send.
    pub writable: bool,
    /// Why not, and how to allow it, where one of them is false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// `FILE_LIST::`: what is in this folder?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileList {
    /// Chosen by the asker.
    pub id: String,
    /// Relative, `/` between folders; empty for the top.
    #[serde(default)]
    pub path: String,
    /// How many entries to skip.
    #[serde(default)]
    pub offset: u64,
}

/// `FILE_ENTRIES::`: folders first, then by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntries {
    /// The question.
    pub id: String,
    /// The folder.
    pub path: String,
    /// At most [`MAX_LIST_ENTRIES`](crate::limits::MAX_LIST_ENTRIES).
    pub entries: Vec<Entry>,
    /// How many there are in all.
    pub total: u64,
    /// Whether more follow after these.
    pub more: bool,
}

/// One file or folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The last part of its path.
    pub name: String,
    /// What it is.
    pub kind: EntryKind,
    /// Bytes; 0 for folders.
    pub size: u64,
    /// Milliseconds since 1970.
    pub modified_ms: u64,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntryKind {
    /// A folder.
    Directory,
    /// A file.
    File,
}

/// `FILE_GET::`: please offer me this file. Answered by `TRANSFER_OFFER` with the same `request`,
/// or by `FILE_ERROR`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileGet {
    /// Chosen by the asker.
    pub id: String,
    /// Relative path.
    pub path: String,
}

/// `FILE_ERROR::`: a question about files was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileError {
    /// The question.
    pub id: String,
    /// What kind.
    pub code: FileErrorCode,
    /// For people: what was wrong and what to do.
    pub message: String,
}

/// Why a question about files or a transfer was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileErrorCode {
    /// This end serves and takes no files.
    Disabled,
    /// The peer's rights do not cover it.
    Forbidden,
    /// The name leaves the folder, or cannot be a file name.
    BadName,
    /// There is no such file.
    NotFound,
    /// A folder where a file is needed, or the other way round, or something that is neither.
    WrongKind,
    /// Somebody else is sending the same file right now.
    Busy,
    /// Too many transfers at once.
    TooMany,
    /// The disk is full.
    NoSpace,
    /// The bytes that arrived are not the bytes that were sent.
    HashMismatch,
    /// The other side broke the rules of a transfer.
    Protocol,
    /// Reading or writing failed.
    Io,
    /// Called off.
    Cancelled,
    /// A word that this version does not know.
    #[serde(other)]
    Other,
}

/// `TRANSFER_OFFER::`: I have a file for you.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferOffer {
    /// This transfer.
    pub transfer: TransferId,
    /// Relative path at the receiver, `/` between folders.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// When it was last changed, in milliseconds since 1970; the receiver keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified_ms: Option<u64>,
    /// The `FILE_GET` it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
}

/// `TRANSFER_ACCEPT::`: send it, from here on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferAccept {
    /// Which.
    pub transfer: TransferId,
    /// How much the receiver already holds from an earlier try.
    pub offset: u64,
    /// BLAKE3 of those bytes in hexadecimal. If the file begins differently, the sender starts at 0
    /// instead, and the receiver drops what it held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
}

/// `TRANSFER_PROGRESS::`: this much is safe on the receiver's disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferProgress {
    /// Which.
    pub transfer: TransferId,
    /// Bytes from the start of the file.
    pub durable: u64,
}

/// `TRANSFER_END::`: that was all of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferEnd {
    /// Which.
    pub transfer: TransferId,
    /// BLAKE3 of the whole file in hexadecimal.
    pub blake3: String,
}

/// `TRANSFER_DONE::`: verified, renamed, yours to forget.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferDone {
    /// Which.
    pub transfer: TransferId,
}

/// `TRANSFER_REFUSE::`: the receiver does not want it, or no longer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferRefuse {
    /// Which.
    pub transfer: TransferId,
    /// What kind.
    pub code: FileErrorCode,
    /// For people.
    pub message: String,
}

/// `TRANSFER_CANCEL::`: the sender stops.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferCancel {
    /// Which.
    pub transfer: TransferId,
    /// What kind.
    pub code: FileErrorCode,
    /// For people.
    pub message: String,
}
