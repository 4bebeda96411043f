//! Which files of a job's folder are results.

use std::{
    io,
    path::{Path, PathBuf},
};

use cap_std::{ambient_authority, fs::Dir};
use globset::GlobSet;

/// Results of one job that are told.
const MOST: usize = 1000;

/// Folders within folders that are looked into.
const DEEPEST: usize = 16;

/// Files, folders and links that are looked at.
const MOST_LOOKED_AT: usize = 100_000;

/// The files that match, with their sizes, by name. Links are not followed.
pub(super) fn find(folder: &Path, wanted: &GlobSet) -> io::Result<Vec<(String, u64)>> {
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
                found.push((name.to_owned(), entry.metadata()?.len()));
            }
        }
    }
    found.sort();
    Ok(found)
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
        let found = find(home.path(), &set.build().expect("globs")).expect("read");
        assert_eq!(found, [("best.ckpt".to_owned(), 3), ("logs/deep/a.json".to_owned(), 2)]);
    }
}
