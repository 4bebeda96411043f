//! Files of the worker: list, get, send. Each goes on by itself on the next connection.

use std::{path::Path, sync::Arc, time::Duration};

use halyard_protocol::{
    channel::{Entry, FileEntries, FileErrorCode, FileUnpacked},
    transfer::{Failure, RelativeName},
};

use super::{FilesError, Session, shared::Link};
use crate::{
    files::{FolderSource, LocalFile, Source, Store},
    transfer::{Finished, Pace, REPORT_EVERY, Report, Transfer, TransferError},
};

/// After a connection broke, the worker may hold the file for the old one until it notices.
const BUSY_TRIES: u32 = 45;

/// Between two of those tries.
const BUSY_PAUSE: Duration = Duration::from_secs(1);

/// Most entries of one folder that are fetched: a bound on memory, far beyond what people read.
const MOST_ENTRIES: usize = 100_000;

impl Session {
    /// Sends a file of this machine, to be kept by the worker as `name`. `progress` is called
    /// with every step forward, and four times a second while there is none.
    ///
    /// When the connection breaks, the file is offered again on the next one and goes on from what
    /// is safe on the worker's disk. Dropping the future does not call a started transfer off;
    /// closing the session stops it and keeps what arrived.
    pub async fn send_file(
        &self,
        path: &Path,
        name: &RelativeName,
        progress: impl FnMut(Report),
    ) -> Result<Finished, FilesError> {
        self.send_source(name, progress, || {
            let path = path.to_owned();
            move || Ok(Box::new(LocalFile::open(path)?) as Box<dyn Source>)
        })
        .await
    }

    /// Sends a folder of this machine, to be kept by the worker as `name`; `replace` lets it take
    /// the place of a folder that is there. What [`FolderSource`] leaves out is left out.
    ///
    /// It is streamed as a tar and unpacked as it comes; the bytes of `progress` are the tar's. When
    /// the connection breaks, it goes on like [`send_file`](Self::send_file), also in the middle of
    /// a file.
    pub async fn send_folder(
        &self,
        path: &Path,
        name: &RelativeName,
        replace: bool,
        progress: impl FnMut(Report),
    ) -> Result<Finished, FilesError> {
        let hello = self.ready().await?;
        // Whoever takes no files says so itself, and why.
        if hello.files.as_ref().is_some_and(|files| files.writable && !files.folders) {
            return Err(FilesError::Refused(Failure::new(
                FileErrorCode::WrongKind,
                "the worker does not take folders: send the files one by one, or an archive",
            )));
        }
        self.send_source(name, progress, || {
            let path = path.to_owned();
            move || Ok(Box::new(FolderSource::open(path)?.replacing(replace)) as Box<dyn Source>)
        })
        .await
    }

    async fn send_source<Open>(
        &self,
        name: &RelativeName,
        mut progress: impl FnMut(Report),
        open: impl Fn() -> Open,
    ) -> Result<Finished, FilesError>
    where
        Open: FnOnce() -> Result<Box<dyn Source>, Failure> + Send + 'static,
    {
        let mut busy = 0;
        let mut again = false;
        loop {
            let link = self.shared.linked().await?;
            // Opened anew for each connection: it may have grown, and its reader was used up.
            let source = opened(open()).await.map_err(FilesError::Local)?;
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
        progress: impl FnMut(Report),
    ) -> Result<Finished, FilesError> {
        self.get_started(progress, |link| {
            let (path, store, name) = (path.clone(), Arc::clone(&store), name.clone());
            async move { link.transfers.get(&path, store, name).await }
        })
        .await
    }

    /// Gets a file or a folder of the worker. Of a folder, `replace` says whether it may take the
    /// place of one that is there; the bytes of `progress` are those of its tar.
    pub async fn get_any(
        &self,
        path: &RelativeName,
        store: Arc<dyn Store>,
        name: &RelativeName,
        replace: bool,
        progress: impl FnMut(Report),
    ) -> Result<Finished, FilesError> {
        self.get_started(progress, |link| {
            let (path, store, name) = (path.clone(), Arc::clone(&store), name.clone());
            async move { link.transfers.get_any(&path, store, name, replace).await }
        })
        .await
    }

    async fn get_started<Starting>(
        &self,
        mut progress: impl FnMut(Report),
        start: impl Fn(Link) -> Starting,
    ) -> Result<Finished, FilesError>
    where
        Starting: Future<Output = Result<Transfer, TransferError>>,
    {
        let mut busy = 0;
        let mut again = false;
        loop {
            let link = self.shared.linked().await?;
            let started = tokio::select! {
                started = start(link.clone()) => started,
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
        self.pages(async |link, offset| link.transfers.list(path, offset).await).await
    }

    /// What of the worker's files and folders is named like this (`models/**/*.ckpt`), sorted; the
    /// names are whole paths.
    pub async fn glob(&self, pattern: &str) -> Result<Vec<Entry>, FilesError> {
        self.pages(async |link, offset| link.transfers.glob(pattern, offset).await).await
    }

    async fn pages(
        &self,
        ask: impl AsyncFn(&Link, u64) -> Result<FileEntries, TransferError>,
    ) -> Result<Vec<Entry>, FilesError> {
        let mut entries = Vec::new();
        loop {
            let offset = entries.len() as u64;
            let page = self.asked(async |link| ask(link, offset).await).await?;
            let empty = page.entries.is_empty();
            entries.extend(page.entries);
            if !page.more || empty || entries.len() >= MOST_ENTRIES {
                return Ok(entries);
            }
        }
    }

    /// What one file or folder of the worker is.
    pub async fn stat(&self, path: &RelativeName) -> Result<Entry, FilesError> {
        self.asked(async |link| link.transfers.stat(path).await).await
    }

    /// Removes a file or a folder of the worker; one with something in it only where `recursive`
    /// says so. Operators may.
    pub async fn delete(&self, path: &RelativeName, recursive: bool) -> Result<(), FilesError> {
        let mut again = false;
        let deleted = self.asked(async |link| {
            let asked_before = std::mem::replace(&mut again, true);
            match link.transfers.delete(path, recursive).await {
                // The first answer was lost with its connection.
                Err(TransferError::Failed(failure))
                    if asked_before && failure.code == FileErrorCode::NotFound =>
                {
                    Ok(())
                }
                deleted => deleted,
            }
        });
        deleted.await
    }

    /// Has the worker make the folder `into` of one of its archives (zip, tar or gzipped tar);
    /// `replace` lets it take the place of a folder that is there. Operators may.
    ///
    /// Asked once: when the connection breaks before the answer, look whether the folder is there.
    pub async fn unpack(
        &self,
        path: &RelativeName,
        into: &RelativeName,
        replace: bool,
    ) -> Result<FileUnpacked, FilesError> {
        let link = self.shared.linked().await?;
        let answer = tokio::select! {
            answer = link.transfers.unpack(path, into, replace) => answer,
            () = self.shared.unlinked(link.generation) => Err(TransferError::Cut),
        };
        answer.map_err(|error| match error {
            TransferError::Failed(failure) => FilesError::Refused(failure),
            TransferError::Cut => FilesError::Refused(Failure::new(
                FileErrorCode::Io,
                format!(
                    "the connection was cut while {path} was unpacked: see whether {into} is there"
                ),
            )),
        })
    }

    /// Asks, and asks again on the next connection when this one breaks.
    async fn asked<T>(
        &self,
        mut ask: impl AsyncFnMut(&Link) -> Result<T, TransferError>,
    ) -> Result<T, FilesError> {
        loop {
            let link = self.shared.linked().await?;
            let answer = tokio::select! {
                answer = ask(&link) => answer,
                () = self.shared.unlinked(link.generation) => Err(TransferError::Cut),
            };
            match answer {
                Ok(answer) => return Ok(answer),
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
        progress: &mut impl FnMut(Report),
    ) -> Result<Finished, TransferError> {
        let transfer = started?;
        let mut steps = transfer.watch();
        let mut ticks = tokio::time::interval(REPORT_EVERY);
        let mut pace = Pace::new();
        let start = tokio::time::Instant::now();
        loop {
            tokio::select! {
                biased;
                over = transfer.done() => {
                    progress(pace.look(start.elapsed(), transfer.progress()));
                    return over;
                }
                Ok(()) = steps.changed() => {
                    let step = *steps.borrow_and_update();
                    progress(pace.look(start.elapsed(), step));
                }
                // Nothing moves: that is to be seen, too.
                _ = ticks.tick() => progress(pace.look(start.elapsed(), transfer.progress())),
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

async fn opened(
    open: impl FnOnce() -> Result<Box<dyn Source>, Failure> + Send + 'static,
) -> Result<Box<dyn Source>, Failure> {
    match tokio::task::spawn_blocking(open).await {
        Ok(opened) => opened,
        Err(error) => Err(Failure::new(FileErrorCode::Io, error.to_string())),
    }
}
