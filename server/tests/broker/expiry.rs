//! Identity tokens that end while their bearers are here. The clock is the test's.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use halyard_protocol::token::Token;
use halyard_server::{
    Server,
    identity::{EmbeddedIdentity, IdentityProvider, SignInError, SignedIn, Subject, VerifyError},
    store::MemoryStore,
    time::Now,
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::support::{Broker, settings, text};

const HOUR: Duration = Duration::from_hours(1);

/// A provider that lives some seconds later than everybody else.
struct Later {
    provider: EmbeddedIdentity,
    seconds: AtomicU64,
}

impl Later {
    fn now(&self, now: Now) -> Now {
        now.plus(Duration::from_secs(self.seconds.load(Ordering::SeqCst)))
    }
}

#[async_trait]
impl IdentityProvider for Later {
    async fn sign_in(&self, renew: Option<Subject>, now: Now) -> Result<SignedIn, SignInError> {
        self.provider.sign_in(renew, self.now(now)).await
    }

    async fn verify(&self, token: &Token, now: Now) -> Result<Subject, VerifyError> {
        self.provider.verify(token, self.now(now)).await
    }

    fn jwks(&self) -> Option<serde_json::Value> {
        self.provider.jwks()
    }
}

async fn start() -> (Broker, Arc<Later>, CancellationToken) {
    let provider = EmbeddedIdentity::in_memory(HOUR).expect("a key");
    let later = Arc::new(Later { provider, seconds: AtomicU64::new(0) });
    let store = Arc::new(MemoryStore::default());
    let server = Server::with(settings(), store, later.clone()).await.expect("bound");
    let (broker, stop) = (Broker::at(server.local_addr()), CancellationToken::new());
    tokio::spawn(server.run(stop.clone()));
    (broker, later, stop)
}

#[tokio::test]
async fn a_socket_outlives_the_token_that_it_came_with_and_gets_nothing_more_by_it() {
    let (broker, clock, stop) = start().await;
    let (ann, bob) = (broker.sign_in().await, broker.sign_in().await);
    let room = broker.create_room_for(&ann, json!({ "ttl_seconds": 9_000 })).await;
    let mut worker = broker.join(&room, &room.operator, &ann).await;
    let mut client = broker.join(&room, &room.viewer, &bob).await;
    let joined = worker.next_of("peer_joined").await;
    clock.seconds.store(2 * 3600, Ordering::SeqCst);

    // Both go on, and the worker is told that bob's rights hold: they come from the room.
    client.send(&json!({ "type": "offer", "target": ann.name, "sdp": "1" })).await;
    assert_eq!(worker.next().await["sdp"], "1");
    worker.send(&json!({ "type": "answer", "target": bob.name, "sdp": "2" })).await;
    assert_eq!(client.next_of("answer").await["sdp"], "2");
    let ask = json!({ "type": "confirm_rights", "seq": 1, "grants": [joined["grant"]] });
    worker.send(&ask).await;
    let confirmed = worker.next_of("rights_confirmed").await;
    assert_eq!(confirmed["grants"], json!([joined["grant"]]), "{confirmed}");

    // What needs a proof of who they are does not work any more, and costs nobody the place.
    let path = format!("/rooms/{}/extend", room.id);
    let refused = broker.call("POST", &path, Some(&ann.id_token), Some(json!({}))).await;
    assert_eq!((refused.status, &refused.body["code"]), (401, &json!("INVALID_IDENTITY")));
    let refused = broker.call("POST", "/anonymous-signin", Some(&ann.id_token), None).await;
    assert_eq!(refused.status, 401, "too late to be renewed: {refused:?}");
    let refused = client.register(&room, &room.viewer, &bob, &bob.name, json!({})).await;
    assert_eq!(refused["code"], "INVALID_IDENTITY", "{refused}");
    client.send(&json!({ "type": "offer", "target": ann.name, "sdp": "3" })).await;
    assert_eq!(worker.next().await["sdp"], "3");
    stop.cancel();
}

#[tokio::test]
async fn who_renews_in_time_keeps_the_name_the_place_and_the_room() {
    let (broker, clock, stop) = start().await;
    let ann = broker.sign_in().await;
    let room = broker.create_room_for(&ann, json!({ "ttl_seconds": 9_000 })).await;
    let (worker, welcome) = broker.join_as(&room, &room.operator, &ann, &ann.name, json!({})).await;
    clock.seconds.store(1800, Ordering::SeqCst);
    let renewed = broker.call("POST", "/anonymous-signin", Some(&ann.id_token), None).await;
    assert_eq!(text(&renewed.body["username"]), ann.name);
    let again = crate::support::Person {
        name: ann.name.clone(),
        id_token: text(&renewed.body["id_token"]),
    };
    // The first token is over; the second is not.
    clock.seconds.store(4000, Ordering::SeqCst);
    worker.cut();
    let more = json!({ "resume_token": welcome["resume_token"] });
    let mut late = broker.socket().await;
    let refused = late.register(&room, &room.operator, &ann, &ann.name, more.clone()).await;
    assert_eq!(refused["code"], "INVALID_IDENTITY", "{refused}");
    let (_worker, welcome) = broker.join_as(&room, &room.operator, &again, &again.name, more).await;
    assert_eq!((&welcome["resumed"], &welcome["role"]), (&json!(true), &json!("admin")));
    let path = format!("/rooms/{}/extend", room.id);
    let extended = broker.call("POST", &path, Some(&again.id_token), Some(json!({}))).await;
    assert_eq!(extended.status, 200, "{extended:?}");
    stop.cancel();
}
