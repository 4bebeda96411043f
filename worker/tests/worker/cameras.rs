//! Several pictures of one worker.

use halyard_client::session::{Session, SessionEvent};
use halyard_protocol::channel::Watch;
use halyard_worker::{
    config::{CameraSettings, Settings},
    media::{FanoutStats, SourceSpec},
};
use tokio::sync::broadcast;

use crate::world::{Broker, World, join, soon};

async fn two_cameras() -> World {
    let rear = CameraSettings {
        name: "rear".to_owned(),
        source: SourceSpec::Pattern,
        encoder: None,
        bitrate: None,
        renditions: None,
    };
    let settings = Settings { cameras: vec![rear], ..Settings::default() };
    World::with(settings, Broker::start(None).await).await
}

fn stats(world: &World, name: &str) -> FanoutStats {
    world.shared.tracks.find(name).expect("configured").1.fanout().stats()
}

/// Waits until the worker says that it shows this in the first place, and nothing in others.
async fn shows(events: &mut broadcast::Receiver<SessionEvent>, wanted: &str) {
    soon("what is shown", async {
        loop {
            if let SessionEvent::Watch(Watch { tracks }) = events.recv().await.expect("open")
                && tracks == [Some(wanted.to_owned())]
            {
                return;
            }
        }
    })
    .await;
}

async fn pictures(session: &Session, count: usize) {
    let peer = session.peer().expect("connected");
    for _ in 0..count {
        soon("a picture", peer.next_frame()).await.expect("the connection lives");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_chooses_its_picture_and_what_nobody_watches_is_not_encoded() {
    let world = two_cameras().await;
    let session = join(world.viewer_link(), true).await;
    let mut events = session.events();
    let names: Vec<_> =
        session.hello().expect("connected").video.iter().map(|v| v.name.clone()).collect();
    assert_eq!(names, ["sim", "rear"]);

    // Who does not choose sees the first.
    pictures(&session, 5).await;
    assert!(stats(&world, "sim").source.encoded > 0);
    assert_eq!(stats(&world, "rear").source.painted, 0, "nobody watches it");

    session.watch("rear").await.expect("said");
    shows(&mut events, "rear").await;
    soon("the other camera", async {
        while stats(&world, "rear").frames < 5 {
            pictures(&session, 1).await;
        }
    })
    .await;
    assert_eq!((stats(&world, "sim").viewers, stats(&world, "rear").viewers), (0, 1));
    // One more may have been on its way when the viewer left.
    let before = stats(&world, "sim").source.encoded;
    pictures(&session, 15).await;
    let after = stats(&world, "sim").source.encoded;
    assert!(after <= before + 1, "{before} pictures were encoded, then {after}, for nobody");

    session.close().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_that_there_is_not_is_refused_in_words_and_changes_nothing() {
    let world = two_cameras().await;
    let session = join(world.viewer_link(), true).await;
    pictures(&session, 1).await;
    let mut events = session.events();
    session.watch("front").await.expect("said");
    let notice = soon("a refusal", async {
        loop {
            if let SessionEvent::Notice(notice) = events.recv().await.expect("open") {
                return notice;
            }
        }
    })
    .await;
    assert_eq!(notice.code, "unknown_track");
    assert_eq!(notice.message, "there is no picture \"front\" here; there are: sim, rear");
    shows(&mut events, "sim").await;
    pictures(&session, 3).await;

    session.close().await;
    world.end().await;
}
