//! Which files of a job's folder are results.

use std::{
    io,
    path::{Path, PathBuf},
};

use cap_std::{
    ambient_authority,
    fs::{Dir, Metadata, MetadataExt},
};
use globset::GlobSet;

/// Results of one job that are told.
const MOST: usize = 1000;

/// Folders within folders that are looked into.
const DEEPEST: usize = 16;

/// The file system's clock ticks a hundred times a second and may be that much behind.
const TICK_MS: i64 = 10;

/// Files, folders and links that are looked at.
const MOST_LOOKED_AT: usize = 100_000;

/// The files that match and were made or changed since then (in milliseconds since 1970), with their
/// sizes, by name. Links are not followed.
pub(super) fn find(
    folder: &Path,
    wanted: &GlobSet,
    since_ms: u64,
) -> io::Result<Vec<(String, u64)>> {
    let mut found = Vec::new();
    let mut looked_at = 0;
    let mut folders =
        vec![(Dir::open_ambient_dir(folder, ambient_authority())?, PathBuf::new(), 0)];
    while let Some((dir, path, depth)) = folders.pop() {
        for entry in dir.entries()? {
            let entry = entry?;
            looked_at += 1;
            if looked_at > MOST_LOOKED_AT {
                return Ok(found);
            }
            let kind = entry.file_type()?;
            let path = path.join(entry.file_name());
            if kind.is_dir() && depth < DEEPEST {
                folders.push((entry.open_dir()?, path, depth + 1));
            } else if kind.is_file()
                && wanted.is_match(&path)
                && found.len() < MOST
                && let Some(name) = path.to_str()
            {
                let metadata = entry.metadata()?;
                if changed_ms(&metadata) >= since_ms {
                    found.push((name.to_owned(), metadata.len()));
                }
            }
        }
    }
    found.sort();
    Ok(found)
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
        assert_eq!(found, [("best.ckpt".to_owned(), 3), ("logs/deep/a.json".to_owned(), 2)]);
        let later = std::time::SystemTime::now() + std::time::Duration::from_secs(1);
        let later = later.duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        let found = find(home.path(), &set, later.as_millis() as u64).expect("read");
        assert_eq!(found, [], "nothing was made since then");
    }
}
