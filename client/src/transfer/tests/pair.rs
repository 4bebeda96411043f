//! Two ends and the wire between them.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use halyard_protocol::{
    access::Access,
    channel::{Chunk, Message, TransferId},
    ids::PeerId,
    transfer::RelativeName,
};
use tempfile::TempDir;
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::{
    files::{FileRoot, LocalFile, Store},
    transfer::{Serving, Transfer, Transfers, Wire, WireClosed},
};

/// Long enough for a busy machine; nothing waits for it to pass.
pub(super) const SOON: Duration = Duration::from_mins(1);

/// One end: its folder and its transfers.
pub(super) struct End {
    pub(super) folder: TempDir,
    pub(super) root: FileRoot,
    pub(super) transfers: Transfers,
    pub(super) started: mpsc::Receiver<Transfer>,
    pump: JoinHandle<()>,
}

/// A wire of which tests can see and stop what passes.
pub(super) struct MemoryWire {
    control: mpsc::Sender<Message>,
    bulk: mpsc::Sender<Bytes>,
    pub(super) cut: CancellationToken,
    /// Bytes on `bulk` after which the connection is cut.
    pub(super) cut_after: AtomicU64,
    /// Which transfer each chunk belonged to, in order.
    pub(super) order: std::sync::Mutex<Vec<TransferId>>,
    /// Damages the chunk of this number.
    pub(super) damage: AtomicU64,
    chunks: AtomicU64,
    /// Closed while it holds no permit: then each chunk takes one.
    pub(super) gate: Semaphore,
    pub(super) gated: AtomicBool,
    /// Loses every report of progress, as a receiver that seldom makes one.
    pub(super) reports_nothing: AtomicBool,
}

#[async_trait]
impl Wire for MemoryWire {
    async fn control(&self, message: Message) -> Result<(), WireClosed> {
        if self.cut.is_cancelled() {
            return Err(WireClosed);
        }
        let is_progress = matches!(message, Message::TransferProgress(_));
        if is_progress && self.reports_nothing.load(Ordering::Relaxed) {
            return Ok(());
        }
        // The words themselves are part of what is tested.
        let message = Message::decode(&message.encode()).expect("what we say can be read");
        self.control.send(message).await.map_err(|_| WireClosed)
    }

    async fn chunk(&self, chunk: Bytes) -> Result<(), WireClosed> {
        let number = self.chunks.fetch_add(1, Ordering::Relaxed);
        let left = self.cut_after.load(Ordering::Relaxed);
        if chunk.len() as u64 > left {
            self.cut.cancel();
        }
        self.cut_after.store(left.saturating_sub(chunk.len() as u64), Ordering::Relaxed);
        if self.cut.is_cancelled() {
            return Err(WireClosed);
        }
        if self.gated.load(Ordering::Relaxed) {
            self.gate.acquire().await.expect("the gate is there").forget();
        }
        let of = Chunk::decode(chunk.clone()).expect("what we send can be read").transfer;
        self.order.lock().expect("not poisoned").push(of);
        let chunk = if number == self.damage.load(Ordering::Relaxed) {
            let mut damaged = chunk.to_vec();
            damaged[20] ^= 1;
            damaged.into()
        } else {
            chunk
        };
        self.bulk.send(chunk).await.map_err(|_| WireClosed)
    }
}

/// Both ends of one connection, and the wires out of each.
pub(super) struct Pair {
    /// Serves nothing: a client.
    pub(super) client: End,
    pub(super) client_wire: Arc<MemoryWire>,
    /// Serves its folder: a worker.
    pub(super) worker: End,
    pub(super) worker_wire: Arc<MemoryWire>,
}

impl Pair {
    pub(super) async fn new(access: Access) -> Self {
        let (client, worker) = (folder(), folder());
        let root = FileRoot::open(worker.path()).await.expect("a folder");
        Self::between("peer-a", client, worker, Arc::new(root.clone()), root, access).await
    }

    /// A connection between these folders; `store` is what the worker serves.
    pub(super) async fn between(
        peer: &str,
        client: TempDir,
        worker: TempDir,
        store: Arc<dyn Store>,
        root: FileRoot,
        access: Access,
    ) -> Self {
        let client_root = FileRoot::open(client.path()).await.expect("a folder");
        let peer = PeerId::new(peer).expect("a good name");
        let nothing = Serving::nothing("this is a client");
        let serving = Serving::folder(store, &peer, access);
        let cut = CancellationToken::new();
        let (client_wire, at_worker) = wire(cut.clone());
        let (worker_wire, at_client) = wire(cut.clone());
        Self {
            client: End::new(client, client_root, client_wire.clone(), nothing, at_client, &cut),
            worker: End::new(worker, root, worker_wire.clone(), serving, at_worker, &cut),
            client_wire,
            worker_wire,
        }
    }

    /// Cuts the connection and gives the folders back.
    pub(super) async fn cut(self) -> (TempDir, TempDir) {
        self.client_wire.cut.cancel();
        (self.client.close().await, self.worker.close().await)
    }
}

type Incoming = (mpsc::Receiver<Message>, mpsc::Receiver<Bytes>);

fn wire(cut: CancellationToken) -> (Arc<MemoryWire>, Incoming) {
    let (control, control_seen) = mpsc::channel(64);
    let (bulk, bulk_seen) = mpsc::channel(4);
    let wire = MemoryWire {
        control,
        bulk,
        cut,
        cut_after: AtomicU64::new(u64::MAX),
        order: std::sync::Mutex::default(),
        damage: AtomicU64::new(u64::MAX),
        chunks: AtomicU64::new(0),
        gate: Semaphore::new(0),
        gated: AtomicBool::new(false),
        reports_nothing: AtomicBool::new(false),
    };
    (Arc::new(wire), (control_seen, bulk_seen))
}

impl End {
    fn new(
        folder: TempDir,
        root: FileRoot,
        wire: Arc<MemoryWire>,
        serving: Serving,
        (mut control, mut bulk): Incoming,
        cut: &CancellationToken,
    ) -> Self {
        let (transfers, started) = Transfers::new(wire, serving);
        let (words, bytes, cut) = (transfers.clone(), transfers.clone(), cut.clone());
        let pump = tokio::spawn(async move {
            let control = async {
                while let Some(message) = control.recv().await {
                    assert_eq!(words.message(message), None, "all of it is about files");
                }
            };
            let bulk = async {
                while let Some(chunk) = bulk.recv().await {
                    bytes.chunk(chunk).await;
                }
            };
            tokio::select! {
                () = cut.cancelled() => {}
                ((), ()) = async { tokio::join!(control, bulk) } => {}
            }
        });
        Self { folder, root, transfers, started, pump }
    }

    /// Stops and gives the folder back.
    pub(super) async fn close(self) -> TempDir {
        self.transfers.close().await;
        self.pump.abort();
        let _ = self.pump.await;
        self.folder
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).expect("a file is written");
    }

    pub(super) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Everything below the folder, sorted.
    pub(super) fn names(&self) -> Vec<String> {
        names(self.folder.path())
    }

    pub(super) fn send(&self, from: &str, to: &str) -> Transfer {
        let source = LocalFile::open(self.path(from)).expect("a file to send");
        self.transfers.send(Box::new(source), name(to)).expect("room for one more")
    }
}

pub(super) fn names(folder: &std::path::Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

pub(super) fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

pub(super) fn name(text: &str) -> RelativeName {
    RelativeName::new(text).expect("a good name")
}

/// A file's content, different for every seed.
pub(super) fn content(seed: u8, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
    bytes
}

/// Waits for an event, but not for ever.
pub(super) async fn soon<T>(event: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, event).await.expect("it happens soon")
}
