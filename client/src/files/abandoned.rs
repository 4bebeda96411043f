//! Unfinished files and folders that nobody came back for.
//!
//! A transfer that was cut leaves what it has beside its place, so that it can go on; a sender that
//! never comes back would leave it there for good. [`FileRoot::remove_abandoned`] removes what was
//! left alone for long, and only what a transfer makes: files named `NAME.part`, and folders named
//! `.NAME.part` that hold nothing but a transfer's tree and its notes. What is being written is locked
//! or claimed, and stays.
//!
//! [`FileRoot::remove_abandoned`]: super::FileRoot::remove_abandoned

use std::{
    collections::HashSet,
    fs::File,
    io,
    time::{Duration, SystemTime},
};

use cap_std::fs::{Dir, Metadata, OpenOptions};
use halyard_protocol::{limits::MAX_FOLDER_DEPTH, transfer::PART_SUFFIX};

use super::{
    part::lock,
    staging::{NOTES, TREE},
};

/// What to remove, and where not to look.
#[derive(Debug, Clone)]
pub struct Abandonment {
    /// What was not touched for so long is abandoned.
    pub untouched: Duration,
    /// Top folders that are somebody else's: nothing in them is looked at.
    pub except: Vec<String>,
}

/// What a look at everything unfinished found. Bytes are those of the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Abandoned {
    /// Files and folders that were removed.
    pub removed: u64,
    /// Their bytes.
    pub freed: u64,
    /// Files and folders that stay: they are being written, were touched lately, or cannot be removed.
    pub kept: u64,
    /// Their bytes.
    pub held: u64,
}

/// Looks through everything below `root`. `claimed` are the unfinished names that somebody writes,
/// `goes_on` is asked before every folder.
pub(super) fn remove(
    root: &Dir,
    what: &Abandonment,
    now: SystemTime,
    claimed: impl Fn() -> HashSet<String>,
    goes_on: impl Fn() -> bool,
) -> Abandoned {
    let mut look =
        Look { untouched: what.untouched, now, claimed, goes_on, found: Abandoned::default() };
    look.folder(root, "", 0, &what.except);
    look.found
}

/// Looks at the folders right below `parent`; which of them may go, `may_go` knows.
pub(super) fn remove_folders(
    root: &Dir,
    parent: &str,
    what: &Abandonment,
    now: SystemTime,
    claimed: impl Fn() -> HashSet<String>,
    may_go: impl Fn(&str) -> bool,
) -> Abandoned {
    let (untouched, found) = (what.untouched, Abandoned::default());
    let mut look = Look { untouched, now, claimed, goes_on: || true, found };
    // A link is no folder here, wherever it leads.
    let is_folder = root.symlink_metadata(parent).is_ok_and(|found| found.is_dir());
    let entries = is_folder.then(|| root.open_dir(parent).ok()).flatten();
    let Some((dir, entries)) = entries.and_then(|dir| dir.entries().ok().map(|all| (dir, all)))
    else {
        return look.found;
    };
    for entry in entries.flatten() {
        let (Ok(kind), Ok(name)) = (entry.file_type(), entry.file_name().into_string()) else {
            continue;
        };
        if kind.is_dir() && may_go(&name) {
            look.spent_folder(&dir, &name, &format!("{parent}/{name}"));
        }
    }
    look.found
}

struct Look<C, G> {
    untouched: Duration,
    now: SystemTime,
    claimed: C,
    goes_on: G,
    found: Abandoned,
}

impl<C: Fn() -> HashSet<String>, G: Fn() -> bool> Look<C, G> {
    /// Goes through a folder. What cannot be looked at is left alone.
    fn folder(&mut self, dir: &Dir, above: &str, depth: usize, except: &[String]) {
        if depth > MAX_FOLDER_DEPTH || !(self.goes_on)() {
            return;
        }
        let Ok(entries) = dir.entries() else { return };
        for entry in entries.flatten() {
            // A link is no folder and no file here, wherever it leads.
            let (Ok(kind), Ok(name)) = (entry.file_type(), entry.file_name().into_string()) else {
                continue;
            };
            if except.contains(&name) {
                continue;
            }
            let path = if above.is_empty() { name.clone() } else { format!("{above}/{name}") };
            let is_part = name.ends_with(PART_SUFFIX);
            if kind.is_file() && is_part {
                self.file(dir, &name, &path);
            } else if kind.is_dir() {
                let Ok(below) = dir.open_dir(&name) else { continue };
                if is_part && name.starts_with('.') {
                    self.unfinished_folder(dir, &below, &name, &path);
                } else {
                    self.folder(&below, &path, depth + 1, &[]);
                }
            }
        }
    }

    fn file(&mut self, dir: &Dir, name: &str, path: &str) {
        let Ok(found) = dir.symlink_metadata(name) else { return };
        let bytes = found.len();
        let remove = || {
            let file = open(dir, name).ok()?;
            let locked = lock(dir, name, file, name).ok()?;
            // Its writer may have come back between the look and the lock.
            let touched = dir.symlink_metadata(name).ok().as_ref().and_then(touched);
            let removed = self.is_old(touched) && dir.remove_file(name).is_ok();
            drop(locked);
            removed.then_some(())
        };
        let is_removed = self.is_free(path, touched(&found)) && remove().is_some();
        self.count(path, bytes, is_removed);
    }

    fn unfinished_folder(&mut self, dir: &Dir, hidden: &Dir, name: &str, path: &str) {
        let Ok(entries) = hidden.entries() else { return };
        let mut names = entries.flatten().map(|entry| entry.file_name());
        // Whatever else is in it is not a transfer's.
        if !names.all(|name| name == TREE || name == NOTES) {
            return;
        }
        let Some(before) = measured(hidden, 0) else { return };
        let remove = || {
            // Without notes it was made, or is being removed, and never filled.
            let locked = match open(hidden, NOTES) {
                Ok(notes) => Some(lock(hidden, NOTES, notes, name).ok()?),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(_) => return None,
            };
            let touched = measured(hidden, 0)?.touched;
            let removed = self.is_old(touched) && dir.remove_dir_all(name).is_ok();
            drop(locked);
            removed.then_some(())
        };
        let is_removed = self.is_free(path, before.touched) && remove().is_some();
        self.count(path, before.bytes, is_removed);
    }

    fn spent_folder(&mut self, dir: &Dir, name: &str, path: &str) {
        let Some(found) = dir.open_dir(name).ok().and_then(|dir| measured(&dir, 0)) else { return };
        let below = format!("{path}/");
        let is_written = || (self.claimed)().iter().any(|name| name.starts_with(&below));
        let is_removed =
            self.is_old(found.touched) && !is_written() && dir.remove_dir_all(name).is_ok();
        self.count(path, found.bytes, is_removed);
    }

    /// Old, and nobody of this program writes it.
    fn is_free(&self, path: &str, touched: Option<SystemTime>) -> bool {
        self.is_old(touched) && !(self.claimed)().contains(path)
    }

    /// Nobody knows how old something is that has no time; it stays.
    fn is_old(&self, touched: Option<SystemTime>) -> bool {
        let age = touched.and_then(|touched| self.now.duration_since(touched).ok());
        age.is_some_and(|age| age >= self.untouched)
    }

    fn count(&mut self, path: &str, bytes: u64, is_removed: bool) {
        let Abandoned { removed, freed, kept, held } = &mut self.found;
        let (number, sum) = if is_removed { (removed, freed) } else { (kept, held) };
        *number += 1;
        *sum += bytes;
        if is_removed {
            tracing::info!(name = path, bytes, "left alone for long: removed");
        }
    }
}

/// For reading and writing, because a lock needs that on some file systems.
fn open(dir: &Dir, name: &str) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    cap_std::fs::OpenOptionsExt::custom_flags(&mut options, super::root::NONBLOCK);
    Ok(dir.open_with(name, &options)?.into_std())
}

struct Measured {
    bytes: u64,
    /// When anything of it was touched last.
    touched: Option<SystemTime>,
}

/// Everything in a folder, itself included. `None` where something cannot be looked at.
fn measured(dir: &Dir, depth: usize) -> Option<Measured> {
    if depth > MAX_FOLDER_DEPTH + 1 {
        return None;
    }
    let mut sum = Measured { bytes: 0, touched: touched(&dir.dir_metadata().ok()?) };
    for entry in dir.entries().ok()? {
        let entry = entry.ok()?;
        let Measured { bytes, touched } = if entry.file_type().ok()?.is_dir() {
            measured(&dir.open_dir(entry.file_name()).ok()?, depth + 1)?
        } else {
            let found = dir.symlink_metadata(entry.file_name()).ok()?;
            Measured { bytes: found.len(), touched: touched(&found) }
        };
        sum.bytes += bytes;
        sum.touched = sum.touched.max(touched);
    }
    Some(sum)
}

/// When it was written, named or moved here last: the time that a file brings along may be older.
fn touched(found: &Metadata) -> Option<SystemTime> {
    let modified = found.modified().ok().map(cap_std::time::SystemTime::into_std);
    #[cfg(unix)]
    let modified = {
        use cap_std::fs::MetadataExt;

        let seconds = u64::try_from(found.ctime()).ok();
        modified.max(seconds.map(|s| SystemTime::UNIX_EPOCH + Duration::from_secs(s)))
    };
    modified
}

#[cfg(all(test, unix))]
mod tests {
    use std::{fs, os::unix::fs::symlink, path::Path};

    use halyard_protocol::transfer::RelativeName;

    use super::*;
    use crate::files::{FileRoot, Owner, Store};

    const DAY: Duration = Duration::from_hours(24);

    fn name(text: &str) -> RelativeName {
        RelativeName::folder(text).expect("a good name")
    }

    fn week() -> Abandonment {
        Abandonment { untouched: 7 * DAY, except: vec!["jobs".to_owned()] }
    }

    /// A shared folder with something unfinished of every kind, and much that only looks like it.
    fn littered() -> (tempfile::TempDir, FileRoot) {
        let home = tempfile::tempdir().expect("a folder");
        let at = |path: &str| home.path().join(path);
        for folder in [
            "sets/.birds.part/tree/a/b",
            "sets/.empty.part",
            ".mine.part/tree",
            ".swap.part/old",
            "film.part",
            "jobs/1",
        ] {
            fs::create_dir_all(at(folder)).expect("made");
        }
        for file in [
            "big.bin.part",
            "sets/.birds.part/notes",
            "sets/.birds.part/tree/a/b/c",
            // The owner's.
            "whole.bin",
            ".mine.part/tree/x",
            ".mine.part/letter.txt",
            ".swap.part/notes",
            "film.part/whole",
            "x.PART",
            "jobs/1/own.part",
        ] {
            fs::write(at(file), [0; 100]).expect("written");
        }
        symlink(at("whole.bin"), at("link.part")).expect("linked");
        let root = FileRoot::open_blocking(home.path()).expect("shared");
        (home, root)
    }

    fn everything(folder: &Path) -> usize {
        let entries = fs::read_dir(folder).expect("listed").flatten();
        let below = |entry: fs::DirEntry| {
            let is_folder = entry.file_type().expect("a kind").is_dir();
            1 + if is_folder { everything(&entry.path()) } else { 0 }
        };
        entries.map(below).sum()
    }

    #[test]
    fn what_was_left_alone_goes_and_nothing_else() {
        let (home, root) = littered();
        let before = everything(home.path());
        let found = root.remove_abandoned(&week(), SystemTime::now() + 6 * DAY, || true);
        assert_eq!(found, Abandoned { kept: 3, held: 300, ..Abandoned::default() });
        assert_eq!(everything(home.path()), before, "six days are not seven");

        let found = root.remove_abandoned(&week(), SystemTime::now() + 8 * DAY, || true);
        assert_eq!(found, Abandoned { removed: 3, freed: 300, ..Abandoned::default() });
        // The file; the folder with its notes and its tree of four; the one that is empty.
        assert_eq!(everything(home.path()), before - 1 - 6 - 1);
        for gone in ["big.bin.part", "sets/.birds.part", "sets/.empty.part"] {
            assert!(!home.path().join(gone).exists(), "{gone}");
        }
    }

    #[test]
    fn what_is_being_written_stays_whatever_its_age() {
        let (home, root) = littered();
        let later = SystemTime::now() + 8 * DAY;
        // By another program of this folder: the lock is the system's.
        let other = FileRoot::open_blocking(home.path()).expect("shared");
        let file = other.create(&name("big.bin"), 1000).expect("opened");
        let folder = other.create_folder(&name("sets/birds"), 1000, false).expect("opened");
        let found = root.remove_abandoned(&week(), later, || true);
        assert_eq!((found.removed, found.kept), (1, 2), "{found:?}");
        drop(file);
        // That an earlier try left no headers makes it useless, and so it is removed when it closes.
        drop(folder);
        let found = root.remove_abandoned(&week(), later, || true);
        assert_eq!((found.removed, found.kept), (1, 0), "{found:?}");
        assert!(!home.path().join("big.bin.part").exists());
    }

    #[tokio::test]
    async fn what_is_claimed_stays_where_a_file_system_has_no_locks() {
        let (home, root) = littered();
        let owner = Owner { peer: "ann".to_owned(), connection: 1 };
        let claim = root.claims().claim(&name("big.bin"), &owner).await.expect("free");
        let later = SystemTime::now() + 8 * DAY;
        assert_eq!(root.remove_abandoned(&week(), later, || true).kept, 1);
        assert!(home.path().join("big.bin.part").exists());
        drop(claim);
        assert_eq!(root.remove_abandoned(&week(), later, || true).removed, 1);
    }

    #[tokio::test]
    async fn folders_that_may_go_go_when_nothing_in_them_was_touched() {
        let home = tempfile::tempdir().expect("a folder");
        let at = |path: &str| home.path().join(path);
        for folder in ["packages/1/deep", "packages/2", "packages/mine", "elsewhere/1"] {
            fs::create_dir_all(at(folder)).expect("made");
        }
        fs::write(at("packages/1/deep/a.bin"), [0; 100]).expect("written");
        symlink(at("elsewhere/1"), at("packages/3")).expect("linked");
        let root = FileRoot::open_blocking(home.path()).expect("shared");
        let look = |parent: &str, age| {
            let may_go = |name: &str| name != "mine";
            root.remove_untouched(parent, 7 * DAY, SystemTime::now() + age, may_go)
        };
        assert_eq!(
            look("packages", 6 * DAY),
            Abandoned { kept: 2, held: 100, ..Abandoned::default() }
        );
        let owner = Owner { peer: "ann".to_owned(), connection: 1 };
        let coming = root.claims().claim(&name("packages/2/b.bin"), &owner).await.expect("free");
        let found = look("packages", 8 * DAY);
        assert_eq!((found.removed, found.freed, found.kept), (1, 100, 1));
        assert!(!at("packages/1").exists() && at("packages/2").exists());
        drop(coming);
        assert_eq!(look("packages", 8 * DAY).removed, 1);
        assert!(at("packages/mine").exists() && at("elsewhere/1").exists());
        symlink(at("elsewhere"), at("link")).expect("linked");
        for nothing in ["link", "none", "..", ""] {
            assert_eq!(look(nothing, 8 * DAY), Abandoned::default(), "{nothing}");
        }
    }

    #[test]
    fn a_worker_that_stops_stops_this_too() {
        let (_home, root) = littered();
        let later = SystemTime::now() + 8 * DAY;
        assert_eq!(root.remove_abandoned(&week(), later, || false), Abandoned::default());
    }
}
