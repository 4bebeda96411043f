//! Folders that come in one piece: archives on the disk, and tars from the wire.
//!
//! [`FileRoot::unpack`](super::FileRoot::unpack) and [`unpack`] take a zip, a tar or a gzipped tar,
//! told by its content. Everything is written into a hidden folder beside the place where it
//! belongs, through an opened handle that nothing leaves, and gets its name when it is whole: so
//! what is refused in the middle leaves nothing behind.
//!
//! Refused with words, and never followed or guessed: names that lead out (`../`, absolute, a drive
//! letter), links of either kind, devices, pipes, sparse files, files protected by a password, two
//! entries of one name, two that differ in case alone, an archive that is none or is damaged. A bomb
//! is refused while it comes: [`UnpackLimits`] bounds the number of entries, how deep they lie, and
//! the bytes in all, which may be no more than a multiple of the archive's own.
//!
//! What is kept of an entry: its name, its bytes, when it was changed, and whether its owner may
//! execute it. Owners, other rights and extended attributes are dropped.

mod archive;
pub(crate) mod tar;
mod tree;

use std::{fmt, fs::File};

use cap_std::fs::Dir;
use halyard_protocol::{
    channel::FileErrorCode,
    transfer::{Failure, NameError, RelativeName},
};

pub(crate) use tree::Tree;

use super::{
    space::Space,
    staging::{Place, Staging},
};

/// Bytes that are read and written at a time.
const COPY_BYTES: usize = 256 * 1024;

/// How much is taken in one piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnpackLimits {
    /// Files and folders in all; each costs memory, and a block of the disk that its bytes do not
    /// show.
    pub entries: u64,
    /// Bytes of their paths in all, which are kept in memory until the last one has come.
    pub names: u64,
    /// Folders within folders.
    pub depth: usize,
    /// Bytes of all files.
    pub bytes: u64,
    /// A compressed archive may become this many times larger ...
    pub ratio: u64,
    /// ... or become so many bytes, whatever its own size.
    pub free_of_ratio: u64,
}

impl Default for UnpackLimits {
    /// 100,000 entries with paths of 320 bytes each, 32 deep, and 64 GiB; 100 times the archive, or 64 MiB. Data sets of pictures
    /// hardly shrink, texts and sparse arrays shrink to a tenth or a thirtieth; a bomb to a
    /// thousandth.
    fn default() -> Self {
        Self {
            entries: 100_000,
            names: 32_000_000,
            depth: 32,
            bytes: 64 << 30,
            ratio: 100,
            free_of_ratio: 64 << 20,
        }
    }
}

/// What came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Unpacked {
    /// Files.
    pub files: u64,
    /// Folders, those that no entry names included.
    pub folders: u64,
    /// Bytes of all files.
    pub bytes: u64,
}

/// Unpacks an opened archive into the new folder `name` of `parent`. Blocks.
///
/// `archive_name` is for people. Where `name` is a folder already, it is left alone and nothing is
/// unpacked, unless `replace` puts the new one in its place at once and whole.
pub fn unpack(
    archive: File,
    archive_name: &str,
    parent: &Dir,
    name: &RelativeName,
    replace: bool,
    limits: &UnpackLimits,
) -> Result<Unpacked, Failure> {
    unpack_in(archive, archive_name, parent, name, replace, limits, &Space::default())
}

/// The same on a disk that others are promised room on.
pub(super) fn unpack_in(
    archive: File,
    archive_name: &str,
    parent: &Dir,
    name: &RelativeName,
    replace: bool,
    limits: &UnpackLimits,
    space: &Space,
) -> Result<Unpacked, Failure> {
    let place = Place::open(parent, name, replace)?;
    let staging = Staging::anew(place)?;
    let told = |failure: Failure| {
        let Failure { code, message } = failure;
        Failure::new(code, format!("cannot unpack {archive_name:?}: {message}"))
    };
    let unpacked = archive::unpack(archive, staging.tree(), limits, space).map_err(told)?;
    staging.commit(replace)?;
    Ok(unpacked)
}

/// What is known of a file before its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileEntry {
    pub(crate) size: u64,
    pub(crate) executable: bool,
    pub(crate) modified_ms: Option<u64>,
}

/// Where entries go. Between `file` and `close` come its bytes.
pub(crate) trait Sink {
    /// A folder; it may have been named before.
    fn folder(&mut self, name: &RelativeName) -> Result<(), Failure>;

    /// A file begins.
    fn file(&mut self, name: &RelativeName, file: FileEntry) -> Result<(), Failure>;

    /// The next bytes of it.
    fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure>;

    /// It has all of its bytes.
    fn close(&mut self) -> Result<(), Failure>;

    /// Bytes that are no file's: headers, as they came.
    fn meta(&mut self, _bytes: &[u8]) -> Result<(), Failure> {
        Ok(())
    }
}

fn refused(message: impl Into<String>) -> Failure {
    Failure::new(FileErrorCode::BadArchive, message)
}

fn bad_name(name: &str, error: &NameError) -> Failure {
    refused(format!("its entry {name:?}: {error}"))
}

/// As archives write names: `./a/` is the folder `a`.
fn entry_name(name: &str) -> &str {
    let mut short = name;
    while let Some(rest) = short.strip_prefix("./") {
        short = rest;
    }
    short.strip_suffix('/').unwrap_or(short)
}

/// How much may still come, and who says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound {
    Bytes(u64),
    Ratio { bytes: u64, archive: u64 },
}

impl Bound {
    fn of(limits: &UnpackLimits, archive: Option<u64>) -> Self {
        if let Some(archive) = archive {
            let bytes = archive.saturating_mul(limits.ratio).max(limits.free_of_ratio);
            if bytes < limits.bytes {
                return Self::Ratio { bytes, archive };
            }
        }
        Self::Bytes(limits.bytes)
    }

    fn bytes(self) -> u64 {
        let (Self::Bytes(bytes) | Self::Ratio { bytes, .. }) = self;
        bytes
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => {
                write!(f, "it holds more than {bytes} bytes, which are the most that are taken")
            }
            Self::Ratio { bytes, archive } => write!(
                f,
                "its {archive} bytes become more than {bytes}: that is no archive of real files; \
                 unpack it yourself and send the folder"
            ),
        }
    }
}

#[cfg(test)]
mod tests;
