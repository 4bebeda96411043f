//! A folder that is filled with entries from outside.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Write},
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use cap_std::fs::{Dir, OpenOptions};
use halyard_protocol::{
    channel::FileErrorCode,
    transfer::{Failure, RelativeName},
};

use super::{Bound, FileEntry, Sink, UnpackLimits, Unpacked, refused};
use crate::files::{
    failure::failed,
    space::{Promise, Space},
};

/// Bytes of headers, long names and attributes for each entry that is accepted, on average: a header
/// and the longest name have less than half of it.
const META_BYTES: u64 = 4 * 1024;

/// Writes entries into an opened folder, and nowhere else.
#[derive(Debug)]
pub(crate) struct Tree {
    dir: Arc<Dir>,
    limits: UnpackLimits,
    bound: Bound,
    /// By lower-cased name: as it was written, and whether it is a folder. Some file systems do not
    /// tell `A` from `a`, and one of the two would be lost there.
    seen: HashMap<String, (String, bool)>,
    /// Bytes of the names in it.
    names: u64,
    open: Option<Open>,
    done: Unpacked,
    /// Bytes that were no file's.
    meta: u64,
    /// Where every file has to find room; a folder whose room is promised as a whole has none.
    space: Option<Space>,
}

#[derive(Debug)]
struct Open {
    file: File,
    name: RelativeName,
    entry: FileEntry,
    left: u64,
    promise: Option<Promise>,
}

impl Tree {
    /// An empty folder. `archive` is the size of a compressed archive.
    pub(crate) fn new(dir: Arc<Dir>, limits: &UnpackLimits, archive: Option<u64>) -> Self {
        Self {
            dir,
            limits: *limits,
            bound: Bound::of(limits, archive),
            seen: HashMap::new(),
            names: 0,
            open: None,
            done: Unpacked::default(),
            meta: 0,
            space: None,
        }
    }

    /// Asks for room there before each file.
    pub(super) fn on(self, space: &Space) -> Self {
        Self { space: Some(space.clone()), ..self }
    }

    pub(crate) fn done(&self) -> Unpacked {
        self.done
    }

    /// Refuses what is announced before anything of it is written.
    pub(super) fn announced(&self, entries: u64, bytes: u64) -> Result<(), Failure> {
        if entries > self.limits.entries {
            return Err(self.too_many());
        }
        if bytes > self.bound.bytes() {
            return Err(self.too_much());
        }
        self.room(bytes, "the archive").map(|_| ())
    }

    /// Counts an entry, and the folders that it needs, before it is made.
    pub(crate) fn take(&mut self, name: &RelativeName, is_folder: bool) -> Result<(), Failure> {
        let depth = name.as_str().split('/').count();
        if depth > self.limits.depth {
            return Err(Failure::new(
                FileErrorCode::TooLarge,
                format!(
                    "its entry {:?} lies {depth} folders deep, at most {} are taken",
                    name.as_str(),
                    self.limits.depth
                ),
            ));
        }
        let mut end = 0;
        while let Some(next) = name.as_str()[end..].find('/') {
            end += next;
            self.see(&name.as_str()[..end], true, false)?;
            end += 1;
        }
        self.see(name.as_str(), is_folder, true)
    }

    fn see(&mut self, name: &str, is_folder: bool, named: bool) -> Result<(), Failure> {
        let key = name.to_lowercase();
        if let Some((earlier, was_folder)) = self.seen.get(&key) {
            return match (earlier == name, *was_folder, is_folder) {
                (true, true, true) => Ok(()),
                (true, true, false) | (true, false, true) => {
                    Err(refused(format!("{name:?} is a folder and a file in it")))
                }
                (true, false, false) => Err(refused(format!("it has two entries {name:?}"))),
                (false, ..) => Err(refused(format!(
                    "its entries {earlier:?} and {name:?} differ in case alone, and not every disk \
                     tells them apart; rename one"
                ))),
            };
        }
        if self.seen.len() as u64 >= self.limits.entries {
            return Err(self.too_many());
        }
        self.names += name.len() as u64;
        if self.names > self.limits.names {
            return Err(Failure::new(
                FileErrorCode::TooLarge,
                format!(
                    "the paths in it have more than {} bytes together, which are the most that are \
                     taken; shorten them, or send its parts",
                    self.limits.names
                ),
            ));
        }
        if is_folder {
            self.done.folders += 1;
        } else if named {
            self.done.files += 1;
        }
        self.seen.insert(key, (name.to_owned(), is_folder));
        Ok(())
    }

    /// Counts bytes before they are written.
    pub(crate) fn grow(&mut self, bytes: u64) -> Result<(), Failure> {
        let sum = self.done.bytes.checked_add(bytes).filter(|sum| *sum <= self.bound.bytes());
        self.done.bytes = sum.ok_or_else(|| self.too_much())?;
        Ok(())
    }

    /// Goes on with a file that an earlier try began.
    pub(crate) fn resume(
        &mut self,
        name: &RelativeName,
        entry: FileEntry,
        held: u64,
    ) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.append(true);
        let file = self.dir.open_with(name.as_str(), &options)?.into_std();
        let left = entry.size.saturating_sub(held);
        self.open = Some(Open { file, name: name.clone(), entry, left, promise: None });
        Ok(())
    }

    /// Leaves the file at hand as it is.
    pub(crate) fn abandon(&mut self) {
        self.open = None;
    }

    /// Forgets everything: the folder is another one, and empty.
    pub(crate) fn start_over(&mut self, dir: Arc<Dir>) {
        self.dir = dir;
        self.seen = HashMap::new();
        self.names = 0;
        self.open = None;
        self.done = Unpacked::default();
        self.meta = 0;
    }

    fn create(&self, name: &RelativeName) -> io::Result<File> {
        if let Some(parent) = name.parent() {
            self.dir.create_dir_all(parent)?;
        }
        // Never through what is there: a link in its place would be followed.
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        let created = match self.dir.open_with(name.as_str(), &options) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // An earlier try was killed between making it and noting it down.
                self.dir.remove_file(name.as_str())?;
                self.dir.open_with(name.as_str(), &options)
            }
            created => created,
        };
        Ok(created?.into_std())
    }

    fn room(&self, bytes: u64, name: &str) -> Result<Option<Promise>, Failure> {
        let space = self.space.as_ref();
        space.map(|space| space.promise(&*self.dir, bytes, name)).transpose()
    }

    fn too_many(&self) -> Failure {
        Failure::new(
            FileErrorCode::TooLarge,
            format!(
                "it has more than {} entries, which are the most that are taken",
                self.limits.entries
            ),
        )
    }

    fn too_much(&self) -> Failure {
        Failure::new(FileErrorCode::TooLarge, self.bound.to_string())
    }
}

impl Sink for Tree {
    fn folder(&mut self, name: &RelativeName) -> Result<(), Failure> {
        self.take(name, true)?;
        self.dir
            .create_dir_all(name.as_str())
            .map_err(|error| failed("make the folder", name.as_str(), &error))
    }

    fn file(&mut self, name: &RelativeName, entry: FileEntry) -> Result<(), Failure> {
        self.take(name, false)?;
        // Its size may be a lie, but then its bytes are counted as they come.
        if entry.size > self.bound.bytes().saturating_sub(self.done.bytes) {
            return Err(self.too_much());
        }
        let promise = self.room(entry.size, name.as_str())?;
        let file = self.create(name).map_err(|error| failed("write", name.as_str(), &error))?;
        self.open = Some(Open { file, name: name.clone(), entry, left: entry.size, promise });
        Ok(())
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.grow(bytes.len() as u64)?;
        let Some(open) = &mut self.open else { return Ok(()) };
        let Some(left) = open.left.checked_sub(bytes.len() as u64) else {
            return Err(refused(format!(
                "its entry {:?} has more bytes than it says ({})",
                open.name.as_str(),
                open.entry.size
            )));
        };
        open.file.write_all(bytes).map_err(|error| failed("write", open.name.as_str(), &error))?;
        open.left = left;
        if let Some(promise) = &open.promise {
            promise.written(bytes.len() as u64);
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), Failure> {
        let Some(Open { file, name, entry, left, .. }) = self.open.take() else { return Ok(()) };
        if left != 0 {
            return Err(refused(format!(
                "its entry {:?} has {left} bytes less than it says ({})",
                name.as_str(),
                entry.size
            )));
        }
        if let Some(time) =
            entry.modified_ms.and_then(|ms| UNIX_EPOCH.checked_add(Duration::from_millis(ms)))
        {
            // Nobody loses a file because its time does not fit this file system.
            let _ = file.set_modified(time);
        }
        if entry.executable {
            make_executable(&file);
        }
        Ok(())
    }

    /// Headers need no room, but a compressed archive could have them without end.
    fn meta(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.meta = self.meta.saturating_add(bytes.len() as u64);
        let most = self.limits.entries.saturating_mul(META_BYTES);
        if self.meta > most {
            return Err(Failure::new(
                FileErrorCode::TooLarge,
                format!("its headers and attributes have more than {most} bytes"),
            ));
        }
        Ok(())
    }
}

/// For everybody who may read it.
#[cfg(unix)]
fn make_executable(file: &File) {
    use std::os::unix::fs::PermissionsExt;

    let Ok(metadata) = file.metadata() else { return };
    let mode = metadata.permissions().mode() & 0o777;
    let mode = mode | ((mode & 0o444) >> 2);
    // As with times: the file matters more.
    let _ = file.set_permissions(std::fs::Permissions::from_mode(mode));
}

#[cfg(not(unix))]
fn make_executable(_: &File) {}
