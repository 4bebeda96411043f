//! Files that newer existing clients bring: `FILE_UPLOAD_CHECK`, `_START`, bytes, `_END`.
//!
//! The bytes go the same way as any other file's: an unfinished one beside its place, renamed when
//! it is whole. Beyond what existing workers do, the SHA-256 that was announced is compared before
//! that, and a name is one name: it leads nowhere else.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use aws_lc_rs::digest;
use bytes::Bytes;
use halyard_client::transfer::{LegacyEvent, LegacyFiles, Serving};
use halyard_protocol::transfer::RelativeName;

use super::place::{Outside, Place, below, or_top};

/// How often a client is told how far its file is.
const TELL_EVERY: Duration = Duration::from_millis(500);

/// Files that are known by their hash.
const REMEMBERED: usize = 256;

/// The folder that clients may ask for inside the one they name.
const DOWNLOADS: &str = "sleap_rtc_downloads";

/// Files that came before, by hash. All clients of a worker share it.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<VecDeque<KnownFile>>);

#[derive(Debug)]
struct KnownFile {
    sha256: String,
    name: String,
    size: u64,
    modified: Option<SystemTime>,
}

/// The uploads of one client, one at a time.
pub(super) struct Uploads<'a> {
    pub(super) serving: &'a Serving,
    pub(super) place: &'a Place,
    pub(super) known: &'a Known,
    pub(super) now: Instant,
}

/// How the current upload of one client stands.
#[derive(Default)]
pub(super) struct Upload {
    /// What was announced by `FILE_UPLOAD_CHECK`: hash and file name.
    announced: Option<(String, String)>,
    state: State,
}

#[derive(Default)]
enum State {
    #[default]
    Idle,
    Open(Box<Open>),
    /// Refused: its bytes pass by, up to its end.
    Skipping,
}

struct Open {
    files: LegacyFiles,
    name: RelativeName,
    size: u64,
    received: u64,
    hash: digest::Context,
    /// The hash that it must have, where one was announced.
    sha256: Option<String>,
    told_at: Option<Instant>,
}

/// Why an upload ends, in the words of existing workers.
type Refused = String;

impl Upload {
    /// Bytes belong to an upload.
    pub(super) fn is_active(&self) -> bool {
        !matches!(self.state, State::Idle)
    }

    /// A `FILE_UPLOAD_` word. Waits for the disk.
    pub(super) async fn text(&mut self, text: &str, with: &Uploads<'_>) -> Vec<String> {
        let (word, rest) = text.split_once("::").unwrap_or((text, ""));
        let answer = match word {
            "FILE_UPLOAD_CHECK" => self.check(rest, with),
            "FILE_UPLOAD_START" => self.start(rest, with).await,
            "FILE_UPLOAD_END" => self.end(with).await,
            _ => Err("this word is not known here".to_owned()),
        };
        self.answered(answer)
    }

    /// A piece of the file. Waits for the disk.
    pub(super) async fn binary(&mut self, bytes: Bytes, with: &Uploads<'_>) -> Vec<String> {
        let State::Open(open) = &mut self.state else { return Vec::new() };
        let received = open.received + bytes.len() as u64;
        let answer = if received > open.size {
            Err(format!("Size mismatch: expected {}, got {received} or more", open.size))
        } else {
            open.received = received;
            open.hash.update(&bytes);
            let failed = open.files.binary(bytes).await.into_iter().find_map(|event| match event {
                LegacyEvent::Refused(failure) => Some(format!("Write error: {failure}")),
                _ => None,
            });
            let due = open.told_at.is_none_or(|at| with.now.duration_since(at) >= TELL_EVERY);
            match failed {
                Some(words) => Err(words),
                None if due => {
                    open.told_at = Some(with.now);
                    Ok(vec![format!("FILE_UPLOAD_PROGRESS::{received}::{}", open.size)])
                }
                None => Ok(Vec::new()),
            }
        };
        self.answered(answer)
    }

    fn answered(&mut self, answer: Result<Vec<String>, Refused>) -> Vec<String> {
        answer.unwrap_or_else(|words| {
            let was_open = matches!(self.state, State::Open(_) | State::Skipping);
            self.state = if was_open { State::Skipping } else { State::Idle };
            vec![format!("FILE_UPLOAD_ERROR::{words}")]
        })
    }

    fn check(&mut self, rest: &str, with: &Uploads<'_>) -> Result<Vec<String>, Refused> {
        may_write(with)?;
        let (sha256, file) = rest.split_once("::").ok_or("a hash and a file name are needed")?;
        if sha256.len() != 64 || !sha256.chars().all(|c| c.is_ascii_hexdigit()) {
            return Err("the hash is not a SHA-256 in hexadecimal".to_owned());
        }
        let sha256 = sha256.to_ascii_lowercase();
        let known = with.known.find(&sha256, with.place);
        self.announced = Some((sha256, file.to_owned()));
        Ok(vec![match known {
            Some(name) => format!("FILE_UPLOAD_CACHE_HIT::{}", with.place.path(&name)),
            None => "FILE_UPLOAD_READY".to_owned(),
        }])
    }

    async fn start(&mut self, rest: &str, with: &Uploads<'_>) -> Result<Vec<String>, Refused> {
        // An unfinished one before it is dropped, and its file with it. Bytes belong to this one
        // from now on, also where it is refused.
        self.state = State::Skipping;
        may_write(with)?;
        let parts: Vec<_> = rest.split("::").collect();
        let [file, size, folder, make_folder] = parts[..] else {
            return Err("file name, size, folder and 0 or 1 are needed, with :: between".to_owned());
        };
        let size: u64 = size.parse().map_err(|_| "the size is no whole number of bytes")?;
        let name = target(with.place, file, folder, make_folder == "1")?;
        let mut files = LegacyFiles::new(with.serving.clone());
        let meta = format!("FILE_META::{name}:{size}:False", name = name.as_str());
        for event in files.text(&meta).await {
            if let LegacyEvent::Refused(failure) = event {
                return Err(format!("Cannot open file for writing: {failure}"));
            }
        }
        let announced = self.announced.take().filter(|(_, announced)| announced == file);
        self.state = State::Open(Box::new(Open {
            files,
            name,
            size,
            received: 0,
            hash: digest::Context::new(&digest::SHA256),
            sha256: announced.map(|(sha256, _)| sha256),
            told_at: None,
        }));
        Ok(vec!["FILE_UPLOAD_READY".to_owned()])
    }

    async fn end(&mut self, with: &Uploads<'_>) -> Result<Vec<String>, Refused> {
        let open = match std::mem::take(&mut self.state) {
            State::Open(open) => open,
            // Why was said already.
            State::Skipping => return Ok(Vec::new()),
            State::Idle => return Err("no upload was started".to_owned()),
        };
        let Open { mut files, name, size, received, hash, sha256, .. } = *open;
        let found = hex(hash.finish().as_ref());
        if received != size {
            return Err(format!("Size mismatch: expected {size}, got {received}"));
        }
        if let Some(sha256) = sha256
            && sha256 != found
        {
            return Err(format!("SHA-256 mismatch: expected {sha256}, got {found}"));
        }
        for event in files.text("END_OF_FILE").await {
            if let LegacyEvent::Refused(failure) = event {
                return Err(format!("Failed to close file: {failure}"));
            }
        }
        with.known.remember(found, &name, with.place);
        Ok(vec![format!("FILE_UPLOAD_COMPLETE::{}", with.place.path(name.as_str()))])
    }
}

impl Known {
    /// A file with this hash that is still as it came.
    fn find(&self, sha256: &str, place: &Place) -> Option<String> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|file| {
            file.sha256 != sha256 || stands(place, &file.name) == Some((file.size, file.modified))
        });
        known.iter().find(|file| file.sha256 == sha256).map(|file| file.name.clone())
    }

    fn remember(&self, sha256: String, name: &RelativeName, place: &Place) {
        let name = name.as_str().to_owned();
        let Some((size, modified)) = stands(place, &name) else { return };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|file| file.name != name);
        known.push_back(KnownFile { sha256, name, size, modified });
        if known.len() > REMEMBERED {
            known.pop_front();
        }
    }
}

fn stands(place: &Place, name: &str) -> Option<(u64, Option<SystemTime>)> {
    let metadata = place.dir().metadata(name).ok().filter(cap_std::fs::Metadata::is_file)?;
    Some((metadata.len(), metadata.modified().ok().map(cap_std::time::SystemTime::into_std)))
}

fn may_write(with: &Uploads<'_>) -> Result<(), Refused> {
    let info = with.serving.info();
    if info.writable {
        return Ok(());
    }
    Err(format!("Cannot open file for writing: {}", info.hint.unwrap_or_default()))
}

/// Where an uploaded file belongs.
fn target(
    place: &Place,
    file: &str,
    folder: &str,
    make_folder: bool,
) -> Result<RelativeName, Refused> {
    let folder = place.name(folder).map_err(|error| match error {
        Outside::Elsewhere { .. } => "Destination outside configured mounts".to_owned(),
        error @ Outside::NoPath(_) => format!("Cannot open file for writing: {error}"),
    })?;
    let failed = |why: String| format!("Cannot open file for writing: {why}");
    match place.dir().metadata(or_top(&folder)) {
        Ok(found) if found.is_dir() => {}
        Ok(_) => return Err(failed(format!("{} is no folder", place.path(&folder)))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(failed(format!("there is no folder {}", place.path(&folder))));
        }
        // A link that leads out, above all.
        Err(_) => return Err("Destination outside configured mounts".to_owned()),
    }
    if file.contains('/') {
        return Err(failed("the file name has a / in it".to_owned()));
    }
    let folder = if make_folder { below(&folder, DOWNLOADS) } else { folder };
    RelativeName::new(below(&folder, file)).map_err(|error| failed(error.to_string()))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use halyard_client::files::FileRoot;
    use halyard_protocol::{access::Access, ids::PeerId};

    use super::*;

    /// Of `hello`.
    const SHA256: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

    struct Client {
        home: tempfile::TempDir,
        serving: Serving,
        place: Place,
        known: Known,
        upload: Upload,
        now: Instant,
    }

    impl Client {
        fn new(access: Access) -> Self {
            let home = tempfile::tempdir().expect("a folder");
            std::fs::create_dir_all(home.path().join("files/data")).expect("made");
            let root = home.path().join("files");
            std::os::unix::fs::symlink(home.path(), root.join("out")).expect("linked");
            let peer = PeerId::new("ann").expect("a name");
            let files = FileRoot::open_blocking(&root).expect("opened");
            let serving = Serving::folder(Arc::new(files), &peer, access);
            let place = Place::open(&root).expect("opened");
            let (known, upload, now) = (Known::default(), Upload::default(), Instant::now());
            Self { home, serving, place, known, upload, now }
        }

        async fn says(&mut self, text: &str) -> Vec<String> {
            let Self { serving, place, known, now, .. } = self;
            let now = *now;
            self.upload.text(text, &Uploads { serving, place, known, now }).await
        }

        async fn sends(&mut self, bytes: &'static str) -> Vec<String> {
            let Self { serving, place, known, now, .. } = self;
            let now = *now;
            let bytes = Bytes::from_static(bytes.as_bytes());
            self.upload.binary(bytes, &Uploads { serving, place, known, now }).await
        }

        fn path(&self, name: &str) -> String {
            self.home.path().join("files").join(name).display().to_string()
        }

        /// Everything below the folder of files but links.
        fn files(&self) -> Vec<String> {
            let mut found = Vec::new();
            let mut folders = vec![self.home.path().join("files")];
            while let Some(folder) = folders.pop() {
                for entry in std::fs::read_dir(folder).expect("read").flatten() {
                    match entry.file_type().expect("a type") {
                        kind if kind.is_dir() => folders.push(entry.path()),
                        kind if kind.is_file() => found.push(entry.path().display().to_string()),
                        _ => {}
                    }
                }
            }
            found
        }
    }

    #[tokio::test]
    async fn a_file_goes_up_word_for_word_and_is_known_the_next_time() {
        let mut client = Client::new(Access::Operator);
        let check = format!("FILE_UPLOAD_CHECK::{SHA256}::a.pkg.slp");
        assert_eq!(client.says(&check).await, ["FILE_UPLOAD_READY"]);
        let start = format!("FILE_UPLOAD_START::a.pkg.slp::5::{}::1", client.path("data"));
        assert_eq!(client.says(&start).await, ["FILE_UPLOAD_READY"]);
        assert!(client.upload.is_active());
        assert_eq!(client.sends("he").await, ["FILE_UPLOAD_PROGRESS::2::5"]);
        assert!(client.sends("l").await.is_empty(), "not oftener than twice a second");
        client.now += TELL_EVERY;
        assert_eq!(client.sends("lo").await, ["FILE_UPLOAD_PROGRESS::5::5"]);
        let path = client.path("data/sleap_rtc_downloads/a.pkg.slp");
        let complete = format!("FILE_UPLOAD_COMPLETE::{path}");
        assert_eq!(client.says("FILE_UPLOAD_END").await, [complete]);
        assert!(!client.upload.is_active());
        assert_eq!(std::fs::read(&path).expect("there"), b"hello");
        assert_eq!(client.says(&check).await, [format!("FILE_UPLOAD_CACHE_HIT::{path}")]);
        std::fs::write(&path, "other").expect("changed");
        std::fs::File::open(&path)
            .and_then(|file| file.set_modified(SystemTime::UNIX_EPOCH))
            .expect("changed");
        assert_eq!(client.says(&check).await, ["FILE_UPLOAD_READY"], "it is another file by now");
    }

    #[tokio::test]
    async fn what_is_not_what_was_announced_leaves_nothing() {
        for (announced, size, pieces, words) in [
            (SHA256, 5, &["he", "llo!"][..], "Size mismatch: expected 5, got 6 or more"),
            (SHA256, 5, &["hel"], "Size mismatch: expected 5, got 3"),
            (SHA256, 5, &["HELLO"], "SHA-256 mismatch: expected"),
            (SHA256, 0, &[], "SHA-256 mismatch: expected"),
            (SHA256, u64::MAX, &[], "Cannot open file for writing"),
        ] {
            let mut client = Client::new(Access::Operator);
            client.says(&format!("FILE_UPLOAD_CHECK::{announced}::a")).await;
            let start = format!("FILE_UPLOAD_START::a::{size}::{}::0", client.path(""));
            let mut said = client.says(&start).await;
            for piece in pieces {
                said.extend(client.sends(piece).await);
            }
            said.extend(client.says("FILE_UPLOAD_END").await);
            let errors: Vec<_> = said.iter().filter(|line| line.contains("_ERROR::")).collect();
            assert_eq!(errors.len(), 1, "{said:?}");
            assert!(errors[0].starts_with(&format!("FILE_UPLOAD_ERROR::{words}")), "{said:?}");
            assert!(client.files().is_empty(), "{:?}", client.files());
        }
    }

    #[tokio::test]
    async fn no_name_leads_out_of_the_folder() {
        for (file, folder, words) in [
            ("a", "/etc", "Destination outside configured mounts"),
            ("a", "out", "Destination outside configured mounts"),
            ("a", "..", "Destination outside configured mounts"),
            ("a", "nothing", "Cannot open file for writing: there is no folder"),
            ("../a", "data", "Cannot open file for writing: the file name has a /"),
            ("/etc/a", "data", "Cannot open file for writing: the file name has a /"),
            ("..", "data", "Cannot open file for writing"),
            ("", "data", "Cannot open file for writing"),
            ("a.part", "data", "Cannot open file for writing"),
            ("out", ".", "Cannot open file for writing"),
        ] {
            let mut client = Client::new(Access::Operator);
            let said = client.says(&format!("FILE_UPLOAD_START::{file}::5::{folder}::0")).await;
            let said = if said == ["FILE_UPLOAD_READY"] {
                client.sends("hello").await;
                client.says("FILE_UPLOAD_END").await
            } else {
                said
            };
            if file == "out" {
                // The link itself is replaced, and nothing behind it.
                assert!(said[0].starts_with("FILE_UPLOAD_COMPLETE"), "{said:?}");
                assert!(client.home.path().is_dir());
                continue;
            }
            assert!(
                said[0].starts_with(&format!("FILE_UPLOAD_ERROR::{words}")),
                "{file}: {said:?}"
            );
            assert!(client.sends("hello").await.is_empty(), "its bytes pass by");
            assert!(client.says("FILE_UPLOAD_END").await.is_empty(), "why was said already");
            assert!(client.files().is_empty());
            assert!(!client.home.path().join("a").exists());
        }
    }

    #[tokio::test]
    async fn words_in_the_wrong_order_are_answered_and_do_no_harm() {
        let mut client = Client::new(Access::Operator);
        let error = |said: Vec<String>| said[0].starts_with("FILE_UPLOAD_ERROR::");
        assert!(error(client.says("FILE_UPLOAD_END").await));
        assert!(error(client.says("FILE_UPLOAD_CHECK").await));
        assert!(error(client.says("FILE_UPLOAD_CHECK::abc::a").await));
        assert!(error(client.says("FILE_UPLOAD_START::a::5").await));
        assert!(error(client.says("FILE_UPLOAD_START::a::-5::data::0").await));
        // A second start drops the first, unfinished one.
        for file in ["a", "b"] {
            let said = client.says(&format!("FILE_UPLOAD_START::{file}::5::data::0")).await;
            assert_eq!(said, ["FILE_UPLOAD_READY"]);
        }
        client.sends("hello").await;
        client.says("FILE_UPLOAD_END").await;
        assert_eq!(client.files(), [client.path("data/b")]);
    }

    #[tokio::test]
    async fn viewers_bring_nothing() {
        let mut client = Client::new(Access::Viewer);
        for word in [
            format!("FILE_UPLOAD_CHECK::{SHA256}::a"),
            format!("FILE_UPLOAD_START::a::5::{}::0", client.path("data")),
        ] {
            let said = client.says(&word).await;
            assert!(said[0].starts_with("FILE_UPLOAD_ERROR::Cannot open"), "{said:?}");
        }
        assert!(client.sends("hello").await.is_empty());
        assert!(client.files().is_empty());
    }
}
