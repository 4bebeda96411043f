//! Whoever serves peers without the broker asks it whether their rights still hold.

use std::time::Duration;

use halyard_protocol::token::Token;
use halyard_server::{Settings, settings::TurnSettings};
use serde_json::{Value, json};

use crate::support::{Broker, Peer, settings, text};

async fn confirmed(asker: &mut Peer, seq: u64, grants: &[&Value]) -> Value {
    asker.send(&json!({ "type": "confirm_rights", "seq": seq, "grants": grants })).await;
    let answer = asker.next_of("rights_confirmed").await;
    assert_eq!(answer["seq"], seq);
    answer
}

#[tokio::test]
async fn a_worker_hears_at_once_whose_rights_are_gone() {
    let broker = Broker::start().await;
    let [ann, bob, eve] = [broker.sign_in().await, broker.sign_in().await, broker.sign_in().await];
    let room = broker.create_room(&ann).await;
    let as_worker = json!({ "role": "worker" });
    let (mut worker, _) = broker.join_as(&room, &room.operator, &ann, "worker", as_worker).await;
    let (driver, welcome) = broker.join_as(&room, &room.operator, &bob, "driver", json!({})).await;
    let owner = &welcome["peers"][0]["grant"];
    let bobs = worker.next_of("peer_joined").await["grant"].clone();
    let _viewer = broker.join_as(&room, &room.viewer, &eve, "viewer", json!({})).await;
    let eves = worker.next_of("peer_joined").await["grant"].clone();
    for secret in [&room.operator, &room.viewer] {
        let told = format!("{owner}{bobs}{eves}");
        assert!(!told.contains(secret.as_str()), "a grant is no token: {told}");
    }
    let answer = confirmed(&mut worker, 1, &[owner, &bobs, &eves]).await;
    assert_eq!(answer["grants"], json!([owner, bobs, eves]));
    assert_eq!(answer["valid_for"], 60);

    // A driver that left the broker keeps its rights: it was not revoked.
    driver.close().await;
    worker.next_of("peer_left").await;
    assert_eq!(confirmed(&mut worker, 2, &[&bobs]).await["grants"], json!([bobs]));

    let path = format!("/rooms/{}/revoke", room.id);
    let wish = Some(json!({ "peer_id": "viewer" }));
    broker.call("POST", &path, Some(&ann.id_token), wish).await;
    worker.next_of("rights_changed").await;
    assert_eq!(confirmed(&mut worker, 3, &[&bobs, &eves]).await["grants"], json!([bobs]));

    // Nobody of that kind is here, and the worker may still serve one.
    let wish = Some(json!({ "role": "operator" }));
    let answer = broker.call("POST", &path, Some(&ann.id_token), wish).await.body;
    assert_eq!(answer["revoked"], json!([]));
    worker.next_of("rights_changed").await;
    assert_eq!(confirmed(&mut worker, 4, &[owner, &bobs]).await["grants"], json!([owner]));

    // The new token's bearer has another grant.
    let room = crate::support::Room { operator: text(&answer["token"]), ..room };
    let _again = broker.join_as(&room, &room.operator, &bob, "driver", json!({})).await;
    let new = worker.next_of("peer_joined").await["grant"].clone();
    assert_eq!(confirmed(&mut worker, 5, &[&bobs, &new]).await["grants"], json!([new]));
}

#[tokio::test]
async fn viewers_do_not_ask_and_nobody_asks_without_end() {
    let broker = Broker::start().await;
    let [ann, bob] = [broker.sign_in().await, broker.sign_in().await];
    let room = broker.create_room(&ann).await;
    let mut viewer = broker.join(&room, &room.viewer, &bob).await;
    viewer.send(&json!({ "type": "confirm_rights", "grants": [] })).await;
    assert_eq!(viewer.next_of("error").await["code"], "FORBIDDEN");

    let mut worker = broker.join(&room, &room.operator, &ann).await;
    let many = vec!["viewer.0.x"; 129];
    worker.send(&json!({ "type": "confirm_rights", "grants": many })).await;
    assert_eq!(worker.next_of("error").await["code"], "LIMIT_EXCEEDED");
    let long = "x".repeat(300);
    worker.send(&json!({ "type": "confirm_rights", "grants": [long] })).await;
    assert_eq!(worker.next_of("error").await["code"], "INVALID_MESSAGE");

    let question = json!({ "type": "confirm_rights", "seq": 1, "grants": ["viewer.0.x"] });
    for _ in 0..40 {
        worker.send(&question).await;
    }
    let said = worker.heard().await;
    let refused = |said: &&Value| said["code"] == "LIMIT_EXCEEDED" && said["retry_after"] == 1;
    assert!(said.iter().filter(refused).count() >= 20, "{said:?}");
    let answered = said.iter().filter(|said| said["type"] == "rights_confirmed").count();
    assert!((1..=20).contains(&answered), "{answered}");
}

#[tokio::test]
async fn turn_credentials_are_told_anew_before_they_end() {
    let turn = TurnSettings {
        urls: vec!["turn:127.0.0.1:3478".into()],
        secret: Token::new("north"),
        ttl: Duration::from_secs(3),
        mesh: true,
    };
    let broker = Broker::with(Settings { turn: Some(turn), ..settings() }).await;
    let ann = broker.sign_in().await;
    let room = broker.create_room(&ann).await;
    let (mut peer, welcome) = broker.join_as(&room, &room.operator, &ann, "ann", json!({})).await;
    let expiry = |list: &Value| -> u64 {
        let name = text(&list.as_array().expect("a list").last().expect("TURN")["username"]);
        let (expiry, of) = name.split_once(':').expect("a time and a name");
        assert_eq!(of, "ann");
        expiry.parse().expect("a number")
    };
    let mut last = expiry(&welcome["ice_servers"]);
    for _ in 0..2 {
        let told = peer.next_of("ice_servers").await;
        let now = halyard_server::time::unix();
        assert!(now <= last, "the old one had ended when the new one came");
        let next = expiry(&told["ice_servers"]);
        assert!(next > last);
        assert_eq!((expiry(&told["mesh_ice_servers"]), &told["expires_at"]), (next, &json!(next)));
        last = next;
    }
}
