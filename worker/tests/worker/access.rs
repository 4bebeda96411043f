//! What the link allows.

use std::sync::Arc;

use halyard_client::session::{DriveError, SessionEvent};
use serde_json::Value;

use crate::world::{PATIENCE, Stick, World, event, notice, speed, telemetry};

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_sees_everything_and_moves_nothing() {
    let world = World::new().await;
    let viewer = world.viewer().await;
    telemetry("telemetry", &viewer, |_| true).await;

    let refused = viewer.request_lease(PATIENCE).await.expect_err("viewers do not drive");
    assert!(matches!(refused, DriveError::Refused { .. }), "{refused:?}");
    assert!(refused.to_string().contains("operator's link"), "{refused}");

    // Refusals of one kind are told once a second, so one message could pass in silence.
    let viewer = Arc::new(viewer);
    let stick = Stick::forward(viewer.clone(), 0);
    let words = notice("lease", &mut viewer.events()).await;
    assert!(words.contains("operator's link"), "{words}");
    drop(stick);
    assert_eq!(speed(&telemetry("telemetry", &viewer, |_| true).await), 0.0);

    let ack = viewer.command("reset", Value::Null, None).await.expect("answered");
    let error = ack.error.expect("refused");
    assert_eq!(error.code, "forbidden");
    assert!(error.message.contains("operator"), "{}", error.message);
    let ack = viewer.command("status", Value::Null, None).await.expect("answered");
    assert!(ack.ok, "looking is for everybody: {ack:?}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_command_is_answered_with_the_known_ones() {
    let world = World::new().await;
    let operator = world.operator().await;
    let ack = operator.command("fly", Value::Null, None).await.expect("answered");
    let error = ack.error.expect("refused");
    assert_eq!(error.code, "unknown_command");
    assert!(error.message.contains("reset, set_goal, status"), "{}", error.message);

    let goal = serde_json::json!({"x": 1.0, "y": 2.0});
    let ack = operator.command("set_goal", goal.clone(), None).await.expect("answered");
    assert_eq!(ack.result.expect("done")["goal"], goal);
    let ack = operator.command("set_goal", serde_json::json!({"x": 1}), None).await;
    assert_eq!(ack.expect("answered").error.expect("refused").code, "bad_arguments");
    operator.close().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_without_a_machine_says_that_it_cannot_be_driven() {
    let settings = halyard_worker::config::Settings {
        video: halyard_worker::media::SourceSpec::None,
        driver: halyard_worker::config::DriverSpec::None,
        ..Default::default()
    };
    let world = World::with(settings, crate::world::Broker::start(None).await).await;
    let operator = world.operator().await;
    let hello = operator.hello().expect("connected");
    assert!(hello.drive.is_none() && hello.video.is_empty());
    let refused = operator.request_lease(PATIENCE).await.expect_err("nothing to drive");
    assert!(refused.to_string().contains("cannot be driven"), "{refused}");
    operator.close().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_peers_than_are_served_are_told_so_and_the_others_go_on() {
    let settings = halyard_worker::config::Settings { max_sessions: 1, ..Default::default() };
    let world = World::with(settings, crate::world::Broker::start(None).await).await;
    let first = world.operator().await;
    let link = halyard_protocol::link::JoinLink::parse(world.viewer_link()).expect("a link");
    let options = halyard_client::session::SessionOptions {
        connection_wait: std::time::Duration::from_secs(3),
        ..Default::default()
    };
    let second = halyard_client::session::Session::join(link, options).await;
    second.expect_err("there is room for one");
    let mut events = first.events();
    event("telemetry", &mut events, |event| match event {
        SessionEvent::Telemetry(told) => Some(told),
        _ => None,
    })
    .await;
    first.close().await;
    world.end().await;
}
