//! A file that is read: anywhere on this machine, or inside the shared folder.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use halyard_protocol::{channel::FileErrorCode, transfer::Failure};

use super::{Source, failure::failed};

/// An opened file. Its size and time are those of the moment when it was opened.
#[derive(Debug)]
pub struct LocalFile {
    file: File,
    name: String,
    size: u64,
    modified_ms: Option<u64>,
    /// Where the file's own position stands, to save a call for every read that follows on.
    position: u64,
}

impl LocalFile {
    /// Opens any file of this machine that its owner names. Links are followed. Blocks.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Failure> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let mut options = File::options();
        options.read(true);
        // A pipe that nobody writes to would block here for good.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, super::root::NONBLOCK);
        let file = options.open(path).map_err(|error| failed("read", &name, &error))?;
        Self::from_opened(file, name)
    }

    /// Checks what was opened: it is known by its handle, whatever the path says by now.
    pub(super) fn from_opened(file: File, name: String) -> Result<Self, Failure> {
        let metadata = file.metadata().map_err(|error| failed("read", &name, &error))?;
        if !metadata.is_file() {
            let what = if metadata.is_dir() { "a folder" } else { "no ordinary file" };
            return Err(Failure::new(
                FileErrorCode::WrongKind,
                format!("cannot read {name:?}: it is {what}, and files are sent one by one"),
            ));
        }
        let modified_ms = metadata.modified().ok().map(unix_ms);
        Ok(Self { file, name, size: metadata.len(), modified_ms, position: 0 })
    }
}

impl Source for LocalFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn modified_ms(&self) -> Option<u64> {
        self.modified_ms
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<usize, Failure> {
        let read = read_at(&self.file, &mut self.position, offset, buffer);
        read.map_err(|error| failed("read", &self.name, &error))
    }
}

/// Fills `buffer` as far as the file goes. A position that is wrong after an error is corrected by
/// the next call.
pub(super) fn read_at(
    mut file: &File,
    position: &mut u64,
    offset: u64,
    buffer: &mut [u8],
) -> std::io::Result<usize> {
    if *position != offset {
        *position = u64::MAX;
        file.seek(SeekFrom::Start(offset))?;
        *position = offset;
    }
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => {
                filled += read;
                *position += read as u64;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Milliseconds since 1970; 0 before.
pub(super) fn unix_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
