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
    /// Whether folders are understood: `TRANSFER_OFFER` and `FILE_GET` with `folder`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub folders: bool,
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

/// `FILE_STAT::`: what is this? Answered by `FILE_ENTRIES` with one entry, or by `FILE_ERROR`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStat {
    /// Chosen by the asker.
    pub id: String,
    /// Relative path of a file or folder.
    pub path: String,
}

/// `FILE_GLOB::`: which files and folders are named like this? Answered by `FILE_ENTRIES`, whose
/// names are whole paths then, sorted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileGlob {
    /// Chosen by the asker.
    pub id: String,
    /// `*` and `?` within a part of a path, `**` across parts, `[abc]`, `{a,b}`.
    pub pattern: String,
    /// How many entries to skip.
    #[serde(default)]
    pub offset: u64,
}

/// `FILE_DELETE::`: remove this. Answered by `FILE_DELETED` or `FILE_ERROR`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileDelete {
    /// Chosen by the asker.
    pub id: String,
    /// Relative path of a file or folder; never the shared folder itself.
    pub path: String,
    /// A folder with everything in it; otherwise only an empty one is removed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recursive: bool,
}

/// `FILE_DELETED::`: it is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileDeleted {
    /// The question.
    pub id: String,
    /// What was removed.
    pub path: String,
}

/// `FILE_UNPACK::`: make a folder of this archive (zip, tar or gzipped tar). Answered by
/// `FILE_UNPACKED` when it is whole and in its place, or by `FILE_ERROR` when nothing is left of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileUnpack {
    /// Chosen by the asker.
    pub id: String,
    /// Relative path of the archive, which stays.
    pub path: String,
    /// Relative path of the folder that is made.
    pub into: String,
    /// In the place of a folder of that name; otherwise one that is there is left alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replace: bool,
}

/// `FILE_UNPACKED::`: here is what was in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileUnpacked {
    /// The question.
    pub id: String,
    /// The folder.
    pub into: String,
    /// Files in it.
    pub files: u64,
    /// Bytes of all of them.
    pub bytes: u64,
}

/// `FILE_ENTRIES::`: folders first, then by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntries {
    /// The question.
    pub id: String,
    /// The folder, or what was asked for.
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
    /// The last part of its path; in answer to a `FILE_GLOB` all of it.
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
    /// A folder is welcome, too: as a `TRANSFER_OFFER` with `folder`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub folder: bool,
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
    /// Something of that name is there already, and nobody said that it shall be replaced.
    Exists,
    /// The folder has something in it, and only an empty one was to be removed.
    NotEmpty,
    /// Somebody else is sending the same file right now.
    Busy,
    /// Too many transfers at once.
    TooMany,
    /// The disk is full.
    NoSpace,
    /// This peer may not store so much here.
    Quota,
    /// More entries, folders within folders or bytes than are taken in one piece.
    TooLarge,
    /// It is no archive, it is damaged, or it holds what is not unpacked (links, devices, paths
    /// that lead out).
    BadArchive,
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
    /// The bytes are a tar, and what belongs at the receiver is the folder in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<FolderOffer>,
}

/// In a `TRANSFER_OFFER::`: a whole folder, as a tar that is unpacked as it comes.
///
/// Only plain files and folders, with names below the folder; anything else is refused. The same
/// folder gives the same bytes whenever it is sent, or a transfer of it cannot be resumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderOffer {
    /// Files and folders in it.
    pub entries: u64,
    /// Links, devices and others that the sender left out.
    #[serde(default)]
    pub skipped: u64,
    /// Put it in the place of a folder of that name, at once and whole. Otherwise one that is there
    /// is left alone, and this is refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replace: bool,
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
