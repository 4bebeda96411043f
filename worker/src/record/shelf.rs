//! The folder of a recording: its files' names, and which have to go.

use std::{
    fs, io,
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
}

/// One file of a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Kept {
    /// Names sort by age.
    name: String,
    bytes: u64,
}

impl Shelf {
    /// In this folder, which is made where there is none.
    pub(super) fn open(folder: &Path, most: u64, now: SystemTime) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let began = humantime::format_rfc3339_seconds(now).to_string().replace(['-', ':'], "");
        Ok(Self { folder: folder.to_owned(), began, most })
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

    /// Removes the oldest files, of earlier recordings too, until there is room for `more` bytes.
    /// Files that are being written stay, and so does everything that is no recording. Says how many
    /// went.
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
        let gone = too_many(kept, self.most.saturating_sub(more), &busy);
        for name in &gone {
            match fs::remove_file(self.folder.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(gone.len())
    }
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
fn too_many(mut kept: Vec<Kept>, most: u64, busy: &[&str]) -> Vec<String> {
    kept.sort_by(|a, b| a.name.cmp(&b.name));
    let mut bytes: u64 = kept.iter().map(|file| file.bytes).sum();
    let mut gone = Vec::new();
    for file in kept {
        if bytes <= most {
            break;
        }
        if !busy.contains(&file.name.as_str()) {
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
    fn names_hold_nothing_that_a_path_could_be_made_of() {
        let folder = tempfile::tempdir().expect("a folder");
        let shelf = Shelf::open(folder.path(), 1, SystemTime::UNIX_EPOCH).expect("opened");
        let path = shelf.path(7, "../v4l2:/dev/video0", "mp4");
        assert_eq!(path.parent(), Some(folder.path()));
        assert!(is_ours(path.file_name().and_then(|name| name.to_str()).expect("text")));
    }
}
