//! Peers that may only use a relay, through a real coturn.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    time::{Duration, Instant},
};

use halyard_client::{
    peer::CandidateKind,
    session::{Session, SessionEvent, SessionOptions},
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

/// A worker and a session that may only use this relay.
async fn relayed(coturn: &Coturn, ttl: Duration, settings: Settings) -> (World, Session) {
    let broker = Broker::relaying(coturn.settings("udp", ttl)).await;
    let world = World::with(Settings { relay_only: true, ..settings }, broker).await;
    let link = JoinLink::parse(world.room.join_url.expose()).expect("a link");
    let options = SessionOptions { relay_only: true, ..SessionOptions::default() };
    let session = soon("joining", Session::join(link, options)).await.expect("joined");
    telemetry("telemetry", &session, |_| true).await;
    assert_eq!(path(&session).await, (CandidateKind::Relay, CandidateKind::Relay));
    (world, session)
}

async fn path(session: &Session) -> (CandidateKind, CandidateKind) {
    soon("a path", async {
        loop {
            if let Some(path) = session.stats().await.and_then(|stats| stats.path) {
                return path;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_peers_that_may_only_relay_exchange_data_and_a_file() {
    let coturn = Coturn::start();
    let (home, shared) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let settings = Settings { files: Some(shared.path().to_owned()), ..Settings::default() };
    let (world, session) = relayed(&coturn, TTL, settings).await;
    let (file, content) = (home.path().join("a.bin"), bytes(1_000_000));
    std::fs::write(&file, &content).unwrap();
    let remote = name("a.bin");
    let sent = session.send_file(&file, &remote, |_| {});
    soon("the file", sent).await.expect("sent");
    assert_eq!(std::fs::read(shared.path().join("a.bin")).unwrap(), content);
    session.close().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_is_reached_by_its_ipv6_address() {
    let coturn = Coturn::at(Ipv6Addr::LOCALHOST.into(), &[]);
    let (world, session) = relayed(&coturn, TTL, Settings::default()).await;
    session.close().await;
    world.end().await;
}

/// Waits until the machine's state has come again for so long, and says how long it did not.
async fn goes_on(session: &Session, time: Duration) -> Duration {
    let (began, mut reports) = (Instant::now(), session.telemetry());
    let (mut last, mut longest) = (began, Duration::ZERO);
    while began.elapsed() < time {
        soon("telemetry", reports.changed()).await.expect("the session lives");
        reports.borrow_and_update();
        longest = longest.max(last.elapsed());
        last = Instant::now();
    }
    longest
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relayed_connection_outlives_the_credentials_that_it_began_with() {
    // An allocation has to be refreshed every few seconds.
    let any = Ipv4Addr::LOCALHOST.into();
    let mut coturn = Coturn::at(any, &["--max-allocate-lifetime=4"]);
    let ttl = Duration::from_secs(6);
    let (world, session) = relayed(&coturn, ttl, Settings::default()).await;
    let mut events = session.events();
    // The first credentials end, and nobody notices.
    let gap = goes_on(&session, ttl + ttl / 2).await;
    println!("the longest gap while credentials ended was {gap:?}");
    // The relay is another, so both ends need it anew, by the credentials that they were told
    // meanwhile: the first ones are refused by now.
    coturn.restart();
    let gap = goes_on(&session, Duration::from_secs(3)).await;
    println!("the gap when the relay was another was {gap:?}");
    while let Ok(event) = events.try_recv() {
        let anew =
            matches!(event, SessionEvent::Connected { .. } | SessionEvent::Disconnected { .. });
        assert!(!anew, "the same connection over new paths: {event:?}");
    }
    assert_eq!(path(&session).await, (CandidateKind::Relay, CandidateKind::Relay));
    session.close().await;
    world.end().await;
}
