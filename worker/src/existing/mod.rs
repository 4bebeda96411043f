//! An existing client: everything on its one channel, in its own words.
//!
//! [`Existing`] is the seam to the session: what comes goes in, lines to answer with come out, and
//! what takes long is told on the channel by tasks of its own.
//!
//! * [`gate`] lets nothing through before a shared [`secret`] was proved, where there is one.
//! * [`fs`] looks at the worker's files, [`upload`] takes some; [`place`] is how clients name them.
//! * [`spec`] makes steps of a submitted job, [`script`] of a [`package`]'s script; both only ever
//!   name templates that the worker's owner wrote.
//! * [`jobs`] queues and follows them, [`words`] tells what happens.
//! * [`requests`] answers what clients ask by way of the broker.
//!
//! What cannot be done is said in a plain line that begins with `halyard:`, which such clients show
//! as a line of the worker's log. Such a line never holds `::`: clients look for their words
//! anywhere in it.

mod config;
mod follow;
mod fs;
mod gate;
mod jobs;
mod package;
mod place;
pub mod requests;
mod script;
mod secret;
mod spec;
mod upload;
mod words;

use std::{path::Path, sync::Arc, time::Instant};

use bytes::Bytes;
use halyard_client::{
    files::{FileRoot, Store},
    peer::Peer,
    transfer::{LegacyEvent, LegacyFiles, Serving, send_legacy},
};
use halyard_protocol::{
    channel::{Message, legacy::LegacyMessage},
    ids::PeerId,
    transfer::RelativeName,
};
pub(crate) use jobs::{PACKAGES, is_fresh_folder};
pub use secret::{NoSecret, Secret};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::task::AbortOnDropHandle;

use self::{
    fs::Desk,
    gate::{Gate, Heard},
    jobs::{Jobs, fresh_folder},
    package::{Said, is_zip},
    place::{Place, below},
    requests::Offer,
    upload::{Known, Upload, Uploads},
};
use crate::{jobs::JobsHandle, machine::Asker, session::hello::NO_FILES};

/// Our word for "send me this file": existing clients have none.
pub const FILE_REQUEST: &str = "FILE_REQUEST";

/// What stands before every line that is meant for people.
pub(crate) const SPEAKER: &str = "halyard:";

/// Questions about files that wait for their answers.
const QUESTIONS: usize = 32;

/// What all existing clients of a worker share.
#[derive(Debug, Clone, Default)]
pub struct Common {
    secret: Option<Secret>,
    place: Option<Place>,
    known: Arc<Known>,
    offer: Offer,
}

impl Common {
    /// A worker with this folder of files, this secret and these jobs. Blocks.
    pub fn open(
        files: Option<&Path>,
        secret: Option<Secret>,
        offer: Offer,
    ) -> std::io::Result<Self> {
        let place = files.map(Place::open).transpose()?;
        Ok(Self { secret, place, known: Arc::default(), offer })
    }

    /// What it has to offer, whether or not it is busy.
    pub fn offer(&self) -> Offer {
        self.offer
    }
}

/// What one existing client needs of its session.
pub(crate) struct Around {
    pub(crate) peer: Peer,
    pub(crate) asker: Asker,
    /// What the worker is called in the room.
    pub(crate) own_id: PeerId,
    pub(crate) root: Option<FileRoot>,
    pub(crate) serving: Serving,
    pub(crate) jobs: Option<JobsHandle>,
    pub(crate) common: Common,
}

/// One existing client.
pub(crate) struct Existing {
    around: Around,
    serving: Serving,
    gate: Gate,
    files: LegacyFiles,
    upload: Upload,
    jobs: Jobs,
    said: Said,
    /// Where the package that is coming belongs: its folder and its name.
    coming: Option<(String, String)>,
    /// What `USE_WORKER_PATH` chose.
    chosen: Option<String>,
    desk: Option<Desk>,
    questions: Option<(mpsc::Sender<String>, AbortOnDropHandle<()>)>,
    sending: Option<JoinHandle<()>>,
}

impl Existing {
    /// A channel of this label has just opened. Gives back what to say first.
    pub(crate) fn new(around: Around, label: &str) -> (Self, Vec<String>) {
        let secret = around.common.secret.as_ref();
        let (gate, first) = Gate::new(secret, label, rand::random(), Instant::now());
        let asker = &around.asker;
        let serving = around.serving.clone();
        let files = around.root.as_ref().zip(around.common.place.as_ref());
        let desk = files
            .map(|(root, place)| Desk::new(root.clone(), place.clone(), around.own_id.to_string()));
        let jobs = Jobs::new(&around.peer, asker, around.jobs.clone(), files, &serving);
        let existing = Self {
            gate,
            files: LegacyFiles::new(serving.clone()),
            upload: Upload::default(),
            jobs,
            said: Said::default(),
            coming: None,
            chosen: None,
            desk,
            questions: None,
            sending: None,
            serving,
            around,
        };
        (existing, first.into_iter().collect())
    }

    /// Waits until the client has taken too long to prove its secret; then what to say.
    pub(crate) async fn overdue(&mut self) -> Vec<String> {
        let Some(until) = self.gate.until() else { return std::future::pending().await };
        tokio::time::sleep_until(until.into()).await;
        self.gate.time_is_up().into_iter().collect()
    }

    /// It said something. Gives back the lines to answer with. Waits for the disk.
    pub(crate) async fn text(&mut self, text: String) -> Vec<String> {
        match self.gate.text(&text, Instant::now()) {
            Heard::Pass => {}
            Heard::Answer(line) => {
                tracing::info!(peer = %self.around.asker.peer, answer = line, "a secret was asked for");
                return vec![line];
            }
            Heard::Drop => return Vec::new(),
        }
        let (word, rest) = text.split_once("::").unwrap_or((&text, ""));
        match word {
            "JOB_SUBMIT" => self.jobs.submit(rest).await,
            "JOB_CANCEL" => self.jobs.end(true).await,
            "JOB_STOP" => self.jobs.end(false).await,
            "CONTROL_COMMAND" | "ZMQ_CTRL" => self.jobs.control(rest).await,
            "PACKAGE_TYPE" => self.package_type(rest),
            "OUTPUT_DIR" => self.output_dir(rest),
            "USE_WORKER_PATH" => self.choose(rest).await,
            _ if word.starts_with("FS_") => self.question(text),
            _ if word.starts_with("FILE_UPLOAD_") => self.uploaded(&text).await,
            _ => {
                let text = self.renamed(text);
                let events = self.files.text(&text).await;
                self.answers(events)
            }
        }
    }

    /// It sent bytes of a file. Waits for the disk, which is what slows its sender down.
    pub(crate) async fn binary(&mut self, bytes: Bytes) -> Vec<String> {
        if !self.gate.is_open() {
            return Vec::new();
        }
        if self.upload.is_active()
            && let Some(place) = &self.around.common.place
        {
            let (serving, known) = (&self.serving, &*self.around.common.known);
            let uploads = Uploads { serving, place, known, now: Instant::now() };
            return self.upload.binary(bytes, &uploads).await;
        }
        let events = self.files.binary(bytes).await;
        self.answers(events)
    }

    /// Stops what is being sent.
    pub(crate) async fn close(mut self) {
        if let Some(task) = self.sending.take() {
            task.abort();
            let _ = task.await;
        }
    }

    fn package_type(&mut self, kind: &str) -> Vec<String> {
        let refused = if let Err(why) = self.jobs.teller() {
            Some(why)
        } else {
            let known = self.said.package_type(kind);
            known.is_none().then(|| "packages are for train or track".to_owned())
        };
        refused.map(|why| people(&format!("the package is refused: {why}"))).into_iter().collect()
    }

    fn output_dir(&mut self, name: &str) -> Vec<String> {
        if self.jobs.teller().is_err() {
            // Why is said of the package.
            return Vec::new();
        }
        self.said.output_dir(name);
        match self.chosen.take() {
            Some(path) => self.run_package(path, false, fresh_folder()),
            None => Vec::new(),
        }
    }

    fn run_package(&mut self, from: String, is_ours: bool, folder: String) -> Vec<String> {
        let package = self.said.take(from, is_ours, folder);
        match self.jobs.teller() {
            Ok(teller) => {
                self.jobs.run(teller.clone(), package.run(teller));
                Vec::new()
            }
            Err(why) => vec![people(&format!("the package is refused: {why}"))],
        }
    }

    async fn choose(&mut self, path: &str) -> Vec<String> {
        let refused = |why: &str| vec![format!("WORKER_PATH_ERROR::{why}")];
        if !self.serving.info().readable {
            return refused("the operator's token is needed, on a worker that shares files");
        }
        let Some(desk) = self.desk.clone() else { return refused(NO_FILES) };
        let path = path.to_owned();
        match tokio::task::spawn_blocking(move || desk.choose(&path)).await {
            Ok(chosen) => {
                self.chosen = chosen.name;
                chosen.lines
            }
            Err(_) => refused("the worker is stopping"),
        }
    }

    /// A question about files. A task answers one after another: some take seconds.
    fn question(&mut self, text: String) -> Vec<String> {
        let refused = |why: &str| vec![format!("FS_ERROR::ACCESS_DENIED::{why}")];
        if !self.serving.info().readable {
            return refused("the operator's token is needed, on a worker that shares files");
        }
        let Some(desk) = &self.desk else { return refused(NO_FILES) };
        let (queue, _) = self.questions.get_or_insert_with(|| {
            let (queue, waiting) = mpsc::channel(QUESTIONS);
            let task = tokio::spawn(answer(desk.clone(), self.around.peer.clone(), waiting));
            (queue, AbortOnDropHandle::new(task))
        });
        if queue.try_send(text).is_ok() {
            return Vec::new();
        }
        vec![format!("FS_ERROR::INVALID_REQUEST::{QUESTIONS} of your questions wait already")]
    }

    async fn uploaded(&mut self, text: &str) -> Vec<String> {
        let Some(place) = &self.around.common.place else {
            return vec![format!("FILE_UPLOAD_ERROR::Cannot open file for writing: {NO_FILES}")];
        };
        let (serving, known) = (&self.serving, &*self.around.common.known);
        let uploads = Uploads { serving, place, known, now: Instant::now() };
        self.upload.text(text, &uploads).await
    }

    /// A package gets a folder of its own; other files keep their names.
    fn renamed(&mut self, text: String) -> String {
        if !self.said.is_package() {
            return text;
        }
        let LegacyMessage::FileMeta { name, size, hint } = LegacyMessage::decode(&text) else {
            return text;
        };
        self.said.gui = hint.as_deref().is_some_and(|hint| hint.eq_ignore_ascii_case("true"));
        let folder = fresh_folder();
        let file = name.rsplit(['/', '\\']).next().unwrap_or_default().replace(':', "_");
        let name = below(&folder, &file);
        self.coming = Some((folder, name.clone()));
        LegacyMessage::FileMeta { name, size, hint }.encode()
    }

    fn answers(&mut self, events: Vec<LegacyEvent>) -> Vec<String> {
        events.into_iter().flat_map(|event| self.answer(event)).collect()
    }

    fn answer(&mut self, event: LegacyEvent) -> Vec<String> {
        let peer = &self.around.asker.peer;
        match event {
            LegacyEvent::Receiving { name, size, .. } => {
                tracing::info!(%peer, file = %name, size, "receiving");
                Vec::new()
            }
            LegacyEvent::Received { name, size } => {
                tracing::info!(%peer, file = %name, size, "received");
                let coming = self.coming.take().filter(|(_, coming)| coming == name.as_str());
                match coming {
                    Some((folder, name)) if is_zip(&name) => self.run_package(name, true, folder),
                    Some((folder, _)) => self.no_package(&folder),
                    None => vec![format!("{SPEAKER} received {name} ({size} bytes)")],
                }
            }
            LegacyEvent::Refused(failure) => {
                tracing::info!(%peer, %failure, "a file was refused");
                self.coming = None;
                vec![people(&format!("the file was refused: {failure}"))]
            }
            LegacyEvent::Other(LegacyMessage::Other(text)) => match text.split_once("::") {
                Some((FILE_REQUEST, path)) => self.send(path),
                _ => match Message::decode(&text) {
                    Ok(Message::FileGet(get)) => self.send(&get.path),
                    _ => vec![not_understood(&text)],
                },
            },
            LegacyEvent::Other(message) => vec![not_understood(&message.encode())],
        }
    }

    /// What came is not called like a package. Nothing of it stays.
    fn no_package(&self, folder: &str) -> Vec<String> {
        if let Some(place) = &self.around.common.place
            && let Err(error) = place.dir().remove_dir_all(folder)
        {
            tracing::warn!(%error, folder, "what came instead of a package stays");
        }
        vec![people("the package is refused: it is no .zip")]
    }

    /// Sends one file. Gives back a line when it is not going to.
    fn send(&mut self, path: &str) -> Vec<String> {
        let refused = |why: String| vec![people(&format!("the file was refused: {why}"))];
        let Some(root) = self.around.root.clone() else {
            return refused(format!("no files are served here: {NO_FILES}"));
        };
        if !self.around.asker.access.may_operate() {
            return refused("fetching files needs the operator's token".into());
        }
        if self.sending.as_ref().is_some_and(|task| !task.is_finished()) {
            return refused("another file is on its way; ask again when it is done".into());
        }
        let name = match RelativeName::new(path) {
            Ok(name) => name,
            Err(error) => return refused(error.to_string()),
        };
        let (wire, peer) = (self.around.peer.clone(), self.around.asker.peer.clone());
        self.sending = Some(tokio::spawn(async move {
            let asked = name.clone();
            let opened = tokio::task::spawn_blocking(move || root.open(&asked)).await;
            let words = match opened {
                Ok(Ok(source)) => {
                    match send_legacy(&wire, source, &name, Some("False".into()), |_| {}).await {
                        Ok(sent) => {
                            return tracing::info!(%peer, file = %name, size = sent.size, "sent");
                        }
                        Err(error) => error.to_string(),
                    }
                }
                Ok(Err(failure)) => failure.to_string(),
                Err(_) => "the worker is stopping".to_owned(),
            };
            tracing::info!(%peer, file = %name, reason = %words, "not sent");
            let line = people(&format!("the file was refused: {words}"));
            if let Err(error) = wire.send_legacy_text(line).await {
                tracing::debug!(%peer, %error, "a line was not sent");
            }
        }));
        Vec::new()
    }
}

impl Drop for Existing {
    fn drop(&mut self) {
        if let Some(task) = &self.sending {
            task.abort();
        }
    }
}

/// Answers one question after another.
async fn answer(desk: Desk, peer: Peer, mut waiting: mpsc::Receiver<String>) {
    while let Some(question) = waiting.recv().await {
        let desk = desk.clone();
        let answered = tokio::task::spawn_blocking(move || desk.answer(&question)).await;
        let Ok(answer) = answered else { return };
        if peer.send_legacy_text(answer).await.is_err() {
            return;
        }
    }
}

/// A line for people, without the `::` of words.
fn people(text: &str) -> String {
    // Twice, for three colons in a row leave two of them beside each other.
    format!("{SPEAKER} {}", text.replace("::", ": :").replace("::", ": :"))
}

fn not_understood(text: &str) -> String {
    let word = text.split("::").next().unwrap_or_default();
    let word: String = word.chars().take(64).filter(|c| !c.is_control()).collect();
    people(&format!(
        "{word:?} is not done here; this worker takes files (FILE_META), sends them \
         ({FILE_REQUEST}), and takes packages and jobs (PACKAGE_TYPE, JOB_SUBMIT)"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_understood_is_answered_with_what_is() {
        let line = not_understood("INPUT_FILE::a.slp");
        assert!(line.starts_with("halyard: \"INPUT_FILE\" is not done here"), "{line}");
        assert!(line.contains("FILE_REQUEST") && !line.contains("::"), "{line}");
        assert!(not_understood(&"x".repeat(100_000)).len() < 300);
        for text in ["FILE_META::a:1:b", "a:::b", "::::", ":::::::"] {
            assert!(!people(text).contains("::"), "{text}");
        }
    }
}
