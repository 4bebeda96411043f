//! The whole way from a painter to frames that decode, for every viewer.

use std::sync::mpsc;

use halyard_protocol::strip::Strip;
use openh264::{decoder::Decoder, formats::YUVSource};

use super::*;
use crate::media::{
    Fanout, Subscription,
    h264::{NalKind, geometry},
    pattern::Pattern,
};

const SMALL: Size = Size { width: 640, height: 360 };

fn source(size: Size) -> PaintedSource {
    PaintedSource::sized("pattern", size, |size| Box::new(Pattern::new(size)))
}

/// Pictures to a channel, for tests without a fan-out.
struct Collect(Mutex<mpsc::Sender<EncodedFrame>>);

impl Sink for Collect {
    fn frame(&self, frame: EncodedFrame) {
        // The test may have seen enough.
        let _ = lock(&self.0).send(frame);
    }

    fn event(&self, event: SourceEvent) {
        panic!("nothing should go wrong: {event:?}");
    }
}

fn started(size: Size) -> (PaintedSource, mpsc::Receiver<EncodedFrame>) {
    let mut source = source(size);
    let (send, frames) = mpsc::channel();
    source.start(Arc::new(Collect(Mutex::new(send)))).unwrap();
    (source, frames)
}

const PATIENCE: Duration = Duration::from_secs(20);

fn nals(data: &[u8]) -> Vec<&[u8]> {
    openh264::nal_units(data)
        .map(|nal| &nal[nal.iter().position(|b| *b == 1).unwrap() + 1..])
        .collect()
}

/// Decodes a picture and reads its strip.
fn strip_of(decoder: &mut Decoder, frame: &EncodedFrame) -> Option<Strip> {
    let decoded = decoder.decode(&frame.data).unwrap().expect("every access unit is one picture");
    let (width, height) = decoded.dimensions();
    strip::read(decoded.y(), decoded.strides().0, width, height)
}

#[test]
fn the_strip_of_every_picture_survives_the_encoder_and_numbers_have_no_gap() {
    let (source, frames) = started(Size::HD);
    source.set_watched(0, true);
    let mut decoder = Decoder::new().unwrap();
    let mut last: Option<Strip> = None;
    for _ in 0..40 {
        let frame = frames.recv_timeout(PATIENCE).unwrap();
        let strip = strip_of(&mut decoder, &frame).expect("a strip that checks out");
        if let Some(last) = last {
            // A machine under load may paint faster than it encodes; then pictures are replaced.
            assert!(strip.frame.wrapping_sub(last.frame) >= 1);
            assert!((1..5_000).contains(&last.age_ms(strip.time_ms)), "{last:?} {strip:?}");
        }
        last = Some(strip);
    }
    let stats = source.stats();
    let last = u64::from(last.unwrap().frame);
    assert!(stats.painted > last && stats.encoded + stats.replaced <= stats.painted);
    source.stop();
}

#[test]
fn the_stream_is_constrained_baseline_3_1_with_parameter_sets_before_each_key_frame() {
    let (source, frames) = started(Size::HD);
    source.set_watched(0, true);
    let first = frames.recv_timeout(PATIENCE).unwrap();
    assert!(first.is_key);
    let kinds: Vec<_> = nals(&first.data).into_iter().map(NalKind::of).collect();
    assert_eq!(kinds, [NalKind::Sps, NalKind::Pps, NalKind::Idr]);
    let sps = nals(&first.data)[0];
    assert_eq!((sps[1], sps[2] & 0xC0, sps[3]), (0x42, 0xC0, 0x1F), "42c01f or 42e01f");
    let read = geometry(sps).unwrap();
    assert_eq!((read.width, read.height), (1280, 720));

    let second = frames.recv_timeout(PATIENCE).unwrap();
    assert!(!second.is_key);
    assert_eq!(
        nals(&second.data).into_iter().map(NalKind::of).collect::<Vec<_>>(),
        [NalKind::Slice]
    );
    source.request_keyframe(0, KeyframeReason::Loss);
    let asked = Instant::now();
    let next = std::iter::from_fn(|| frames.recv_timeout(PATIENCE).ok()).find(|frame| frame.is_key);
    assert_eq!(NalKind::of(nals(&next.unwrap().data)[0]), NalKind::Sps);
    assert!(asked.elapsed() < PATIENCE);
    source.stop();
}

#[test]
fn nobody_watching_means_nothing_is_painted_and_the_next_viewer_begins_with_a_key_frame() {
    let (source, frames) = started(SMALL);
    assert_eq!(source.stats(), SourceStats::default());
    source.set_watched(0, true);
    frames.recv_timeout(PATIENCE).unwrap();
    source.set_watched(0, false);
    // One picture may be on its way.
    while frames.recv_timeout(Duration::from_millis(300)).is_ok() {}
    let resting = source.stats();
    assert!(frames.recv_timeout(Duration::from_millis(300)).is_err());
    assert_eq!(source.stats(), resting);
    source.set_watched(0, true);
    let key = (0..10).any(|_| frames.recv_timeout(PATIENCE).unwrap().is_key);
    assert!(key, "within a third of a second");
    source.stop();
    assert!(source.stats().painted > resting.painted);
}

#[test]
fn a_new_bitrate_is_followed_without_an_end_of_the_stream() {
    let (source, frames) = started(SMALL);
    source.set_watched(0, true);
    let mut decoder = Decoder::new().unwrap();
    strip_of(&mut decoder, &frames.recv_timeout(PATIENCE).unwrap()).unwrap();
    source.aim(0, Aim::of(300_000));
    let changed = (0..90).any(|_| {
        let frame = frames.recv_timeout(PATIENCE).unwrap();
        strip_of(&mut decoder, &frame).unwrap();
        frame.is_key
    });
    assert!(changed, "the new encoder begins with a key frame");
    source.stop();
}

/// Paints three pictures.
struct Fails(u32);

impl Painter for Fails {
    fn paint(&mut self, _: &mut Picture, _: Stamp) {
        self.0 += 1;
        assert!(self.0 < 3, "this painter fails on purpose");
    }
}

#[tokio::test]
async fn a_painter_that_fails_is_told_and_comes_up_again_at_the_end() {
    let source = PaintedSource::sized("fails", SMALL, |_| Box::new(Fails(0)));
    let fanout = Fanout::start(Box::new(source)).unwrap();
    let mut events = fanout.events();
    let viewer = fanout.subscribe();
    let event = tokio::time::timeout(PATIENCE, events.recv()).await.unwrap().unwrap();
    assert!(
        matches!(&event, SourceEvent::Ended { reason } if reason.contains("fault")),
        "{event:?}"
    );
    assert!(fanout.trouble().is_some());
    let stopping = fanout.clone();
    let stopped = tokio::spawn(async move { stopping.stop().await }).await;
    assert!(stopped.unwrap_err().is_panic());
    drop(viewer);
}

async fn next(viewer: &mut Subscription) -> EncodedFrame {
    tokio::time::timeout(PATIENCE, viewer.next()).await.unwrap().unwrap()
}

#[tokio::test]
async fn many_viewers_cost_one_encode_and_a_newcomer_begins_on_a_key_frame() {
    let fanout = Fanout::start(Box::new(source(SMALL))).unwrap();
    assert_eq!(fanout.stats().viewers, 0);
    let mut viewers: Vec<_> = (0..20).map(|_| fanout.subscribe()).collect();
    for _ in 0..10 {
        for viewer in &mut viewers {
            next(viewer).await;
        }
    }
    let mut late = fanout.subscribe();
    assert!(next(&mut late).await.is_key);
    let mut decoder = Decoder::new().unwrap();
    drop(late);
    let mut later = fanout.subscribe();
    for _ in 0..5 {
        let frame = next(&mut later).await;
        assert!(strip_of(&mut decoder, &frame).is_some());
    }
    let stats = fanout.stats();
    assert_eq!(stats.viewers, 21);
    assert!(stats.source.encoded <= stats.source.painted, "{stats:?}");
    assert!(stats.frames <= stats.source.encoded, "{stats:?}");
    fanout.stop().await;
    while viewers[0].next().await.is_some() {}
}

/// Prints what a picture costs: `cargo test --release … what_a_picture_costs -- --ignored --nocapture`.
#[tokio::test]
#[ignore = "prints a measurement; run it by name in release"]
async fn what_a_picture_costs() {
    use crate::media::sim::{self, Sim, VelocityCommand, WorldConfig};

    let sim = Sim::start(WorldConfig::default());
    sim.handle().set_velocity(VelocityCommand { linear: 1.0, angular: 0.6 });
    let fanout =
        Fanout::start(Box::new(sim::source(sim.handle(), &Renditions::plain(DEFAULT_BITRATE))))
            .unwrap();
    let mut viewer = fanout.subscribe();
    let begun = Instant::now();
    let mut delay = Duration::ZERO;
    for _ in 0..300 {
        delay += next(&mut viewer).await.captured.elapsed();
    }
    let (stats, seconds) = (fanout.stats(), begun.elapsed().as_secs_f64());
    println!(
        "painting {:?}, encoding {:?} a picture; {:.2} Mbit/s; painted to handed over {:?}; {stats:?}",
        stats.source.paint_time / stats.source.painted as u32,
        stats.source.encode_time / stats.source.encoded as u32,
        stats.bytes as f64 * 8.0 / seconds / 1e6,
        delay / 300,
    );
    fanout.stop().await;
    sim.stop().await;
}
