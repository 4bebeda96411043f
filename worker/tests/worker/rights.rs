//! Rights that are taken back, and a broker that cannot say whether they still are there.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use halyard_client::session::{Session, SessionOptions};
use halyard_protocol::{access::Access, link::JoinLink};
use halyard_worker::{config::Settings, report::Report};

use crate::world::{Broker, PATIENCE, Stick, World, soon, speed, telemetry};

/// What is promised.
const AT_ONCE: Duration = Duration::from_secs(1);

async fn cannot_join(link: &str) {
    let link = JoinLink::parse(link).expect("a link");
    let options = SessionOptions { connection_wait: AT_ONCE, ..SessionOptions::default() };
    let refused = soon("a refusal", Session::join(link, options)).await.expect_err("revoked");
    assert!(refused.to_string().contains("Invalid token"), "{refused}");
}

fn lease(rights_lease: Duration) -> Settings {
    Settings { rights_lease, ..Settings::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_viewer_is_out_within_a_second_and_stays_out() {
    let mut world = World::new().await;
    let (viewer, operator) = (world.viewer().await, world.operator().await);
    telemetry("telemetry", &viewer, |_| true).await;
    let since = Instant::now();
    let revoked = world.owner().revoke_role(Access::Viewer).await;
    let (reason, took) = world.sent_away(viewer.me(), since).await;
    println!("a revoked viewer was out after {took:?}");
    assert!(took < AT_ONCE, "{took:?}");
    assert!(reason.contains("access was revoked"), "{reason}");
    let ended = soon("the viewer's end", viewer.ended()).await;
    assert!(ended.to_string().contains("access to the room was revoked"), "{ended}");

    cannot_join(world.viewer_link()).await;
    let new = revoked.viewer_url.expect("a new link");
    crate::world::join(new.expose(), false).await.close().await;
    telemetry("telemetry", &operator, |_| true).await;
    operator.close().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_revoked_operator_drives_stops_first() {
    let mut world = World::new().await;
    let viewer = world.viewer().await;
    let operator = Arc::new(world.operator().await);
    let number = operator.request_lease(PATIENCE).await.expect("free");
    let stick = Stick::forward(operator.clone(), number);
    telemetry("motion", &viewer, |told| speed(told) > 0.9).await;
    let since = Instant::now();
    world.owner().revoke_role(Access::Operator).await;
    let (reason, took) = world.sent_away(operator.me(), since).await;
    println!("a revoked operator was out after {took:?}");
    assert!(took < AT_ONCE, "{took:?}");
    // The broker tells it too, and then it may leave before it is sent away.
    let words = ["access was revoked", "the peer left"];
    assert!(words.iter().any(|why| reason.contains(why)), "{reason}");
    // The rover brakes and does not jump; the stick is still held.
    telemetry("the stop", &viewer, |told| speed(told) == 0.0 && told["driver"].is_null()).await;
    println!("what it drove stood still after {:?}", since.elapsed());
    drop(stick);

    cannot_join(world.room.join_url.expose()).await;
    // The worker owns the room and goes on in it, though its own token is the old one.
    telemetry("telemetry", &viewer, |_| true).await;
    viewer.close().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_revoked_peer_is_out_and_the_others_of_its_kind_are_not() {
    let mut world = World::new().await;
    let (eve, bob) = (world.viewer().await, world.viewer().await);
    let since = Instant::now();
    world.owner().revoke_peer(eve.me()).await;
    let (_, took) = world.sent_away(eve.me(), since).await;
    assert!(took < AT_ONCE, "{took:?}");
    telemetry("telemetry", &bob, |_| true).await;
    bob.close().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_broker_nobody_is_served_longer_than_the_lease() {
    let term = Duration::from_secs(3);
    let mut world = World::with(lease(term), Broker::start(None).await).await;
    let viewer = world.viewer().await;
    let me = viewer.me().clone();
    world.broker.end().await;
    let since = Instant::now();
    let (reason, took) = world.sent_away(&me, since).await;
    println!("with a lease of {term:?} a viewer was served for {took:?} without the broker");
    // From the last question, which may have been a third of the term before.
    assert!(took < term + AT_ONCE, "{took:?}");
    assert!(reason.contains("could not confirm your rights for 3s"), "{reason}");
    drop(viewer);
    world.broker.begin().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_back_within_the_lease_disturbs_nobody() {
    let (term, data) = (Duration::from_secs(6), tempfile::tempdir().expect("a folder"));
    let broker = Broker::start(Some(data.path())).await;
    let mut world = World::with(lease(term), broker).await;
    let viewer = world.viewer().await;
    world.broker.end().await;
    world.broker.begin().await;
    let back = Instant::now();
    // For two leases: whoever was not confirmed again is out by then.
    telemetry("telemetry", &viewer, |_| back.elapsed() > term * 2).await;
    while let Ok(report) = world.reports.try_recv() {
        assert!(!matches!(report, Report::PeerDisconnected { .. }), "{report:?}");
    }
    // And what is revoked now is.
    let since = Instant::now();
    world.owner().revoke_role(Access::Viewer).await;
    let (reason, took) = world.sent_away(viewer.me(), since).await;
    assert!(took < AT_ONCE && reason.contains("revoked"), "{took:?} {reason}");
    world.end().await;
}
