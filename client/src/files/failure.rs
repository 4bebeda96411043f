//! What the operating system says, in words that help.

use std::io;

use halyard_protocol::{channel::FileErrorCode, transfer::Failure};

/// Says what failed (`read`, `write`, `list`), on which file, and what can be done about it.
pub(super) fn failed(to: &str, name: &str, error: &io::Error) -> Failure {
    use io::ErrorKind as Kind;

    let (code, words) = match error.kind() {
        // The confined folder's own refusal comes without a number of the system.
        Kind::PermissionDenied if error.raw_os_error().is_none() => {
            (FileErrorCode::BadName, "it leads out of the shared folder".to_owned())
        }
        Kind::PermissionDenied => (
            FileErrorCode::Io,
            "the program on that machine has no permission: change its owner or mode there"
                .to_owned(),
        ),
        Kind::NotFound => (FileErrorCode::NotFound, "it does not exist".to_owned()),
        Kind::StorageFull | Kind::QuotaExceeded => (
            FileErrorCode::NoSpace,
            "the disk is full: make room there and send it again, it goes on where it stopped"
                .to_owned(),
        ),
        Kind::FileTooLarge => {
            (FileErrorCode::NoSpace, "that file system takes no files of this size".to_owned())
        }
        Kind::IsADirectory => (FileErrorCode::WrongKind, "it is a folder, not a file".to_owned()),
        Kind::NotADirectory => {
            (FileErrorCode::WrongKind, "a part of its path is a file, not a folder".to_owned())
        }
        Kind::ReadOnlyFilesystem => (FileErrorCode::Io, "that file system is read-only".to_owned()),
        Kind::InvalidFilename => {
            (FileErrorCode::BadName, "that file system takes no such name".to_owned())
        }
        Kind::AlreadyExists => {
            (FileErrorCode::WrongKind, "something else of that name is in the way".to_owned())
        }
        _ => (FileErrorCode::Io, error.to_string()),
    };
    let name = if name.is_empty() { "the shared folder" } else { name };
    Failure::new(code, format!("cannot {to} {name:?}: {words}"))
}
