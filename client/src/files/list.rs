//! What is in a folder.

use cap_std::fs::{Dir, DirEntry, Metadata};
use halyard_protocol::{
    channel::{Entry, EntryKind, FileErrorCode},
    limits::MAX_LIST_ENTRIES,
    transfer::{Failure, RelativeName},
};

use super::{Listing, failure::failed, local::unix_ms};

/// Names kept in memory while a folder is sorted. At some hundred bytes each this is a few tens of
/// megabytes; folders for people are far smaller.
pub(super) const MAX_FOLDER_ENTRIES: usize = 100_000;

/// Bytes of JSON in one page, so that a hundred long names still fit in one channel message.
const MAX_PAGE_BYTES: usize = 48 * 1024;

/// One page of `folder`, from `offset` on.
pub(super) fn page(root: &Dir, folder: &str, offset: u64) -> Result<Listing, Failure> {
    let opened;
    let dir = if folder.is_empty() {
        root
    } else {
        let name = RelativeName::folder(folder)?;
        let failed = |error| failed("list", folder, &error);
        if !root.metadata(name.as_str()).map_err(failed)?.is_dir() {
            return Err(Failure::new(
                FileErrorCode::WrongKind,
                format!("cannot list {folder:?}: it is no folder; ask for the file itself"),
            ));
        }
        opened = root.open_dir(name.as_str()).map_err(failed)?;
        &opened
    };
    Ok(paged(dir, &sorted(dir, folder)?, offset))
}

/// As many of these, from `offset` on, as fit into one message.
pub(super) fn paged(dir: &Dir, names: &[(EntryKind, String)], offset: u64) -> Listing {
    let total = names.len() as u64;
    let skipped = usize::try_from(offset).unwrap_or(usize::MAX).min(names.len());
    let mut entries: Vec<Entry> = Vec::new();
    let mut bytes = 0;
    for (kind, name) in &names[skipped..] {
        // A file that vanished meanwhile is still named, with zeros.
        let entry = described(*kind, name, dir.metadata(name).ok().as_ref());
        bytes += serde_json::to_string(&entry).map_or(0, |json| json.len() + 1);
        // One at least, or a page could end before it begins.
        if entries.len() == MAX_LIST_ENTRIES || (bytes > MAX_PAGE_BYTES && !entries.is_empty()) {
            break;
        }
        entries.push(entry);
    }
    Listing { entries, total }
}

/// Folders first, then by name: first ignoring case, then exactly, so that the order is total.
fn sorted(dir: &Dir, folder: &str) -> Result<Vec<(EntryKind, String)>, Failure> {
    let failed = |error| failed("list", folder, &error);
    let mut names = Vec::new();
    for entry in dir.entries().map_err(failed)? {
        let Some(found) = listed(dir, &entry.map_err(failed)?) else { continue };
        if names.len() == MAX_FOLDER_ENTRIES {
            return Err(Failure::new(
                FileErrorCode::TooMany,
                format!(
                    "cannot list {folder:?}: it has more than {MAX_FOLDER_ENTRIES} entries; ask for \
                     a file by its name"
                ),
            ));
        }
        names.push(found);
    }
    names.sort_by_cached_key(|(kind, name)| (*kind, name.to_lowercase(), name.clone()));
    Ok(names)
}

/// `None` for what cannot be asked for: names that are no text or not accepted, unfinished files,
/// pipes and devices, and links that are broken or lead out.
pub(super) fn listed(dir: &Dir, entry: &DirEntry) -> Option<(EntryKind, String)> {
    let name = entry.file_name().into_string().ok()?;
    let mut kind = entry.file_type().ok()?;
    if kind.is_symlink() {
        kind = dir.metadata(&name).ok()?.file_type();
    }
    if kind.is_dir() {
        RelativeName::folder(name.as_str()).ok()?;
        Some((EntryKind::Directory, name))
    } else if kind.is_file() {
        RelativeName::new(name.as_str()).ok()?;
        Some((EntryKind::File, name))
    } else {
        None
    }
}

/// With size and time, as far as they are known.
pub(super) fn described(kind: EntryKind, name: &str, metadata: Option<&Metadata>) -> Entry {
    let size = metadata.filter(|_| kind == EntryKind::File).map_or(0, Metadata::len);
    let modified = metadata.and_then(|m| m.modified().ok());
    let modified_ms = modified.map_or(0, |time| unix_ms(time.into_std()));
    Entry { name: name.to_owned(), kind, size, modified_ms }
}
