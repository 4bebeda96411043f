//! The original's vocabulary, on one reliable channel of any label.
//!
//! Text frames are `NAME::arg::arg` without escaping; binary frames are raw bytes of the one file
//! in progress, except the exact ten bytes [`KEEP_ALIVE`], which both ends send every 15 s, also
//! between chunks.

/// Sent as a binary frame every 15 s, also in the middle of a file. Never part of one.
pub const KEEP_ALIVE: &[u8] = b"KEEP_ALIVE";

/// The file messages that existing clients and workers exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LegacyMessage {
    /// `FILE_META::name:size:hint`: bytes of this file follow. The hint is `True`/`False` or a
    /// folder; the oldest clients leave it out. A `:` in the name breaks it for old receivers.
    FileMeta {
        /// The file's name.
        name: String,
        /// Bytes.
        size: u64,
        /// Whatever stands behind the size.
        hint: Option<String>,
    },
    /// `END_OF_FILE`: that was all of it.
    EndOfFile,
    /// `PACKAGE_TYPE::train|track`: what the next file is for.
    PackageType(String),
    /// `OUTPUT_DIR::name`: where its results belong.
    OutputDir(String),
    /// Anything else.
    Other(String),
}

impl LegacyMessage {
    /// The text frame.
    pub fn encode(&self) -> String {
        match self {
            Self::FileMeta { name, size, hint: Some(hint) } => {
                format!("FILE_META::{name}:{size}:{hint}")
            }
            Self::FileMeta { name, size, hint: None } => format!("FILE_META::{name}:{size}"),
            Self::EndOfFile => "END_OF_FILE".to_owned(),
            Self::PackageType(kind) => format!("PACKAGE_TYPE::{kind}"),
            Self::OutputDir(name) => format!("OUTPUT_DIR::{name}"),
            Self::Other(text) => text.clone(),
        }
    }

    /// Reads a text frame. What does not fit is [`Other`](Self::Other), as the original treated it.
    pub fn decode(text: &str) -> Self {
        if text == "END_OF_FILE" {
            return Self::EndOfFile;
        }
        match text.split_once("::") {
            Some(("PACKAGE_TYPE", kind)) => Self::PackageType(kind.to_owned()),
            Some(("OUTPUT_DIR", name)) => Self::OutputDir(name.to_owned()),
            Some(("FILE_META", meta)) => {
                file_meta(meta).unwrap_or_else(|| Self::Other(text.to_owned()))
            }
            _ => Self::Other(text.to_owned()),
        }
    }
}

/// `name:size:hint` or `name:size`, read from the right, so that a `:` in the name survives.
fn file_meta(meta: &str) -> Option<LegacyMessage> {
    let (rest, last) = meta.rsplit_once(':')?;
    if let Some((name, size)) = rest.rsplit_once(':')
        && let Ok(size) = size.parse()
        && !name.is_empty()
    {
        return Some(LegacyMessage::FileMeta {
            name: name.to_owned(),
            size,
            hint: Some(last.to_owned()),
        });
    }
    let size = last.parse().ok()?;
    (!rest.is_empty()).then(|| LegacyMessage::FileMeta { name: rest.to_owned(), size, hint: None })
}
