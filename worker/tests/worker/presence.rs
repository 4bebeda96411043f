//! What a room knows of a worker: what its computer is, and what it does at this moment.

use halyard_client::session::{JobsError, Session};
use halyard_protocol::channel::JobErrorCode;
use halyard_worker::config::Settings;
use serde_json::{Map, Value, json};

use crate::{
    jobs::{Home, step, submit},
    world::{Broker, World, soon},
};

/// The worker's properties, as soon as they fit.
async fn properties(
    what: &str,
    session: &Session,
    fits: impl Fn(&Map<String, Value>) -> bool,
) -> Map<String, Value> {
    let mut roster = session.roster();
    soon(what, async {
        loop {
            let here = roster.borrow_and_update().clone();
            let worker = session.worker().expect("a worker");
            let told = here.iter().find(|peer| peer.peer_id == worker);
            if let Some(properties) = told.and_then(|peer| peer.metadata.properties.clone())
                && fits(&properties)
            {
                return properties;
            }
            roster.changed().await.expect("the session lives");
        }
    })
    .await
}

async fn status(session: &Session, wanted: &str) -> Map<String, Value> {
    properties(wanted, session, |told| told.get("status") == Some(&json!(wanted))).await
}

/// Lets the template `slow` end.
fn go(home: &Home, job: &str) {
    std::fs::write(home.files.path().join("jobs").join(job).join("go"), "").expect("written");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_hears_what_a_worker_is_and_whether_it_is_busy() {
    let home = Home::new();
    let world = home.world().await;
    let session = world.operator().await;
    let told = status(&session, "available").await;
    assert!(
        told["cpu_count"].as_u64() > Some(0) && told["memory_mb"].as_u64() > Some(0),
        "{told:?}"
    );
    assert!(told["gpu_model"].is_string() && told["gpu_memory_mb"].is_u64(), "{told:?}");

    let jobs = submit(&session, vec![step("slow", &[])]).await;
    let told = status(&session, "busy").await;
    assert_eq!((&told["jobs_running"], &told["agent"].is_string()), (&json!(1), &true), "{told:?}");
    go(&home, &jobs[0]);
    status(&session, "available").await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_joins_after_the_broker_was_away_finds_the_status_that_is_true_now() {
    let home = Home::new();
    let data = tempfile::tempdir().expect("a folder");
    let mut world = World::with(home.settings(), Broker::start(Some(data.path())).await).await;
    let session = world.operator().await;
    let jobs = submit(&session, vec![step("slow", &[])]).await;
    status(&session, "busy").await;
    world.broker.end().await;
    world.broker.begin().await;
    let later = world.operator().await;
    status(&later, "busy").await;
    go(&home, &jobs[0]);
    status(&later, "available").await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_in_maintenance_says_so_and_takes_no_new_jobs() {
    let home = Home::new();
    let settings = Settings { maintenance: true, ..home.settings() };
    let world = World::with(settings, Broker::start(None).await).await;
    let session = world.operator().await;
    status(&session, "maintenance").await;
    let refused = soon("an answer", session.submit_jobs(vec![step("slow", &[])])).await;
    match refused {
        Err(JobsError::Refused(problems)) => {
            assert_eq!(problems[0].code, JobErrorCode::Disabled);
            assert!(problems[0].message.contains("maintenance"), "{problems:?}");
        }
        other => panic!("{other:?}"),
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_computers_load_comes_with_the_telemetry() {
    let world = World::new().await;
    let session = world.operator().await;
    let mut host = session.host();
    let told = soon("the computer", host.wait_for(Option::is_some)).await.expect("told").clone();
    let told = told.expect("a value");
    assert!(told["cpu"].is_number() && told["memory_used_mb"].as_u64() > Some(0), "{told}");
    assert!(told["gpus"].is_array(), "{told}");
    host.mark_unchanged();
    soon("the next look", host.changed()).await.expect("told again");
    world.end().await;
}
