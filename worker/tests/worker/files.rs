//! Files in one folder, and nowhere else.

use std::{path::Path, sync::Arc};

use halyard_client::{files::FileRoot, session::Session};
use halyard_protocol::transfer::RelativeName;

use crate::world::{World, soon};

/// Bytes that differ everywhere, so that a chunk in the wrong place shows.
pub fn bytes(len: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

pub fn name(text: &str) -> RelativeName {
    RelativeName::new(text).expect("a good name")
}

async fn fetch(session: &Session, from: &str, dir: &Path, to: &str) -> Result<(), String> {
    let store = Arc::new(FileRoot::open(dir).await.expect("a folder"));
    let (from, to) = (name(from), name(to));
    let got = session.get_file(&from, store, &to, |_| {});
    soon("the file", got).await.map(|_| ()).map_err(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_goes_up_and_comes_back_and_is_the_same() {
    let (home, shared) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let world = World::sharing(shared.path()).await;
    let operator = world.operator().await;

    let content = bytes(3_000_001);
    let path = home.path().join("up.bin");
    std::fs::write(&path, &content).unwrap();
    let remote = name("Messung/übung 1.bin");
    soon("the file", operator.send_file(&path, &remote, |_| {})).await.expect("sent");
    assert!(std::fs::read(shared.path().join(remote.as_str())).unwrap() == content);
    let listed = soon("the list", operator.list("Messung")).await.expect("listed");
    assert_eq!((listed[0].name.as_str(), listed[0].size), ("übung 1.bin", 3_000_001));

    fetch(&operator, remote.as_str(), home.path(), "down.bin").await.expect("fetched");
    assert!(std::fs::read(home.path().join("down.bin")).unwrap() == content);

    let missing = fetch(&operator, "nothing.bin", home.path(), "x").await.expect_err("missing");
    assert!(missing.contains("nothing.bin"), "{missing}");
    operator.close().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_outside_the_folder_is_reached_by_any_name() {
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), "secret").unwrap();
    let shared = outside.path().join("shared");
    std::fs::create_dir(&shared).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("../secret", shared.join("link")).unwrap();
    let world = World::sharing(&shared).await;
    let operator = world.operator().await;
    let peer = operator.peer().expect("connected");

    // The client's own checks are passed by: these are words that a hostile peer would say.
    let mut answers = 0;
    for path in ["../secret", "/etc/passwd", "a/../../secret", "..\\secret", "link", "C:\\x"] {
        let listed = soon("the refusal", operator.list(path)).await;
        listed.expect_err("a folder outside, or none");
        answers += 1;
        if RelativeName::new(path).is_ok() {
            let fetched = fetch(&operator, path, outside.path(), "stolen").await;
            fetched.expect_err("a file outside");
        }
    }
    assert_eq!(answers, 6);
    let offer = halyard_protocol::channel::TransferOffer {
        transfer: 7_000_000,
        name: "../planted".into(),
        size: 0,
        modified_ms: None,
        request: None,
        folder: None,
    };
    let message = halyard_protocol::channel::Message::TransferOffer(offer);
    peer.send(halyard_protocol::channel::Lane::Control, &message).await.expect("said");
    // Answers come in order on `control`, so once this one is here the offer was looked at.
    soon("the list", operator.list("")).await.expect("listed");
    let ack = operator.command("status", serde_json::Value::Null, None).await.expect("answered");
    assert!(ack.ok);
    assert!(!outside.path().join("planted").exists());
    assert!(!outside.path().join("stolen").exists());
    operator.close().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_folder_files_are_refused_in_words_that_help() {
    let world = World::new().await;
    let operator = world.operator().await;
    let refused = soon("the refusal", operator.list("")).await.expect_err("no files here");
    assert!(refused.to_string().contains("--files DIR"), "{refused}");
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("up.bin");
    std::fs::write(&path, "x").unwrap();
    let refused = soon("the refusal", operator.send_file(&path, &name("up.bin"), |_| {})).await;
    assert!(refused.expect_err("no files here").to_string().contains("--files DIR"));
    operator.close().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_lists_and_moves_no_files() {
    let shared = tempfile::tempdir().unwrap();
    std::fs::write(shared.path().join("log.txt"), "x").unwrap();
    let world = World::sharing(shared.path()).await;
    let viewer = world.viewer().await;
    assert_eq!(viewer.list("").await.expect("listed")[0].name, "log.txt");
    let home = tempfile::tempdir().unwrap();
    let refused = fetch(&viewer, "log.txt", home.path(), "log.txt").await.expect_err("refused");
    assert!(refused.contains("operator's link"), "{refused}");
    viewer.close().await;
    world.end().await;
}
