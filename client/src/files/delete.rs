//! Removing a file or a folder.

use std::io;

use cap_std::fs::Dir;
use halyard_protocol::{
    channel::FileErrorCode,
    transfer::{Failure, RelativeName},
};

use super::failure::failed;

/// Removes what `path` names, through the opened folder that it is in: a link is removed and never
/// what it leads to, whatever takes the place of what meanwhile.
pub(super) fn delete(root: &Dir, path: &RelativeName, recursive: bool) -> Result<(), Failure> {
    let failed = |error: io::Error| {
        if error.kind() == io::ErrorKind::DirectoryNotEmpty {
            return Failure::new(
                FileErrorCode::NotEmpty,
                format!(
                    "cannot delete {:?}: the folder is not empty, and it was not said that \
                     everything in it shall go, too",
                    path.as_str()
                ),
            );
        }
        failed("delete", path.as_str(), &error)
    };
    let opened;
    let folder = match path.parent() {
        Some(parent) => {
            opened = root.open_dir(parent).map_err(failed)?;
            &opened
        }
        None => root,
    };
    let name = path.file_name();
    let is_folder = folder.symlink_metadata(name).map_err(failed)?.is_dir();
    let removed = match (is_folder, recursive) {
        (false, _) => folder.remove_file(name),
        (true, false) => folder.remove_dir(name),
        (true, true) => folder.remove_dir_all(name),
    };
    removed.map_err(failed)
}
