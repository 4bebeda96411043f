//! What of a folder is sent.

use std::time::UNIX_EPOCH;

use cap_std::fs::{Dir, Metadata};
use halyard_protocol::{
    channel::FileErrorCode,
    limits::{MAX_FOLDER_DEPTH, MAX_FOLDER_ENTRIES},
    transfer::{Failure, RelativeName},
};

use super::super::failure::failed;

/// One file or folder that is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Planned {
    /// Below the folder.
    pub(super) name: RelativeName,
    pub(super) kind: Kind,
    /// Seconds since 1970.
    pub(super) modified: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Folder,
    File { size: u64, executable: bool },
}

/// Something that is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Below the folder, as far as it can be shown.
    pub name: String,
    /// Why, in a few words.
    pub why: &'static str,
}

/// What a folder holds, always in the same order, and what of it cannot be sent. Blocks.
///
/// Links are not followed, for what they lead to may be anything; they, devices, pipes, sockets,
/// unfinished files and names that no other machine takes are left out.
pub(super) fn plan(dir: &Dir, folder: &str) -> Result<(Vec<Planned>, Vec<Skipped>), Failure> {
    let mut planned = Vec::new();
    let mut skipped = Vec::new();
    walk(dir, folder, "", &mut planned, &mut skipped)?;
    Ok((planned, skipped))
}

fn walk(
    dir: &Dir,
    folder: &str,
    above: &str,
    planned: &mut Vec<Planned>,
    skipped: &mut Vec<Skipped>,
) -> Result<(), Failure> {
    let at =
        |name: &str| if above.is_empty() { name.to_owned() } else { format!("{above}/{name}") };
    let too_large = |what: String| {
        Failure::new(
            FileErrorCode::TooLarge,
            format!("cannot send {folder:?}: {what}; send its parts, or an archive of it"),
        )
    };
    let unreadable = |error| failed("read", &format!("{folder}/{above}"), &error);
    let mut names = Vec::new();
    for entry in dir.entries().map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        match entry.file_name().into_string() {
            Ok(name) => names.push(name),
            Err(name) => {
                let name = at(&name.to_string_lossy());
                skipped.push(Skipped { name, why: "its name is not Unicode" });
            }
        }
        if names.len() as u64 > MAX_FOLDER_ENTRIES {
            return Err(too_large(format!("it has more than {MAX_FOLDER_ENTRIES} entries")));
        }
    }
    names.sort_unstable();
    for last in names {
        let name = at(&last);
        let mut skip = |why| skipped.push(Skipped { name: name.clone(), why });
        let metadata = dir
            .symlink_metadata(&last)
            .map_err(|error| failed("read", &format!("{folder}/{name}"), &error))?;
        let kind = if metadata.is_dir() {
            Kind::Folder
        } else if metadata.is_file() {
            Kind::File { size: metadata.len(), executable: is_executable(&metadata) }
        } else if metadata.is_symlink() {
            skip("it is a link");
            continue;
        } else {
            skip("it is neither a file nor a folder");
            continue;
        };
        let checked = match kind {
            Kind::Folder => RelativeName::folder(name.as_str()),
            Kind::File { .. } => RelativeName::new(name.as_str()),
        };
        let Ok(checked) = checked else {
            skip("its name is not accepted, or it is unfinished");
            continue;
        };
        if planned.len() as u64 >= MAX_FOLDER_ENTRIES {
            return Err(too_large(format!("it has more than {MAX_FOLDER_ENTRIES} entries")));
        }
        let modified = modified(&metadata);
        planned.push(Planned { name: checked, kind, modified });
        if kind == Kind::Folder {
            if name.split('/').count() >= MAX_FOLDER_DEPTH {
                return Err(too_large(format!("it is more than {MAX_FOLDER_DEPTH} folders deep")));
            }
            let below = dir
                .open_dir(&last)
                .map_err(|error| failed("read", &format!("{folder}/{name}"), &error))?;
            walk(&below, folder, &name, planned, skipped)?;
        }
    }
    Ok(())
}

/// Whole seconds: a tar keeps no more.
pub(super) fn modified(metadata: &Metadata) -> u64 {
    let since =
        metadata.modified().ok().and_then(|at| at.into_std().duration_since(UNIX_EPOCH).ok());
    since.map_or(0, |since| since.as_secs())
}

#[cfg(unix)]
fn is_executable(metadata: &Metadata) -> bool {
    cap_std::fs::MetadataExt::mode(metadata) & 0o100 != 0
}

#[cfg(not(unix))]
fn is_executable(_: &Metadata) -> bool {
    false
}
