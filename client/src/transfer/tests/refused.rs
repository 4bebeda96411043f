//! What is not allowed, and what is said about it.

use std::sync::Arc;

use halyard_protocol::{
    access::Access,
    channel::{FileErrorCode, Message, TransferOffer},
    limits::{CHUNK_BYTES, MAX_TRANSFERS_PER_PEER},
};
use tokio::sync::mpsc;

use super::pair::{Pair, content, folder, name, soon};
use crate::{
    files::{FileRoot, LocalFile, Store},
    transfer::{Serving, TransferError, Transfers, Wire, WireClosed},
};

fn code(error: TransferError) -> (FileErrorCode, String) {
    match error {
        TransferError::Failed(failure) => (failure.code, failure.message),
        TransferError::Cut => panic!("nothing was cut"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_sender_of_one_name_is_told_that_it_is_busy() {
    let (client, worker) = (folder(), folder());
    let root = FileRoot::open(worker.path()).await.expect("a folder");
    let store = Arc::new(root.clone());
    // Somebody else writes it right now.
    let owner = crate::files::Owner { peer: "b".into(), connection: u64::MAX };
    let held = root.claims().claim(&name("film"), &owner).await.expect("free");
    let pair = Pair::between("a", client, worker, store, root, Access::Operator).await;
    pair.client.write("film", b"mine");
    let refused = soon(pair.client.send("film", "film").done()).await.expect_err("busy");
    let (code, message) = code(refused);
    assert_eq!(code, FileErrorCode::Busy);
    assert!(message.contains("\"film\" is being written by another transfer"), "{message}");
    drop(held);
    soon(pair.client.send("film", "film").done()).await.expect("free again");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_program_that_writes_the_file_is_noticed() {
    let pair = Pair::new(Access::Operator).await;
    let other = FileRoot::open(pair.worker.folder.path()).await.expect("the same folder");
    let _writing = other.create(&name("film"), 10).expect("free");
    pair.client.write("film", b"mine");
    let refused = soon(pair.client.send("film", "film").done()).await.expect_err("busy");
    assert_eq!(code(refused).0, FileErrorCode::Busy);
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_bytes_are_refused_and_removed() {
    let pair = Pair::new(Access::Operator).await;
    pair.client_wire.damage.store(2, std::sync::atomic::Ordering::Relaxed);
    pair.client.write("film", &content(1, 5 * CHUNK_BYTES));
    let refused = soon(pair.client.send("film", "film").done()).await.expect_err("damaged");
    let (code, message) = code(refused);
    assert_eq!(code, FileErrorCode::HashMismatch);
    assert!(message.contains("send the file again"), "{message}");
    assert_eq!(pair.worker.names(), [""; 0]);
    // The wire is honest from here on.
    soon(pair.client.send("film", "film").done()).await.expect("it arrives");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_may_list_but_neither_send_nor_get() {
    let pair = Pair::new(Access::Viewer).await;
    pair.worker.write("map", b"x");
    pair.client.write("mine", b"y");
    let page = soon(pair.client.transfers.list("", 0)).await.expect("viewers may look");
    assert_eq!(page.entries.len(), 1);
    let refused = soon(pair.client.send("mine", "mine").done()).await.expect_err("a viewer");
    let expected =
        "viewers may not send files: join with the operator's link to get and send files";
    assert_eq!(code(refused), (FileErrorCode::Forbidden, expected.into()));
    let store = Arc::new(pair.client.root.clone());
    let refused = soon(pair.client.transfers.get(&name("map"), store, name("map"))).await;
    assert_eq!(code(refused.expect_err("a viewer")).0, FileErrorCode::Forbidden);
    let info = pair.worker.transfers.info();
    assert!(!info.readable && !info.writable && info.hint.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_folder_everything_is_refused_with_the_way_to_allow_it() {
    let pair = Pair::new(Access::Operator).await;
    // The client serves nothing.
    pair.worker.write("x", b"x");
    let source = LocalFile::open(pair.worker.path("x")).expect("a file");
    let sent = pair.worker.transfers.send(Box::new(source), name("x")).expect("room");
    let (code, message) = code(soon(sent.done()).await.expect_err("no folder"));
    assert_eq!(code, FileErrorCode::Disabled);
    assert_eq!(message, "no files are served or taken here: this is a client");
    assert_eq!(pair.client.names(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_lead_out_are_refused_and_touch_nothing() {
    let mut raw = Raw::new(Access::Operator).await;
    for path in ["../out", "/etc/out", "a/../../out", "a\\..\\out", "C:\\out", "", "x.part", "a\0b"]
    {
        raw.say(Message::TransferOffer(TransferOffer {
            transfer: 1,
            name: path.into(),
            size: 1,
            modified_ms: None,
            request: None,
            folder: None,
        }));
        let Message::TransferRefuse(word) = raw.hear().await else { panic!("{path:?} is refused") };
        assert_eq!((word.transfer, word.code), (1, FileErrorCode::BadName), "{path:?}");
    }
    assert_eq!(raw.names(), [""; 0]);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn links_that_lead_out_are_neither_followed_nor_listed() {
    let pair = Pair::new(Access::Operator).await;
    let secret = folder();
    std::fs::write(secret.path().join("key"), b"secret").expect("a secret");
    std::os::unix::fs::symlink(secret.path(), pair.worker.path("out")).expect("a link");
    std::os::unix::fs::symlink(secret.path().join("key"), pair.worker.path("key")).expect("a link");
    std::fs::create_dir(pair.worker.path("in")).expect("a folder");
    pair.worker.write("in/good", b"good");
    std::os::unix::fs::symlink("in/good", pair.worker.path("good")).expect("a link inside");

    let page = soon(pair.client.transfers.list("", 0)).await.expect("the top");
    let listed: Vec<_> = page.entries.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(listed, ["in", "good"]);
    let (refused, message) =
        code(soon(pair.client.transfers.list("out", 0)).await.expect_err("it leads out"));
    assert_eq!(refused, FileErrorCode::BadName);
    assert!(message.contains("it leads out of the shared folder"), "{message}");

    let store: Arc<dyn Store> = Arc::new(pair.client.root.clone());
    for path in ["key", "out/key"] {
        let got = soon(pair.client.transfers.get(&name(path), store.clone(), name("got"))).await;
        assert_eq!(code(got.expect_err("it leads out")).0, FileErrorCode::BadName, "{path}");
    }
    let got = soon(pair.client.transfers.get(&name("good"), store, name("got"))).await;
    soon(got.expect("it stays inside").done()).await.expect("it arrives");
    assert_eq!(pair.client.read("got"), b"good");

    pair.client.write("mine", b"mine");
    let sent = soon(pair.client.send("mine", "out/mine").done()).await.expect_err("it leads out");
    assert_eq!(code(sent).0, FileErrorCode::BadName);
    assert_eq!(super::pair::names(secret.path()), ["key"]);
    // A link in the file's own place is replaced, not followed.
    soon(pair.client.send("mine", "key").done()).await.expect("it arrives");
    assert_eq!(std::fs::read(secret.path().join("key")).expect("still there"), b"secret");
    assert_eq!(pair.worker.read("key"), b"mine");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_in_the_files_place_is_refused() {
    let pair = Pair::new(Access::Operator).await;
    std::fs::create_dir(pair.worker.path("dir")).expect("a folder");
    pair.worker.write("file", b"x");
    pair.client.write("mine", b"mine");
    for to in ["dir", "file/mine"] {
        let refused = soon(pair.client.send("mine", to).done()).await.expect_err("in the way");
        assert_eq!(code(refused).0, FileErrorCode::WrongKind, "{to}");
    }
    let store = Arc::new(pair.client.root.clone());
    let got = soon(pair.client.transfers.get(&name("dir"), store, name("got"))).await;
    assert_eq!(code(got.expect_err("a folder")).0, FileErrorCode::WrongKind);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_files_at_a_time_than_allowed_are_refused_at_both_ends() {
    let mut raw = Raw::new(Access::Operator).await;
    for transfer in 0..=u32::try_from(MAX_TRANSFERS_PER_PEER).expect("few") {
        raw.say(Message::TransferOffer(TransferOffer {
            transfer,
            name: format!("file-{transfer}"),
            size: 1,
            modified_ms: None,
            request: None,
            folder: None,
        }));
    }
    let mut refused = 0;
    for _ in 0..=MAX_TRANSFERS_PER_PEER {
        match raw.hear().await {
            Message::TransferAccept(_) => {}
            Message::TransferRefuse(word) => {
                assert_eq!(word.code, FileErrorCode::TooMany);
                refused += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(refused, 1);

    let file = folder();
    std::fs::write(file.path().join("x"), b"x").expect("a file");
    let send = || {
        let source = LocalFile::open(file.path().join("x")).expect("a file");
        raw.transfers.send(Box::new(source), name("x"))
    };
    for _ in 0..MAX_TRANSFERS_PER_PEER {
        send().expect("room");
    }
    assert_eq!(code(send().expect_err("no room")).0, FileErrorCode::TooMany);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_files_under_one_number_are_both_refused() {
    let mut raw = Raw::new(Access::Operator).await;
    let offer = |name: &str| {
        Message::TransferOffer(TransferOffer {
            transfer: 9,
            name: name.into(),
            size: 10,
            modified_ms: None,
            request: None,
            folder: None,
        })
    };
    raw.say(offer("a"));
    assert!(matches!(raw.hear().await, Message::TransferAccept(_)));
    raw.say(offer("b"));
    let Message::TransferRefuse(word) = raw.hear().await else { panic!("it is refused") };
    assert_eq!((word.transfer, word.code), (9, FileErrorCode::Protocol));
}

/// A worker whose other end is the test itself.
struct Raw {
    folder: tempfile::TempDir,
    transfers: Transfers,
    heard: mpsc::Receiver<Message>,
}

struct Ear(mpsc::Sender<Message>);

#[async_trait::async_trait]
impl Wire for Ear {
    async fn control(&self, message: Message) -> Result<(), WireClosed> {
        self.0.send(message).await.map_err(|_| WireClosed)
    }

    async fn chunk(&self, _: bytes::Bytes) -> Result<(), WireClosed> {
        Ok(())
    }
}

impl Raw {
    async fn new(access: Access) -> Self {
        let folder = folder();
        let root = FileRoot::open(folder.path()).await.expect("a folder");
        let peer = halyard_protocol::ids::PeerId::new("mallory").expect("a name");
        let (ear, heard) = mpsc::channel(64);
        let serving = Serving::folder(Arc::new(root), &peer, access);
        let (transfers, _) = Transfers::new(Arc::new(Ear(ear)), serving);
        Self { folder, transfers, heard }
    }

    fn say(&self, message: Message) {
        assert_eq!(self.transfers.message(message), None);
    }

    async fn hear(&mut self) -> Message {
        soon(self.heard.recv()).await.expect("an answer")
    }

    fn names(&self) -> Vec<String> {
        super::pair::names(self.folder.path())
    }
}
