//! A file on its way to this end.

use std::{sync::Arc, time::Duration};

use halyard_protocol::{
    channel::{FileErrorCode, Message, TransferOffer, TransferRefuse},
    transfer::{Failure, Receiver, ReceiverAction, RelativeName},
};
use tokio::{sync::mpsc, task::JoinHandle};

use super::{
    Finished, TransferError, WireClosed, blocking,
    handle::Reporter,
    outgoing::called_off,
    transfers::{Arrived, Shared},
};
use crate::files::{Charge, Claim, Store, Unfinished};

/// Chunks that are written by one job: about 2 MiB.
const CHUNKS_A_JOB: usize = 32;

/// Pieces that one job may read back of an earlier try, so that it ends soon after somebody called
/// the transfer off.
const READS_A_JOB: usize = 32;

/// Where a file goes.
pub(super) struct Destination {
    pub(super) store: Arc<dyn Store>,
    pub(super) name: RelativeName,
    /// A folder is welcome there.
    pub(super) folder: Option<FolderAs>,
    /// Against the quota of the other end: it was not asked for.
    pub(super) counts: bool,
}

/// How a folder is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct FolderAs {
    /// In the place of one that is there.
    pub(super) replace: bool,
}

/// The way to one incoming transfer. The two lanes may overtake each other anyway.
#[derive(Clone)]
pub(super) struct Inbox {
    pub(super) control: mpsc::Sender<Message>,
    pub(super) chunks: mpsc::Sender<Arrived>,
}

/// One file, until it is whole, failed, or the connection is gone.
pub(super) struct Incoming {
    pub(super) shared: Arc<Shared>,
    pub(super) reporter: Reporter,
    pub(super) words: mpsc::Receiver<Message>,
    pub(super) arrived: mpsc::Receiver<Arrived>,
}

/// What happened.
enum Input {
    Heard(Message),
    Arrived(Vec<Arrived>),
    Synced(u64),
    GaveUp(Failure),
    Tick,
}

/// The receiver and its file; they go to a blocking thread together and come back.
struct Work {
    receiver: Receiver,
    part: Arc<dyn Unfinished>,
    modified_ms: Option<u64>,
    buffer: Vec<u8>,
    /// Asked for, but kept for the next job.
    read: Option<(u64, usize)>,
    resumed_at: u64,
    durable: u64,
    charge: Charge,
}

/// What a job leaves to be done.
#[derive(Default)]
struct Batch {
    say: Vec<Message>,
    sync: Option<u64>,
    /// It stopped because it read enough, not because it waits for something.
    more: bool,
    over: Option<Result<Finished, Failure>>,
}

type Syncing = JoinHandle<(u64, Result<(), Failure>)>;

impl Incoming {
    pub(super) async fn run(mut self, offer: TransferOffer, destination: Destination) {
        let outcome = match self.open(&offer, destination).await {
            Ok((claim, work)) => {
                let mut syncing = None;
                let outcome = self.drive(work, &claim, &mut syncing).await;
                // The file is still in use; its claim must not be free before it is closed.
                if let Some(mut syncing) = syncing {
                    blocking::finished(&mut syncing).await;
                }
                drop(claim);
                outcome
            }
            Err(TransferError::Failed(failure)) => {
                let Failure { code, message } = failure.clone();
                let refuse = TransferRefuse { transfer: offer.transfer, code, message };
                // Closed: the other end knows, too.
                let _ = self.shared.say(Message::TransferRefuse(refuse)).await;
                Err(failure.into())
            }
            Err(cut) => Err(cut),
        };
        self.reporter.over(outcome);
    }

    async fn open(
        &self,
        offer: &TransferOffer,
        destination: Destination,
    ) -> Result<(Claim, Work), TransferError> {
        let Destination { store, name, folder, counts } = destination;
        let claim = tokio::select! {
            biased;
            () = self.shared.stop.cancelled() => return Err(TransferError::Cut),
            claim = store.claims().claim(&name, &self.shared.owner) => claim?,
        };
        let size = offer.size;
        let folder = match (offer.folder, folder) {
            (None, _) => None,
            (Some(_), Some(folder)) => Some(folder),
            (Some(_), None) => {
                return Err(Failure::new(
                    FileErrorCode::WrongKind,
                    "a folder was offered where a file was asked for",
                )
                .into());
            }
        };
        let created = blocking::run(move || {
            if let Some(folder) = folder {
                return store.create_folder(&name, size, folder.replace);
            }
            // Asked for as whatever it is, it may be called like a folder.
            RelativeName::new(name.as_str())?;
            store.create(&name, size)
        })
        .await;
        let part = created.ok_or(TransferError::Cut)??;
        let to_come = if counts { size.saturating_sub(part.held()) } else { 0 };
        let charge = self.shared.serving.charge(to_come)?;
        let receiver = Receiver::new(offer, part.held(), self.shared.now());
        let work = Work {
            receiver,
            part,
            modified_ms: offer.modified_ms,
            buffer: Vec::new(),
            read: None,
            resumed_at: 0,
            durable: 0,
            charge,
        };
        Ok((claim, work))
    }

    async fn drive(
        &mut self,
        mut work: Work,
        claim: &Claim,
        syncing: &mut Option<Syncing>,
    ) -> Result<Finished, TransferError> {
        let mut inputs = Vec::new();
        loop {
            let now = self.shared.now();
            let job = move || {
                let batch = work.advance(inputs, now);
                (work, batch)
            };
            let done = blocking::run(job).await.ok_or(TransferError::Cut)?;
            let batch;
            (work, batch) = done;
            claim.touch();
            self.report(&work);
            if let Some(upto) = batch.sync {
                let part = work.part.clone();
                *syncing = Some(blocking::start(move || (upto, part.sync())));
            }
            if let Some(over) = batch.over {
                // Closed before the other end is told: it may send the next one at once. Closing a
                // folder that is not kept removes all that is in it.
                blocking::run(move || drop(work)).await;
                let said = self.tell(batch.say).await;
                // A file that is whole stays whole, even if nobody can be told any more.
                if said.is_err() && over.is_err() {
                    return Err(TransferError::Cut);
                }
                return Ok(over?);
            }
            self.tell(batch.say).await.map_err(|WireClosed| TransferError::Cut)?;
            inputs = if batch.more {
                self.words.try_recv().map(Input::Heard).into_iter().collect()
            } else {
                vec![self.next(work.receiver.deadline(), claim, syncing).await?]
            };
            if self.reporter.was_cancelled() {
                inputs.push(Input::GaveUp(called_off()));
            }
        }
    }

    async fn tell(&self, messages: Vec<Message>) -> Result<(), WireClosed> {
        for message in messages {
            self.shared.say(message).await?;
        }
        Ok(())
    }

    fn report(&self, work: &Work) {
        self.reporter.moved(|progress| {
            progress.moved = work.receiver.received();
            progress.resumed_at = work.resumed_at;
            progress.durable = work.durable;
        });
    }

    /// Waits until something happens.
    async fn next(
        &mut self,
        deadline: Option<Duration>,
        claim: &Claim,
        syncing: &mut Option<Syncing>,
    ) -> Result<Input, TransferError> {
        let mut chunks = Vec::new();
        tokio::select! {
            // Stop first; then what ends the transfer; then what lets the sender go on; then bytes.
            biased;
            () = self.shared.stop.cancelled() => Err(TransferError::Cut),
            () = self.reporter.cancelled() => Ok(Input::GaveUp(called_off())),
            () = claim.must_yield() => Ok(Input::GaveUp(Failure::new(
                FileErrorCode::Busy,
                "the file is sent again on another connection",
            ))),
            Some(word) = self.words.recv() => Ok(Input::Heard(word)),
            synced = synced(syncing) => match synced {
                Some((upto, Ok(()))) => Ok(Input::Synced(upto)),
                Some((_, Err(failure))) => Ok(Input::GaveUp(failure)),
                None => Err(TransferError::Cut),
            },
            count = self.arrived.recv_many(&mut chunks, CHUNKS_A_JOB) => match count {
                0 => Err(TransferError::Cut),
                _ => Ok(Input::Arrived(chunks)),
            },
            () = self.shared.until(deadline) => Ok(Input::Tick),
        }
    }
}

/// Waits for a sync that is under way, for ever if there is none.
async fn synced(syncing: &mut Option<Syncing>) -> Option<(u64, Result<(), Failure>)> {
    match syncing {
        Some(job) => {
            let done = blocking::finished(job).await;
            *syncing = None;
            done
        }
        None => std::future::pending().await,
    }
}

impl Work {
    /// Feeds the receiver and does what it asks. Blocks.
    fn advance(&mut self, inputs: Vec<Input>, now: Duration) -> Batch {
        let mut batch = Batch::default();
        for input in inputs {
            match input {
                Input::Heard(Message::TransferOffer(_)) => self.receiver.refuse(Failure::new(
                    FileErrorCode::Protocol,
                    "two files were offered under the same number",
                )),
                Input::Heard(word) => self.receiver.hear(&word, now),
                Input::Arrived(chunks) => {
                    for arrived in chunks {
                        self.receiver.chunk(arrived.chunk, now);
                        self.perform(&mut batch, now);
                    }
                }
                Input::Synced(upto) => {
                    self.durable = upto;
                    self.receiver.synced(upto, now);
                }
                Input::GaveUp(failure) => self.receiver.refuse(failure),
                Input::Tick => self.receiver.tick(now),
            }
        }
        if let Some((offset, most)) = self.read.take() {
            self.supply(offset, most, now);
        }
        self.perform(&mut batch, now);
        batch
    }

    fn perform(&mut self, batch: &mut Batch, now: Duration) {
        let mut reads = 0;
        while let Some(action) = self.receiver.poll() {
            let done = match action {
                ReceiverAction::Say(message) => {
                    self.note(&message);
                    batch.say.push(message);
                    Ok(())
                }
                ReceiverAction::ReadHeld { offset, most } if reads < READS_A_JOB => {
                    reads += 1;
                    self.supply(offset, most, now);
                    Ok(())
                }
                ReceiverAction::ReadHeld { offset, most } => {
                    self.read = Some((offset, most));
                    batch.more = true;
                    return;
                }
                ReceiverAction::Truncate => {
                    self.resumed_at = 0;
                    self.durable = 0;
                    self.part.truncate()
                }
                ReceiverAction::Write { offset, bytes } => {
                    let end = offset + bytes.len() as u64;
                    self.charge.keep(end.saturating_sub(self.resumed_at));
                    self.part.write_at(offset, &bytes)
                }
                ReceiverAction::Sync { upto } => {
                    batch.sync = Some(upto);
                    Ok(())
                }
                ReceiverAction::Finish => {
                    self.part.finish(self.modified_ms).map(|()| self.receiver.finished())
                }
                ReceiverAction::Discard => {
                    self.charge.keep(0);
                    if let Err(failure) = self.part.discard() {
                        tracing::warn!(%failure, "an unfinished file could not be removed");
                    }
                    Ok(())
                }
                ReceiverAction::Finished => {
                    self.durable = self.receiver.size();
                    let (size, resumed_at) = (self.receiver.size(), self.resumed_at);
                    batch.over = Some(Ok(Finished { size, resumed_at }));
                    Ok(())
                }
                ReceiverAction::Failed(failure) => {
                    batch.over = Some(Err(failure));
                    Ok(())
                }
            };
            if let Err(failure) = done {
                self.receiver.refuse(failure);
            }
        }
    }

    /// What is accepted from an earlier try counts as moved, until the sender starts over.
    fn note(&mut self, message: &Message) {
        if let Message::TransferAccept(accept) = message {
            self.resumed_at = accept.offset;
            self.durable = accept.offset;
        }
    }

    fn supply(&mut self, offset: u64, most: usize, now: Duration) {
        if self.receiver.is_over() {
            return;
        }
        if self.buffer.len() < most {
            self.buffer.resize(most, 0);
        }
        match self.part.read_at(offset, &mut self.buffer[..most]) {
            Ok(read) => self.receiver.supply(&self.buffer[..read], now),
            Err(failure) => self.receiver.refuse(failure),
        }
    }
}
