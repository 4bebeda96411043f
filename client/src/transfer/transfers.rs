//! Everything about files on one connection.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use halyard_protocol::{
    channel::{
        Chunk, Entry, FileEntries, FileErrorCode, FileUnpacked, Message, TransferId, TransferOffer,
        TransferRefuse,
    },
    limits::MAX_TRANSFERS_PER_PEER,
    transfer::{Failure, RelativeName},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::Instant,
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use super::{
    Direction, Serving, Transfer, TransferError, Wire, WireClosed,
    incoming::{Destination, FolderAs, Inbox, Incoming},
    outgoing::Outgoing,
};
use crate::files::{Owner, Source, Store};

/// Bytes that came and are not written yet, all transfers together. Above, the lane waits, and its
/// flow control slows the sender.
const UNWRITTEN_BYTES: u32 = 24 * 1024 * 1024;

/// What a chunk costs beside its bytes, so that many tiny ones fill the same bound.
const CHUNK_OVERHEAD: usize = 1024;

/// Questions of the other end that are being answered at a time; more are a flood.
const MAX_QUESTIONS: usize = 64;

/// Words of the other end that wait for one transfer. An honest one says three before it listens.
const INBOX: usize = 256;

/// Transfers that the other end started and nobody looked at yet.
const STARTED: usize = 2 * MAX_TRANSFERS_PER_PEER;

/// Everything about files on one connection. Clones are the same; when the last one is dropped, all
/// its transfers stop and unfinished files stay.
#[derive(Clone)]
pub struct Transfers {
    shared: Arc<Shared>,
    _stop: Arc<DropGuard>,
}

/// What the tasks of one connection share.
pub(super) struct Shared {
    pub(super) wire: Arc<dyn Wire>,
    pub(super) serving: Serving,
    pub(super) stop: CancellationToken,
    /// Who sends the next chunk. Its queue is first come, first served: fair shares.
    pub(super) turn: tokio::sync::Mutex<()>,
    pub(super) owner: Owner,
    pub(super) questions: Arc<Semaphore>,
    /// Who looks for an answer on the disk. One at a time: a large folder takes tens of megabytes
    /// while it is sorted.
    pub(super) looking: tokio::sync::Mutex<()>,
    /// Who unpacks an archive.
    pub(super) unpacking: tokio::sync::Mutex<()>,
    unwritten: Arc<Semaphore>,
    tasks: TaskTracker,
    table: Mutex<Table>,
    started: mpsc::Sender<Transfer>,
    epoch: Instant,
}

#[derive(Default)]
pub(super) struct Table {
    last_id: TransferId,
    last_question: u64,
    outgoing: HashMap<TransferId, mpsc::Sender<Message>>,
    incoming: HashMap<TransferId, Inbox>,
    /// Files that this end asked for and that were not offered yet.
    pub(super) gets: HashMap<String, Get>,
    /// Folders, names and patterns that this end asked about.
    pub(super) lists: HashMap<String, oneshot::Sender<Result<FileEntries, TransferError>>>,
    /// What this end asked to be removed.
    pub(super) deletes: HashMap<String, oneshot::Sender<Result<(), TransferError>>>,
    /// Archives that this end asked to be unpacked.
    pub(super) unpacks: HashMap<String, oneshot::Sender<Result<FileUnpacked, TransferError>>>,
}

/// A file that this end asked for: where it goes, and who waits for it.
pub(super) struct Get {
    pub(super) destination: Destination,
    pub(super) started: oneshot::Sender<Result<Transfer, TransferError>>,
}

/// A chunk on its way to the disk, and its share of the bound.
pub(super) struct Arrived {
    pub(super) chunk: Chunk,
    _share: OwnedSemaphorePermit,
}

impl Transfers {
    /// Files on this connection. The receiver yields every transfer that the *other* end starts, to
    /// be watched and logged; those that nobody takes from it go on all the same.
    ///
    /// Must be called inside a tokio runtime.
    pub fn new(wire: Arc<dyn Wire>, serving: Serving) -> (Self, mpsc::Receiver<Transfer>) {
        static CONNECTIONS: AtomicU64 = AtomicU64::new(0);

        let (started, started_seen) = mpsc::channel(STARTED);
        let stop = CancellationToken::new();
        let owner = Owner {
            peer: serving.peer().to_owned(),
            connection: CONNECTIONS.fetch_add(1, Ordering::Relaxed),
        };
        let shared = Shared {
            wire,
            serving,
            stop: stop.clone(),
            turn: tokio::sync::Mutex::new(()),
            owner,
            questions: Arc::new(Semaphore::new(MAX_QUESTIONS)),
            looking: tokio::sync::Mutex::new(()),
            unpacking: tokio::sync::Mutex::new(()),
            unwritten: Arc::new(Semaphore::new(UNWRITTEN_BYTES as usize)),
            tasks: TaskTracker::new(),
            table: Mutex::default(),
            started,
            epoch: Instant::now(),
        };
        let transfers = Self { shared: Arc::new(shared), _stop: Arc::new(stop.drop_guard()) };
        (transfers, started_seen)
    }

    /// Offers a file to the other end, to be kept there as `name`.
    ///
    /// Fails at once when too many are on their way already.
    pub fn send(
        &self,
        source: Box<dyn Source>,
        name: RelativeName,
    ) -> Result<Transfer, TransferError> {
        Ok(self.shared.clone().start_outgoing(source, name, None)?)
    }

    /// Asks the other end for a file, to be kept in `store` as `name`. Returns once it is offered.
    pub async fn get(
        &self,
        path: &RelativeName,
        store: Arc<dyn Store>,
        name: RelativeName,
    ) -> Result<Transfer, TransferError> {
        self.shared.get(path, Destination { store, name, folder: None, counts: false }).await
    }

    /// Asks the other end for a file or a folder. Of a folder, `replace` says whether it may take
    /// the place of one that is there.
    pub async fn get_any(
        &self,
        path: &RelativeName,
        store: Arc<dyn Store>,
        name: RelativeName,
        replace: bool,
    ) -> Result<Transfer, TransferError> {
        let folder = Some(FolderAs { replace });
        self.shared.get(path, Destination { store, name, folder, counts: false }).await
    }

    /// Asks the other end for one page of a folder; an empty path is the top.
    pub async fn list(&self, path: &str, offset: u64) -> Result<FileEntries, TransferError> {
        self.shared.list(path, offset).await
    }

    /// Asks the other end what one file or folder is.
    pub async fn stat(&self, path: &RelativeName) -> Result<Entry, TransferError> {
        self.shared.stat(path).await
    }

    /// Asks the other end for one page of what is named like this; the names are whole paths.
    pub async fn glob(&self, pattern: &str, offset: u64) -> Result<FileEntries, TransferError> {
        self.shared.glob(pattern, offset).await
    }

    /// Asks the other end to remove a file or a folder; one with something in it only where
    /// `recursive` says so.
    pub async fn delete(&self, path: &RelativeName, recursive: bool) -> Result<(), TransferError> {
        self.shared.delete(path, recursive).await
    }

    /// Asks the other end to make the folder `into` of one of its archives.
    pub async fn unpack(
        &self,
        path: &RelativeName,
        into: &RelativeName,
        replace: bool,
    ) -> Result<FileUnpacked, TransferError> {
        self.shared.unpack(path, into, replace).await
    }

    /// Takes a message from `control`. Never waits. What is not about files is given back.
    pub fn message(&self, message: Message) -> Option<Message> {
        let shared = &self.shared;
        match message {
            Message::TransferOffer(offer) => shared.offered(&offer),
            Message::TransferAccept(ref word) => shared.to_outgoing(word.transfer, message),
            Message::TransferProgress(ref word) => shared.to_outgoing(word.transfer, message),
            Message::TransferDone(ref word) => shared.to_outgoing(word.transfer, message),
            Message::TransferRefuse(ref word) => shared.to_outgoing(word.transfer, message),
            Message::TransferEnd(ref word) => shared.to_incoming(word.transfer, message),
            Message::TransferCancel(ref word) => shared.to_incoming(word.transfer, message),
            Message::FileList(question) => shared.answer_list(question),
            Message::FileStat(question) => shared.answer_stat(question),
            Message::FileGlob(question) => shared.answer_glob(question),
            Message::FileDelete(question) => shared.answer_delete(question),
            Message::FileDeleted(answer) => shared.deleted(&answer),
            Message::FileUnpack(question) => shared.answer_unpack(question),
            Message::FileUnpacked(answer) => shared.unpacked(answer),
            Message::FileGet(question) => shared.answer_get(question),
            Message::FileEntries(answer) => shared.listed(answer),
            Message::FileError(answer) => shared.question_failed(answer),
            other => return Some(other),
        }
        None
    }

    /// Takes a binary message from `bulk`. Waits while much is not written yet: call it from a task
    /// that reads nothing but that lane.
    pub async fn chunk(&self, message: Bytes) {
        let chunk = match Chunk::decode(message) {
            Ok(chunk) => chunk,
            Err(error) => return tracing::debug!(%error, "a binary message was not taken"),
        };
        // Bytes of a transfer that was refused are still on their way for a while.
        let Some(inbox) = self.shared.table().incoming.get(&chunk.transfer).cloned() else {
            return;
        };
        let cost = u32::try_from(chunk.bytes.len() + CHUNK_OVERHEAD).unwrap_or(UNWRITTEN_BYTES);
        let share = tokio::select! {
            share = self.shared.unwritten.clone().acquire_many_owned(cost) => share,
            () = self.shared.stop.cancelled() => return,
        };
        if let Ok(share) = share {
            // Gone in between: the bytes are not wanted any more.
            let _ = inbox.chunks.send(Arrived { chunk, _share: share }).await;
        }
    }

    /// What to tell the other end in `HELLO::`.
    pub fn info(&self) -> halyard_protocol::channel::FilesInfo {
        self.shared.serving.info()
    }

    /// Stops everything, keeps unfinished files, and waits until they are closed.
    pub async fn close(&self) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}

impl Shared {
    pub(super) fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Time since this connection began, for the pure machines.
    pub(super) fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    /// Returns at such a time; never for `None`.
    pub(super) async fn until(&self, deadline: Option<Duration>) {
        match deadline {
            Some(deadline) => tokio::time::sleep_until(self.epoch + deadline).await,
            None => std::future::pending().await,
        }
    }

    /// Says something, unless everything stops first.
    pub(super) async fn say(&self, message: Message) -> Result<(), WireClosed> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(WireClosed),
            said = self.wire.control(message) => said,
        }
    }

    /// Runs a task that [`Transfers::close`] waits for.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    pub(super) fn start_outgoing(
        self: Arc<Self>,
        source: Box<dyn Source>,
        name: RelativeName,
        request: Option<String>,
    ) -> Result<Transfer, Failure> {
        let (inbox, words) = mpsc::channel(INBOX);
        let transfer = {
            let mut table = self.table();
            if table.outgoing.len() >= MAX_TRANSFERS_PER_PEER {
                return Err(too_many());
            }
            let id = table.next_id();
            table.outgoing.insert(id, inbox);
            id
        };
        let offer = TransferOffer {
            transfer,
            name: name.as_str().to_owned(),
            size: source.size(),
            modified_ms: source.modified_ms(),
            request,
            folder: source.folder(),
        };
        let (handle, reporter) = Transfer::new(transfer, Direction::Outgoing, name, offer.size);
        if offer.request.is_some() {
            let _ = self.started.try_send(handle.clone());
        }
        let shared = self.clone();
        let task = Outgoing { shared: self.clone(), reporter, words, inputs: Vec::new() };
        self.spawn(async move {
            task.run(offer, source).await;
            shared.table().outgoing.remove(&transfer);
        });
        Ok(handle)
    }

    fn offered(self: &Arc<Self>, offer: &TransferOffer) {
        if let Err(failure) = self.clone().start_incoming(offer.clone()) {
            self.refuse(offer.transfer, failure);
        }
    }

    fn start_incoming(self: Arc<Self>, offer: TransferOffer) -> Result<(), Failure> {
        let transfer = offer.transfer;
        let (control, words) = mpsc::channel(INBOX);
        let (chunks, arrived) = mpsc::channel(INBOX);
        let (destination, waiting) = {
            let mut table = self.table();
            if let Some(inbox) = table.incoming.get(&transfer) {
                // Its task refuses it: which of the two is meant can no longer be told.
                let _ = inbox.control.try_send(Message::TransferOffer(offer));
                return Ok(());
            }
            if table.incoming.len() >= MAX_TRANSFERS_PER_PEER {
                return Err(too_many());
            }
            let asked = offer.request.as_ref().and_then(|request| table.gets.remove(request));
            let (destination, waiting) = if let Some(get) = asked {
                // Where it goes was settled by the question, whatever name is offered.
                (get.destination, Some(get.started))
            } else {
                let store = self.serving.may_write()?;
                let name = match offer.folder {
                    Some(_) => RelativeName::folder(offer.name.as_str()),
                    None => RelativeName::new(offer.name.as_str()),
                };
                let folder = offer.folder.map(|folder| FolderAs { replace: folder.replace });
                (Destination { store, name: name?, folder, counts: true }, None)
            };
            table.incoming.insert(transfer, Inbox { control, chunks });
            (destination, waiting)
        };
        let name = destination.name.clone();
        let (handle, reporter) = Transfer::new(transfer, Direction::Incoming, name, offer.size);
        match waiting {
            Some(waiting) => {
                if waiting.send(Ok(handle.clone())).is_err() {
                    // Whoever asked has gone.
                    handle.cancel();
                }
            }
            None => {
                let _ = self.started.try_send(handle);
            }
        }
        let shared = self.clone();
        let task = Incoming { shared: self.clone(), reporter, words, arrived };
        self.spawn(async move {
            task.run(offer, destination).await;
            shared.table().incoming.remove(&transfer);
        });
        Ok(())
    }

    fn refuse(self: &Arc<Self>, transfer: TransferId, failure: Failure) {
        let Failure { code, message } = failure;
        tracing::debug!(transfer, ?code, "an offered file was refused");
        self.reply(Message::TransferRefuse(TransferRefuse { transfer, code, message }));
    }

    /// Answers without waiting here. A peer that floods and does not listen gets no answer.
    pub(super) fn reply(self: &Arc<Self>, message: Message) {
        let Ok(permit) = self.questions.clone().try_acquire_owned() else {
            return tracing::warn!("an answer about files was dropped: too many at a time");
        };
        let shared = self.clone();
        self.spawn(async move {
            let _ = shared.say(message).await;
            drop(permit);
        });
    }

    fn to_outgoing(&self, transfer: TransferId, message: Message) {
        let table = self.table();
        let Some(inbox) = table.outgoing.get(&transfer) else { return };
        if inbox.try_send(message).is_err() {
            tracing::warn!(transfer, "a word about a file was dropped: too many at a time");
        }
    }

    fn to_incoming(&self, transfer: TransferId, message: Message) {
        let table = self.table();
        let Some(inbox) = table.incoming.get(&transfer) else { return };
        if inbox.control.try_send(message).is_err() {
            tracing::warn!(transfer, "a word about a file was dropped: too many at a time");
        }
    }
}

impl Table {
    fn next_id(&mut self) -> TransferId {
        loop {
            self.last_id = self.last_id.wrapping_add(1);
            if !self.outgoing.contains_key(&self.last_id) {
                return self.last_id;
            }
        }
    }

    pub(super) fn next_question(&mut self, word: &str) -> String {
        self.last_question += 1;
        format!("{word}-{}", self.last_question)
    }
}

fn too_many() -> Failure {
    Failure::new(
        FileErrorCode::TooMany,
        format!(
            "{MAX_TRANSFERS_PER_PEER} files are on their way already: wait until one of them is done"
        ),
    )
}
