//! Disks that fill, break, and lose files.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use halyard_protocol::{
    access::Access,
    channel::{Entry, FileErrorCode},
    limits::{CHUNK_BYTES, DURABLE_EVERY_BYTES},
    transfer::{Failure, RelativeName},
};

use super::pair::{Pair, content, folder, name, soon};
use crate::{
    files::{
        Claims, FileRoot, Listing, Source, Store, Unfinished,
        unpack::{UnpackLimits, Unpacked},
    },
    transfer::TransferError,
};

/// A folder whose disk takes only so many bytes more.
struct Filling {
    root: FileRoot,
    left: Arc<AtomicU64>,
    sync_fails: bool,
}

impl Filling {
    fn filling(&self, part: Arc<dyn Unfinished>) -> Arc<dyn Unfinished> {
        let (left, sync_fails) = (self.left.clone(), self.sync_fails);
        Arc::new(FillingPart { part, left, sync_fails })
    }
}

struct FillingPart {
    part: Arc<dyn Unfinished>,
    left: Arc<AtomicU64>,
    sync_fails: bool,
}

impl Store for Filling {
    fn list(&self, folder: &str, offset: u64) -> Result<Listing, Failure> {
        self.root.list(folder, offset)
    }

    fn stat(&self, path: &RelativeName) -> Result<Entry, Failure> {
        self.root.stat(path)
    }

    fn glob(&self, pattern: &str, offset: u64) -> Result<Listing, Failure> {
        self.root.glob(pattern, offset)
    }

    fn delete(&self, path: &RelativeName, recursive: bool) -> Result<(), Failure> {
        self.root.delete(path, recursive)
    }

    fn open(&self, name: &RelativeName) -> Result<Box<dyn Source>, Failure> {
        Store::open(&self.root, name)
    }

    fn open_any(&self, name: &RelativeName) -> Result<Box<dyn Source>, Failure> {
        self.root.open_any(name)
    }

    fn create(&self, name: &RelativeName, size: u64) -> Result<Arc<dyn Unfinished>, Failure> {
        Ok(self.filling(self.root.create(name, size)?))
    }

    fn create_folder(
        &self,
        name: &RelativeName,
        size: u64,
        replace: bool,
    ) -> Result<Arc<dyn Unfinished>, Failure> {
        Ok(self.filling(self.root.create_folder(name, size, replace)?))
    }

    fn unpack(
        &self,
        archive: &RelativeName,
        into: &RelativeName,
        replace: bool,
        limits: &UnpackLimits,
    ) -> Result<Unpacked, Failure> {
        self.root.unpack(archive, into, replace, limits)
    }

    fn claims(&self) -> &Claims {
        self.root.claims()
    }
}

impl Unfinished for FillingPart {
    fn held(&self) -> u64 {
        self.part.held()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Failure> {
        self.part.read_at(offset, buffer)
    }

    fn truncate(&self) -> Result<(), Failure> {
        self.part.truncate()
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), Failure> {
        let left = self.left.load(Ordering::Relaxed);
        if (bytes.len() as u64) > left {
            return Err(Failure::new(FileErrorCode::NoSpace, "the disk is full"));
        }
        self.left.store(left - bytes.len() as u64, Ordering::Relaxed);
        self.part.write_at(offset, bytes)
    }

    fn sync(&self) -> Result<(), Failure> {
        if self.sync_fails {
            return Err(Failure::new(FileErrorCode::Io, "the disk is broken"));
        }
        self.part.sync()
    }

    fn finish(&self, modified_ms: Option<u64>) -> Result<(), Failure> {
        self.part.finish(modified_ms)
    }

    fn discard(&self) -> Result<(), Failure> {
        self.part.discard()
    }
}

async fn pair_with(left: u64, sync_fails: bool) -> (Pair, Arc<AtomicU64>) {
    let (client, worker) = (folder(), folder());
    let root = FileRoot::open(worker.path()).await.expect("a folder");
    let left = Arc::new(AtomicU64::new(left));
    let store = Filling { root: root.clone(), left: left.clone(), sync_fails };
    let pair = Pair::between("a", client, worker, Arc::new(store), root, Access::Operator).await;
    (pair, left)
}

fn code(error: TransferError) -> FileErrorCode {
    match error {
        TransferError::Failed(failure) => failure.code,
        TransferError::Cut => panic!("nothing was cut"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_is_said_and_the_file_goes_on_once_there_is_room() {
    let (pair, left) = pair_with(7 * CHUNK_BYTES as u64, false).await;
    let bytes = content(1, 20 * CHUNK_BYTES);
    pair.client.write("film", &bytes);
    let refused = soon(pair.client.send("film", "film").done()).await.expect_err("it is full");
    assert_eq!(code(refused), FileErrorCode::NoSpace);
    assert_eq!(pair.worker.names(), ["film.part"]);
    left.store(u64::MAX, Ordering::Relaxed);
    let finished = soon(pair.client.send("film", "film").done()).await.expect("it arrives");
    assert_eq!(finished.resumed_at, 7 * CHUNK_BYTES as u64);
    assert!(pair.worker.read("film") == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_cannot_make_bytes_safe_never_says_that_they_are() {
    let (pair, _) = pair_with(u64::MAX, true).await;
    let size = usize::try_from(2 * DURABLE_EVERY_BYTES).expect("small");
    pair.client.write("film", &content(1, size));
    let transfer = pair.client.send("film", "film");
    let refused = soon(transfer.done()).await.expect_err("it is broken");
    assert_eq!(code(refused), FileErrorCode::Io);
    assert_eq!(transfer.progress().durable, 0);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_file_larger_than_the_disk_is_refused_before_its_first_byte() {
    /// Petabytes, on paper.
    struct Huge;

    impl Source for Huge {
        fn size(&self) -> u64 {
            1 << 60
        }

        fn modified_ms(&self) -> Option<u64> {
            None
        }

        fn read_at(&mut self, _: u64, _: &mut [u8]) -> Result<usize, Failure> {
            panic!("nothing is read");
        }
    }

    let pair = Pair::new(Access::Operator).await;
    let transfer = pair.client.transfers.send(Box::new(Huge), name("huge")).expect("room");
    let refused = soon(transfer.done()).await.expect_err("no disk is that large");
    assert!(refused.to_string().contains("1152921504606846976 more bytes are needed"), "{refused}");
    assert_eq!(code(refused), FileErrorCode::NoSpace);
    assert_eq!(pair.worker.names(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_cut_while_it_is_sent_is_called_off_with_its_new_end() {
    let pair = Pair::new(Access::Operator).await;
    pair.client.write("log", &content(1, 64 * 1024 * 1024));
    let transfer = pair.client.send("log", "log");
    let mut progress = transfer.watch();
    soon(progress.wait_for(|progress| progress.moved > 0)).await.expect("it moves");
    let file = std::fs::File::options().write(true).open(pair.client.path("log"));
    file.expect("it is there").set_len(10).expect("it is cut");
    let error = soon(transfer.done()).await.expect_err("it became shorter");
    assert!(error.to_string().contains("the file became shorter while it was sent"), "{error}");
    assert_eq!(code(error), FileErrorCode::Io);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_deleted_while_it_is_sent_arrives_all_the_same() {
    let pair = Pair::new(Access::Operator).await;
    let bytes = content(1, 32 * 1024 * 1024);
    pair.client.write("log", &bytes);
    let transfer = pair.client.send("log", "log");
    let mut progress = transfer.watch();
    soon(progress.wait_for(|progress| progress.moved > 0)).await.expect("it moves");
    std::fs::remove_file(pair.client.path("log")).expect("it is deleted");
    soon(transfer.done()).await.expect("the opened file is still there");
    assert!(pair.worker.read("log") == bytes);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_is_refused_and_nobody_waits_for_its_other_end() {
    use std::os::unix::fs::FileTypeExt;

    let pair = Pair::new(Access::Operator).await;
    let pipe = pair.worker.path("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo runs").success());
    assert!(std::fs::metadata(&pipe).expect("it is there").file_type().is_fifo());
    let store = Arc::new(pair.client.root.clone());
    let got = soon(pair.client.transfers.get(&name("pipe"), store, name("x"))).await;
    assert_eq!(code(got.expect_err("a pipe")), FileErrorCode::WrongKind);
    assert_eq!(soon(pair.client.transfers.list("", 0)).await.expect("the top").total, 0);
    assert!(crate::files::LocalFile::open(&pipe).is_err());
}
