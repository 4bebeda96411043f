//! The worker's files, looked at in the words of existing clients: `FS_*` and `USE_WORKER_PATH`.
//!
//! Every path is looked up from the folder's own handle, so that no link leads out of it. What
//! needs the inside of a SLEAP file is answered with the error that existing clients show: this
//! worker does not read HDF5.
//!
//! Everything here waits for the disk.

mod prefix;
mod search;

use cap_std::fs::Dir;
use halyard_client::files::{FileRoot, Store};
use halyard_protocol::{
    channel::{EntryKind, FileErrorCode},
    transfer::{Failure, RelativeName},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::place::{Outside, Place, below, or_top};

/// Entries in one page, as existing clients expect.
const PAGE: usize = 20;

/// Names that one question may ask for.
const MOST_NAMES: usize = 1000;

/// Why nothing is known of what is inside a SLEAP file.
const NO_HDF5: &str = "this worker does not read HDF5, so it cannot look into .slp files; use a \
                       package (.pkg.slp) with the pictures inside, or paths that are right on the \
                       worker";

/// Answers questions about the files.
#[derive(Debug, Clone)]
pub(super) struct Desk {
    root: FileRoot,
    place: Place,
    /// What the worker is called in the room.
    worker: String,
}

/// What became of `USE_WORKER_PATH`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    /// What to say.
    pub(super) lines: Vec<String>,
    /// What is to be used from now on, inside the folder.
    pub(super) name: Option<String>,
}

/// An error of a question: code and words.
type Refused = (&'static str, String);

impl Desk {
    pub(super) fn new(root: FileRoot, place: Place, worker: String) -> Self {
        Self { root, place, worker }
    }

    /// The answer to an `FS_` question.
    pub(super) fn answer(&self, text: &str) -> String {
        let (word, rest) = text.split_once("::").unwrap_or((text, ""));
        let answer = match word {
            "FS_GET_INFO" => Ok(("FS_INFO_RESPONSE", self.info())),
            "FS_GET_MOUNTS" => Ok(("FS_MOUNTS_RESPONSE", self.mounts())),
            "FS_LIST_DIR" => self.list(rest).map(|list| ("FS_LIST_RESPONSE", list)),
            "FS_RESOLVE" => {
                search::resolve(&self.place, rest).map(|found| ("FS_RESOLVE_RESPONSE", found))
            }
            "FS_SCAN_DIR" => self.scan(rest).map(|found| ("FS_SCAN_DIR_RESPONSE", found)),
            "FS_RESOLVE_WITH_PREFIX" => {
                self.prefix(rest).map(|proposal| ("FS_PREFIX_PROPOSAL", proposal))
            }
            // The proposal held everything; the client keeps what it confirmed.
            "FS_APPLY_PREFIX" => Ok(("FS_PREFIX_APPLIED", json!({ "success": true }))),
            "FS_WRITE_SLP" => Ok(("FS_WRITE_SLP_ERROR", json!({ "error": NO_HDF5 }))),
            _ => {
                let word: String = word.chars().filter(|c| !c.is_control()).take(64).collect();
                Err(("INVALID_REQUEST", format!("Unknown FS message type: {word}")))
            }
        };
        match answer {
            Ok((word, value)) => format!("{word}::{value}"),
            Err((code, words)) => format!("FS_ERROR::{code}::{words}"),
        }
    }

    /// `USE_WORKER_PATH::path`.
    pub(super) fn choose(&self, path: &str) -> Chosen {
        let refused =
            |why: String| Chosen { lines: vec![format!("WORKER_PATH_ERROR::{why}")], name: None };
        if path.is_empty() {
            return refused("Path is required".to_owned());
        }
        let name = match self.place.name(path) {
            Ok(name) => name,
            Err(Outside::Elsewhere { .. }) => {
                return refused("Path not within configured mounts".to_owned());
            }
            Err(error) => return refused(error.to_string()),
        };
        match self.place.dir().metadata(or_top(&name)) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return refused(format!("File not found: {path}"));
            }
            // A link that leads out, above all.
            Err(_) => return refused("Path not within configured mounts".to_owned()),
        }
        let path = self.place.path(&name);
        let mut lines = vec![format!("WORKER_PATH_OK::{path}")];
        if name.to_ascii_lowercase().ends_with(".slp") {
            let unknown = json!({
                "slp_path": path, "total_videos": 0, "missing": [], "accessible": 0,
                "embedded": 0, "error": NO_HDF5,
            });
            lines.push(format!("FS_CHECK_VIDEOS_RESPONSE::{unknown}"));
        }
        Chosen { lines, name: Some(name) }
    }

    fn info(&self) -> Value {
        json!({
            "worker_id": self.worker,
            "working_dir": self.place.path(""),
            "mounts": self.mounts(),
        })
    }

    fn mounts(&self) -> Value {
        json!([{ "path": self.place.path(""), "label": self.place.label() }])
    }

    /// `path::offset`, read from the right, so that `::` in a path survives.
    fn list(&self, rest: &str) -> Result<Value, Refused> {
        let offset = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<u64>().ok() };
        let (path, offset) = match rest.rsplit_once("::") {
            Some((path, text)) if offset(text).is_some() => (path, offset(text).unwrap_or(0)),
            _ => (rest, 0),
        };
        if path.is_empty() {
            return Err(("INVALID_REQUEST", "Path is required".to_owned()));
        }
        let name = self.name(path)?;
        let page = self.root.list(&name, offset).map_err(|failure| of_failure(&failure))?;
        let entries: Vec<_> = page
            .entries
            .iter()
            .take(PAGE)
            .map(|entry| {
                let kind = if entry.kind == EntryKind::Directory { "directory" } else { "file" };
                let modified = entry.modified_ms as f64 / 1000.0;
                json!({ "name": entry.name, "type": kind, "size": entry.size, "modified": modified })
            })
            .collect();
        let more = offset + (entries.len() as u64) < page.total && !entries.is_empty();
        Ok(json!({
            "path": self.place.path(&name),
            "entries": entries,
            "total_count": page.total,
            "has_more": more,
        }))
    }

    fn scan(&self, rest: &str) -> Result<Value, Refused> {
        #[derive(Deserialize)]
        struct Asked {
            #[serde(default)]
            directory: String,
            #[serde(default)]
            filenames: Vec<String>,
        }
        let asked: Asked = read(rest)?;
        if asked.directory.is_empty() {
            return Err(("INVALID_REQUEST", "Directory is required".to_owned()));
        }
        if asked.filenames.is_empty() || asked.filenames.len() > MOST_NAMES {
            let words = format!("accepted are 1 to {MOST_NAMES} filenames");
            return Err(("INVALID_REQUEST", words));
        }
        let name = self.name(&asked.directory)?;
        let dir = open_dir(&self.place, &name)?;
        let found: serde_json::Map<_, _> = asked
            .filenames
            .into_iter()
            .map(|file| {
                let there = !file.contains('/')
                    && RelativeName::new(file.as_str()).is_ok()
                    && dir.metadata(&file).is_ok_and(|found| found.is_file());
                let path = there.then(|| self.place.path(&below(&name, &file)));
                (file, json!(path))
            })
            .collect();
        Ok(json!({ "directory": self.place.path(&name), "found": found }))
    }

    fn prefix(&self, rest: &str) -> Result<Value, Refused> {
        #[derive(Deserialize)]
        struct Asked {
            #[serde(default)]
            original_path: String,
            #[serde(default)]
            new_path: String,
            #[serde(default)]
            other_missing: Vec<String>,
        }
        let asked: Asked = read(rest)?;
        for (what, path) in [("original_path", &asked.original_path), ("new_path", &asked.new_path)]
        {
            if path.is_empty() {
                return Err(("INVALID_REQUEST", format!("{what} is required")));
            }
        }
        if asked.other_missing.len() > MOST_NAMES {
            let words = format!("at most {MOST_NAMES} paths are accepted in other_missing");
            return Err(("INVALID_REQUEST", words));
        }
        let (old, new) = prefix::changed(&asked.original_path, &asked.new_path);
        let (mut resolved, mut not_resolved) = (Vec::new(), Vec::new());
        for missing in asked.other_missing {
            let candidate = prefix::exchanged(&missing, &old, &new).filter(|candidate| {
                let name = self.place.name(candidate).ok();
                name.is_some_and(|name| self.place.dir().metadata(or_top(&name)).is_ok())
            });
            match candidate {
                Some(path) => resolved.push(json!({ "original": missing, "resolved": path })),
                None => not_resolved.push(missing),
            }
        }
        Ok(json!({
            "old_prefix": old, "new_prefix": new,
            "would_resolve": resolved, "would_not_resolve": not_resolved,
        }))
    }

    fn name(&self, path: &str) -> Result<String, Refused> {
        self.place.name(path).map_err(of_outside)
    }
}

/// A folder of the place.
fn open_dir(place: &Place, name: &str) -> Result<Dir, Refused> {
    place.dir().open_dir(or_top(name)).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => ("PATH_NOT_FOUND", "Path does not exist".to_owned()),
        std::io::ErrorKind::NotADirectory => {
            ("PATH_NOT_FOUND", "Path is not a directory".to_owned())
        }
        _ => ("ACCESS_DENIED", format!("Access denied: {error}")),
    })
}

fn read<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, Refused> {
    if json.is_empty() {
        return Err(("INVALID_REQUEST", "JSON payload is required".to_owned()));
    }
    serde_json::from_str(json)
        .map_err(|error| ("INVALID_REQUEST", format!("Invalid JSON: {error}")))
}

fn of_outside(outside: Outside) -> Refused {
    match outside {
        Outside::Elsewhere { .. } => {
            ("ACCESS_DENIED", "Access denied: path is outside configured mounts".to_owned())
        }
        Outside::NoPath(why) => ("PATH_NOT_FOUND", format!("Invalid path: {why}")),
    }
}

fn of_failure(failure: &Failure) -> Refused {
    let code = match failure.code {
        FileErrorCode::NotFound | FileErrorCode::WrongKind => "PATH_NOT_FOUND",
        _ => "ACCESS_DENIED",
    };
    (code, failure.message.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn desk() -> (tempfile::TempDir, Desk) {
        let home = tempfile::tempdir().expect("a folder");
        let root = home.path().join("vast");
        std::fs::create_dir_all(root.join("day1/deep")).expect("made");
        std::fs::write(home.path().join("secret.mp4"), "s").expect("written");
        for name in ["day1/a.mp4", "day1/deep/session_a.mp4", "b.mp4", "labels.slp"] {
            std::fs::write(root.join(name), "12345").expect("written");
        }
        std::os::unix::fs::symlink(home.path(), root.join("out")).expect("linked");
        let files = FileRoot::open_blocking(&root).expect("opened");
        let place = Place::open(&root).expect("opened");
        (home, Desk::new(files, place, "worker-1".to_owned()))
    }

    /// The answer's word and its JSON.
    fn asked(desk: &Desk, text: &str) -> (String, Value) {
        let answer = desk.answer(text);
        let (word, json) = answer.split_once("::").expect("a payload");
        (word.to_owned(), serde_json::from_str(json).unwrap_or_else(|_| json!(json)))
    }

    #[test]
    fn info_and_mounts_say_where_the_files_are() {
        let (home, desk) = desk();
        let root = home.path().join("vast").display().to_string();
        let mounts = json!([{ "path": root, "label": "vast" }]);
        assert_eq!(asked(&desk, "FS_GET_MOUNTS"), ("FS_MOUNTS_RESPONSE".into(), mounts.clone()));
        let info = json!({ "worker_id": "worker-1", "working_dir": root, "mounts": mounts });
        assert_eq!(asked(&desk, "FS_GET_INFO"), ("FS_INFO_RESPONSE".into(), info));
    }

    #[test]
    fn a_folder_is_listed_in_pages_folders_first() {
        let (home, desk) = desk();
        let root = home.path().join("vast");
        let (word, page) = asked(&desk, &format!("FS_LIST_DIR::{}::0", root.display()));
        assert_eq!(word, "FS_LIST_RESPONSE");
        let names: Vec<_> = page["entries"].as_array().expect("entries").iter().collect();
        let name = |at: usize| names[at]["name"].as_str().expect("a name");
        assert_eq!((name(0), name(1), name(2)), ("day1", "b.mp4", "labels.slp"));
        assert_eq!(
            (names[0]["type"].as_str(), names[1]["type"].as_str()),
            (Some("directory"), Some("file"))
        );
        assert_eq!((names[1]["size"].as_u64(), page["total_count"].as_u64()), (Some(5), Some(3)));
        assert_eq!(page["has_more"], false);
        for at in 0..45 {
            std::fs::write(root.join(format!("day1/f{at:02}::x")), "").expect("written");
        }
        let (_, page) = asked(&desk, &format!("FS_LIST_DIR::{}/day1::20", root.display()));
        assert_eq!(
            (page["entries"].as_array().map(Vec::len), page["has_more"].as_bool()),
            (Some(20), Some(true))
        );
        let (_, page) = asked(&desk, "FS_LIST_DIR::day1::40");
        assert_eq!(
            (page["entries"].as_array().map(Vec::len), page["has_more"].as_bool()),
            (Some(7), Some(false))
        );
        let (_, page) = asked(&desk, "FS_LIST_DIR::day1::1000");
        assert_eq!(
            (page["entries"].as_array().map(Vec::len), page["has_more"].as_bool()),
            (Some(0), Some(false))
        );
    }

    #[test]
    fn nothing_outside_is_seen_in_any_word() {
        let (home, desk) = desk();
        let out = home.path().join("vast/out");
        for (text, code) in [
            ("FS_LIST_DIR::/etc::0".to_owned(), "ACCESS_DENIED"),
            (format!("FS_LIST_DIR::{}::0", out.display()), "ACCESS_DENIED"),
            (format!("FS_LIST_DIR::{}/../..::0", out.display()), "ACCESS_DENIED"),
            ("FS_LIST_DIR::nothing".to_owned(), "PATH_NOT_FOUND"),
            ("FS_LIST_DIR::b.mp4".to_owned(), "PATH_NOT_FOUND"),
            ("FS_LIST_DIR".to_owned(), "INVALID_REQUEST"),
            (
                r#"FS_SCAN_DIR::{"directory":"/etc","filenames":["passwd"]}"#.to_owned(),
                "ACCESS_DENIED",
            ),
            (
                r#"FS_SCAN_DIR::{"directory":"out","filenames":["secret.mp4"]}"#.to_owned(),
                "ACCESS_DENIED",
            ),
            (r#"FS_SCAN_DIR::{"directory":"day1"}"#.to_owned(), "INVALID_REQUEST"),
            ("FS_SCAN_DIR::{".to_owned(), "INVALID_REQUEST"),
            ("FS_NOTHING::1".to_owned(), "INVALID_REQUEST"),
        ] {
            let answer = desk.answer(&text);
            assert!(answer.starts_with(&format!("FS_ERROR::{code}::")), "{text}: {answer}");
        }
        let names =
            r#"FS_SCAN_DIR::{"directory":"day1","filenames":["a.mp4","../b.mp4","deep","x::y"]}"#;
        let (_, scan) = asked(&desk, names);
        let there = home.path().join("vast/day1/a.mp4").display().to_string();
        let found = json!({ "a.mp4": there, "../b.mp4": null, "deep": null, "x::y": null });
        assert_eq!(scan["found"], found);
    }

    #[test]
    fn a_prefix_is_proposed_for_what_is_there() {
        let (home, desk) = desk();
        let root = home.path().join("vast").display().to_string();
        let new = format!("{root}/day1/a.mp4");
        let question = json!({
            "original_path": "/Volumes/talmo/day1/a.mp4", "new_path": new,
            "other_missing": ["/Volumes/talmo/b.mp4", "/Volumes/talmo/c.mp4", "/other/b.mp4",
                              "/Volumes/talmo/../secret.mp4"],
        });
        let (word, proposal) = asked(&desk, &format!("FS_RESOLVE_WITH_PREFIX::{question}"));
        assert_eq!(word, "FS_PREFIX_PROPOSAL");
        assert_eq!(proposal["old_prefix"], "/Volumes/talmo");
        assert_eq!(proposal["new_prefix"], root);
        let resolved = format!("{root}/b.mp4");
        assert_eq!(
            proposal["would_resolve"],
            json!([{"original": "/Volumes/talmo/b.mp4", "resolved": resolved}])
        );
        assert_eq!(proposal["would_not_resolve"].as_array().map(Vec::len), Some(3));
        let applied = asked(&desk, r#"FS_APPLY_PREFIX::{"confirmed":true}"#);
        assert_eq!(applied, ("FS_PREFIX_APPLIED".into(), json!({ "success": true })));
    }

    #[test]
    fn what_needs_the_inside_of_a_sleap_file_is_answered_in_its_words() {
        let (_home, desk) = desk();
        let asked = asked(&desk, r#"FS_WRITE_SLP::{"slp_path":"labels.slp","output_dir":"."}"#);
        assert_eq!(
            (asked.0.as_str(), asked.1["error"].as_str()),
            ("FS_WRITE_SLP_ERROR", Some(NO_HDF5))
        );
        let chosen = desk.choose("labels.slp");
        assert_eq!(chosen.name.as_deref(), Some("labels.slp"));
        assert!(chosen.lines[0].starts_with("WORKER_PATH_OK::/"));
        assert!(chosen.lines[1].starts_with("FS_CHECK_VIDEOS_RESPONSE::{"), "{:?}", chosen.lines);
        assert_eq!(desk.choose("b.mp4").lines.len(), 1);
    }

    #[test]
    fn a_path_that_cannot_be_used_is_refused_in_their_words() {
        let (_home, desk) = desk();
        for (path, words) in [
            ("", "Path is required"),
            ("/etc/passwd", "Path not within configured mounts"),
            ("../secret.mp4", "Path not within configured mounts"),
            ("out/secret.mp4", "Path not within configured mounts"),
            ("nothing.slp", "File not found: nothing.slp"),
        ] {
            let chosen = desk.choose(path);
            assert_eq!(chosen.lines, [format!("WORKER_PATH_ERROR::{words}")], "{path}");
            assert_eq!(chosen.name, None);
        }
    }
}
