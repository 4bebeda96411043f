//! A folder that arrives as a tar and is unpacked as it comes.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    sync::{Mutex, MutexGuard, PoisonError},
};

use cap_std::fs::Dir;
use halyard_protocol::{
    channel::FileErrorCode,
    limits::{MAX_FOLDER_DEPTH, MAX_FOLDER_ENTRIES},
    transfer::{Failure, RelativeName},
};

use super::{
    super::{
        Unfinished,
        failure::failed,
        local::read_at,
        space::{Promise, Space},
        staging::{Place, Staging},
        unpack::{FileEntry, Sink, Tree, UnpackLimits, tar::TarReader},
    },
    BLOCK, padding,
};

/// `.NAME.part`, opened and locked.
#[derive(Debug)]
pub(in crate::files) struct UnfinishedFolder {
    inner: Mutex<Inner>,
    /// For making everything safe while writing goes on.
    notes: File,
    held: u64,
    name: RelativeName,
    replace: bool,
    /// Bytes that are still to come have room.
    promise: Promise,
}

#[derive(Debug)]
struct Inner {
    staging: Option<Staging>,
    reader: TarReader,
    filling: Filling,
    /// Where what an earlier try left stands in the stream; forgotten when the first byte comes.
    pieces: Vec<Piece>,
    open: Option<(usize, File, u64)>,
    /// What came is of no use for another try.
    useless: bool,
}

/// Writes entries, and notes their headers before them.
#[derive(Debug)]
struct Filling {
    tree: Tree,
    notes: File,
}

#[derive(Debug)]
struct Piece {
    start: u64,
    len: u64,
    what: What,
}

#[derive(Debug)]
enum What {
    Notes(u64),
    File(RelativeName),
    Zeros,
}

impl UnfinishedFolder {
    pub(in crate::files) fn open(
        root: &Dir,
        name: &RelativeName,
        size: u64,
        replace: bool,
        space: &Space,
    ) -> Result<Self, Failure> {
        let mut staging = Staging::open(Place::open(root, name, replace)?)?;
        let failed = |error| failed("write", name.as_str(), &error);
        let limits = UnpackLimits {
            entries: MAX_FOLDER_ENTRIES,
            depth: MAX_FOLDER_DEPTH,
            // The stream has its bytes and its headers.
            bytes: size,
            ..UnpackLimits::default()
        };
        let fresh = |staging: &Staging| -> io::Result<Inner> {
            Ok(Inner {
                reader: TarReader::new(),
                filling: Filling {
                    tree: Tree::new(staging.tree().clone(), &limits, None),
                    notes: staging.notes().try_clone()?,
                },
                staging: None,
                pieces: Vec::new(),
                open: None,
                useless: false,
            })
        };
        let mut inner = fresh(&staging).map_err(failed)?;
        if inner.load(staging.notes(), staging.tree()).is_err() {
            // Whatever it is: it can be sent again.
            staging.empty().map_err(failed)?;
            inner = fresh(&staging).map_err(failed)?;
        }
        let held = inner.reader.position();
        let promise = space.promise(&**staging.tree(), size.saturating_sub(held), name.as_str());
        // Refused, what an earlier try left is still good for another.
        staging.keep(held > 0);
        let promise = promise?;
        let notes = staging.notes().try_clone().map_err(failed)?;
        inner.staging = Some(staging);
        Ok(Self { inner: Mutex::new(inner), notes, held, name: name.clone(), replace, promise })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, error: &io::Error) -> Failure {
        failed("write", self.name.as_str(), error)
    }

    /// Every file of it, at once: one by one, a data set of small files would wait for the disk
    /// longer than for the network.
    #[cfg(target_os = "linux")]
    fn sync_all(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(&self.notes)?)
    }

    /// What is not safe after all is noticed by its hash, and sent again.
    #[cfg(not(target_os = "linux"))]
    fn sync_all(&self) -> io::Result<()> {
        self.notes.sync_data()
    }
}

impl Unfinished for UnfinishedFolder {
    fn held(&self) -> u64 {
        self.held
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Failure> {
        let mut inner = self.inner();
        let mut filled = 0;
        while filled < buffer.len() {
            let read = inner.piece(offset + filled as u64, &mut buffer[filled..]);
            match read.map_err(|error| self.failed(&error))? {
                0 => break,
                read => filled += read,
            }
        }
        Ok(filled)
    }

    fn truncate(&self) -> Result<(), Failure> {
        let mut inner = self.inner();
        inner.empty().map_err(|error| self.failed(&error))
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), Failure> {
        let mut inner = self.inner();
        let Inner { staging, reader, filling, pieces, useless, .. } = &mut *inner;
        if offset != reader.position() {
            return Err(Failure::new(
                FileErrorCode::Protocol,
                format!("byte {offset} of a folder came where {} was next", reader.position()),
            ));
        }
        pieces.clear();
        if let Some(staging) = staging {
            staging.keep(true);
        }
        self.promise.written(bytes.len() as u64);
        reader.push(bytes, filling).map_err(|failure| {
            // Sent again, it would be refused again.
            *useless |= matches!(failure.code, FileErrorCode::BadArchive | FileErrorCode::TooLarge);
            Failure::new(failure.code, format!("{:?}: {}", self.name.as_str(), failure.message))
        })
    }

    fn sync(&self) -> Result<(), Failure> {
        self.sync_all().map_err(|error| self.failed(&error))
    }

    fn finish(&self, _: Option<u64>) -> Result<(), Failure> {
        let mut inner = self.inner();
        inner.reader.finish().inspect_err(|_| inner.useless = true)?;
        self.sync_all().map_err(|error| self.failed(&error))?;
        let Some(staging) = inner.staging.take() else { return Ok(()) };
        staging.commit(self.replace)
    }

    fn discard(&self) -> Result<(), Failure> {
        if let Some(mut staging) = self.inner().staging.take() {
            staging.keep(false);
        }
        Ok(())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(staging) = &mut self.staging
            && self.useless
        {
            staging.keep(false);
        }
    }
}

impl Inner {
    /// Finds out what an earlier try left: how far its stream came, and where it stands.
    fn load(&mut self, notes: &File, dir: &Dir) -> Result<(), Failure> {
        let unreadable = |error| failed("read", "an unfinished folder", &error);
        let size = notes.metadata().map_err(unreadable)?.len();
        let mut from = io::BufReader::new(notes);
        from.seek(SeekFrom::Start(0)).map_err(unreadable)?;
        let mut at = 0;
        let mut loading = Loading { tree: &mut self.filling.tree, dir, last: None };
        let mut block = [0; BLOCK];
        while at + BLOCK as u64 <= size {
            from.read_exact(&mut block).map_err(unreadable)?;
            let start = self.reader.position();
            self.reader.push(&block, &mut loading)?;
            self.pieces.push(Piece { start, len: BLOCK as u64, what: What::Notes(at) });
            at += BLOCK as u64;
            let Some(file) = loading.last.take() else { continue };
            loading.tree.grow(file.held)?;
            if file.held > 0 {
                let start = self.reader.position();
                let what = What::File(file.name.clone());
                self.pieces.push(Piece { start, len: file.held, what });
            }
            let whole = file.held == file.entry.size;
            if whole {
                let start = self.reader.position() + file.held;
                self.reader.skip_body(file.held);
                let len = padding(file.entry.size) as u64;
                if len > 0 {
                    self.reader.skip_padding();
                    self.pieces.push(Piece { start, len, what: What::Zeros });
                }
                if at < size {
                    continue;
                }
            } else {
                self.reader.skip_body(file.held);
            }
            // The last one: it is gone on with, or its time was not set yet.
            let resumed = loading.tree.resume(&file.name, file.entry, file.held);
            resumed.map_err(unreadable)?;
            if whole {
                loading.tree.close()?;
            }
            break;
        }
        // Of a name that stands before its entry, only the beginning may have come.
        let safe = at - self.reader.take_back_extension();
        let held = self.reader.position();
        self.pieces.truncate(self.pieces.partition_point(|piece| piece.start < held));
        notes.set_len(safe).map_err(unreadable)?;
        self.filling.notes.seek(SeekFrom::End(0)).map_err(unreadable)?;
        Ok(())
    }

    fn piece(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let index = self.pieces.partition_point(|piece| piece.start <= offset);
        let Some(index) = index.checked_sub(1) else { return Ok(0) };
        let Piece { start, len, what } = &self.pieces[index];
        let left = usize::try_from((start + len).saturating_sub(offset)).unwrap_or(usize::MAX);
        let most = left.min(buffer.len());
        let buffer = &mut buffer[..most];
        match what {
            What::Zeros => {
                buffer.fill(0);
                Ok(most)
            }
            What::Notes(at) => {
                let mut position = u64::MAX;
                let read =
                    read_at(&self.filling.notes, &mut position, at + (offset - start), buffer);
                self.filling.notes.seek(SeekFrom::End(0))?;
                read
            }
            What::File(name) => {
                if self.open.as_ref().is_none_or(|(open, ..)| *open != index) {
                    let Some(staging) = &self.staging else { return Ok(0) };
                    let file = staging.tree().open(name.as_str())?.into_std();
                    self.open = Some((index, file, 0));
                }
                let Some((_, file, position)) = &mut self.open else { return Ok(0) };
                read_at(file, position, offset - start, buffer)
            }
        }
    }

    fn empty(&mut self) -> io::Result<()> {
        let Some(staging) = &mut self.staging else { return Ok(()) };
        staging.empty()?;
        staging.keep(false);
        self.filling.notes.seek(SeekFrom::Start(0))?;
        self.filling.tree.start_over(staging.tree().clone());
        self.reader = TarReader::new();
        self.pieces.clear();
        self.open = None;
        Ok(())
    }
}

impl Sink for Filling {
    fn folder(&mut self, name: &RelativeName) -> Result<(), Failure> {
        self.tree.folder(name)
    }

    fn file(&mut self, name: &RelativeName, file: FileEntry) -> Result<(), Failure> {
        self.tree.file(name, file)
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.tree.bytes(bytes)
    }

    fn close(&mut self) -> Result<(), Failure> {
        self.tree.close()
    }

    fn meta(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.notes.write_all(bytes).map_err(|error| failed("write", "an unfinished folder", &error))
    }
}

/// Reads the notes again and looks what is there of each file.
struct Loading<'a> {
    tree: &'a mut Tree,
    dir: &'a Dir,
    last: Option<Found>,
}

struct Found {
    name: RelativeName,
    entry: FileEntry,
    held: u64,
}

impl Sink for Loading<'_> {
    fn folder(&mut self, name: &RelativeName) -> Result<(), Failure> {
        self.tree.folder(name)
    }

    fn file(&mut self, name: &RelativeName, entry: FileEntry) -> Result<(), Failure> {
        let held = match self.dir.symlink_metadata(name.as_str()) {
            Ok(found) if found.is_file() && found.len() <= entry.size => found.len(),
            // Killed between noting it down and making it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.tree.file(name, entry)?;
                self.tree.abandon();
                self.last = Some(Found { name: name.clone(), entry, held: 0 });
                return Ok(());
            }
            _ => return Err(Failure::new(FileErrorCode::Io, "a file of it was changed")),
        };
        self.tree.take(name, false)?;
        self.last = Some(Found { name: name.clone(), entry, held });
        Ok(())
    }

    fn bytes(&mut self, _: &[u8]) -> Result<(), Failure> {
        Err(Failure::new(FileErrorCode::Io, "its notes hold what belongs to a file"))
    }

    fn close(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}
