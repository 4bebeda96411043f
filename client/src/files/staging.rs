//! A folder that is filled beside its place and gets its name when it is whole.

use std::{fs::File, io, sync::Arc};

use cap_std::fs::Dir;
use halyard_protocol::{
    channel::FileErrorCode,
    transfer::{Failure, RelativeName},
};

use super::{failure::failed, part};

/// What becomes the folder.
pub(super) const TREE: &str = "tree";

/// Notes of whoever fills it, and the lock that keeps others out.
pub(super) const NOTES: &str = "notes";

/// What stood in its place, for the moment in which the two change places.
const OLD: &str = "old";

/// Where a folder belongs: an opened parent, and a name in it that may be taken.
#[derive(Debug)]
pub(super) struct Place {
    parent: Dir,
    hidden: String,
    target: String,
    name: RelativeName,
}

impl Place {
    /// Missing folders above it are made. A folder that is there already, and shall not be replaced,
    /// is refused here, before anything is sent or unpacked.
    pub(super) fn open(root: &Dir, name: &RelativeName, replace: bool) -> Result<Self, Failure> {
        let failed = |error| failed("write", name.as_str(), &error);
        let parent = match name.parent() {
            Some(parent) => part::open_or_create(root, parent),
            None => root.try_clone(),
        }
        .map_err(failed)?;
        let hidden = name.staging();
        let hidden = hidden.rsplit_once('/').map_or(&*hidden, |(_, last)| last).to_owned();
        let place =
            Self { parent, hidden, target: name.file_name().to_owned(), name: name.clone() };
        place.may_be_taken(replace)?;
        Ok(place)
    }

    fn may_be_taken(&self, replace: bool) -> Result<(), Failure> {
        let Ok(found) = self.parent.symlink_metadata(&self.target) else { return Ok(()) };
        let name = self.name.as_str();
        if !found.is_dir() {
            return Err(Failure::new(
                FileErrorCode::WrongKind,
                format!("cannot write the folder {name:?}: a file of that name is in the way"),
            ));
        }
        if replace {
            return Ok(());
        }
        Err(Failure::new(
            FileErrorCode::Exists,
            format!(
                "there is a folder {name:?} already: choose another name, or say that it shall be \
                 replaced"
            ),
        ))
    }
}

/// A folder on its way. Dropped without an end it is removed, unless it is [kept](Self::keep).
#[derive(Debug)]
pub(super) struct Staging {
    place: Place,
    tree: Arc<Dir>,
    notes: File,
    keep: bool,
}

impl Staging {
    /// As an earlier try left it, or empty.
    pub(super) fn open(place: Place) -> Result<Self, Failure> {
        let failed = |error| failed("write", place.name.as_str(), &error);
        let hidden = part::open_or_create(&place.parent, &place.hidden).map_err(failed)?;
        let notes = part::open_locked(&hidden, NOTES, place.name.as_str())?;
        let tree = part::open_or_create(&hidden, TREE).map_err(failed)?;
        Ok(Self { place, tree: Arc::new(tree), notes, keep: false })
    }

    /// Empty.
    pub(super) fn anew(place: Place) -> Result<Self, Failure> {
        let mut staging = Self::open(place)?;
        staging.empty().map_err(|error| staging.failed(&error))?;
        Ok(staging)
    }

    /// Forgets what an earlier try left.
    pub(super) fn empty(&mut self) -> io::Result<()> {
        let hidden = self.hidden()?;
        self.notes.set_len(0)?;
        hidden.remove_dir_all(TREE)?;
        hidden.create_dir(TREE)?;
        self.tree = Arc::new(hidden.open_dir(TREE)?);
        Ok(())
    }

    /// The folder that is filled.
    pub(super) fn tree(&self) -> &Arc<Dir> {
        &self.tree
    }

    /// Notes about it.
    pub(super) fn notes(&self) -> &File {
        &self.notes
    }

    /// What is there stays for another try.
    pub(super) fn keep(&mut self, keep: bool) {
        self.keep = keep;
    }

    /// Gives it its name.
    pub(super) fn commit(mut self, replace: bool) -> Result<(), Failure> {
        // Somebody may have made one meanwhile.
        self.place.may_be_taken(replace)?;
        self.rename().map_err(|error| self.failed(&error))?;
        // What is left is notes, and what stood in its place.
        self.keep = false;
        Ok(())
    }

    fn rename(&self) -> io::Result<()> {
        let Place { parent, target, .. } = &self.place;
        let hidden = self.hidden()?;
        let taken = parent.symlink_metadata(target).is_ok();
        if !taken || !exchange(&hidden, parent, target)? {
            if taken {
                parent.rename(target, &hidden, OLD)?;
            }
            hidden.rename(TREE, parent, target)?;
        }
        // The new name survives a power cut only once the folder is safe as well; not every file
        // system can be asked for that.
        if let Ok(folder) = parent.try_clone() {
            let _ = folder.into_std_file().sync_all();
        }
        Ok(())
    }

    pub(super) fn failed(&self, error: &io::Error) -> Failure {
        failed("write", self.place.name.as_str(), error)
    }

    fn hidden(&self) -> io::Result<Dir> {
        self.place.parent.open_dir(&self.place.hidden)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.keep
            && let Err(error) = self.place.parent.remove_dir_all(&self.place.hidden)
        {
            tracing::warn!(%error, "an unfinished folder could not be removed");
        }
    }
}

/// Puts the tree and what stands in its place in each other's place, at once; `false` where that
/// cannot be done.
#[cfg(target_os = "linux")]
fn exchange(hidden: &Dir, parent: &Dir, target: &str) -> io::Result<bool> {
    use rustix::{
        fs::{RenameFlags, renameat_with},
        io::Errno,
    };

    match renameat_with(hidden, TREE, parent, target, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(true),
        Err(Errno::INVAL | Errno::NOSYS) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(target_os = "linux"))]
fn exchange(_: &Dir, _: &Dir, _: &str) -> io::Result<bool> {
    Ok(false)
}
