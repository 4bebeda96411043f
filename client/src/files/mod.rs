//! Files that are served and taken, inside one folder that nothing can leave.
//!
//! * [`FileRoot`] is that folder. Every path is resolved from its opened handle, never from a
//!   string, so neither `..` nor a link made meanwhile leads out of it.
//! * [`Store`], [`Source`] and [`Unfinished`] are what a transfer needs of it, as traits, so that a
//!   disk that fills or breaks can be put in its place.
//! * [`LocalFile`] is a file anywhere on this machine that its owner wants to send.
//! * [`Claims`] lets one transfer at a time write a file; [`Quota`] says how much each peer may leave.
//! * [`FileRoot::remove_abandoned`] removes what was left unfinished for long.
//! * [`FolderSource`] is a folder as one stream; [`unpack`] opens archives.
//!
//! Everything in the traits blocks: call it where blocking is fine.

mod abandoned;
mod claims;
mod delete;
mod failure;
mod find;
mod folder;
mod list;
mod local;
mod part;
mod quota;
mod root;
mod space;
mod staging;
#[cfg(all(test, unix))]
mod tests;
pub mod unpack;

use std::sync::Arc;

pub use abandoned::{Abandoned, Abandonment};
pub use claims::{Claim, Claims, Owner};
pub use folder::{FolderSource, Skipped};
use halyard_protocol::{
    channel::{Entry, FolderOffer},
    transfer::{Failure, RelativeName},
};
pub use local::LocalFile;
pub(crate) use quota::Charge;
pub use quota::Quota;
pub use root::{FileRoot, OpenRootError};
use unpack::{UnpackLimits, Unpacked};

/// A place that files are read from and written to. Blocks.
pub trait Store: Send + Sync + 'static {
    /// One page of a folder: folders first, then by name. Unfinished files, and what cannot be
    /// named on the wire, are left out. An empty `folder` is the top.
    fn list(&self, folder: &str, offset: u64) -> Result<Listing, Failure>;

    /// What one file or folder is.
    fn stat(&self, path: &RelativeName) -> Result<Entry, Failure>;

    /// One page of what is named like this (`models/**/*.ckpt`), by whole paths, sorted.
    fn glob(&self, pattern: &str, offset: u64) -> Result<Listing, Failure>;

    /// Removes a file, an empty folder, or with `recursive` a folder and everything in it. The
    /// place itself cannot be named, so it is never removed. What is being written is busy.
    fn delete(&self, path: &RelativeName, recursive: bool) -> Result<(), Failure>;

    /// Opens a file for reading.
    fn open(&self, name: &RelativeName) -> Result<Box<dyn Source>, Failure>;

    /// Opens a file, or a folder as the tar of what it holds.
    fn open_any(&self, name: &RelativeName) -> Result<Box<dyn Source>, Failure>;

    /// Opens the unfinished file beside `name`, as an earlier try left it or empty, and makes sure
    /// that `size` bytes can fit. Missing folders are made.
    ///
    /// The caller holds the [`Claim`] of this name; a second writer is still refused as busy.
    fn create(&self, name: &RelativeName, size: u64) -> Result<Arc<dyn Unfinished>, Failure>;

    /// The same for a folder, whose tar has `size` bytes. One of that name that is there is refused
    /// as [`Exists`](halyard_protocol::channel::FileErrorCode::Exists), unless `replace` lets the new
    /// one take its place.
    fn create_folder(
        &self,
        name: &RelativeName,
        size: u64,
        replace: bool,
    ) -> Result<Arc<dyn Unfinished>, Failure>;

    /// Makes the folder `into` of an archive; see [`FileRoot::unpack`]. Its caller holds the
    /// [`Claim`] of `into`.
    fn unpack(
        &self,
        archive: &RelativeName,
        into: &RelativeName,
        replace: bool,
        limits: &UnpackLimits,
    ) -> Result<Unpacked, Failure>;

    /// Who writes what.
    fn claims(&self) -> &Claims;

    /// How much each peer may leave here.
    fn quota(&self) -> Quota {
        Quota::default()
    }
}

/// One page of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// What fits in one message, at most
    /// [`MAX_LIST_ENTRIES`](halyard_protocol::limits::MAX_LIST_ENTRIES).
    pub entries: Vec<Entry>,
    /// How many there are in all.
    pub total: u64,
}

/// A file that is read from. Blocks.
pub trait Source: Send + 'static {
    /// Bytes, when it was opened.
    fn size(&self) -> u64;

    /// When it was last changed, in milliseconds since 1970, where known.
    fn modified_ms(&self) -> Option<u64>;

    /// What it is the tar of, if it is one of a folder.
    fn folder(&self) -> Option<FolderOffer> {
        None
    }

    /// Reads at this offset; 0 is the end of the file.
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<usize, Failure>;
}

/// A file that is written to and has no name of its own yet. Blocks.
///
/// One thread writes at a time; [`sync`](Self::sync) may run beside it. Dropped unfinished, it
/// stays for another try, unless it is empty.
pub trait Unfinished: Send + Sync + 'static {
    /// Bytes of an earlier try, when it was opened.
    fn held(&self) -> u64;

    /// Reads at this offset; 0 is the end of the file.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Failure>;

    /// Cuts it to no bytes.
    fn truncate(&self) -> Result<(), Failure>;

    /// Writes all of these bytes.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), Failure>;

    /// Returns once everything written before survives a power cut.
    fn sync(&self) -> Result<(), Failure>;

    /// Makes it safe and gives it its name and its time; an older file of that name is replaced at
    /// once and whole.
    fn finish(&self, modified_ms: Option<u64>) -> Result<(), Failure>;

    /// Removes it.
    fn discard(&self) -> Result<(), Failure>;
}
