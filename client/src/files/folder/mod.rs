//! A folder as one stream: a tar that is never staged on a disk, neither here nor there.
//!
//! [`FolderSource`] is the tar of a folder, computed as it is read; the same folder always gives the
//! same bytes, so it can be read at any offset and a transfer of it goes on where it stopped, also in
//! the middle of a file. [`UnfinishedFolder`] takes such a tar, in order, and unpacks it as it comes;
//! beside the files it keeps the headers, from which it tells, after a restart, how far it came, and
//! reads back the stream that it took. So to a transfer a folder is a file like any other: hashed,
//! compared and resumed byte by byte.
//!
//! ```text
//! .NAME.part/tree/…    what came, as it will be        -> NAME
//! .NAME.part/notes     the headers, as they came; locked while somebody fills it
//! ```

mod plan;
mod source;
#[cfg(test)]
mod tests;
mod unfinished;

pub use plan::Skipped;
pub use source::FolderSource;
pub(super) use unfinished::UnfinishedFolder;

use super::unpack::tar::{BLOCK, padding};
