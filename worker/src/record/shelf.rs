//! The folder of a recording: its files' names and rights, and which have to go.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::SystemTime,
};

/// Files of recordings have names of this form: `halyard-20261126T133012Z-0001-sim.mp4`.
const PREFIX: &str = "halyard-";

/// What a recording may take.
#[derive(Debug)]
pub(super) struct Shelf {
    folder: PathBuf,
    /// When this recording began, in its files' names.
    began: String,
    most: u64,
    /// The rights of its files.
    mode: u32,
}

/// One file of a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Kept {
    /// Names sort by age.
    name: String,
    bytes: u64,
}

impl Shelf {
    /// In this folder, which is made where there is none, for its owner's eyes alone.
    pub(super) fn open(folder: &Path, most: u64, now: SystemTime) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let mode = files_mode(fs::metadata(folder)?.permissions().mode());
        let began = humantime::format_rfc3339_seconds(now).to_string().replace(['-', ':'], "");
        Ok(Self { folder: folder.to_owned(), began, most, mode })
    }

    /// Bytes that everything may take.
    pub(super) fn most(&self) -> u64 {
        self.most
    }

    /// The path of a file of this recording: the part's number, what is in it, and its kind.
    pub(super) fn path(&self, part: u32, what: &str, kind: &str) -> PathBuf {
        let what: String = what
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
            .take(32)
            .collect();
        self.folder.join(format!("{PREFIX}{}-{part:04}-{what}.{kind}", self.began))
    }

    /// A new file, which no other worker that records here removes while it is open.
    pub(super) fn create(&self, path: &Path) -> io::Result<File> {
        let file = OpenOptions::new().write(true).create_new(true).mode(self.mode).open(path)?;
        if let Err(error) = file.try_lock() {
            tracing::debug!(%error, path = %path.display(), "a recording is not locked");
        }
        Ok(file)
    }

    /// Removes the oldest files, of earlier recordings too, until there is room for `more` bytes.
    /// Files that are being written stay, those of other workers too, and so does everything that is
    /// no recording. Says how many went.
    pub(super) fn make_room(&self, more: u64, busy: &[PathBuf]) -> io::Result<usize> {
        let mut kept = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_file() && is_ours(&name) {
                kept.push(Kept { name, bytes: metadata.len() });
            }
        }
        let busy: Vec<_> = busy.iter().filter_map(|path| path.file_name()?.to_str()).collect();
        let is_busy = |name: &str| busy.contains(&name) || is_written(&self.folder.join(name));
        let gone = too_many(kept, self.most.saturating_sub(more), is_busy);
        for name in &gone {
            match fs::remove_file(self.folder.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(gone.len())
    }
}

/// The rights of files in a folder with these: who may look into it may read them, and nobody else.
fn files_mode(folder: u32) -> u32 {
    let of = |folder_bits, file_bit| if folder & folder_bits == folder_bits { file_bit } else { 0 };
    0o600 | of(0o050, 0o040) | of(0o005, 0o004)
}

/// Whether some worker has this file open. Where files cannot be locked nobody knows.
fn is_written(path: &Path) -> bool {
    // For writing, because a lock needs that on some file systems.
    let file = OpenOptions::new().write(true).open(path);
    file.is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
}

fn is_ours(name: &str) -> bool {
    let Some(rest) = name.strip_prefix(PREFIX) else { return false };
    let Some((began, rest)) = rest.split_once('-') else { return false };
    let Some((part, what)) = rest.split_once('-') else { return false };
    let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    began.len() == 16
        && began.ends_with('Z')
        && part.len() >= 4
        && digits(part)
        && Path::new(what).extension().is_some_and(|kind| kind == "mp4" || kind == "jsonl")
}

/// The oldest, until the rest is no larger than this.
fn too_many(mut kept: Vec<Kept>, most: u64, is_busy: impl Fn(&str) -> bool) -> Vec<String> {
    kept.sort_by(|a, b| a.name.cmp(&b.name));
    let mut bytes: u64 = kept.iter().map(|file| file.bytes).sum();
    let mut gone = Vec::new();
    for file in kept {
        if bytes <= most {
            break;
        }
        if !is_busy(&file.name) {
            bytes -= file.bytes;
            gone.push(file.name);
        }
    }
    gone
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_and_what_is_no_recording_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let shelf = Shelf::open(folder.path(), 250, SystemTime::UNIX_EPOCH).expect("opened");
        let file = |name: &str| fs::write(folder.path().join(name), [0; 100]).expect("written");
        for name in [
            "halyard-19690101T000000Z-0009-sim.mp4",
            "halyard-19700101T000000Z-0001-sim.mp4",
            "halyard-19700101T000000Z-0002-sim.mp4",
            "holiday.mp4",
            "halyard-notes.jsonl",
        ] {
            file(name);
        }
        let busy = shelf.path(1, "sim", "mp4");
        assert_eq!(shelf.make_room(100, &[busy]).expect("room"), 2);
        let mut left: Vec<_> = fs::read_dir(folder.path())
            .expect("a folder")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
            .collect();
        left.sort();
        assert_eq!(
            left,
            ["halyard-19700101T000000Z-0001-sim.mp4", "halyard-notes.jsonl", "holiday.mp4"]
        );
    }

    #[test]
    fn what_another_worker_writes_here_stays_until_it_is_done() {
        let folder = tempfile::tempdir().expect("a folder");
        let open = || Shelf::open(folder.path(), 0, SystemTime::UNIX_EPOCH).expect("opened");
        let (theirs, ours) = (open(), open());
        let path = theirs.path(1, "sim", "mp4");
        let file = theirs.create(&path).expect("made");
        file.set_len(100).expect("written");
        assert!(ours.create(&path).is_err(), "nor is it written over");
        assert_eq!((ours.make_room(0, &[]).expect("looked"), path.exists()), (0, true));
        drop(file);
        assert_eq!((ours.make_room(0, &[]).expect("looked"), path.exists()), (1, false));
    }

    #[test]
    fn a_recording_is_for_its_owners_eyes_unless_the_folder_was_made_for_others_too() {
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        let home = tempfile::tempdir().expect("a folder");
        let folder = home.path().join("new/inside");
        let shelf = Shelf::open(&folder, 1, SystemTime::UNIX_EPOCH).expect("opened");
        let path = shelf.path(1, "sim", "mp4");
        shelf.create(&path).expect("made");
        assert_eq!((mode(&folder), mode(&path)), (0o700, 0o600));

        let shared = home.path().join("shared");
        DirBuilder::new().create(&shared).expect("made");
        fs::set_permissions(&shared, fs::Permissions::from_mode(0o750)).expect("set");
        let shelf = Shelf::open(&shared, 1, SystemTime::UNIX_EPOCH).expect("opened");
        assert_eq!((mode(&shared), shelf.mode), (0o750, 0o640));
        assert_eq!([0o755, 0o711, 0o770].map(files_mode), [0o644, 0o600, 0o640]);
    }

    #[test]
    fn names_hold_nothing_that_a_path_could_be_made_of() {
        let folder = tempfile::tempdir().expect("a folder");
        let shelf = Shelf::open(folder.path(), 1, SystemTime::UNIX_EPOCH).expect("opened");
        let path = shelf.path(7, "../v4l2:/dev/video0", "mp4");
        assert_eq!(path.parent(), Some(folder.path()));
        assert!(is_ours(path.file_name().and_then(|name| name.to_str()).expect("text")));
    }
}
