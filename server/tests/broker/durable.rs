//! The program itself, killed in the middle of its work.

use std::process::Command;

use serde_json::json;

use crate::{
    program::Program,
    support::{Broker, Room},
};

#[tokio::test(flavor = "multi_thread")]
async fn every_acknowledged_room_survives_kill_9() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut owed: Vec<(crate::support::Person, Room)> = Vec::new();
    for _ in 0..3 {
        let program = Program::start(dir.path(), "warn,halyard_server=info");
        let broker = Broker::at(program.addr);
        for (owner, room) in &owed {
            let peer = broker.join(room, &room.operator, owner).await;
            peer.close().await;
        }
        // Four owners at a time, until the program is killed in the middle.
        let mut owners = tokio::task::JoinSet::new();
        let (made, mut count) = tokio::sync::mpsc::channel::<()>(1024);
        for _ in 0..4 {
            let broker = Broker::at(program.addr);
            let made = made.clone();
            owners.spawn(async move {
                let mut rooms = Vec::new();
                let owner = broker.sign_in().await;
                loop {
                    let answer = reqwest::Client::new()
                        .post(broker.url("/create-room"))
                        .bearer_auth(&owner.id_token)
                        .send()
                        .await;
                    let Ok(answer) = answer else { return rooms };
                    if answer.status() == 429 {
                        return rooms;
                    }
                    let Ok(body) = answer.json::<serde_json::Value>().await else { return rooms };
                    rooms.push((
                        owner.clone(),
                        Room {
                            id: crate::support::text(&body["room_id"]),
                            operator: crate::support::text(&body["token"]),
                            viewer: String::new(),
                        },
                    ));
                    let _ = made.send(()).await;
                }
            });
        }
        drop(made);
        for _ in 0..25 {
            count.recv().await.expect("rooms are made");
        }
        let killed = tokio::task::spawn_blocking(move || program.kill());
        while count.recv().await.is_some() {}
        killed.await.expect("killed");
        for rooms in owners.join_all().await {
            owed.extend(rooms);
        }
    }
    assert!(owed.len() >= 75, "{}", owed.len());
    let program = Program::start(dir.path(), "warn,halyard_server=info");
    let broker = Broker::at(program.addr);
    for (owner, room) in &owed {
        let (_peer, answer) =
            broker.join_as(room, &room.operator, owner, &owner.name, json!({})).await;
        assert_eq!(answer["role"], "admin", "the identity survived, too");
    }
    program.kill();
}

#[test]
fn a_damaged_store_stops_the_start_and_is_left_as_it_is() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("rooms.redb");
    std::fs::write(&path, b"not a store").expect("written");
    let output = Command::new(env!("CARGO_BIN_EXE_halyard-server"))
        .args(["--listen", "127.0.0.1:0", "--data-dir"])
        .arg(dir.path())
        .output()
        .expect("ended");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("rooms.redb") && said.contains("damaged"), "{said}");
    assert_eq!(std::fs::read(&path).expect("still there"), b"not a store");
}

#[test]
fn the_program_says_what_its_configuration_means_or_what_is_wrong() {
    let run = |args: &[&str]| {
        let output =
            Command::new(env!("CARGO_BIN_EXE_halyard-server")).args(args).output().expect("ended");
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        (output.status.code(), text)
    };
    let (code, text) = run(&["check-config", "--room-ttl", "30m"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("30m"), "{text}");
    let (code, text) = run(&["check-config", "--room-ttl", "soon"]);
    assert_eq!(code, Some(2));
    assert!(text.contains("room_ttl is \"soon\" in the flag --room-ttl"), "{text}");
    let (code, text) = run(&["version"]);
    assert_eq!(code, Some(0));
    assert!(text.contains(env!("CARGO_PKG_VERSION")), "{text}");
}
