//! A disk that is full: a limit on the size of files stands in for it, which the system answers
//! with the same kind of error in the same place.

use std::{path::Path, process::Command};

use crate::support::{broker::Broker, program::Program};

/// The broker where no file may grow beyond so many KiB.
fn limited(kib: u64, data_dir: &Path) -> Command {
    let mut command = Command::new("sh");
    let script = format!("trap '' XFSZ; ulimit -f {}; exec \"$@\"", kib * 2);
    command
        .args(["-c", &script, "sh", env!("CARGO_BIN_EXE_halyard-server")])
        .args(["--listen", "127.0.0.1:0", "--stun-urls", "", "--data-dir"])
        .arg(data_dir)
        .env_remove("HALYARD_LOG");
    command
}

fn files(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).expect("a folder");
    let mut names: Vec<_> =
        names.map(|name| name.expect("a name").file_name().into_string().expect("text")).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_store_that_finds_no_room_at_its_first_start_says_so_and_leaves_no_half_of_one() {
    let dir = tempfile::tempdir().expect("a folder");
    let starting = Program::start(limited(8, dir.path()), "sh is part of the system");
    let (code, said) = starting.ended();
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("cannot use the room store") && said.contains("rooms.redb"), "{said}");
    assert!(!files(dir.path()).contains(&"rooms.redb".to_owned()), "{:?}", files(dir.path()));
    // And with room again it starts as if nothing had been.
    let broker = Broker::run(limited(1 << 20, dir.path()));
    broker.sign_in(None).await;
}

#[tokio::test]
async fn a_disk_that_fills_up_refuses_new_rooms_and_loses_none() {
    let dir = tempfile::tempdir().expect("a folder");
    let broker = Broker::run(limited(1 << 20, dir.path()));
    let (ann, _) = broker.sign_in(None).await;
    let kept = broker.call("POST", "/create-room", Some(&ann)).await;
    let kept = kept.body["room_id"].as_str().expect("a room").to_owned();
    broker.program.kill();

    // Far below what the file has already: nothing more of it can be written.
    let broker = Broker::run(limited(64, dir.path()));
    for _ in 0..3 {
        let refused = broker.call("POST", "/create-room", Some(&ann)).await;
        assert_eq!(refused.status, 503, "{refused:?}");
        assert_eq!(refused.body["code"], "UNAVAILABLE", "{refused:?}");
        assert!(refused.retry_after.is_some(), "{refused:?}");
    }
    broker.program.kill();

    let broker = Broker::run(limited(1 << 20, dir.path()));
    let room = broker.call("GET", &format!("/rooms/{kept}"), Some(&ann)).await;
    assert_eq!(room.status, 200, "{room:?}");
    let rooms = broker.call("GET", "/rooms", Some(&ann)).await;
    assert_eq!(rooms.body["rooms"].as_array().map(Vec::len), Some(1), "{rooms:?}");
}
