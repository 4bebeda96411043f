//! Whole folders, patterns, and what is deleted.

use std::{
    fs,
    sync::{Arc, atomic::Ordering},
};

use halyard_protocol::{
    access::Access, channel::FileErrorCode, limits::CHUNK_BYTES, transfer::RelativeName,
};

use super::pair::{Pair, content, folder, name, names, soon};
use crate::{
    files::FolderSource,
    transfer::{Transfer, TransferError},
};

fn code(error: TransferError) -> FileErrorCode {
    match error {
        TransferError::Failed(failure) => failure.code,
        TransferError::Cut => panic!("nothing was cut"),
    }
}

fn any(text: &str) -> RelativeName {
    RelativeName::folder(text).expect("a good name")
}

/// A data set in the client's folder: a few files, one of them of many chunks.
fn data_set(pair: &Pair) {
    fs::create_dir_all(pair.client.path("set/labels/empty")).expect("made");
    pair.client.write("set/a.json", b"{}");
    pair.client.write("set/labels/b.csv", b"1,2");
    pair.client.write("set/video.bin", &content(3, 30 * CHUNK_BYTES + 77));
}

fn send(pair: &Pair, replace: bool) -> Transfer {
    let source = FolderSource::open(pair.client.path("set")).expect("a folder");
    let sent = pair.client.transfers.send(Box::new(source.replacing(replace)), any("in/set"));
    sent.expect("room for one more")
}

fn assert_arrived(pair: &Pair) {
    for file in ["a.json", "labels/b.csv", "video.bin"] {
        let (sent, here) = (pair.client.path("set").join(file), pair.worker.path("in/set"));
        assert!(fs::read(sent).expect("read") == fs::read(here.join(file)).expect(file), "{file}");
    }
    assert!(pair.worker.path("in/set/labels/empty").is_dir());
    assert_eq!(names(&pair.worker.path("in")), ["set"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_goes_up_and_comes_back_beside_a_file() {
    let pair = Pair::new(Access::Operator).await;
    data_set(&pair);
    pair.client.write("one", b"one");
    let (folder, file) = (send(&pair, false), pair.client.send("one", "one"));
    soon(folder.done()).await.expect("it arrives");
    soon(file.done()).await.expect("it arrives, too");
    assert_arrived(&pair);
    let progress = folder.progress();
    assert_eq!((progress.moved, progress.durable), (progress.total, progress.total));

    let store = Arc::new(pair.client.root.clone());
    let (folder, one) = (any("in/set"), name("one"));
    let got = pair.client.transfers.get_any(&folder, store.clone(), any("back"), false);
    soon(soon(got).await.expect("offered").done()).await.expect("it comes back");
    let back = fs::read(pair.client.path("back/video.bin")).expect("read");
    assert!(back == content(3, 30 * CHUNK_BYTES + 77));
    // Whoever asks for a file is not given a folder.
    let got = pair.client.transfers.get(&folder, store.clone(), name("x"));
    assert_eq!(code(soon(got).await.expect_err("a folder")), FileErrorCode::WrongKind);
    let got = pair.client.transfers.get_any(&one, store, name("copy"), false);
    soon(soon(got).await.expect("offered").done()).await.expect("a file is fine as well");
    assert_eq!(pair.client.read("copy"), b"one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_goes_on_in_the_middle_of_a_file_where_the_connection_was_cut() {
    let mut pair = Pair::new(Access::Operator).await;
    data_set(&pair);
    let root = pair.worker.root.clone();
    let mut reached = 0;
    for _ in 0..2 {
        pair.client_wire.cut_after.store(10 * (CHUNK_BYTES as u64 + 16), Ordering::Relaxed);
        let error = soon(send(&pair, false).done()).await.expect_err("it was cut");
        assert_eq!(error, TransferError::Cut);
        let (client, worker) = pair.cut().await;
        assert_eq!(names(&worker.path().join("in")), [".set.part"], "what came is kept");
        let video = worker.path().join("in/.set.part/tree/video.bin");
        let held = fs::metadata(video).expect("a part of it").len();
        assert!(held > reached, "{held} after {reached}");
        reached = held;
        let store = Arc::new(root.clone());
        pair = Pair::between("a", client, worker, store, root.clone(), Access::Operator).await;
    }
    let finished = soon(send(&pair, false).done()).await.expect("it arrives");
    assert!(finished.resumed_at >= reached, "{finished:?} after {reached}");
    let sent = pair.client_wire.order.lock().expect("not poisoned").len() as u64;
    assert!(
        sent * (CHUNK_BYTES as u64) < finished.size - finished.resumed_at + 2 * CHUNK_BYTES as u64
    );
    assert_arrived(&pair);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_with_damaged_bytes_is_refused_and_removed() {
    let pair = Pair::new(Access::Operator).await;
    data_set(&pair);
    // In the middle of the large file, where no header notices.
    pair.client_wire.damage.store(9, Ordering::Relaxed);
    let refused = soon(send(&pair, false).done()).await.expect_err("damaged");
    assert_eq!(code(refused), FileErrorCode::HashMismatch);
    assert_eq!(names(&pair.worker.path("in")), [""; 0]);
    soon(send(&pair, false).done()).await.expect("the wire is honest from here on");
    assert_arrived(&pair);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_there_is_replaced_only_where_that_was_said() {
    let pair = Pair::new(Access::Operator).await;
    data_set(&pair);
    soon(send(&pair, false).done()).await.expect("it arrives");
    pair.worker.write("in/set/grown there", b"x");
    let refused = soon(send(&pair, false).done()).await.expect_err("there");
    assert_eq!(code(refused), FileErrorCode::Exists);
    assert_eq!(pair.worker.read("in/set/grown there"), b"x");
    soon(send(&pair, true).done()).await.expect("it takes its place");
    assert!(!pair.worker.path("in/set/grown there").exists());
    assert_arrived(&pair);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_looked_up_and_found_by_patterns() {
    let pair = Pair::new(Access::Viewer).await;
    fs::create_dir_all(pair.worker.path("models/fly/old")).expect("made");
    for file in ["models/fly/best.ckpt", "models/fly/old/1.ckpt", "models/a.txt", "b.ckpt"] {
        pair.worker.write(file, b"1234");
    }
    std::os::unix::fs::symlink("..", pair.worker.path("models/up")).expect("linked");
    let transfers = &pair.client.transfers;
    let found = async |pattern: &str| {
        let page = soon(transfers.glob(pattern, 0)).await.expect(pattern);
        assert_eq!((page.total as usize, page.more), (page.entries.len(), false));
        page.entries.into_iter().map(|entry| entry.name).collect::<Vec<_>>()
    };
    assert_eq!(found("models/**/*.ckpt").await, ["models/fly/best.ckpt", "models/fly/old/1.ckpt"]);
    assert_eq!(found("*.ckpt").await, ["b.ckpt"]);
    assert_eq!(found("models/{a.txt,fly}").await, ["models/a.txt", "models/fly"]);
    assert_eq!(found("nowhere/*").await, [""; 0]);
    let beyond = soon(transfers.glob("**/*.ckpt", 2)).await.expect("a page");
    assert_eq!((beyond.total, beyond.entries.len()), (3, 1));

    let stat = soon(transfers.stat(&name("models/a.txt"))).await.expect("there");
    assert_eq!((stat.name.as_str(), stat.size), ("a.txt", 4));
    let missing = soon(transfers.stat(&name("nowhere"))).await.expect_err("missing");
    assert_eq!(code(missing), FileErrorCode::NotFound);
    for pattern in ["../*", "/etc/*", "a/../../*"] {
        let refused = soon(transfers.glob(pattern, 0)).await.expect_err(pattern);
        assert_eq!(code(refused), FileErrorCode::BadName);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_delete_files_and_folders_and_nothing_else() {
    let pair = Pair::new(Access::Operator).await;
    fs::create_dir_all(pair.worker.path("runs/1")).expect("made");
    fs::create_dir(pair.worker.path("empty")).expect("made");
    for file in ["a", "runs/1/log"] {
        pair.worker.write(file, b"x");
    }
    let outside = folder();
    fs::write(outside.path().join("kept"), "x").expect("written");
    std::os::unix::fs::symlink(outside.path(), pair.worker.path("out")).expect("linked");
    let delete = async |path: &str, recursive| {
        soon(pair.client.transfers.delete(&any(path), recursive)).await.map_err(code)
    };
    assert_eq!(delete("runs", false).await, Err(FileErrorCode::NotEmpty));
    assert_eq!(delete("nothing", true).await, Err(FileErrorCode::NotFound));
    assert_eq!(delete("out/kept", true).await, Err(FileErrorCode::BadName));
    for (path, recursive) in [("a", false), ("empty", false), ("runs", true), ("out", true)] {
        assert_eq!(delete(path, recursive).await, Ok(()), "{path}");
    }
    assert_eq!(pair.worker.names(), [""; 0]);
    assert!(outside.path().join("kept").exists(), "of a link only the link goes");

    // What is on its way is not pulled away from under its writer.
    let owner = crate::files::Owner { peer: "b".into(), connection: u64::MAX };
    let claims = crate::files::Store::claims(&pair.worker.root).clone();
    let _held = claims.claim(&name("in/film"), &owner).await.expect("free");
    fs::create_dir(pair.worker.path("in")).expect("made");
    pair.worker.write("in/film", b"old");
    for path in ["in/film", "in"] {
        assert_eq!(delete(path, true).await, Err(FileErrorCode::Busy), "{path}");
    }

    let viewer = Pair::new(Access::Viewer).await;
    viewer.worker.write("a", b"x");
    let refused = soon(viewer.client.transfers.delete(&name("a"), false)).await;
    assert_eq!(code(refused.expect_err("a viewer")), FileErrorCode::Forbidden);
    assert_eq!(viewer.worker.names(), ["a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_deleted_during_its_download_arrives_and_is_gone() {
    let pair = Pair::new(Access::Operator).await;
    let bytes = content(5, 20 * CHUNK_BYTES);
    pair.worker.write("film", &bytes);
    pair.worker_wire.gated.store(true, Ordering::Relaxed);
    let store = Arc::new(pair.client.root.clone());
    let got = soon(pair.client.transfers.get(&name("film"), store, name("film"))).await;
    let got = got.expect("offered");
    pair.worker_wire.gate.add_permits(2);
    let mut steps = got.watch();
    soon(steps.wait_for(|progress| progress.moved > 0)).await.expect("under way");
    soon(pair.client.transfers.delete(&name("film"), false)).await.expect("deleted");
    pair.worker_wire.gate.add_permits(1000);
    soon(got.done()).await.expect("it arrives");
    assert!(pair.client.read("film") == bytes);
    assert_eq!(pair.worker.names(), [""; 0]);
}
