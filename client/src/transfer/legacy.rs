//! Files of existing clients: one at a time each way, on their one channel.

use std::sync::Arc;

use bytes::Bytes;
use halyard_protocol::{
    channel::{FileErrorCode, legacy::LegacyMessage},
    transfer::{
        Failure, RelativeName,
        legacy::{LEGACY_CHUNK_BYTES, LegacyAction, LegacyReceiver, LegacySender},
    },
};

use super::{Finished, LegacyWire, Serving, TransferError, WireClosed, blocking};
use crate::files::{Charge, Claim, Owner, Source, Unfinished};

/// Bytes that are collected before they are written, and read before they are sent.
const BLOCK_BYTES: usize = 32 * LEGACY_CHUNK_BYTES;

/// One legacy connection never takes over from another: there is nothing to go on with.
const LEGACY_CONNECTION: u64 = u64::MAX;

/// What came of what an existing client said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LegacyEvent {
    /// A file is coming.
    Receiving {
        /// Where it will be.
        name: RelativeName,
        /// Bytes.
        size: u64,
        /// Whatever stood behind the size.
        hint: Option<String>,
    },
    /// It has the announced size and is in its place. There was no hash to check.
    Received {
        /// Where it is.
        name: RelativeName,
        /// Bytes.
        size: u64,
    },
    /// It is not taken. The protocol has no word to tell the client; the log has.
    Refused(Failure),
    /// Said, but not about files.
    Other(LegacyMessage),
}

/// Everything about files that comes in on one legacy channel. Dropped in the middle of a file, it
/// removes what came of it, because this protocol cannot go on later.
pub struct LegacyFiles {
    serving: Serving,
    receiver: LegacyReceiver,
    open: Option<Open>,
}

struct Open {
    part: Arc<dyn Unfinished>,
    claim: Claim,
    name: RelativeName,
    size: u64,
    /// Where the next block belongs.
    written: u64,
    block: Vec<Bytes>,
    block_bytes: usize,
    finished: bool,
    charge: Charge,
}

impl LegacyFiles {
    /// Takes files as far as `serving` allows it.
    pub fn new(serving: Serving) -> Self {
        Self { serving, receiver: LegacyReceiver::new(), open: None }
    }

    /// Takes a text frame.
    pub async fn text(&mut self, text: &str) -> Vec<LegacyEvent> {
        self.receiver.text(text);
        self.perform().await
    }

    /// Takes a binary frame. Waits for the disk.
    pub async fn binary(&mut self, bytes: Bytes) -> Vec<LegacyEvent> {
        self.receiver.binary(bytes);
        self.perform().await
    }

    async fn perform(&mut self) -> Vec<LegacyEvent> {
        let mut events = Vec::new();
        while let Some(action) = self.receiver.poll() {
            let done = match action {
                LegacyAction::Pass(message) => {
                    events.push(LegacyEvent::Other(message));
                    Ok(())
                }
                LegacyAction::Discard(failure) => {
                    self.open = None;
                    events.push(LegacyEvent::Refused(failure));
                    Ok(())
                }
                LegacyAction::Open { name, size, hint } => {
                    let opened = self.open(name.clone(), size).await;
                    opened.map(|()| events.push(LegacyEvent::Receiving { name, size, hint }))
                }
                LegacyAction::Write(bytes) => match &mut self.open {
                    Some(open) => open.take(bytes).await,
                    None => Ok(()),
                },
                LegacyAction::Finish => match self.open.take() {
                    Some(open) => open.finish().await.map(|event| events.push(event)),
                    None => Ok(()),
                },
            };
            if let Err(failure) = done {
                self.open = None;
                // Otherwise it comes back as the next action.
                if !self.receiver.refuse(failure.clone()) {
                    events.push(LegacyEvent::Refused(failure));
                }
            }
        }
        events
    }

    async fn open(&mut self, name: RelativeName, size: u64) -> Result<(), Failure> {
        let store = self.serving.may_write()?;
        let owner = Owner { peer: self.serving.peer().to_owned(), connection: LEGACY_CONNECTION };
        let claim = store.claims().claim(&name, &owner).await?;
        let created = name.clone();
        let charge = self.serving.charge(size)?;
        let part = run(move || {
            let part = store.create(&created, size)?;
            part.truncate()?;
            Ok(part)
        })
        .await?;
        self.open = Some(Open {
            part,
            claim,
            name,
            size,
            written: 0,
            block: Vec::new(),
            block_bytes: 0,
            finished: false,
            charge,
        });
        Ok(())
    }
}

impl Open {
    async fn take(&mut self, bytes: Bytes) -> Result<(), Failure> {
        self.block_bytes += bytes.len();
        self.block.push(bytes);
        if self.block_bytes < BLOCK_BYTES {
            return Ok(());
        }
        self.flush().await
    }

    async fn flush(&mut self) -> Result<(), Failure> {
        self.claim.touch();
        let (part, block, offset) =
            (self.part.clone(), std::mem::take(&mut self.block), self.written);
        self.written += std::mem::take(&mut self.block_bytes) as u64;
        run(move || part.write_at(offset, &block.concat())).await
    }

    async fn finish(mut self) -> Result<LegacyEvent, Failure> {
        self.flush().await?;
        let part = self.part.clone();
        run(move || part.finish(None)).await?;
        self.finished = true;
        self.charge.keep(self.size);
        Ok(LegacyEvent::Received { name: self.name.clone(), size: self.size })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if !self.finished
            && let Err(failure) = self.part.discard()
        {
            tracing::warn!(%failure, "an unfinished file could not be removed");
        }
    }
}

/// Sends a file to an existing client: what it is, its bytes, and that this was all.
///
/// `moved` is told how many bytes are under way. There is no answer, so the end of this says only
/// that the connection took everything.
pub async fn send_legacy(
    wire: &dyn LegacyWire,
    source: Box<dyn Source>,
    name: &RelativeName,
    hint: Option<String>,
    mut moved: impl FnMut(u64) + Send,
) -> Result<Finished, TransferError> {
    let size = source.size();
    let sender = LegacySender::new(name, size, hint).map_err(Failure::from)?;
    let cut = |WireClosed| TransferError::Cut;
    wire.text(sender.opening()).await.map_err(cut)?;
    let mut read = blocking::start(move || read_block(source, 0, size));
    let mut sent = 0;
    while sent < size {
        let (source, block) = blocking::finished(&mut read).await.ok_or(TransferError::Cut)??;
        let next = sent + block.len() as u64;
        // The next block is read while this one is sent.
        read = blocking::start(move || read_block(source, next, size));
        for frame in LegacySender::frames(block) {
            sent += frame.len() as u64;
            wire.binary(frame).await.map_err(cut)?;
            moved(sent);
        }
    }
    wire.text(sender.closing()).await.map_err(cut)?;
    Ok(Finished { size, resumed_at: 0 })
}

fn read_block(
    mut source: Box<dyn Source>,
    offset: u64,
    size: u64,
) -> Result<(Box<dyn Source>, Bytes), Failure> {
    let left = usize::try_from(size - offset).unwrap_or(usize::MAX);
    let mut block = vec![0; left.min(BLOCK_BYTES)];
    let wanted = block.len();
    let read = source.read_at(offset, &mut block)?;
    if read == 0 && wanted > 0 {
        return Err(Failure::new(
            FileErrorCode::Io,
            format!("the file became shorter while it was sent: {offset} of {size} bytes are left"),
        ));
    }
    block.truncate(read);
    Ok((source, block.into()))
}

async fn run<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let stopped = || Failure::new(FileErrorCode::Io, "this program is being stopped");
    blocking::run(work).await.unwrap_or_else(|| Err(stopped()))
}
