//! Files of the worker: list, get, send. Each goes on by itself on the next connection.

use std::{path::Path, sync::Arc, time::Duration};

use halyard_protocol::{
    channel::{Entry, FileErrorCode},
    transfer::{Failure, RelativeName},
};

use super::{FilesError, Session, shared::Link};
use crate::{
    files::{LocalFile, Source, Store},
    transfer::{Finished, Progress, Transfer, TransferError},
};

/// After a connection broke, the worker may hold the file for the old one until it notices.
const BUSY_TRIES: u32 = 45;

/// Between two of those tries.
const BUSY_PAUSE: Duration = Duration::from_secs(1);

/// Most entries of one folder that are fetched: a bound on memory, far beyond what people read.
const MOST_ENTRIES: usize = 100_000;

impl Session {
    /// Sends a file of this machine, to be kept by the worker as `name`. `progress` is called with
    /// every step forward.
    ///
    /// When the connection breaks, the file is offered again on the next one and goes on from what
    /// is safe on the worker's disk. Dropping the future does not call a started transfer off;
    /// closing the session stops it and keeps what arrived.
    pub async fn send_file(
        &self,
        path: &Path,
        name: &RelativeName,
        mut progress: impl FnMut(Progress),
    ) -> Result<Finished, FilesError> {
        let mut busy = 0;
        let mut again = false;
        loop {
            let link = self.shared.linked().await?;
            // Opened anew for each connection: it may have grown, and its reader was used up.
            let source = open(path.to_owned()).await.map_err(FilesError::Local)?;
            let started = link.transfers.send(source, name.clone());
            let over = self.follow(&link, started, &mut progress).await;
            match self.verdict(&link, over, again, &mut busy).await? {
                Some(finished) => return Ok(finished),
                None => again = true,
            }
        }
    }

    /// Gets a file of the worker, to be kept in `store` as `name`. `progress` is called with every
    /// step forward. Goes on by itself like [`send_file`](Self::send_file).
    pub async fn get_file(
        &self,
        path: &RelativeName,
        store: Arc<dyn Store>,
        name: &RelativeName,
        mut progress: impl FnMut(Progress),
    ) -> Result<Finished, FilesError> {
        let mut busy = 0;
        let mut again = false;
        loop {
            let link = self.shared.linked().await?;
            let started = tokio::select! {
                started = link.transfers.get(path, Arc::clone(&store), name.clone()) => started,
                () = self.shared.unlinked(link.generation) => Err(TransferError::Cut),
            };
            let over = self.follow(&link, started, &mut progress).await;
            match self.verdict(&link, over, again, &mut busy).await? {
                Some(finished) => return Ok(finished),
                None => again = true,
            }
        }
    }

    /// What is in a folder of the worker: folders first, then by name. An empty path is the top.
    pub async fn list(&self, path: &str) -> Result<Vec<Entry>, FilesError> {
        let mut entries = Vec::new();
        loop {
            let link = self.shared.linked().await?;
            let offset = entries.len() as u64;
            let page = tokio::select! {
                page = link.transfers.list(path, offset) => page,
                () = self.shared.unlinked(link.generation) => Err(TransferError::Cut),
            };
            match page {
                Ok(page) => {
                    let empty = page.entries.is_empty();
                    entries.extend(page.entries);
                    if !page.more || empty || entries.len() >= MOST_ENTRIES {
                        return Ok(entries);
                    }
                }
                Err(TransferError::Failed(failure)) => return Err(FilesError::Refused(failure)),
                Err(TransferError::Cut) => self.shared.unlinked(link.generation).await,
            }
        }
    }

    /// Watches one transfer until it is over, or its connection is.
    async fn follow(
        &self,
        link: &Link,
        started: Result<Transfer, TransferError>,
        progress: &mut impl FnMut(Progress),
    ) -> Result<Finished, TransferError> {
        let transfer = started?;
        let mut steps = transfer.watch();
        progress(*steps.borrow_and_update());
        loop {
            tokio::select! {
                biased;
                over = transfer.done() => {
                    progress(transfer.progress());
                    return over;
                }
                Ok(()) = steps.changed() => progress(*steps.borrow_and_update()),
                () = self.shared.unlinked(link.generation) => return Err(TransferError::Cut),
            }
        }
    }

    /// What the end of a try means: done, once more, or over.
    async fn verdict(
        &self,
        link: &Link,
        over: Result<Finished, TransferError>,
        again: bool,
        busy: &mut u32,
    ) -> Result<Option<Finished>, FilesError> {
        match over {
            Ok(finished) => Ok(Some(finished)),
            Err(TransferError::Cut) => {
                tracing::info!("the connection was cut, the file goes on with the next one");
                self.shared.unlinked(link.generation).await;
                Ok(None)
            }
            // Busy with ourselves: the old connection is not forgotten yet.
            Err(TransferError::Failed(Failure { code: FileErrorCode::Busy, .. }))
                if again && *busy < BUSY_TRIES =>
            {
                *busy += 1;
                tokio::time::sleep(BUSY_PAUSE).await;
                Ok(None)
            }
            Err(TransferError::Failed(failure)) => Err(FilesError::Refused(failure)),
        }
    }
}

async fn open(path: std::path::PathBuf) -> Result<Box<dyn Source>, Failure> {
    let opened = tokio::task::spawn_blocking(move || LocalFile::open(path)).await;
    match opened {
        Ok(Ok(file)) => Ok(Box::new(file)),
        Ok(Err(failure)) => Err(failure),
        Err(error) => Err(Failure::new(FileErrorCode::Io, error.to_string())),
    }
}
