//! Nothing secret is in the log, at any level.

use serde_json::json;

use crate::{
    program::Program,
    support::{Broker, text},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_session_leaves_no_secret_in_the_log() {
    let dir = tempfile::tempdir().expect("a folder");
    let program = Program::start(dir.path(), "trace");
    let broker = Broker::at(program.addr);
    let ann = broker.sign_in().await;
    let bob = broker.sign_in().await;
    let room = broker.create_room(&ann).await;
    let (mut worker, welcome) =
        broker.join_as(&room, &room.operator, &ann, "worker", json!({})).await;
    let (mut client, _) = broker.join_as(&room, &room.viewer, &bob, "bob", json!({})).await;
    let sdp = "v=0 a-secret-session-description";
    client.send(&json!({ "type": "offer", "target": "worker", "sdp": sdp })).await;
    worker.next_of("offer").await;
    client.send(&json!({ "type": "offer", "target": "ghost", "sdp": sdp })).await;
    client.next_of("error").await;
    let wrong = "a-wrong-room-token";
    let mut stranger = broker.socket().await;
    stranger.register(&room, wrong, &bob, "eve", json!({})).await;
    let resume = text(&welcome["resume_token"]);
    worker.cut();
    let more = json!({ "resume_token": resume });
    let (_worker, _) = broker.join_as(&room, &room.operator, &ann, "worker", more).await;
    let path = format!("/rooms/{}/revoke", room.id);
    let role = Some(json!({ "role": "viewer" }));
    let rotated = broker.call("POST", &path, Some(&ann.id_token), role).await.body;

    // What operators see is told to more machines than the log is: not even names are in it.
    let operators = Broker::at(program.admin);
    let metrics = text(&operators.call("GET", "/metrics", None, None).await.body);
    assert!(metrics.contains("halyard_join_duration_seconds_count"), "{metrics}");
    let ready = operators.call("GET", "/ready", None, None).await.body.to_string();
    for told in [&metrics, &ready] {
        for private in [&room.id, &ann.name, &bob.name, &ann.id_token, &room.operator, &resume] {
            assert!(!told.contains(private.as_str()), "{private} is in {told}");
        }
    }

    let log = program.kill();
    assert!(log.contains("a peer registered"), "the log was read:\n{log}");
    for secret in [
        &ann.id_token,
        &bob.id_token,
        &room.operator,
        &room.viewer,
        &resume,
        &text(&rotated["token"]),
        &wrong.to_owned(),
        &sdp.to_owned(),
    ] {
        assert!(!log.contains(secret.as_str()), "{secret} is in the log");
        // Nor a part that is long enough to help.
        assert!(
            !log.contains(&secret[..secret.len().min(16)]) || secret.starts_with("ey"),
            "{secret}"
        );
    }
    // All identity tokens begin with the same header; their signatures must not show.
    for id_token in [&ann.id_token, &bob.id_token] {
        let signature = id_token.rsplit('.').next().expect("three parts");
        assert!(!log.contains(&signature[..16]), "a signature is in the log");
    }
}
