//! Which files of a job's folder are results.

use std::{io, path::Path};

use cap_std::{
    ambient_authority,
    fs::{Dir, DirEntry, Metadata, MetadataExt, ReadDir},
};
use globset::GlobSet;

/// Results of one job that are told.
const MOST: usize = 1000;

/// Of what cannot be looked at, as much is named: somebody has to look at the worker anyway.
const MOST_UNREADABLE: usize = 16;

/// Folders within folders that are looked into.
const DEEPEST: usize = 16;

/// The file system's clock ticks a hundred times a second and may be that much behind.
const TICK_MS: i64 = 10;

/// Files, folders and links that are looked at.
const MOST_LOOKED_AT: usize = 100_000;

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Results {
    /// Names and sizes, by name.
    pub(super) files: Vec<(String, u64)>,
    /// Folders and files that could not be looked at, and why, at most [`MOST_UNREADABLE`].
    pub(super) unreadable: Vec<String>,
}

/// The files that match and were made or changed since then (in milliseconds since 1970). Links are
/// not followed. What cannot be looked at is left out and named: a job that locked one of its folders
/// still has the results of the others.
///
/// # Errors
///
/// Where the folder itself cannot be read.
pub(super) fn find(folder: &Path, wanted: &GlobSet, since_ms: u64) -> io::Result<Results> {
    let entries = Dir::open_ambient_dir(folder, ambient_authority())?.entries()?;
    let mut look = Look { wanted, since_ms, looked_at: 0, found: Results::default() };
    look.folder(entries, Path::new(""), 0);
    look.found.files.sort();
    Ok(look.found)
}

struct Look<'a> {
    wanted: &'a GlobSet,
    since_ms: u64,
    looked_at: usize,
    found: Results,
}

impl Look<'_> {
    fn folder(
        &mut self,
        entries: impl Iterator<Item = io::Result<DirEntry>>,
        path: &Path,
        depth: usize,
    ) {
        for entry in entries {
            self.looked_at += 1;
            if self.looked_at > MOST_LOOKED_AT {
                return;
            }
            let name = entry.as_ref().map_or_else(|_| path.into(), |e| path.join(e.file_name()));
            match entry.and_then(|entry| self.entry(&entry, &name, depth)) {
                Ok(Some(below)) => self.folder(below, &name, depth + 1),
                Ok(None) => {}
                // Gone meanwhile, and so no result.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => self.unreadable(&name, &error),
            }
        }
    }

    /// Looks at a file, or opens a folder.
    fn entry(
        &mut self,
        entry: &DirEntry,
        path: &Path,
        depth: usize,
    ) -> io::Result<Option<ReadDir>> {
        let kind = entry.file_type()?;
        if kind.is_dir() && depth < DEEPEST {
            return entry.open_dir()?.entries().map(Some);
        }
        if kind.is_file()
            && self.wanted.is_match(path)
            && self.found.files.len() < MOST
            && let Some(name) = path.to_str()
        {
            let metadata = entry.metadata()?;
            if changed_ms(&metadata) >= self.since_ms {
                self.found.files.push((name.to_owned(), metadata.len()));
            }
        }
        Ok(None)
    }

    fn unreadable(&mut self, path: &Path, error: &io::Error) {
        if self.found.unreadable.len() < MOST_UNREADABLE {
            self.found.unreadable.push(format!("{}: {error}", path.display()));
        }
    }
}

/// When it was last touched, whatever time its maker gave it.
fn changed_ms(metadata: &Metadata) -> u64 {
    let (seconds, nanoseconds) = (metadata.ctime(), metadata.ctime_nsec());
    u64::try_from(seconds * 1000 + nanoseconds / 1_000_000 + TICK_MS).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use globset::{Glob, GlobSetBuilder};

    use super::*;

    #[test]
    fn only_files_that_match_are_results_and_links_are_none() {
        let home = tempfile::tempdir().expect("a folder");
        std::fs::create_dir_all(home.path().join("logs/deep")).expect("made");
        for (name, text) in [("best.ckpt", "123"), ("logs/deep/a.json", "{}"), ("x.tmp", "")] {
            std::fs::write(home.path().join(name), text).expect("written");
        }
        std::os::unix::fs::symlink("/etc/passwd", home.path().join("b.ckpt")).expect("linked");
        let mut set = GlobSetBuilder::new();
        for glob in ["*.ckpt", "logs/**/*.json"] {
            set.add(Glob::new(glob).expect("a glob"));
        }
        let set = set.build().expect("globs");
        let found = find(home.path(), &set, 0).expect("read");
        let files = [("best.ckpt".to_owned(), 3), ("logs/deep/a.json".to_owned(), 2)];
        assert_eq!(found, Results { files: files.into(), unreadable: vec![] });
        let later = std::time::SystemTime::now() + std::time::Duration::from_secs(1);
        let later = later.duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        let found = find(home.path(), &set, later.as_millis() as u64).expect("read");
        assert_eq!(found, Results::default(), "nothing was made since then");
    }

    #[test]
    fn what_cannot_be_looked_at_is_named_and_costs_nothing_else() {
        let home = tempfile::tempdir().expect("a folder");
        for name in ["first", "last"] {
            std::fs::create_dir(home.path().join(name)).expect("made");
            std::fs::write(home.path().join(name).join("best.ckpt"), "123").expect("written");
        }
        let dir = Dir::open_ambient_dir(home.path(), ambient_authority()).expect("opened");
        let mut set = GlobSetBuilder::new();
        set.add(Glob::new("**/*.ckpt").expect("a glob"));
        let wanted = set.build().expect("globs");
        // Rights do not keep root out, who may run this; what is a file by now keeps out everybody.
        let entries: Vec<_> = dir.entries().expect("read").collect();
        std::fs::create_dir(home.path().join("locked")).expect("made");
        let locked: Vec<_> = dir
            .entries()
            .expect("read")
            .filter(|entry| entry.as_ref().is_ok_and(|entry| entry.file_name() == "locked"))
            .collect();
        std::fs::remove_dir(home.path().join("locked")).expect("removed");
        std::fs::write(home.path().join("locked"), "").expect("written");
        let mut look =
            Look { wanted: &wanted, since_ms: 0, looked_at: 0, found: Results::default() };
        let broken = io::Error::other("the disk failed");
        let entries = locked.into_iter().chain([Err(broken)]).chain(entries);
        look.folder(entries, Path::new(""), 0);
        look.found.files.sort();
        let files = ["first/best.ckpt", "last/best.ckpt"].map(|name| (name.to_owned(), 3));
        assert_eq!(look.found.files, files);
        let unreadable = &look.found.unreadable;
        assert!(unreadable[0].starts_with("locked: "), "{unreadable:?}");
        assert_eq!(unreadable[1..], [": the disk failed"]);
    }
}
