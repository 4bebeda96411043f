//! Questions about files, both ways: what is in this folder, and please send me this file.

use std::{sync::Arc, time::Duration};

use halyard_protocol::{
    channel::{FileEntries, FileError, FileErrorCode, FileGet, FileList, Message},
    transfer::{Failure, RelativeName},
};
use tokio::sync::oneshot;

use super::{
    Transfer, TransferError, blocking,
    incoming::Destination,
    transfers::{Get, Shared},
};

/// How long the other end may take to list a folder or open a file.
const ANSWER_WITHIN: Duration = Duration::from_mins(1);

impl Shared {
    pub(super) fn answer_list(self: &Arc<Self>, question: FileList) {
        let FileList { id, path, offset } = question;
        match self.serving.may_list() {
            Err(failure) => self.reply_failed(id, failure),
            Ok(store) => {
                let asked = path.clone();
                self.answer(
                    id.clone(),
                    move || store.list(&asked, offset),
                    move |listing| {
                        let reached = offset.saturating_add(listing.entries.len() as u64);
                        let more = reached < listing.total && !listing.entries.is_empty();
                        let (entries, total) = (listing.entries, listing.total);
                        Ok(Some(Message::FileEntries(FileEntries {
                            id,
                            path,
                            entries,
                            total,
                            more,
                        })))
                    },
                );
            }
        }
    }

    pub(super) fn answer_get(self: &Arc<Self>, question: FileGet) {
        let FileGet { id, path } = question;
        let opened =
            self.serving.may_read().and_then(|store| Ok((store, RelativeName::new(path)?)));
        match opened {
            Err(failure) => self.reply_failed(id, failure),
            Ok((store, name)) => {
                let opening = name.clone();
                let shared = self.clone();
                self.answer(
                    id.clone(),
                    move || store.open(&opening),
                    move |source| {
                        // The offer itself is the answer.
                        shared.start_outgoing(source, name, Some(id)).map(|_| None)
                    },
                );
            }
        }
    }

    /// Finds an answer on a blocking thread and gives it, or the reason why there is none.
    fn answer<T: Send + 'static>(
        self: &Arc<Self>,
        id: String,
        find: impl FnOnce() -> Result<T, Failure> + Send + 'static,
        answer: impl FnOnce(T) -> Result<Option<Message>, Failure> + Send + 'static,
    ) {
        let Ok(permit) = self.questions.clone().try_acquire_owned() else {
            return tracing::warn!("a question about files was dropped: too many at a time");
        };
        let shared = self.clone();
        self.spawn(async move {
            let looking = tokio::select! {
                biased;
                () = shared.stop.cancelled() => return,
                looking = shared.looking.lock() => looking,
            };
            let Some(found) = blocking::run(find).await else { return };
            drop(looking);
            let said = match found.and_then(answer) {
                Ok(Some(message)) => shared.say(message).await,
                Ok(None) => Ok(()),
                Err(failure) => shared.say(failed(id, failure)).await,
            };
            // Closed: nobody is left to answer.
            let _ = said;
            drop(permit);
        });
    }

    fn reply_failed(self: &Arc<Self>, id: String, failure: Failure) {
        self.reply(failed(id, failure));
    }

    pub(super) async fn list(&self, path: &str, offset: u64) -> Result<FileEntries, TransferError> {
        let (answer, answered) = oneshot::channel();
        let id = {
            let mut table = self.table();
            let id = table.next_question("list");
            table.lists.insert(id.clone(), answer);
            id
        };
        let question = FileList { id: id.clone(), path: path.to_owned(), offset };
        let listed = self.asked(Message::FileList(question), answered).await;
        self.table().lists.remove(&id);
        listed
    }

    pub(super) async fn get(
        &self,
        path: &RelativeName,
        destination: Destination,
    ) -> Result<Transfer, TransferError> {
        let (started, answered) = oneshot::channel();
        let id = {
            let mut table = self.table();
            let id = table.next_question("get");
            table.gets.insert(id.clone(), Get { destination, started });
            id
        };
        let question = FileGet { id: id.clone(), path: path.as_str().to_owned() };
        let offered = self.asked(Message::FileGet(question), answered).await;
        self.table().gets.remove(&id);
        offered
    }

    async fn asked<T>(
        &self,
        question: Message,
        answered: oneshot::Receiver<Result<T, TransferError>>,
    ) -> Result<T, TransferError> {
        self.say(question).await.map_err(|_| TransferError::Cut)?;
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(TransferError::Cut),
            answer = answered => answer.unwrap_or(Err(TransferError::Cut)),
            () = tokio::time::sleep(ANSWER_WITHIN) => Err(Failure::new(
                FileErrorCode::Protocol,
                format!("the other end did not answer within {} s; try again", ANSWER_WITHIN.as_secs()),
            ).into()),
        }
    }

    pub(super) fn listed(&self, answer: FileEntries) {
        if let Some(waiting) = self.table().lists.remove(&answer.id) {
            let _ = waiting.send(Ok(answer));
        }
    }

    pub(super) fn question_failed(&self, answer: FileError) {
        let mut table = self.table();
        let failure = TransferError::Failed(Failure::new(answer.code, answer.message));
        if let Some(waiting) = table.lists.remove(&answer.id) {
            let _ = waiting.send(Err(failure));
        } else if let Some(get) = table.gets.remove(&answer.id) {
            let _ = get.started.send(Err(failure));
        }
    }
}

fn failed(id: String, failure: Failure) -> Message {
    Message::FileError(FileError { id, code: failure.code, message: failure.message })
}
