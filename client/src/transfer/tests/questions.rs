//! Folders that are listed and files that are asked for.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use halyard_protocol::{
    access::Access,
    channel::{Entry, EntryKind, FileErrorCode, Message},
    limits::{MAX_CHANNEL_MESSAGE_BYTES, MAX_LIST_ENTRIES},
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

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_asked_for_arrives_under_the_name_that_the_asker_chose() {
    let mut pair = Pair::new(Access::Operator).await;
    std::fs::create_dir(pair.worker.path("logs")).expect("a folder");
    let bytes = content(1, 1_000_000);
    pair.worker.write("logs/run.txt", &bytes);
    let store = Arc::new(pair.client.root.clone());
    let getting =
        soon(pair.client.transfers.get(&name("logs/run.txt"), store, name("here.txt"))).await;
    let transfer = getting.expect("it is offered");
    assert_eq!(transfer.progress().total, 1_000_000);
    soon(transfer.done()).await.expect("it arrives");
    assert!(pair.client.read("here.txt") == bytes);
    let seen = soon(pair.worker.started.recv()).await.expect("the worker saw it");
    assert_eq!(seen.name().as_str(), "logs/run.txt");
    soon(seen.done()).await.expect("it arrived");
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_come_first_and_unfinished_files_not_at_all() {
    let pair = Pair::new(Access::Viewer).await;
    std::fs::create_dir(pair.worker.path("zoo")).expect("a folder");
    for (file, size) in [("b", 3), ("A", 2), ("film.part", 9), ("日", 1)] {
        pair.worker.write(file, &content(0, size));
    }
    let page = soon(pair.client.transfers.list("", 0)).await.expect("the top");
    let listed: Vec<_> =
        page.entries.iter().map(|entry| (entry.name.as_str(), entry.kind, entry.size)).collect();
    assert_eq!(
        listed,
        [
            ("zoo", EntryKind::Directory, 0),
            ("A", EntryKind::File, 2),
            ("b", EntryKind::File, 3),
            ("日", EntryKind::File, 1),
        ]
    );
    assert!(page.entries.iter().all(|entry| entry.modified_ms > 1_600_000_000_000));
    assert_eq!((page.total, page.more, page.path.as_str()), (4, false, ""));
    assert_eq!(soon(pair.client.transfers.list("zoo", 0)).await.expect("empty").total, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_folder_comes_in_pages_that_fit_into_a_message() {
    let pair = Pair::new(Access::Viewer).await;
    for number in 0..250 {
        let long = format!("{number:04}{}", "\"".repeat(240));
        pair.worker.write(&long, b"");
    }
    let mut seen = Vec::new();
    loop {
        let page = soon(pair.client.transfers.list("", seen.len() as u64)).await.expect("a page");
        assert!(!page.entries.is_empty() && page.entries.len() <= MAX_LIST_ENTRIES);
        let more = page.more;
        assert_eq!(page.total, 250);
        seen.extend(page.entries.iter().map(|entry| entry.name[..4].to_owned()));
        let bytes = Message::FileEntries(page).encode().len();
        assert!(bytes <= MAX_CHANNEL_MESSAGE_BYTES, "{bytes}");
        if !more {
            break;
        }
    }
    assert_eq!(seen, (0..250).map(|number| format!("{number:04}")).collect::<Vec<_>>());
    let beyond = soon(pair.client.transfers.list("", u64::MAX)).await.expect("nothing there");
    assert!(beyond.entries.is_empty() && !beyond.more);
}

/// Remembers how many folders were looked at in the same moment.
struct Library {
    root: FileRoot,
    readers: AtomicUsize,
    most: AtomicUsize,
}

impl Store for Library {
    fn list(&self, folder: &str, offset: u64) -> Result<Listing, Failure> {
        let readers = self.readers.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(readers, Ordering::SeqCst);
        // A large folder takes its time.
        std::thread::sleep(Duration::from_millis(5));
        self.readers.fetch_sub(1, Ordering::SeqCst);
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
        self.root.open(name)
    }

    fn open_any(&self, name: &RelativeName) -> Result<Box<dyn Source>, Failure> {
        self.root.open_any(name)
    }

    fn create(&self, name: &RelativeName, size: u64) -> Result<Arc<dyn Unfinished>, Failure> {
        self.root.create(name, size)
    }

    fn create_folder(
        &self,
        name: &RelativeName,
        size: u64,
        replace: bool,
    ) -> Result<Arc<dyn Unfinished>, Failure> {
        self.root.create_folder(name, size, replace)
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

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_questions_is_answered_one_after_the_other() {
    let (client, worker) = (folder(), folder());
    let root = FileRoot::open(worker.path()).await.expect("a folder");
    let (readers, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let library = Arc::new(Library { root: root.clone(), readers, most });
    let store = library.clone();
    let pair = Pair::between("eve", client, worker, store, root, Access::Viewer).await;
    let questions = (0..32).map(|_| pair.client.transfers.list("", 0));
    for answer in soon(futures_util::future::join_all(questions)).await {
        assert_eq!(answer.expect("each is answered").total, 0);
    }
    assert_eq!(library.most.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_said() {
    let pair = Pair::new(Access::Operator).await;
    let store = Arc::new(pair.client.root.clone());
    let error = soon(pair.client.transfers.get(&name("nope"), store, name("x"))).await;
    let Err(TransferError::Failed(failure)) = error else { panic!("it is not there") };
    assert_eq!(failure.code, FileErrorCode::NotFound);
    assert_eq!(failure.message, "cannot read \"nope\": it does not exist");
    for (path, code) in [
        ("nope", FileErrorCode::NotFound),
        ("..", FileErrorCode::BadName),
        ("/", FileErrorCode::BadName),
    ] {
        let Err(TransferError::Failed(failure)) = soon(pair.client.transfers.list(path, 0)).await
        else {
            panic!("{path} is refused")
        };
        assert_eq!(failure.code, code, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_end_with_the_connection() {
    let pair = Pair::new(Access::Operator).await;
    pair.client_wire.cut.cancel();
    let store = Arc::new(pair.client.root.clone());
    let error = soon(pair.client.transfers.get(&name("x"), store, name("x"))).await;
    assert_eq!(error.expect_err("cut"), TransferError::Cut);
    assert_eq!(soon(pair.client.transfers.list("", 0)).await, Err(TransferError::Cut));
}
