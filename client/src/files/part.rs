//! An unfinished file, beside the place where it belongs.

use std::{
    fs::{File, TryLockError},
    io::{self, Seek, SeekFrom, Write},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, UNIX_EPOCH},
};

use cap_std::fs::{Dir, OpenOptions};
use halyard_protocol::{
    channel::FileErrorCode,
    transfer::{Failure, RelativeName},
};

use super::{
    Unfinished,
    failure::failed,
    local::read_at,
    space::{Promise, Space},
};

/// `name.part`, opened and locked.
///
/// The lock is the operating system's: another program that shares the same folder sees it, and it
/// is gone when this one is killed.
#[derive(Debug)]
pub(super) struct PartFile {
    /// The folder that both names are in, whatever happens to its own name meanwhile.
    folder: Dir,
    /// Last part of the path of the unfinished and of the finished file.
    part: String,
    target: String,
    /// The whole name, for people.
    name: String,
    file: File,
    /// Where the file's own position stands; writing and reading share it.
    position: Mutex<u64>,
    held: u64,
    /// Bytes that are still to come have room.
    promise: Promise,
    /// Renamed or removed: nothing is left to clean up.
    closed: AtomicBool,
}

impl PartFile {
    pub(super) fn open(
        root: &Dir,
        name: &RelativeName,
        size: u64,
        space: &Space,
    ) -> Result<Self, Failure> {
        let failed = |error| failed("write", name.as_str(), &error);
        let folder = match name.parent() {
            Some(parent) => open_or_create(root, parent),
            None => root.try_clone(),
        }
        .map_err(failed)?;
        if folder.symlink_metadata(name.file_name()).is_ok_and(|found| found.is_dir()) {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        let part = name.part();
        let part = part.rsplit_once('/').map_or(&*part, |(_, last)| last).to_owned();
        let file = open_locked(&folder, &part, name.as_str())?;
        let held = file.metadata().map_err(failed)?.len();
        // What is held may turn out to be of another file, but then it makes room for this one.
        let promise = space
            .promise(&file, size.saturating_sub(held), name.as_str())
            .inspect_err(|_| remove_if_empty(&folder, &part, &file))?;
        Ok(Self {
            folder,
            part,
            target: name.file_name().to_owned(),
            name: name.as_str().to_owned(),
            file,
            position: Mutex::new(u64::MAX),
            held,
            promise,
            closed: AtomicBool::new(false),
        })
    }

    fn failed(&self, error: &io::Error) -> Failure {
        failed("write", &self.name, error)
    }

    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut position = self.position.lock().unwrap_or_else(PoisonError::into_inner);
        let mut file = &self.file;
        if *position != offset {
            file.seek(SeekFrom::Start(offset))?;
        }
        *position = u64::MAX;
        file.write_all(bytes)?;
        *position = offset + bytes.len() as u64;
        self.promise.written(bytes.len() as u64);
        Ok(())
    }

    fn rename(&self, modified_ms: Option<u64>) -> io::Result<()> {
        if let Some(ms) = modified_ms
            && let Some(time) = UNIX_EPOCH.checked_add(Duration::from_millis(ms))
        {
            // Nobody loses a file because its time does not fit this file system.
            let _ = self.file.set_modified(time);
        }
        self.file.sync_all()?;
        self.folder.rename(&self.part, &self.folder, &self.target)?;
        self.closed.store(true, Ordering::Release);
        // The new name survives a power cut only once the folder is safe as well; not every file
        // system can be asked for that.
        if let Ok(folder) = self.folder.try_clone() {
            let _ = folder.into_std_file().sync_all();
        }
        Ok(())
    }
}

impl Unfinished for PartFile {
    fn held(&self) -> u64 {
        self.held
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Failure> {
        let mut position = self.position.lock().unwrap_or_else(PoisonError::into_inner);
        read_at(&self.file, &mut position, offset, buffer).map_err(|error| self.failed(&error))
    }

    fn truncate(&self) -> Result<(), Failure> {
        self.file.set_len(0).map_err(|error| self.failed(&error))
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), Failure> {
        self.write_all_at(offset, bytes).map_err(|error| self.failed(&error))
    }

    fn sync(&self) -> Result<(), Failure> {
        self.file.sync_data().map_err(|error| self.failed(&error))
    }

    fn finish(&self, modified_ms: Option<u64>) -> Result<(), Failure> {
        self.rename(modified_ms).map_err(|error| self.failed(&error))
    }

    fn discard(&self) -> Result<(), Failure> {
        self.folder.remove_file(&self.part).map_err(|error| self.failed(&error))?;
        self.closed.store(true, Ordering::Release);
        Ok(())
    }
}

/// An empty file is no use to anybody.
impl Drop for PartFile {
    fn drop(&mut self) {
        if !self.closed.load(Ordering::Acquire) {
            remove_if_empty(&self.folder, &self.part, &self.file);
        }
    }
}

fn remove_if_empty(folder: &Dir, part: &str, file: &File) {
    if file.metadata().is_ok_and(|metadata| metadata.len() == 0) {
        let _ = folder.remove_file(part);
    }
}

/// Opened first, because making a folder in the place of a link says only that something is there.
pub(super) fn open_or_create(root: &Dir, folder: &str) -> io::Result<Dir> {
    match root.open_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            root.create_dir_all(folder)?;
            root.open_dir(folder)
        }
        opened => opened,
    }
}

pub(super) fn open_locked(folder: &Dir, part: &str, name: &str) -> Result<File, Failure> {
    let failed = |error| failed("write", name, &error);
    if folder.symlink_metadata(part).is_ok_and(|found| !found.is_file()) {
        return Err(failed(io::ErrorKind::AlreadyExists.into()));
    }
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true);
    #[cfg(unix)]
    cap_std::fs::OpenOptionsExt::custom_flags(&mut options, super::root::NONBLOCK);
    lock(folder, part, folder.open_with(part, &options).map_err(failed)?.into_std(), name)
}

/// Locks an opened file, if it still has its name and nobody writes it.
pub(super) fn lock(folder: &Dir, part: &str, file: File, name: &str) -> Result<File, Failure> {
    match file.try_lock() {
        Ok(()) if still_there(folder, part, &file) => Ok(file),
        // Renamed between opening and locking: its writer has just finished it.
        Ok(()) | Err(TryLockError::WouldBlock) => Err(Failure::new(
            FileErrorCode::Busy,
            format!("{name:?} is being written by another program: try again when it is done"),
        )),
        // Some network file systems have no locks; the claim still keeps our own writers apart.
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => Ok(file),
        Err(TryLockError::Error(error)) => Err(failed("write", name, &error)),
    }
}

#[cfg(unix)]
fn still_there(folder: &Dir, part: &str, file: &File) -> bool {
    use std::os::unix::fs::MetadataExt;

    let Ok(opened) = file.metadata() else { return false };
    folder.symlink_metadata(part).is_ok_and(|named| {
        let (dev, ino) =
            (cap_std::fs::MetadataExt::dev(&named), cap_std::fs::MetadataExt::ino(&named));
        (dev, ino) == (opened.dev(), opened.ino())
    })
}

/// Elsewhere an open file cannot be renamed.
#[cfg(not(unix))]
fn still_there(_: &Dir, _: &str, _: &File) -> bool {
    true
}
