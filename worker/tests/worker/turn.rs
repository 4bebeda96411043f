//! Peers that may only use a relay, through a real coturn.

use std::time::Duration;

use halyard_client::{
    peer::CandidateKind,
    session::{Session, SessionOptions},
};
use halyard_protocol::link::JoinLink;
use halyard_worker::config::Settings;

use crate::{
    coturn::Coturn,
    files::{bytes, name},
    world::{Broker, World, soon, telemetry},
};

/// How long a credential is good for.
const TTL: Duration = Duration::from_mins(10);

#[tokio::test(flavor = "multi_thread")]
async fn two_peers_that_may_only_relay_exchange_data_and_a_file() {
    let coturn = Coturn::start();
    let (home, shared) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let settings =
        Settings { relay_only: true, files: Some(shared.path().to_owned()), ..Settings::default() };
    let broker = Broker::relaying(coturn.settings("udp", TTL)).await;
    let world = World::with(settings, broker).await;
    let link = JoinLink::parse(world.room.join_url.expose()).expect("a link");
    let options = SessionOptions { relay_only: true, ..SessionOptions::default() };
    let session = soon("joining", Session::join(link, options)).await.expect("joined");
    telemetry("telemetry", &session, |_| true).await;

    let path = soon("a path", async {
        loop {
            if let Some(path) = session.stats().await.and_then(|stats| stats.path) {
                return path;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    assert_eq!(path, (CandidateKind::Relay, CandidateKind::Relay));
    let (file, content) = (home.path().join("a.bin"), bytes(1_000_000));
    std::fs::write(&file, &content).unwrap();
    let remote = name("a.bin");
    let sent = session.send_file(&file, &remote, |_| {});
    soon("the file", sent).await.expect("sent");
    assert_eq!(std::fs::read(shared.path().join("a.bin")).unwrap(), content);
    session.close().await;
    world.end().await;
}
