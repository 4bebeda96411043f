//! One decode for all, only while somebody watches, and what cannot be decoded is told.

use std::sync::Arc;

use bytes::Bytes;
use halyard_protocol::channel::VideoInfo;
use tokio::time::timeout;

use super::*;
use crate::media::{
    KeyframeReason, Source, SourceError, follow::Aim, painted::PaintedSource, pattern::Pattern,
    picture::Size, source::Sink,
};

const PATIENCE: Duration = Duration::from_secs(20);

fn pattern(plan: Plan) -> Stills {
    let size = Size { width: 640, height: 360 };
    let source = PaintedSource::sized("pattern", size, |size| Box::new(Pattern::new(size)));
    Stills::new(Fanout::start(Box::new(source)).expect("a source"), plan)
}

async fn next(watching: &mut Watching) -> Result<Arc<Still>, Trouble> {
    timeout(PATIENCE, watching.next()).await.expect("a picture in time")
}

#[tokio::test(flavor = "multi_thread")]
async fn three_who_watch_share_one_decoder_which_rests_when_they_are_gone() {
    let stills = pattern(Plan { viewers: 3, ..Plan::default() });
    let stats = || stills.fanout().stats();
    assert_eq!(
        (stats().viewers, stats().source.encoded),
        (0, 0),
        "nobody watches, nothing is made"
    );

    let mut three: Vec<Watching> = (0..3).map(|_| stills.watch().expect("a seat")).collect();
    let mut seen = Vec::new();
    for watching in &mut three {
        seen.push(next(watching).await.expect("a picture"));
    }
    assert_eq!(stats().viewers, 1, "they are one viewer of the source");
    assert_eq!(stills.watch().err(), Some(Crowded(3)));
    let newer = next(&mut three[0]).await.expect("another");
    assert!(newer.taken > seen[0].taken && newer.jpeg[..2] == [0xff, 0xd8]);

    drop(three);
    timeout(PATIENCE, async {
        while stats().viewers > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("it rests");
    // And begins anew, with nothing of before.
    let before = SystemTime::now();
    let still = next(&mut stills.watch().expect("a seat")).await.expect("a picture");
    assert!(
        still.taken >= before,
        "{:?} old when it was asked for",
        before.duration_since(still.taken)
    );
    stills.stop().await;
    stills.fanout().stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_slow_is_given_the_newest_and_no_more_than_are_allowed_come() {
    let stills = pattern(Plan { fps: 10, ..Plan::default() });
    let (mut slow, mut quick) = (stills.watch().expect("a seat"), stills.watch().expect("a seat"));
    next(&mut slow).await.expect("a picture");
    let first = next(&mut quick).await.expect("a picture");
    let mut last = first.clone();
    for _ in 0..10 {
        last = next(&mut quick).await.expect("a picture");
    }
    let took = last.taken.duration_since(first.taken).expect("later");
    assert!(took >= Duration::from_millis(900), "ten at 10 a second take a second, not {took:?}");
    let newest = next(&mut slow).await.expect("a picture");
    assert!(newest.taken >= last.taken, "what came meanwhile is passed over");
    stills.fanout().stop().await;
    // What was there may still be taken; then it is over.
    while next(&mut quick).await.is_ok() {}
    assert_eq!(next(&mut stills.watch().expect("a seat")).await.err(), Some(Trouble::Ended));
}

/// Gives bytes that are no H.264, as often as it is asked for a key frame.
struct Garbage(Option<Arc<dyn Sink>>);

impl Source for Garbage {
    fn info(&self) -> VideoInfo {
        VideoInfo {
            name: "garbage".to_owned(),
            codec: "h264".to_owned(),
            width: 0,
            height: 0,
            fps: 0.0,
            strip: false,
            renditions: Vec::new(),
        }
    }

    fn start(&mut self, sink: Arc<dyn Sink>) -> Result<(), SourceError> {
        let often = sink.clone();
        tokio::spawn(async move {
            let mut tick = tokio::time::interval(Duration::from_millis(20));
            loop {
                tick.tick().await;
                let data = Bytes::from_static(&[0, 0, 0, 1, 0x65, 0xde, 0xad, 0xbe, 0xef]);
                let captured = Instant::now();
                often.frame(EncodedFrame {
                    rendition: 0,
                    codec: VideoCodec::H264,
                    data,
                    is_key: true,
                    captured,
                    rtp_time: 0,
                });
            }
        });
        self.0 = Some(sink);
        Ok(())
    }

    fn set_watched(&self, _: usize, _: bool) {}

    fn request_keyframe(&self, _: usize, _: KeyframeReason) {}

    fn aim(&self, _: usize, _: Aim) {}

    fn stop(&self) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_decoded_is_said_and_not_waited_for() {
    let fanout = Fanout::start(Box::new(Garbage(None))).expect("a source");
    let stills = Stills::new(fanout, Plan::default());
    let told = next(&mut stills.watch().expect("a seat")).await;
    assert!(matches!(told, Err(Trouble::Undecodable(_))), "{told:?}");
    stills.stop().await;
}
