//! The picture.

use halyard_client::{peer::VideoFrame, session::Session};
use halyard_worker::{
    config::Settings,
    report::{Report, Reports},
    standalone,
};
use openh264::{decoder::Decoder, formats::YUVSource};
use tokio_util::sync::CancellationToken;

use crate::world::{World, join, soon, speed, telemetry};

async fn frame(session: &Session) -> VideoFrame {
    let peer = session.peer().expect("connected");
    soon("a picture", peer.next_frame()).await.expect("the connection lives")
}

/// Decodes pictures until there are this many, and gives back the size of the last.
async fn decoded(session: &Session, wanted: usize) -> (usize, usize) {
    let mut decoder = Decoder::new().expect("a decoder");
    let (mut pictures, mut size) = (0, (0, 0));
    let mut started = false;
    while pictures < wanted {
        let frame = frame(session).await;
        started = (started && !frame.gap_before) || frame.is_key;
        if !started {
            continue;
        }
        if let Some(picture) = decoder.decode(&frame.data).expect("a picture that decodes") {
            pictures += 1;
            size = picture.dimensions();
        }
    }
    size
}

#[tokio::test(flavor = "multi_thread")]
async fn one_command_gives_a_room_with_a_picture_and_a_machine_that_is_driven() {
    let settings = Settings {
        listen: Some("127.0.0.1:0".parse().expect("an address")),
        // Wide enough for a debug build on a busy machine; the driver has to watch all the same.
        max_picture_age: Some(std::time::Duration::from_secs(5)),
        ..Settings::default()
    };
    let (reports, mut told) = Reports::channel();
    let stop = CancellationToken::new();
    let running = tokio::spawn(standalone::run(settings, reports, stop.clone()));
    let Some(Report::Room(room)) = soon("the room", told.recv()).await else {
        panic!("the room is reported first")
    };

    let session = join(room.join_url.expose(), true).await;
    let hello = session.hello().expect("connected");
    assert_eq!(hello.video[0].name, "sim");
    assert!(hello.capabilities.contains(&"drive".to_owned()), "{hello:?}");
    let files = hello.files.as_ref().expect("said");
    assert!(!files.readable && files.hint.as_ref().expect("how").contains("--files DIR"));

    assert_eq!(decoded(&session, 10).await, (1280, 720));

    let before = telemetry("telemetry", &session, |_| true).await;
    assert_eq!(speed(&before), 0.0);
    let lease = session.request_lease(crate::world::PATIENCE).await.expect("nobody else drives");
    let session = std::sync::Arc::new(session);
    let stick = crate::world::Stick::forward(session.clone(), lease);
    let after = telemetry("motion", &session, |told| {
        let moved = |axis: &str| {
            let at = |t: &serde_json::Value| t["pose"][axis].as_f64().expect("a pose");
            (at(told) - at(&before)).abs()
        };
        moved("x") + moved("y") > 0.3
    })
    .await;
    assert_eq!(after["driver"], session.me().as_str());
    drop(stick);
    telemetry("the stop", &session, |told| speed(told) == 0.0).await;

    stop.cancel();
    soon("the end", running).await.expect("no panic").expect("a clean end");
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_viewers_see_one_encode_and_nobody_disturbs_the_first() {
    let world = World::new().await;
    let first = join(world.viewer_link(), true).await;
    assert_eq!(decoded(&first, 3).await, (1280, 720));

    let link = world.viewer_link().to_owned();
    let mut joining = tokio::task::JoinSet::new();
    for _ in 0..19 {
        let link = link.clone();
        joining.spawn(async move { join(&link, true).await });
    }
    let others = soon("nineteen more", joining.join_all()).await;
    for viewer in &others {
        let mut key = frame(viewer).await;
        while !key.is_key {
            key = frame(viewer).await;
        }
    }

    let fanout = world.shared.tracks.first().expect("a picture").fanout();
    let stats = fanout.stats();
    assert_eq!(stats.viewers, 20);
    assert!(
        stats.source.encoded <= stats.source.painted,
        "every picture is encoded once at most, whoever watches: {stats:?}"
    );
    assert!(stats.frames <= stats.source.encoded, "{stats:?}");
    assert!(stats.key_frames < 20, "newcomers share key frames: {stats:?}");

    for viewer in others {
        viewer.close().await;
    }
    first.close().await;
    world.end().await;
}
