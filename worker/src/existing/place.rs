//! The worker's files as existing clients name them: by absolute paths below a mount.
//!
//! The one mount is the folder of files. A path is turned into a name inside of it here, by its
//! text; whether that name really leads nowhere else is found out by the folder's own handle.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use cap_std::{ambient_authority, fs::Dir};
use halyard_protocol::transfer::RelativeName;

/// The folder of files. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Place {
    dir: Arc<Dir>,
    /// As its owner wrote it, and where that really is.
    roots: Arc<[PathBuf; 2]>,
}

/// A path is not one of the worker's files.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Outside {
    /// It is somewhere else.
    #[error("it is outside of the worker's files, which are in {root}")]
    Elsewhere {
        /// Where they are.
        root: String,
    },
    /// It is no path.
    #[error("it is no path: {0}")]
    NoPath(String),
}

impl Place {
    /// Opens the folder of files. Blocks.
    pub(super) fn open(root: &Path) -> io::Result<Self> {
        let dir = Arc::new(Dir::open_ambient_dir(root, ambient_authority())?);
        let roots = Arc::new([std::path::absolute(root)?, root.canonicalize()?]);
        Ok(Self { dir, roots })
    }

    /// The folder, which nothing leads out of.
    pub(super) fn dir(&self) -> &Dir {
        &self.dir
    }

    /// Where it is.
    pub(super) fn root(&self) -> &Path {
        &self.roots[0]
    }

    /// How people call it.
    pub(super) fn label(&self) -> String {
        let name = self.root().file_name().and_then(|name| name.to_str());
        name.unwrap_or("files").to_owned()
    }

    /// The name inside the folder; empty for the folder itself. Relative paths begin there.
    pub(super) fn name(&self, path: &str) -> Result<String, Outside> {
        let asked = Path::new(path);
        let inner = if asked.is_absolute() {
            let inner = self.roots.iter().find_map(|root| asked.strip_prefix(root).ok());
            let root = self.root().display().to_string();
            inner.ok_or(Outside::Elsewhere { root })?
        } else {
            asked
        };
        let inner = inner.to_str().unwrap_or_default().trim_end_matches('/');
        if inner.is_empty() && !path.is_empty() || inner == "." {
            return Ok(String::new());
        }
        let no_path = |error: halyard_protocol::transfer::NameError| match error {
            halyard_protocol::transfer::NameError::Dots { .. } => {
                Outside::Elsewhere { root: self.root().display().to_string() }
            }
            error => Outside::NoPath(error.to_string()),
        };
        Ok(RelativeName::folder(inner).map_err(no_path)?.as_str().to_owned())
    }

    /// The absolute path of a name.
    pub(super) fn path(&self, name: &str) -> String {
        if name.is_empty() {
            return self.root().display().to_string();
        }
        self.root().join(name).display().to_string()
    }
}

/// A name inside a folder that may be the top.
pub(super) fn below(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// What `cap-std` opens for a name that may be the top.
pub(super) fn or_top(name: &str) -> &str {
    if name.is_empty() { "." } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_below_the_mount_are_names_and_others_are_refused() {
        let home = tempfile::tempdir().expect("a folder");
        let root = home.path().join("files");
        std::fs::create_dir(&root).expect("made");
        std::os::unix::fs::symlink(&root, home.path().join("linked")).expect("linked");
        let place = Place::open(&home.path().join("linked")).expect("opened");
        let real = root.canonicalize().expect("there").display().to_string();
        for (path, name) in [
            (place.path("a/b.slp"), "a/b.slp"),
            (format!("{real}/a/b.slp"), "a/b.slp"),
            ("a/b.slp".to_owned(), "a/b.slp"),
            ("a/".to_owned(), "a"),
            (place.path(""), ""),
            (format!("{real}/"), ""),
            (".".to_owned(), ""),
        ] {
            assert_eq!(place.name(&path).as_deref(), Ok(name), "{path}");
        }
        let outside = [
            "/etc/passwd".to_owned(),
            format!("{real}x/a"),
            format!("{real}/../secret"),
            "../secret".to_owned(),
            "a/../../secret".to_owned(),
            "/".to_owned(),
        ];
        for path in outside {
            assert!(matches!(place.name(&path), Err(Outside::Elsewhere { .. })), "{path}");
        }
        for path in ["", "a\nb", "a//b", "a\\b"] {
            assert!(matches!(place.name(path), Err(Outside::NoPath(_))), "{path}");
        }
        assert_eq!(place.label(), "linked");
    }
}
