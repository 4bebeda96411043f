//! A file on its way to the other end.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use halyard_protocol::{
    channel::{Chunk, FileErrorCode, Message, TransferOffer},
    transfer::{Failure, Sender, SenderAction},
};
use tokio::{pin, sync::mpsc, task::JoinHandle};

use super::{Finished, TransferError, WireClosed, blocking, handle::Reporter, transfers::Shared};
use crate::files::Source;

/// Pieces that one blocking job may read while the receiver's part is only compared, so that it
/// ends soon after somebody called the transfer off.
const READS_A_JOB: usize = 32;

/// One file, until it arrived, failed, or the connection is gone.
pub(super) struct Outgoing {
    pub(super) shared: Arc<Shared>,
    pub(super) reporter: Reporter,
    pub(super) words: mpsc::Receiver<Message>,
    /// What happened and was not fed to the sender yet.
    pub(super) inputs: Vec<Input>,
}

/// What happened.
pub(super) enum Input {
    Heard(Message),
    GaveUp(Failure),
    Tick,
}

/// The sender and its file; they go to a blocking thread together and come back.
struct Work {
    sender: Sender,
    source: Box<dyn Source>,
    buffer: Vec<u8>,
    /// Asked for, but kept for the next job.
    read: Option<(u64, usize)>,
}

/// What a job has to send, in this order.
struct Batch {
    out: Vec<Out>,
    /// It stopped because it read enough, not because it waits for something.
    more: bool,
    over: Option<Result<Finished, Failure>>,
}

enum Out {
    Say(Message),
    Chunk(Bytes),
}

type Job = JoinHandle<(Work, Batch)>;

impl Outgoing {
    pub(super) async fn run(mut self, offer: TransferOffer, source: Box<dyn Source>) {
        let sender = Sender::new(offer, self.shared.now());
        let work = Work { sender, source, buffer: Vec::new(), read: None };
        let outcome = self.drive(work).await;
        self.reporter.over(outcome);
    }

    /// While one batch is sent, the next one is read.
    async fn drive(&mut self, work: Work) -> Result<Finished, TransferError> {
        let mut job = self.start(work);
        loop {
            let (work, batch) = blocking::finished(&mut job).await.ok_or(TransferError::Cut)?;
            self.report(&work.sender);
            if let Some(over) = batch.over {
                return self.last_words(batch.out, over).await;
            }
            let ahead = batch.more || !self.inputs.is_empty();
            let (waiting, reading) =
                if ahead { (None, Some(self.start(work))) } else { (Some(work), None) };
            let urgent = self.send(batch.out).await.map_err(|WireClosed| TransferError::Cut)?;
            job = match (waiting, reading) {
                (Some(mut work), _) => {
                    work.sender.carried(self.shared.now());
                    self.wait(work.sender.deadline()).await?;
                    self.start(work)
                }
                // What was read ahead is not wanted any more.
                (None, Some(mut reading)) if urgent => {
                    let read = blocking::finished(&mut reading).await;
                    let (work, batch) = read.ok_or(TransferError::Cut)?;
                    if let Some(over) = batch.over {
                        return self.last_words(batch.out, over).await;
                    }
                    self.start(work)
                }
                (None, Some(reading)) => reading,
                (None, None) => unreachable!("work is either here or on its thread"),
            };
        }
    }

    fn start(&mut self, mut work: Work) -> Job {
        let inputs = std::mem::take(&mut self.inputs);
        let now = self.shared.now();
        blocking::start(move || {
            let batch = work.advance(inputs, now);
            (work, batch)
        })
    }

    fn report(&self, sender: &Sender) {
        self.reporter.moved(|progress| {
            progress.durable = sender.durable();
            progress.resumed_at = sender.resumed_at();
            progress.moved = progress.moved.max(sender.resumed_at());
        });
    }

    /// Says what is left to say, and how it ended.
    async fn last_words(
        &mut self,
        out: Vec<Out>,
        over: Result<Finished, Failure>,
    ) -> Result<Finished, TransferError> {
        // Closed: then the other end knows, too.
        let _ = self.send(out).await;
        Ok(over?)
    }

    /// Sends a batch. What happens meanwhile is collected; `true` when it makes the rest of the
    /// batch pointless.
    async fn send(&mut self, batch: Vec<Out>) -> Result<bool, WireClosed> {
        let Self { shared, reporter, words, inputs } = self;
        let sending = async {
            for out in batch {
                match out {
                    Out::Say(message) => shared.wire.control(message).await?,
                    Out::Chunk(chunk) => {
                        let end = end_of(&chunk);
                        let turn = shared.turn.lock().await;
                        shared.wire.chunk(chunk).await?;
                        drop(turn);
                        reporter.moved(|progress| progress.moved = end);
                    }
                }
            }
            Ok(())
        };
        pin!(sending);
        loop {
            tokio::select! {
                // Stop first; then what may make sending pointless; then sending.
                biased;
                () = shared.stop.cancelled() => return Err(WireClosed),
                () = reporter.cancelled() => {
                    inputs.push(Input::GaveUp(called_off()));
                    return Ok(true);
                }
                Some(word) = words.recv() => {
                    let urgent = !matches!(word, Message::TransferProgress(_));
                    inputs.push(Input::Heard(word));
                    if urgent {
                        return Ok(true);
                    }
                }
                sent = &mut sending => return sent.map(|()| false),
            }
        }
    }

    /// Waits until something happens.
    async fn wait(&mut self, deadline: Option<Duration>) -> Result<(), TransferError> {
        if !self.inputs.is_empty() {
            return Ok(());
        }
        let input = tokio::select! {
            biased;
            () = self.shared.stop.cancelled() => return Err(TransferError::Cut),
            () = self.reporter.cancelled() => Input::GaveUp(called_off()),
            Some(word) = self.words.recv() => Input::Heard(word),
            () = self.shared.until(deadline) => Input::Tick,
        };
        self.inputs.push(input);
        Ok(())
    }
}

impl Work {
    /// Feeds the sender and does what it asks, up to one read's worth of chunks. Blocks.
    fn advance(&mut self, inputs: Vec<Input>, now: Duration) -> Batch {
        for input in inputs {
            match input {
                Input::Heard(word) => self.sender.hear(&word, now),
                Input::GaveUp(failure) => self.sender.cancel(failure),
                Input::Tick => self.sender.tick(now),
            }
        }
        let mut batch = Batch { out: Vec::new(), more: false, over: None };
        if let Some((offset, most)) = self.read.take() {
            self.supply(offset, most, now);
        }
        let mut reads = 0;
        while let Some(action) = self.sender.poll() {
            match action {
                SenderAction::Say(message) => batch.out.push(Out::Say(message)),
                SenderAction::Chunk(chunk) => batch.out.push(Out::Chunk(chunk)),
                SenderAction::Finished => {
                    let (size, resumed_at) = (self.sender.size(), self.sender.resumed_at());
                    batch.over = Some(Ok(Finished { size, resumed_at }));
                }
                SenderAction::Failed(failure) => batch.over = Some(Err(failure)),
                SenderAction::Read { offset, most }
                    if batch.out.is_empty() && reads < READS_A_JOB =>
                {
                    reads += 1;
                    self.supply(offset, most, now);
                }
                SenderAction::Read { offset, most } => {
                    self.read = Some((offset, most));
                    batch.more = true;
                    break;
                }
            }
        }
        batch
    }

    fn supply(&mut self, offset: u64, most: usize, now: Duration) {
        if self.sender.is_over() {
            return;
        }
        if self.buffer.len() < most {
            self.buffer.resize(most, 0);
        }
        match self.source.read_at(offset, &mut self.buffer[..most]) {
            Ok(read) => self.sender.supply(&self.buffer[..read], now),
            Err(failure) => self.sender.cancel(failure),
        }
    }
}

/// Where a chunk's bytes end in the file.
fn end_of(chunk: &Bytes) -> u64 {
    Chunk::decode(chunk.clone()).map_or(0, |chunk| chunk.offset + chunk.bytes.len() as u64)
}

pub(super) fn called_off() -> Failure {
    Failure::new(FileErrorCode::Cancelled, "the transfer was called off")
}
