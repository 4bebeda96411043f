//! Driving, and everything that stops it.

use std::{sync::Arc, time::Instant};

use halyard_client::session::{DriveError, SessionEvent};
use halyard_protocol::channel::EstopAction;

use crate::world::{PATIENCE, Stick, World, event, notice, speed, telemetry};

/// Watchdog, braking, one report, and a busy machine's manners.
const STOPS_WITHIN: std::time::Duration = std::time::Duration::from_millis(1500);

#[tokio::test(flavor = "multi_thread")]
async fn the_rover_stops_by_itself_when_its_operator_vanishes() {
    let world = World::new().await;
    let viewer = world.viewer().await;
    let operator = Arc::new(world.operator().await);
    let lease = operator.request_lease(PATIENCE).await.expect("free");
    let stick = Stick::forward(operator.clone(), lease);
    telemetry("motion", &viewer, |told| speed(told) > 0.9).await;

    // No goodbye, no last message: the stick is simply not held by anybody any more.
    drop(stick);
    let vanished = Instant::now();
    let stopped = telemetry("the stop", &viewer, |told| speed(told) == 0.0).await;
    assert!(vanished.elapsed() < STOPS_WITHIN, "it took {:?}", vanished.elapsed());
    assert_eq!(stopped["driver"], operator.me().as_str(), "silence alone keeps the lease");

    operator.drive(lease, 0.0, 0.0, false);
    let stick = Stick::forward(operator.clone(), lease);
    telemetry("motion again", &viewer, |told| speed(told) > 0.9).await;
    drop(stick);
    let vanished = Instant::now();
    // Its program ends: the connection is cut without a word from the session.
    drop(Arc::into_inner(operator));
    telemetry("the stop", &viewer, |told| speed(told) == 0.0).await;
    assert!(vanished.elapsed() < STOPS_WITHIN, "it took {:?}", vanished.elapsed());
    telemetry("a free lease", &viewer, |told| told["driver"].is_null()).await;
    viewer.close().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_presses_the_e_stop_and_only_an_operator_clears_it() {
    let world = World::new().await;
    let viewer = world.viewer().await;
    let operator = Arc::new(world.operator().await);
    let lease = operator.request_lease(PATIENCE).await.expect("free");
    let stick = Stick::forward(operator.clone(), lease);
    telemetry("motion", &viewer, |told| speed(told) > 0.9).await;

    let mut events = operator.events();
    viewer.estop(EstopAction::Press).await.expect("said");
    let by = event("the e-stop", &mut events, |event| match event {
        SessionEvent::Estop { latched: true, by } => Some(by),
        _ => None,
    })
    .await;
    assert_eq!(by.as_ref(), Some(viewer.me()));
    telemetry("the stop", &viewer, |told| speed(told) == 0.0 && told["estop"] == true).await;

    let mut viewer_events = viewer.events();
    viewer.estop(EstopAction::Clear).await.expect("said");
    let words = notice("estop", &mut viewer_events).await;
    assert!(words.contains("operator's link"), "{words}");
    let ack = operator.command("reset", serde_json::Value::Null, None).await.expect("answered");
    assert_eq!(ack.error.expect("refused").code, "stopped");

    operator.estop(EstopAction::Clear).await.expect("said");
    telemetry("the clearing", &viewer, |told| told["estop"] == false).await;
    let words = notice("dead_man", &mut events).await;
    assert!(words.contains("let go"), "a key still held does not start it: {words}");
    drop(stick);
    operator.drive(lease, 0.0, 0.0, false);
    let stick = Stick::forward(operator.clone(), lease);
    telemetry("motion", &viewer, |told| speed(told) > 0.9).await;
    drop(stick);
    viewer.close().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_operators_one_drives_and_hands_over() {
    let world = World::new().await;
    let ann = Arc::new(world.operator().await);
    let bob = Arc::new(world.operator().await);
    let first = ann.request_lease(PATIENCE).await.expect("free");
    assert_eq!(ann.request_lease(PATIENCE).await.expect("hers already"), first);
    match bob.request_lease(PATIENCE).await {
        Err(DriveError::Taken { holder }) => assert_eq!(&holder, ann.me()),
        Err(DriveError::Refused { message, .. }) => {
            assert!(message.contains(ann.me().as_str()), "{message}");
        }
        other => panic!("bob drives as well: {other:?}"),
    }
    let mut events = bob.events();
    let stick = Stick::forward(bob.clone(), first);
    let words = notice("lease", &mut events).await;
    assert!(words.contains("drives"), "{words}");
    let told = telemetry("telemetry", &bob, |_| true).await;
    assert_eq!(speed(&told), 0.0);
    drop(stick);

    let mut lease = bob.lease();
    ann.release_lease().await.expect("said");
    crate::world::soon("a free lease", async {
        lease
            .wait_for(|state| state.as_ref().is_some_and(|state| state.holder.is_none()))
            .await
            .expect("the session lives");
    })
    .await;
    let second = bob.request_lease(PATIENCE).await.expect("free");
    assert!(second > first);
    let stick = Stick::forward(bob.clone(), second);
    telemetry("motion", &ann, |told| speed(told) > 0.9).await;
    drop(stick);
    world.end().await;
}
