//! What many files, whole folders and archives do to a worker, and what it lets nobody do.

use std::{fs, sync::Arc, time::Duration};

use halyard_client::{
    api::Api,
    files::{FileRoot, Store},
    session::{FilesError, Session, SessionOptions},
};
use halyard_protocol::{
    channel::FileErrorCode,
    link::JoinLink,
    transfer::{Failure, RelativeName},
};
use halyard_worker::config::Settings;
use serde_json::Value;

use crate::{
    files::{bytes, name},
    world::{Broker, World, soon},
};

fn folder(text: &str) -> RelativeName {
    RelativeName::folder(text).expect("a good name")
}

fn code(error: FilesError) -> (FileErrorCode, String) {
    match error {
        FilesError::Refused(Failure { code, message }) => (code, message),
        other => panic!("{other}"),
    }
}

/// Without a driver there is a question that every machine answers with a refusal.
async fn ask(session: &Session) {
    soon("the answer", session.command("status", Value::Null, None)).await.expect("answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_never_waits_behind_the_bytes_of_a_file() {
    let (home, shared) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let world = World::sharing(shared.path()).await;
    let operator = world.operator().await;
    let path = home.path().join("large.bin");
    fs::write(&path, bytes(200_000_000)).unwrap();
    let (moved, seen) = tokio::sync::watch::channel(0_u64);
    let remote = name("large.bin");
    let sending = operator.send_file(&path, &remote, |report| {
        moved.send_replace(report.progress.moved);
    });
    // Counted in bytes of the file and not in seconds, so that a busy machine changes nothing:
    // between a question and its answer no queue full of the file may pass.
    let asking = async {
        let mut passed = Vec::new();
        while *seen.borrow() < 190_000_000 {
            let before = *seen.borrow();
            ask(&operator).await;
            passed.push(*seen.borrow() - before);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        passed.sort_unstable();
        passed
    };
    let (sent, passed) = tokio::join!(sending, asking);
    sent.expect("sent");
    assert!(passed.len() >= 20, "only {} questions while the file moved", passed.len());
    let middle = passed[passed.len() / 2];
    assert!(middle < 6_000_000, "half of {} answers let {middle} bytes pass", passed.len());
    operator.close().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_file_is_not_stuck_behind_a_large_one() {
    let (home, shared) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let world = World::sharing(shared.path()).await;
    let operator = world.operator().await;
    fs::write(home.path().join("large.bin"), bytes(200_000_000)).unwrap();
    fs::write(home.path().join("small.bin"), bytes(1_000_000)).unwrap();
    let (moved, mut seen) = tokio::sync::watch::channel(0_u64);
    let (large, small) = (name("large.bin"), name("small.bin"));
    let large_path = home.path().join("large.bin");
    let sending = operator.send_file(&large_path, &large, |report| {
        moved.send_replace(report.progress.moved);
    });
    let other = async {
        seen.wait_for(|moved| *moved > 10_000_000).await.expect("under way");
        let path = home.path().join("small.bin");
        operator.send_file(&path, &small, |_| {}).await.expect("sent");
        *seen.borrow()
    };
    let (sent, at) = tokio::join!(sending, other);
    sent.expect("sent");
    assert!(at < 150_000_000, "the large one was at {at} when the small one had arrived");
    operator.close().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_goes_up_is_found_and_comes_back() {
    let (home, shared) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let world = World::sharing(shared.path()).await;
    let operator = world.operator().await;
    let set = home.path().join("set");
    fs::create_dir_all(set.join("labels")).unwrap();
    fs::write(set.join("labels/1.csv"), "1,2").unwrap();
    fs::write(set.join("video.bin"), bytes(3_000_000)).unwrap();
    let (to, back) = (folder("packages/set"), folder("back"));
    soon("sent", operator.send_folder(&set, &to, false, |_| {})).await.expect("sent");
    let found = soon("found", operator.glob("packages/**/*.csv")).await.expect("found");
    assert_eq!(found[0].name, "packages/set/labels/1.csv");
    let stat = soon("looked at", operator.stat(&name("packages/set/video.bin"))).await.unwrap();
    assert_eq!(stat.size, 3_000_000);
    let again = soon("refused", operator.send_folder(&set, &to, false, |_| {})).await;
    assert_eq!(code(again.expect_err("there")).0, FileErrorCode::Exists);
    soon("replaced", operator.send_folder(&set, &to, true, |_| {})).await.expect("replaced");
    let store = Arc::new(FileRoot::open(home.path()).await.unwrap());
    soon("got", operator.get_any(&to, store, &back, false, |_| {})).await.expect("got");
    let came = fs::read(home.path().join("back/video.bin")).unwrap();
    assert!(came == fs::read(set.join("video.bin")).unwrap());
    let full = soon("refused", operator.delete(&to, false)).await.expect_err("not empty");
    assert_eq!(code(full).0, FileErrorCode::NotEmpty);
    soon("deleted", operator.delete(&to, true)).await.expect("deleted");
    assert!(!shared.path().join("packages/set").exists());
    operator.close().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_has_sent_its_share_is_told_so_before_the_first_byte() {
    let (home, shared) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let settings = Settings {
        files: Some(shared.path().to_owned()),
        quota_per_peer: Some(1_000_000),
        ..Settings::default()
    };
    let world = World::with(settings, Broker::start(None).await).await;
    let api = Api::new(world.broker.url.clone()).unwrap();
    let identity = soon("an identity", api.sign_in()).await.unwrap();
    let joined = async || {
        let link = JoinLink::parse(world.room.join_url.expose()).unwrap();
        let identity = Some(identity.clone());
        let options = SessionOptions { identity, ..SessionOptions::default() };
        soon("joining", Session::join(link, options)).await.expect("joined")
    };
    let path = home.path().join("a.bin");
    fs::write(&path, bytes(600_000)).unwrap();
    let operator = joined().await;
    soon("sent", operator.send_file(&path, &name("1"), |_| {})).await.expect("it fits");
    operator.close().await;
    // Another connection changes nothing, whatever it is called: the identity is what counts.
    for _ in 0..2 {
        let session = joined().await;
        let refused = soon("refused", session.send_file(&path, &name("2"), |_| {})).await;
        let (code, message) = code(refused.expect_err("too much"));
        assert_eq!(code, FileErrorCode::Quota);
        assert!(message.contains("400000 are left for you"), "{message}");
        assert_eq!(fs::read_dir(shared.path()).unwrap().count(), 1, "nothing of it is there");
        session.close().await;
    }
    let other = world.operator().await;
    soon("sent", other.send_file(&path, &name("2"), |_| {})).await.expect("another's share");
    other.close().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_is_unpacked_on_request_or_refused_in_words() {
    let (home, shared) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let world = World::sharing(shared.path()).await;
    let operator = world.operator().await;
    let path = home.path().join("set.zip");
    fs::write(&path, "no archive").unwrap();
    let (archive, into) = (name("set.zip"), folder("set"));
    soon("sent", operator.send_file(&path, &archive, |_| {})).await.expect("sent");
    let refused = soon("refused", operator.unpack(&archive, &into, false)).await;
    let (code, message) = code(refused.expect_err("no archive"));
    assert_eq!(code, FileErrorCode::BadArchive);
    assert!(message.contains("accepted are .zip, .tar and .tar.gz"), "{message}");
    // An empty zip is nothing but its end.
    let mut empty = vec![0; 22];
    empty[..4].copy_from_slice(b"PK\x05\x06");
    fs::write(&path, empty).unwrap();
    soon("sent", operator.send_file(&path, &archive, |_| {})).await.expect("sent");
    let unpacked = soon("unpacked", operator.unpack(&archive, &into, false)).await;
    assert_eq!(unpacked.expect("unpacked").files, 0);
    assert!(shared.path().join("set").is_dir());
    operator.close().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_came_back_for_is_removed_and_what_is_on_its_way_is_not() {
    let (home, shared) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let part = |name: &str| shared.path().join(name);
    fs::write(part("old.bin.part"), bytes(1000)).unwrap();
    fs::create_dir_all(part(".set.part/tree/a")).unwrap();
    fs::write(part(".set.part/notes"), "").unwrap();
    // Another program of this machine writes into the same folder.
    let other = FileRoot::open(shared.path()).await.unwrap();
    let written = other.create(&name("slow.bin"), 1000).unwrap();
    written.write_at(0, &[1; 500]).unwrap();
    // Nothing waits here at all, so every moment is long enough.
    let settings = Settings {
        files: Some(shared.path().to_owned()),
        keep_unfinished: Some(Duration::ZERO),
        ..Settings::default()
    };
    let world = World::with(settings, Broker::start(None).await).await;
    soon("removed", async {
        while part("old.bin.part").exists() || part(".set.part").exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let operator = world.operator().await;
    let path = home.path().join("new.bin");
    fs::write(&path, bytes(50_000_000)).unwrap();
    let sent = soon("sent", operator.send_file(&path, &name("new.bin"), |_| {})).await;
    assert_eq!(sent.expect("sent").size, 50_000_000, "it looks every second");
    assert!(part("slow.bin.part").exists(), "somebody writes it");
    drop(written);
    soon("removed", async {
        while part("slow.bin.part").exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    operator.close().await;
    world.end().await;
}
