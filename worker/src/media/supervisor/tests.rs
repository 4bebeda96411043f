//! A source dies and comes back; whoever watches sees a slate meanwhile and never loses the stream.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use bytes::Bytes;
use openh264::{decoder::Decoder, formats::YUVSource};

use super::*;
use crate::media::{
    Fanout, Subscription,
    frame::{EncodedFrame, VideoCodec},
    painted::{PaintedSource, Painter, Stamp},
    picture::{Color, Picture},
};

const SMALL: Size = Size { width: 640, height: 360 };
const PATIENCE: Duration = Duration::from_secs(20);

/// A camera of one grey that is pulled out after some pictures.
struct Grey {
    left: u32,
}

impl Painter for Grey {
    fn paint(&mut self, picture: &mut Picture, _: Stamp) {
        assert!(self.left > 0, "this camera is pulled out on purpose");
        self.left -= 1;
        picture.planes().0.fill(200);
    }
}

/// A source that fails after its first pictures, and again whenever it is made, until `good`.
fn shaky(pictures: u32, good: usize) -> (Supervised, Arc<AtomicUsize>) {
    let made = Arc::new(AtomicUsize::new(0));
    let count = made.clone();
    let source = Supervised::new(move || {
        let number = count.fetch_add(1, Ordering::SeqCst);
        if (1..good).contains(&number) {
            return Err(SourceError::Thread(std::io::Error::other("still pulled out")));
        }
        let left = if number >= good { u32::MAX } else { pictures };
        let source = PaintedSource::sized("grey", SMALL, move |_| Box::new(Grey { left }));
        Ok(Box::new(source.without_strip()) as Box<dyn Source>)
    });
    (source.unwrap(), made)
}

async fn next(viewer: &mut Subscription) -> EncodedFrame {
    tokio::time::timeout(PATIENCE, viewer.next()).await.unwrap().expect("the stream goes on")
}

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Seen {
    Camera,
    Slate,
}

/// What a picture shows: its upper left corner, inside the slate's band.
fn seen(decoder: &mut Decoder, frame: &EncodedFrame) -> Seen {
    let picture = decoder.decode(&frame.data).unwrap().expect("every access unit is one picture");
    let luma = i32::from(picture.y()[2 * picture.strides().0 + 2]);
    if (luma - 200).abs() < 12 {
        Seen::Camera
    } else {
        let band = i32::from(Color::rgb(slate::BAND).y);
        assert!((luma - band).abs() < 12, "neither camera nor slate: {luma}");
        Seen::Slate
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_dies_is_started_again_and_a_slate_is_seen_meanwhile() {
    let (source, made) = shaky(10, 3);
    let fanout = Fanout::start(Box::new(source)).unwrap();
    let mut events = fanout.events();
    let mut viewer = fanout.subscribe();
    let mut decoder = Decoder::new().unwrap();
    let mut story: Vec<Seen> = Vec::new();
    let mut last: Option<u32> = None;
    while story != [Seen::Camera, Seen::Slate, Seen::Camera] {
        let frame = next(&mut viewer).await;
        if let Some(last) = last {
            let step = frame.rtp_time.wrapping_sub(last).cast_signed();
            assert!((1..10 * 90_000).contains(&step), "time jumps by {step}");
        }
        last = Some(frame.rtp_time);
        let now = seen(&mut decoder, &frame);
        if story.last() != Some(&now) {
            assert!(frame.is_key, "a decoder must be able to follow");
            story.push(now);
        }
    }
    assert_eq!(made.load(Ordering::SeqCst), 4, "two attempts in vain, then the camera is back");
    let mut told = Vec::new();
    while told.len() < 2 {
        match tokio::time::timeout(PATIENCE, events.recv()).await.unwrap().unwrap() {
            SourceEvent::Lost { reason } => told.push(reason),
            SourceEvent::Back => told.push("back".to_owned()),
            _ => {}
        }
    }
    assert!(told[0].contains("a fault in the worker") && told[1] == "back", "{told:?}");
    assert_eq!(fanout.trouble(), None);
    fanout.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_during_the_slate_sees_it_from_its_first_picture_on() {
    let (source, _) = shaky(1, usize::MAX);
    let fanout = Fanout::start(Box::new(source)).unwrap();
    let mut events = fanout.events();
    let first = fanout.subscribe();
    loop {
        let event = tokio::time::timeout(PATIENCE, events.recv()).await.unwrap().unwrap();
        if matches!(event, SourceEvent::Lost { .. }) {
            break;
        }
    }
    assert!(fanout.trouble().is_some());
    drop(first);
    let mut late = fanout.subscribe();
    let frame = next(&mut late).await;
    assert!(frame.is_key);
    assert_eq!(seen(&mut Decoder::new().unwrap(), &frame), Seen::Slate);
    fanout.stop().await;
    while late.next().await.is_some() {}
}

/// Keeps what comes.
#[derive(Default)]
struct Kept(Mutex<Vec<EncodedFrame>>);

impl Sink for Kept {
    fn frame(&self, frame: EncodedFrame) {
        self.0.lock().unwrap().push(frame);
    }
    fn event(&self, _: SourceEvent) {}
}

#[test]
fn a_slate_is_shown_once_in_each_rendition_that_there_is() {
    let slate = EncodedFrame {
        rendition: 0,
        codec: VideoCodec::H264,
        data: Bytes::from_static(&[0]),
        is_key: true,
        captured: Instant::now(),
        rtp_time: 0,
    };
    for renditions in 1..=MAX_RENDITIONS {
        let (source, _) = shaky(1, usize::MAX);
        let kept = Arc::new(Kept::default());
        let relay = Relay::new(kept.clone(), Arc::default(), source.info(), renditions);
        let relay = Arc::new(relay);
        relay.show_slate(7);
        relay.inlet(Origin::Slate(7)).frame(slate.clone());
        let shown: Vec<_> = kept.0.lock().unwrap().iter().map(|frame| frame.rendition).collect();
        assert_eq!(shown, (0..renditions).collect::<Vec<_>>());
    }
}

/// Says once that it has lost its picture, and goes on by itself after a while.
struct Hesitates {
    inner: PaintedSource,
    bitrate: Arc<AtomicU32>,
}

impl Source for Hesitates {
    fn info(&self) -> VideoInfo {
        self.inner.info()
    }
    fn start(&mut self, sink: Arc<dyn Sink>) -> Result<(), SourceError> {
        sink.event(SourceEvent::Lost { reason: "it thinks".to_owned() });
        self.inner.start(sink)
    }
    fn set_watched(&self, rendition: usize, watched: bool) {
        self.inner.set_watched(rendition, watched);
    }
    fn request_keyframe(&self, rendition: usize, reason: KeyframeReason) {
        self.inner.request_keyframe(rendition, reason);
    }
    fn aim(&self, _: usize, aim: Aim) {
        self.bitrate.store(aim.bitrate, Ordering::SeqCst);
    }
    fn stop(&self) {
        self.inner.stop();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_helps_itself_is_not_replaced() {
    let made = Arc::new(AtomicUsize::new(0));
    let bitrate = Arc::new(AtomicU32::new(0));
    let (count, rate) = (made.clone(), bitrate.clone());
    let source = Supervised::new(move || {
        count.fetch_add(1, Ordering::SeqCst);
        let inner = PaintedSource::sized("grey", SMALL, |_| Box::new(Grey { left: u32::MAX }));
        let inner = inner.without_strip();
        Ok(Box::new(Hesitates { inner, bitrate: rate.clone() }) as Box<dyn Source>)
    });
    let fanout = Fanout::start(Box::new(source.unwrap())).unwrap();
    fanout.set_bitrate(700_000);
    assert_eq!(bitrate.load(Ordering::SeqCst), 700_000);
    let mut viewer = fanout.subscribe();
    let mut decoder = Decoder::new().unwrap();
    while seen(&mut decoder, &next(&mut viewer).await) != Seen::Camera {}
    while fanout.trouble().is_some() {
        next(&mut viewer).await;
    }
    assert_eq!(made.load(Ordering::SeqCst), 1);
    fanout.stop().await;
}
