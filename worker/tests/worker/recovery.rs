//! Things that go away in the middle of something.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use halyard_client::session::Session;

use crate::{
    files::{bytes, name},
    program::Program,
    world::{Broker, World, join, soon},
};

/// What `HALYARD_TEST_BIG=1` moves: enough to see that nothing grows with the file.
const BIG: usize = 1024 * 1024 * 1024;

/// What every run moves.
const USUAL: usize = 128 * 1024 * 1024;

/// A big file takes its time on a busy machine.
const LONG: Duration = Duration::from_mins(10);

fn size() -> usize {
    if std::env::var_os("HALYARD_TEST_BIG").is_some_and(|said| said == "1") { BIG } else { USUAL }
}

/// Writes a file without holding all of it.
fn write_file(path: &Path, len: usize) -> blake3::Hash {
    use std::io::Write;
    let block = bytes(8 * 1024 * 1024 + 11);
    let mut file = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
    let mut hasher = blake3::Hasher::new();
    let mut left = len;
    while left > 0 {
        let piece = &block[..left.min(block.len())];
        file.write_all(piece).unwrap();
        hasher.update(piece);
        left -= piece.len();
    }
    file.flush().unwrap();
    hasher.finalize()
}

fn hash_file(path: &Path) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(std::fs::File::open(path).unwrap()).unwrap();
    hasher.finalize()
}

/// A file on its way, and how far it is.
struct Upload {
    durable: Arc<AtomicU64>,
    changed: Arc<tokio::sync::Notify>,
    task: tokio::task::JoinHandle<Result<halyard_client::transfer::Finished, String>>,
}

impl Upload {
    fn start(session: Arc<Session>, path: &Path) -> Self {
        let (durable, changed) =
            (Arc::new(AtomicU64::new(0)), Arc::new(tokio::sync::Notify::new()));
        let (seen, notify) = (durable.clone(), changed.clone());
        let path = path.to_owned();
        let task = tokio::spawn(async move {
            let remote = name("big.bin");
            let sent = session.send_file(&path, &remote, |report| {
                seen.store(report.progress.durable, Ordering::Relaxed);
                notify.notify_one();
            });
            sent.await.map_err(|error| error.to_string())
        });
        Self { durable, changed, task }
    }

    /// Until this many bytes are safe at the other end.
    async fn durable(&self, bytes: u64) {
        let far = async {
            while self.durable.load(Ordering::Relaxed) < bytes {
                self.changed.notified().await;
            }
        };
        tokio::time::timeout(LONG, far).await.expect("the file gets on");
    }

    async fn done(self) -> halyard_client::transfer::Finished {
        let done = tokio::time::timeout(LONG, self.task).await.expect("the file arrives");
        done.expect("no panic").expect("sent")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_does_not_notice_that_the_broker_is_restarted() {
    let (home, shared, data) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let broker = Broker::start(Some(data.path())).await;
    let settings = halyard_worker::config::Settings {
        files: Some(shared.path().to_owned()),
        video: halyard_worker::media::SourceSpec::None,
        ..Default::default()
    };
    let mut world = World::with(settings, broker).await;
    let operator = Arc::new(world.operator().await);
    let path = home.path().join("big.bin");
    let hash = write_file(&path, USUAL);
    let upload = Upload::start(operator.clone(), &path);
    upload.durable(1).await;
    world.broker.end().await;
    assert!(!upload.task.is_finished(), "the file should still be on its way, send a larger one");
    world.broker.begin().await;
    let finished = upload.done().await;
    assert_eq!(finished.resumed_at, 0, "the connection was never cut");
    assert_eq!(hash_file(&shared.path().join("big.bin")), hash);

    // And the broker still introduces people to the same worker.
    let second = world.operator().await;
    assert_eq!(soon("the list", second.list("")).await.expect("listed")[0].name, "big.bin");
    second.close().await;
    drop(operator);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_goes_on_after_the_receiving_program_was_killed() {
    let (home, shared) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut broker = Broker::start(None).await;
    let state = home.path().join("state.json");
    let args = [
        "run",
        "--server",
        broker.url.as_str(),
        "--state-file",
        state.to_str().expect("a plain path"),
        "--files",
        shared.path().to_str().expect("a plain path"),
        "--video",
        "none",
        "--json",
    ];
    let mut program = Program::start(&args);
    let room = program.json("room").await;
    let operator = join(room["join_url"].as_str().expect("a link"), false).await;
    let path = home.path().join("big.bin");
    let hash = write_file(&path, size());

    let upload = Upload::start(Arc::new(operator), &path);
    upload.durable(size() as u64 / 2).await;
    program.signal("KILL");
    soon("the end", program.child.wait()).await.expect("a status");
    assert!(!shared.path().join("big.bin").exists(), "half a file has no name");
    let mut program = Program::start(&args);
    program.json("room").await;
    let finished = upload.done().await;
    assert!(finished.resumed_at >= size() as u64 / 2, "it began again at {}", finished.resumed_at);
    assert_eq!(hash_file(&shared.path().join("big.bin")), hash);
    program.signal("TERM");
    soon("the end", program.child.wait()).await.expect("a status");
    broker.end().await;
}
