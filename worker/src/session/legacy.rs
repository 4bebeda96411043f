//! An existing client: everything on its one channel.
//!
//! It sends a file as `FILE_META::name:size:hint`, raw bytes, `END_OF_FILE`, and takes one in the
//! same words. Its protocol has no word to ask for a file, so there is one of ours:
//! `FILE_REQUEST::path`. What cannot be done is said in a plain line, which such clients show as a
//! line of the worker's log.

use std::sync::Arc;

use bytes::Bytes;
use halyard_client::{
    files::{FileRoot, Store},
    peer::Peer,
    transfer::{LegacyEvent, LegacyFiles, Serving, send_legacy},
};
use halyard_protocol::{
    access::Access,
    channel::{Message, legacy::LegacyMessage},
    ids::PeerId,
    transfer::RelativeName,
};
use tokio::task::JoinHandle;

use super::{hello::NO_FILES, legacy_jobs::LegacyJobs};
use crate::{jobs::JobsHandle, machine::Asker};

/// Our word for "send me this file".
pub const FILE_REQUEST: &str = "FILE_REQUEST";

/// What stands before every line that is meant for people.
pub(super) const SPEAKER: &str = "halyard:";

/// One existing client.
pub(super) struct Legacy {
    peer: Peer,
    asker: Asker,
    root: Option<FileRoot>,
    files: LegacyFiles,
    jobs: LegacyJobs,
    sending: Option<JoinHandle<()>>,
}

impl Legacy {
    pub(super) fn new(
        peer: Peer,
        root: Option<FileRoot>,
        jobs: Option<JobsHandle>,
        asker: Asker,
    ) -> Self {
        let jobs = LegacyJobs::new(peer.clone(), asker.clone(), jobs);
        let files = LegacyFiles::new(serving(root.as_ref(), &asker.peer, asker.access));
        Self { peer, asker, root, files, jobs, sending: None }
    }

    /// It said something. Gives back the lines to answer with. Waits for the disk.
    pub(super) async fn text(&mut self, text: String) -> Vec<String> {
        if let Some(lines) = self.jobs.text(&text).await {
            return lines;
        }
        let events = self.files.text(&text).await;
        self.answers(events)
    }

    /// It sent bytes of a file. Waits for the disk, which is what slows its sender down.
    pub(super) async fn binary(&mut self, bytes: Bytes) -> Vec<String> {
        let events = self.files.binary(bytes).await;
        self.answers(events)
    }

    /// Stops what is being sent.
    pub(super) async fn close(mut self) {
        if let Some(task) = self.sending.take() {
            task.abort();
            let _ = task.await;
        }
    }

    fn answers(&mut self, events: Vec<LegacyEvent>) -> Vec<String> {
        events.into_iter().filter_map(|event| self.answer(event)).collect()
    }

    fn answer(&mut self, event: LegacyEvent) -> Option<String> {
        let peer = &self.asker.peer;
        match event {
            LegacyEvent::Receiving { name, size, .. } => {
                tracing::info!(%peer, file = %name, size, "receiving");
                None
            }
            LegacyEvent::Received { name, size } => {
                tracing::info!(%peer, file = %name, size, "received");
                Some(format!("{SPEAKER} received {name} ({size} bytes)"))
            }
            LegacyEvent::Refused(failure) => {
                tracing::info!(%peer, %failure, "a file was refused");
                Some(format!("{SPEAKER} the file was refused: {failure}"))
            }
            LegacyEvent::Other(LegacyMessage::Other(text)) => match text.split_once("::") {
                Some((FILE_REQUEST, path)) => self.send(path),
                _ => match Message::decode(&text) {
                    Ok(Message::FileGet(get)) => self.send(&get.path),
                    _ => Some(not_understood(&text)),
                },
            },
            LegacyEvent::Other(message) => Some(not_understood(&message.encode())),
        }
    }

    /// Sends one file. Gives back a line when it is not going to.
    fn send(&mut self, path: &str) -> Option<String> {
        let refused = |why: String| Some(format!("{SPEAKER} the file was refused: {why}"));
        let Some(root) = self.root.clone() else {
            return refused(format!("no files are served here: {NO_FILES}"));
        };
        if !self.asker.access.may_operate() {
            return refused("fetching files needs the operator's token".into());
        }
        if self.sending.as_ref().is_some_and(|task| !task.is_finished()) {
            return refused("another file is on its way; ask again when it is done".into());
        }
        let name = match RelativeName::new(path) {
            Ok(name) => name,
            Err(error) => return refused(error.to_string()),
        };
        let (wire, peer) = (self.peer.clone(), self.asker.peer.clone());
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
            let line = format!("{SPEAKER} the file was refused: {words}");
            if let Err(error) = wire.send_legacy_text(line).await {
                tracing::debug!(%peer, %error, "a line was not sent");
            }
        }));
        None
    }
}

impl Drop for Legacy {
    fn drop(&mut self) {
        if let Some(task) = &self.sending {
            task.abort();
        }
    }
}

fn serving(root: Option<&FileRoot>, peer: &PeerId, access: Access) -> Serving {
    match root {
        Some(root) => Serving::folder(Arc::new(root.clone()), peer, access),
        None => Serving::nothing(NO_FILES),
    }
}

fn not_understood(text: &str) -> String {
    let word: String = text
        .split("::")
        .next()
        .unwrap_or_default()
        .chars()
        .take(64)
        .filter(|c| !c.is_control())
        .collect();
    format!(
        "{SPEAKER} {word:?} is not done here; this worker takes files (FILE_META::name:size, bytes, \
         END_OF_FILE) and sends them ({FILE_REQUEST}::path)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_understood_is_answered_with_what_is() {
        let line = not_understood("ZMQ_CTRL::{\"command\":\"stop\"}");
        assert!(line.starts_with("halyard: \"ZMQ_CTRL\" is not done here"), "{line}");
        assert!(line.contains("FILE_REQUEST::path"));
        assert!(not_understood(&"x".repeat(100_000)).len() < 300);
    }
}
