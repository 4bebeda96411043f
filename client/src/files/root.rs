//! The shared folder.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use cap_std::{
    ambient_authority,
    fs::{Dir, OpenOptions},
};
use halyard_protocol::transfer::{Failure, RelativeName};

use super::{
    Claims, Listing, LocalFile, Source, Store, Unfinished, failure::failed, list, part::PartFile,
};

/// Opening a pipe or a device must not wait for somebody at its other end.
#[cfg(unix)]
pub(super) const NONBLOCK: i32 = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();

/// A folder that nothing can leave. Clones are the same folder.
///
/// Links inside it are followed as long as they stay inside; one that leads out is refused and not
/// listed.
#[derive(Debug, Clone)]
pub struct FileRoot {
    dir: Arc<Dir>,
    path: PathBuf,
    claims: Claims,
}

/// The shared folder could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("the folder {path:?} cannot be shared: {source}; create it, or name another one")]
pub struct OpenRootError {
    /// Which.
    pub path: PathBuf,
    /// Why not.
    pub source: io::Error,
}

impl FileRoot {
    /// Opens an existing folder.
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self, OpenRootError> {
        let path = path.into();
        let opening = path.clone();
        let opened = tokio::task::spawn_blocking(move || Self::open_blocking(&opening)).await;
        opened.unwrap_or_else(|error| Err(OpenRootError { path, source: io::Error::other(error) }))
    }

    /// Opens an existing folder. Blocks.
    pub fn open_blocking(path: &Path) -> Result<Self, OpenRootError> {
        let failed = |source| OpenRootError { path: path.to_owned(), source };
        let dir = Dir::open_ambient_dir(path, ambient_authority()).map_err(failed)?;
        let path = std::path::absolute(path).map_err(failed)?;
        Ok(Self { dir: Arc::new(dir), path, claims: Claims::default() })
    }

    /// Where it was when it was opened, for people.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Store for FileRoot {
    fn list(&self, folder: &str, offset: u64) -> Result<Listing, Failure> {
        list::page(&self.dir, folder, offset)
    }

    fn open(&self, name: &RelativeName) -> Result<Box<dyn Source>, Failure> {
        let mut options = OpenOptions::new();
        options.read(true);
        #[cfg(unix)]
        cap_std::fs::OpenOptionsExt::custom_flags(&mut options, NONBLOCK);
        let file = self
            .dir
            .open_with(name.as_str(), &options)
            .map_err(|error| failed("read", name.as_str(), &error))?;
        Ok(Box::new(LocalFile::from_opened(file.into_std(), name.as_str().to_owned())?))
    }

    fn create(&self, name: &RelativeName, size: u64) -> Result<Arc<dyn Unfinished>, Failure> {
        Ok(Arc::new(PartFile::open(&self.dir, name, size)?))
    }

    fn claims(&self) -> &Claims {
        &self.claims
    }
}
