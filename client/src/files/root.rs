//! The shared folder.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use cap_std::{
    ambient_authority,
    fs::{Dir, OpenOptions},
};
use halyard_protocol::{
    channel::Entry,
    transfer::{Failure, RelativeName},
};

use super::{
    Abandoned, Abandonment, Claims, Listing, LocalFile, Quota, Source, Store, Unfinished,
    abandoned, claims, delete,
    failure::failed,
    find,
    folder::{FolderSource, UnfinishedFolder},
    list,
    part::PartFile,
    space::Space,
    unpack::{self, UnpackLimits, Unpacked},
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
    space: Space,
    quota: Quota,
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
        Ok(Self {
            dir: Arc::new(dir),
            path,
            claims: Claims::default(),
            space: Space::default(),
            quota: Quota::default(),
        })
    }

    /// The same folder, on a disk of which so many bytes stay free whatever is sent or unpacked.
    #[must_use]
    pub fn keeping_free(self, bytes: u64) -> Self {
        Self { space: self.space.keeping_free(bytes), ..self }
    }

    /// The same folder, in which each peer may leave so much.
    #[must_use]
    pub fn limited(self, quota: Quota) -> Self {
        Self { quota, ..self }
    }

    /// Unpacks the archive `archive` (a zip, a tar or a gzipped tar, told by its content) into the
    /// new folder `into`. Blocks.
    ///
    /// Both names are inside this folder. What is refused, and why nothing is left of it, says
    /// [`unpack`]. A folder `into` that is there already is refused as
    /// [`Exists`](halyard_protocol::channel::FileErrorCode::Exists), unless `replace` puts the new
    /// one in its place.
    pub fn unpack(
        &self,
        archive: &RelativeName,
        into: &RelativeName,
        replace: bool,
        limits: &UnpackLimits,
    ) -> Result<Unpacked, Failure> {
        let file = self.open_file(archive)?;
        unpack::unpack_in(file, archive.as_str(), &self.dir, into, replace, limits, &self.space)
    }

    /// Removes what transfers left unfinished and nobody came back for, at `now`. Blocks for as long
    /// as it takes to look through everything; `goes_on` is asked before every folder.
    pub fn remove_abandoned(
        &self,
        what: &Abandonment,
        now: SystemTime,
        goes_on: impl Fn() -> bool,
    ) -> Abandoned {
        abandoned::remove(&self.dir, what, now, || self.claims.unfinished(), goes_on)
    }

    /// Removes the folders right below `parent` that `may_go` names and in which nothing was touched
    /// for so long at `now`. Where anything below cannot be looked at, or is being written by this
    /// program, the folder stays. Blocks.
    pub fn remove_untouched(
        &self,
        parent: &str,
        untouched: Duration,
        now: SystemTime,
        may_go: impl Fn(&str) -> bool,
    ) -> Abandoned {
        let what = Abandonment { untouched, except: Vec::new() };
        abandoned::remove_folders(
            &self.dir,
            parent,
            &what,
            now,
            || self.claims.unfinished(),
            may_go,
        )
    }

    /// Where it was when it was opened, for people.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn open_file(&self, name: &RelativeName) -> Result<File, Failure> {
        let mut options = OpenOptions::new();
        options.read(true);
        #[cfg(unix)]
        cap_std::fs::OpenOptionsExt::custom_flags(&mut options, NONBLOCK);
        let opened = self.dir.open_with(name.as_str(), &options);
        Ok(opened.map_err(|error| failed("read", name.as_str(), &error))?.into_std())
    }
}

impl Store for FileRoot {
    fn list(&self, folder: &str, offset: u64) -> Result<Listing, Failure> {
        list::page(&self.dir, folder, offset)
    }

    fn stat(&self, path: &RelativeName) -> Result<Entry, Failure> {
        find::stat(&self.dir, path)
    }

    fn glob(&self, pattern: &str, offset: u64) -> Result<Listing, Failure> {
        find::glob(&self.dir, pattern, offset)
    }

    fn delete(&self, path: &RelativeName, recursive: bool) -> Result<(), Failure> {
        if self.claims.is_busy(path) {
            return Err(claims::busy(path));
        }
        delete::delete(&self.dir, path, recursive)
    }

    fn open(&self, name: &RelativeName) -> Result<Box<dyn Source>, Failure> {
        Ok(Box::new(LocalFile::from_opened(self.open_file(name)?, name.as_str().to_owned())?))
    }

    fn open_any(&self, name: &RelativeName) -> Result<Box<dyn Source>, Failure> {
        if !self.dir.metadata(name.as_str()).is_ok_and(|found| found.is_dir()) {
            // Not what is on its way.
            return self.open(&RelativeName::new(name.as_str())?);
        }
        let failed = |error| failed("read", name.as_str(), &error);
        let folder = self.dir.open_dir(name.as_str()).map_err(failed)?;
        Ok(Box::new(FolderSource::from_opened(folder, name.as_str().to_owned())?))
    }

    fn create(&self, name: &RelativeName, size: u64) -> Result<Arc<dyn Unfinished>, Failure> {
        Ok(Arc::new(PartFile::open(&self.dir, name, size, &self.space)?))
    }

    fn create_folder(
        &self,
        name: &RelativeName,
        size: u64,
        replace: bool,
    ) -> Result<Arc<dyn Unfinished>, Failure> {
        Ok(Arc::new(UnfinishedFolder::open(&self.dir, name, size, replace, &self.space)?))
    }

    fn unpack(
        &self,
        archive: &RelativeName,
        into: &RelativeName,
        replace: bool,
        limits: &UnpackLimits,
    ) -> Result<Unpacked, Failure> {
        Self::unpack(self, archive, into, replace, limits)
    }

    fn claims(&self) -> &Claims {
        &self.claims
    }

    fn quota(&self) -> Quota {
        self.quota.clone()
    }
}
