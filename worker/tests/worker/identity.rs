//! A worker that lives longer than the proof of who it is.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use halyard_worker::{config::Settings, report::Report};

use crate::world::{Broker, World, soon};

/// Waits until the worker has asked for more time and got it, after this second since 1970.
async fn extended_after(world: &mut World, second: u64) {
    soon("an extension", async {
        while let Some(report) = world.reports.recv().await {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
            if matches!(report, Report::RoomExtended { .. }) && now > second {
                return;
            }
            assert!(!matches!(report, Report::Room(_)), "another room");
        }
        panic!("the worker ended");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_renews_its_identity_in_time_and_keeps_its_room_for_good() {
    let data = tempfile::tempdir().expect("a folder");
    let broker = Broker::with(|settings| {
        settings.data_dir = Some(data.path().to_owned());
        settings.store = halyard_server::settings::StoreKind::Embedded;
        settings.identity_ttl = Duration::from_secs(2);
    });
    let settings = Settings { room_ttl: Duration::from_secs(6), ..Settings::default() };
    let mut world = World::with(settings, broker.await).await;
    let first = world.owner().identity().clone();
    extended_after(&mut world, first.expires_at).await;
    let second = world.owner().identity().clone();
    assert_eq!(second.username, first.username);
    assert!(second.expires_at > first.expires_at, "the state file has the newest proof");

    // It comes back as the owner, by the proof that it has now.
    let room = world.room.join_url.expose().to_owned();
    world.broker.end().await;
    world.broker.begin().await;
    extended_after(&mut world, second.expires_at).await;
    let operator = world.operator().await;
    assert_eq!(room, world.room.join_url.expose());
    operator.close().await;
    world.end().await;
}
