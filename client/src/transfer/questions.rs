//! Questions about files, both ways: what is in this folder, and please send me this file.

use std::{sync::Arc, time::Duration};

use halyard_protocol::{
    channel::{
        Entry, FileDelete, FileDeleted, FileEntries, FileError, FileErrorCode, FileGet, FileGlob,
        FileList, FileStat, FileUnpack, FileUnpacked, Message,
    },
    transfer::{Failure, RelativeName},
};
use tokio::sync::oneshot;

use super::{
    Transfer, TransferError, blocking,
    incoming::Destination,
    transfers::{Get, Shared},
};
use crate::files::{Listing, Store, unpack::Unpacked};

/// How long the other end may take to list a folder or open a file.
const ANSWER_WITHIN: Duration = Duration::from_mins(1);

/// How long it may take to unpack an archive: 64 GiB at the slowest disk that is reckoned with.
const UNPACK_WITHIN: Duration = Duration::from_hours(2);

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
                    move |listing| Ok(Some(page(id, path, offset, listing))),
                );
            }
        }
    }

    pub(super) fn answer_glob(self: &Arc<Self>, question: FileGlob) {
        let FileGlob { id, pattern, offset } = question;
        match self.serving.may_list() {
            Err(failure) => self.reply_failed(id, failure),
            Ok(store) => {
                let asked = pattern.clone();
                self.answer(
                    id.clone(),
                    move || store.glob(&asked, offset),
                    move |listing| Ok(Some(page(id, pattern, offset, listing))),
                );
            }
        }
    }

    pub(super) fn answer_stat(self: &Arc<Self>, question: FileStat) {
        let FileStat { id, path } = question;
        let asked = self.serving.may_list().and_then(|store| {
            let name = RelativeName::folder(path.as_str())?;
            Ok((store, name))
        });
        match asked {
            Err(failure) => self.reply_failed(id, failure),
            Ok((store, name)) => self.answer(
                id.clone(),
                move || store.stat(&name),
                move |entry| {
                    let listing = Listing { entries: vec![entry], total: 1 };
                    Ok(Some(page(id, path, 0, listing)))
                },
            ),
        }
    }

    pub(super) fn answer_delete(self: &Arc<Self>, question: FileDelete) {
        let FileDelete { id, path, recursive } = question;
        let asked = self.serving.may_delete().and_then(|store| {
            if path.is_empty() {
                let words = "the shared folder itself is never deleted: name what is in it";
                return Err(Failure::new(FileErrorCode::BadName, words));
            }
            // Whatever it is called, except for what is on its way.
            let name = RelativeName::new(path.as_str())?;
            Ok((store, name))
        });
        match asked {
            Err(failure) => self.reply_failed(id, failure),
            Ok((store, name)) => {
                tracing::info!(peer = self.serving.peer(), %name, recursive, "a file is deleted");
                self.answer(
                    id.clone(),
                    move || store.delete(&name, recursive),
                    move |()| Ok(Some(Message::FileDeleted(FileDeleted { id, path }))),
                );
            }
        }
    }

    pub(super) fn answer_get(self: &Arc<Self>, question: FileGet) {
        let FileGet { id, path, folder } = question;
        let name = if folder { RelativeName::folder(path) } else { RelativeName::new(path) };
        let opened = self.serving.may_read().and_then(|store| Ok((store, name?)));
        match opened {
            Err(failure) => self.reply_failed(id, failure),
            Ok((store, name)) => {
                let opening = name.clone();
                let shared = self.clone();
                self.answer(
                    id.clone(),
                    move || if folder { store.open_any(&opening) } else { store.open(&opening) },
                    move |source| {
                        // The offer itself is the answer.
                        shared.start_outgoing(source, name, Some(id)).map(|_| None)
                    },
                );
            }
        }
    }

    pub(super) fn answer_unpack(self: &Arc<Self>, question: FileUnpack) {
        let FileUnpack { id, path, into, replace } = question;
        let asked = self.serving.may_write().and_then(|store| {
            Ok((store, RelativeName::new(path)?, RelativeName::folder(into.as_str())?))
        });
        let (store, archive, folder) = match asked {
            Ok(asked) => asked,
            Err(failure) => return self.reply_failed(id, failure),
        };
        let Ok(permit) = self.questions.clone().try_acquire_owned() else {
            return tracing::warn!("a question about files was dropped: too many at a time");
        };
        let shared = self.clone();
        // Beside the other questions, which are not to wait for it.
        self.spawn(async move {
            let said = match shared.unpack_here(store, archive, folder, replace).await {
                Ok(Some(Unpacked { files, bytes, .. })) => {
                    shared.say(Message::FileUnpacked(FileUnpacked { id, into, files, bytes })).await
                }
                Ok(None) => return,
                Err(failure) => shared.say(failed(id, failure)).await,
            };
            // Closed: nobody is left to answer.
            let _ = said;
            drop(permit);
        });
    }

    /// `None` when everything stops.
    async fn unpack_here(
        &self,
        store: Arc<dyn Store>,
        archive: RelativeName,
        folder: RelativeName,
        replace: bool,
    ) -> Result<Option<Unpacked>, Failure> {
        let claim = tokio::select! {
            biased;
            () = self.stop.cancelled() => return Ok(None),
            claim = store.claims().claim(&folder, &self.owner) => claim?,
        };
        let _one_at_a_time = tokio::select! {
            biased;
            () = self.stop.cancelled() => return Ok(None),
            unpacking = self.unpacking.lock() => unpacking,
        };
        let serving = self.serving.clone();
        let unpack = move || serving.unpack(&archive, &folder, replace);
        let unpacked = blocking::run(unpack).await;
        drop(claim);
        unpacked.transpose()
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
        let path = path.to_owned();
        self.entries("list", |id| Message::FileList(FileList { id, path, offset })).await
    }

    pub(super) async fn glob(
        &self,
        pattern: &str,
        offset: u64,
    ) -> Result<FileEntries, TransferError> {
        let pattern = pattern.to_owned();
        self.entries("glob", |id| Message::FileGlob(FileGlob { id, pattern, offset })).await
    }

    pub(super) async fn stat(&self, path: &RelativeName) -> Result<Entry, TransferError> {
        let path = path.to_string();
        let answer = self.entries("stat", |id| Message::FileStat(FileStat { id, path })).await?;
        answer.entries.into_iter().next().ok_or_else(|| {
            let words = "the other end said nothing about it";
            Failure::new(FileErrorCode::Protocol, words).into()
        })
    }

    /// A question that is answered with entries.
    async fn entries(
        &self,
        word: &str,
        question: impl FnOnce(String) -> Message,
    ) -> Result<FileEntries, TransferError> {
        let (answer, answered) = oneshot::channel();
        let id = {
            let mut table = self.table();
            let id = table.next_question(word);
            table.lists.insert(id.clone(), answer);
            id
        };
        let listed = self.asked(question(id.clone()), answered).await;
        self.table().lists.remove(&id);
        listed
    }

    pub(super) async fn unpack(
        &self,
        path: &RelativeName,
        into: &RelativeName,
        replace: bool,
    ) -> Result<FileUnpacked, TransferError> {
        let (answer, answered) = oneshot::channel();
        let id = {
            let mut table = self.table();
            let id = table.next_question("unpack");
            table.unpacks.insert(id.clone(), answer);
            id
        };
        let (path, into) = (path.to_string(), into.to_string());
        let question = Message::FileUnpack(FileUnpack { id: id.clone(), path, into, replace });
        let unpacked = self.asked_within(UNPACK_WITHIN, question, answered).await;
        self.table().unpacks.remove(&id);
        unpacked
    }

    pub(super) async fn delete(
        &self,
        path: &RelativeName,
        recursive: bool,
    ) -> Result<(), TransferError> {
        let (answer, answered) = oneshot::channel();
        let id = {
            let mut table = self.table();
            let id = table.next_question("delete");
            table.deletes.insert(id.clone(), answer);
            id
        };
        let question = FileDelete { id: id.clone(), path: path.to_string(), recursive };
        let deleted = self.asked(Message::FileDelete(question), answered).await;
        self.table().deletes.remove(&id);
        deleted
    }

    pub(super) async fn get(
        &self,
        path: &RelativeName,
        destination: Destination,
    ) -> Result<Transfer, TransferError> {
        let (started, answered) = oneshot::channel();
        let folder = destination.folder.is_some();
        let id = {
            let mut table = self.table();
            let id = table.next_question("get");
            table.gets.insert(id.clone(), Get { destination, started });
            id
        };
        let question = FileGet { id: id.clone(), path: path.as_str().to_owned(), folder };
        let offered = self.asked(Message::FileGet(question), answered).await;
        self.table().gets.remove(&id);
        offered
    }

    async fn asked<T>(
        &self,
        question: Message,
        answered: oneshot::Receiver<Result<T, TransferError>>,
    ) -> Result<T, TransferError> {
        self.asked_within(ANSWER_WITHIN, question, answered).await
    }

    async fn asked_within<T>(
        &self,
        within: Duration,
        question: Message,
        answered: oneshot::Receiver<Result<T, TransferError>>,
    ) -> Result<T, TransferError> {
        self.say(question).await.map_err(|_| TransferError::Cut)?;
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(TransferError::Cut),
            answer = answered => answer.unwrap_or(Err(TransferError::Cut)),
            () = tokio::time::sleep(within) => Err(Failure::new(
                FileErrorCode::Protocol,
                format!("the other end did not answer within {} s; try again", within.as_secs()),
            ).into()),
        }
    }

    pub(super) fn listed(&self, answer: FileEntries) {
        if let Some(waiting) = self.table().lists.remove(&answer.id) {
            let _ = waiting.send(Ok(answer));
        }
    }

    pub(super) fn deleted(&self, answer: &FileDeleted) {
        if let Some(waiting) = self.table().deletes.remove(&answer.id) {
            let _ = waiting.send(Ok(()));
        }
    }

    pub(super) fn unpacked(&self, answer: FileUnpacked) {
        if let Some(waiting) = self.table().unpacks.remove(&answer.id) {
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
        } else if let Some(waiting) = table.deletes.remove(&answer.id) {
            let _ = waiting.send(Err(failure));
        } else if let Some(waiting) = table.unpacks.remove(&answer.id) {
            let _ = waiting.send(Err(failure));
        }
    }
}

fn page(id: String, path: String, offset: u64, listing: Listing) -> Message {
    let Listing { entries, total } = listing;
    let reached = offset.saturating_add(entries.len() as u64);
    let more = reached < total && !entries.is_empty();
    Message::FileEntries(FileEntries { id, path, entries, total, more })
}

fn failed(id: String, failure: Failure) -> Message {
    Message::FileError(FileError { id, code: failure.code, message: failure.message })
}
