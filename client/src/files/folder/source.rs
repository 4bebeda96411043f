//! The tar of a folder, computed as it is read.

use std::{fs::File, path::Path};

use ::tar::{EntryType, Header};
use cap_std::{
    ambient_authority,
    fs::{Dir, OpenOptions},
};
use halyard_protocol::{
    channel::{FileErrorCode, FolderOffer},
    transfer::Failure,
};

use super::{
    super::{Source, failure::failed, local::read_at},
    BLOCK, Skipped, padding,
    plan::{Kind, Planned, modified, plan},
};

/// The mark at the end of a tar: two blocks of zeros.
const END: u64 = 2 * BLOCK as u64;

/// A folder that is sent. What it holds is settled when it is opened; a file that changes until its
/// turn comes fails the transfer, because what was announced can no longer be sent.
#[derive(Debug)]
pub struct FolderSource {
    dir: Dir,
    folder: String,
    entries: Vec<Placed>,
    size: u64,
    skipped: Vec<Skipped>,
    replace: bool,
    open: Option<Open>,
}

#[derive(Debug)]
struct Placed {
    planned: Planned,
    /// Where its header begins in the tar.
    start: u64,
    /// Where its bytes begin.
    body: u64,
}

#[derive(Debug)]
struct Open {
    index: usize,
    file: File,
    position: u64,
}

impl FolderSource {
    /// Opens any folder of this machine that its owner names. Blocks.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Failure> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let dir = Dir::open_ambient_dir(path, ambient_authority())
            .map_err(|error| failed("read", &name, &error))?;
        Self::from_opened(dir, name)
    }

    /// Looks at everything in an opened folder. Blocks.
    pub(in crate::files) fn from_opened(dir: Dir, folder: String) -> Result<Self, Failure> {
        let (planned, skipped) = plan(&dir, &folder)?;
        let mut start = 0;
        let mut entries = Vec::with_capacity(planned.len());
        for planned in planned {
            let body = start + heading(&planned).len() as u64;
            let size = planned.size();
            entries.push(Placed { planned, start, body });
            start = body + size + padding(size) as u64;
        }
        Ok(Self { dir, folder, entries, size: start + END, skipped, replace: false, open: None })
    }

    /// Asks the receiver to put it in the place of a folder of that name.
    #[must_use]
    pub fn replacing(mut self, replace: bool) -> Self {
        self.replace = replace;
        self
    }

    /// What is left out, and why.
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// How many files and folders are sent.
    pub fn entries(&self) -> u64 {
        self.entries.len() as u64
    }

    /// One piece of the tar at `offset`: from one entry at most. 0 at its end.
    fn piece(&mut self, offset: u64, buffer: &mut [u8]) -> Result<usize, Failure> {
        let index = self.entries.partition_point(|entry| entry.start <= offset);
        let Some(index) = index.checked_sub(1) else {
            return Ok(zeros(buffer, self.size.saturating_sub(offset)));
        };
        let Placed { planned, start, body } = &self.entries[index];
        let (start, body, size) = (*start, *body, planned.size());
        if offset < body {
            let heading = heading(planned);
            let heading = &heading[(offset - start) as usize..];
            let most = heading.len().min(buffer.len());
            buffer[..most].copy_from_slice(&heading[..most]);
            return Ok(most);
        }
        if offset < body + size {
            let left = usize::try_from(body + size - offset).unwrap_or(usize::MAX);
            let most = left.min(buffer.len());
            self.read(index, offset - body, &mut buffer[..most])?;
            return Ok(most);
        }
        // Behind the last entry the end mark follows without a seam.
        let next = self.entries.get(index + 1).map_or(self.size, |next| next.start);
        Ok(zeros(buffer, next.saturating_sub(offset)))
    }

    fn read(&mut self, index: usize, offset: u64, buffer: &mut [u8]) -> Result<(), Failure> {
        let planned = &self.entries[index].planned;
        let name = || format!("{}/{}", self.folder, planned.name);
        let changed = || {
            Failure::new(
                FileErrorCode::Io,
                format!("{:?} was changed while the folder was sent; send it again", name()),
            )
        };
        if self.open.as_ref().is_none_or(|open| open.index != index) {
            let mut options = OpenOptions::new();
            options.read(true);
            #[cfg(unix)]
            cap_std::fs::OpenOptionsExt::custom_flags(&mut options, super::super::root::NONBLOCK);
            let unreadable = |error| failed("read", &name(), &error);
            let file = self.dir.open_with(planned.name.as_str(), &options).map_err(unreadable)?;
            let metadata = file.metadata().map_err(unreadable)?;
            let same = metadata.is_file()
                && metadata.len() == planned.size()
                && modified(&metadata) == planned.modified;
            if !same {
                return Err(changed());
            }
            self.open = Some(Open { index, file: file.into_std(), position: 0 });
        }
        let Some(open) = &mut self.open else { return Ok(()) };
        let read = read_at(&open.file, &mut open.position, offset, buffer)
            .map_err(|error| failed("read", &name(), &error))?;
        if read < buffer.len() { Err(changed()) } else { Ok(()) }
    }
}

impl Source for FolderSource {
    fn size(&self) -> u64 {
        self.size
    }

    fn modified_ms(&self) -> Option<u64> {
        None
    }

    fn folder(&self) -> Option<FolderOffer> {
        Some(FolderOffer {
            entries: self.entries(),
            skipped: self.skipped.len() as u64,
            replace: self.replace,
        })
    }

    /// Fills the buffer, however many small files that takes.
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<usize, Failure> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.piece(offset + filled as u64, &mut buffer[filled..])? {
                0 => break,
                read => filled += read,
            }
        }
        Ok(filled)
    }
}

impl Planned {
    fn size(&self) -> u64 {
        match self.kind {
            Kind::Folder => 0,
            Kind::File { size, .. } => size,
        }
    }
}

fn zeros(buffer: &mut [u8], left: u64) -> usize {
    let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
    buffer[..most].fill(0);
    most
}

/// The blocks before an entry's bytes. Owners and times of access stay out, so that the same folder
/// gives the same bytes for whoever sends it.
fn heading(planned: &Planned) -> Vec<u8> {
    let mut name = planned.name.as_str().to_owned();
    let mut header = Header::new_gnu();
    match planned.kind {
        Kind::Folder => {
            name.push('/');
            header.set_entry_type(EntryType::Directory);
            header.set_mode(0o755);
        }
        Kind::File { executable, .. } => {
            header.set_entry_type(EntryType::Regular);
            header.set_mode(if executable { 0o755 } else { 0o644 });
        }
    }
    header.set_size(planned.size());
    header.set_mtime(planned.modified);
    header.set_uid(0);
    header.set_gid(0);
    let mut blocks = Vec::with_capacity(BLOCK);
    let field = 100;
    if name.len() > field {
        let mut long = Header::new_gnu();
        long.as_mut_bytes()[..13].copy_from_slice(b"././@LongLink");
        long.set_entry_type(EntryType::GNULongName);
        long.set_mode(0o644);
        long.set_uid(0);
        long.set_gid(0);
        long.set_mtime(0);
        long.set_size(name.len() as u64 + 1);
        long.set_cksum();
        blocks.extend_from_slice(long.as_bytes());
        blocks.extend_from_slice(name.as_bytes());
        // At least one zero, which ends it.
        blocks.resize(BLOCK + (name.len() + 1).next_multiple_of(BLOCK), 0);
    }
    let kept = name.len().min(field);
    header.as_mut_bytes()[..kept].copy_from_slice(&name.as_bytes()[..kept]);
    header.set_cksum();
    blocks.extend_from_slice(header.as_bytes());
    blocks
}
