//! Real pipelines of GStreamer, decoded by another decoder.

use std::time::Duration;

use openh264::{decoder::Decoder, formats::YUVSource};

use super::*;
use crate::media::{
    EncodedFrame, Fanout, Subscription, VideoCodec,
    encoder::DEFAULT_BITRATE,
    follow::Reading,
    gst::{encoders, open},
};

const PATIENCE: Duration = Duration::from_secs(30);

fn played(typed: &str, encoder: Option<&str>) -> Fanout {
    played_in(typed, encoder, Renditions::plain(DEFAULT_BITRATE))
}

fn played_in(typed: &str, encoder: Option<&str>, renditions: Renditions) -> Fanout {
    let spec = GstSpec::parse(typed).expect("one of these").expect("understood");
    let wish = encoder.map(|name| encoders::named(name).expect("known"));
    let source = open(&spec, wish, &renditions).expect("opened");
    Fanout::start_in(source, renditions).expect("started")
}

async fn next(viewer: &mut Subscription) -> EncodedFrame {
    tokio::time::timeout(PATIENCE, viewer.next())
        .await
        .expect("a picture in time")
        .expect("a picture")
}

/// Decodes pictures until one has this size, then some more; gives the times that they have.
async fn watch(viewer: &mut Subscription, size: (usize, usize), pictures: usize) -> Vec<u32> {
    let mut decoder = Decoder::new().unwrap();
    let mut times = Vec::new();
    let mut started = false;
    while times.len() < pictures {
        let frame = next(viewer).await;
        started |= frame.is_key;
        assert!(started, "the first picture is a key frame");
        let decoded = decoder.decode(&frame.data).unwrap().expect("every unit is one picture");
        if decoded.dimensions() == size {
            times.push(frame.rtp_time);
        }
    }
    times
}

const SMALL: &str =
    "gst:videotestsrc is-live=true ! video/x-raw,format=I420,width=320,height=180,framerate=30/1";

#[tokio::test(flavor = "multi_thread")]
async fn raw_pictures_are_encoded_by_whichever_encoder_is_wished() {
    for encoder in ["x264enc", "openh264"] {
        let fanout = played(SMALL, Some(encoder));
        let mut viewer = fanout.subscribe();
        let times = watch(&mut viewer, (320, 180), 20).await;
        let steps = times.windows(2).map(|pair| pair[1].wrapping_sub(pair[0]));
        assert!(steps.clone().all(|step| step > 0), "{encoder}: time goes on: {times:?}");
        assert_eq!((fanout.info().width, fanout.info().height), (320, 180), "{encoder}");
        let late = &mut fanout.subscribe();
        assert!(next(late).await.is_key, "{encoder}: a newcomer gets a key frame");
        fanout.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_watching_means_nothing_is_encoded_and_the_next_viewer_begins_with_a_key_frame() {
    let fanout = played(SMALL, Some("x264enc"));
    let mut viewer = fanout.subscribe();
    next(&mut viewer).await;
    drop(viewer);
    // What was on its way arrives; afterwards the count stands still.
    let mut counts = [u64::MAX, 0];
    while counts[0] != counts[1] {
        counts = [counts[1], fanout.stats().frames];
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let mut viewer = fanout.subscribe();
    assert!(next(&mut viewer).await.is_key);
    fanout.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn vp8_is_passed_on_with_its_key_frames_and_size() {
    let vp8 = format!("{SMALL} ! vp8enc deadline=1 keyframe-max-dist=15");
    let fanout = played(&vp8, Some("x264enc"));
    let mut viewer = fanout.subscribe();
    let mut keys = 0;
    let mut times = Vec::new();
    for number in 0..40 {
        let frame = next(&mut viewer).await;
        assert_eq!(frame.codec, VideoCodec::Vp8);
        assert!(frame.is_key || number > 0, "the first picture is a key frame");
        keys += u32::from(frame.is_key);
        times.push(frame.rtp_time);
    }
    assert!(keys >= 2, "{keys} key frames in 40 pictures");
    assert!(times.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) < 90_000), "{times:?}");
    let info = fanout.info();
    assert_eq!((info.codec.as_str(), info.width, info.height), ("vp8", 320, 180));
    assert_eq!(fanout.stats().source.encoded, 0, "nothing is encoded here");
    fanout.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn h264_is_passed_on_and_vp9_and_jpeg_are_encoded_again() {
    for (encoded, passed_on) in [
        ("x264enc tune=zerolatency key-int-max=15", true),
        ("vp9enc deadline=1 cpu-used=8", false),
        ("jpegenc", false),
    ] {
        let fanout = played(&format!("{SMALL} ! {encoded}"), Some("x264enc"));
        let mut viewer = fanout.subscribe();
        watch(&mut viewer, (320, 180), 20).await;
        let stats = fanout.stats();
        assert_eq!(stats.source.encoded == 0, passed_on, "{encoded}: {stats:?}");
        fanout.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_bitrate_is_followed_by_the_same_encoder() {
    // Noise takes all that it is given.
    let noise = "gst:videotestsrc is-live=true pattern=snow ! video/x-raw,width=320,height=180,framerate=30/1";
    let fanout = played(noise, Some("x264enc"));
    let mut viewer = fanout.subscribe();
    let mut bits = async |count: usize| {
        let mut bytes = 0;
        let mut keys = 0;
        for _ in 0..count {
            let frame = next(&mut viewer).await;
            (bytes, keys) = (bytes + frame.data.len(), keys + usize::from(frame.is_key));
        }
        (bytes as f64 * 8.0 * 30.0 / count as f64, keys)
    };
    bits(30).await;
    let (before, _) = bits(60).await;
    fanout.set_bitrate(600_000);
    bits(30).await;
    let (after, keys) = bits(60).await;
    assert!((1_500_000.0..4_000_000.0).contains(&before), "2.5 Mbit/s were wished: {before}");
    assert!((300_000.0..1_000_000.0).contains(&after), "0.6 Mbit/s were wished: {after}");
    assert_eq!(keys, 0, "no new encoder, so no key frame");
    fanout.stop().await;
}

/// A viewer whose path carries so much.
fn carries(bitrate: u32) -> Reading {
    let (is_measured, drives, backlog) = (true, false, Duration::ZERO);
    Reading { bitrate, delivered: Some(bitrate), is_measured, drives, backlog }
}

/// Somebody who watches. Every picture is decoded, as later ones are made from it.
struct Watcher {
    viewer: Subscription,
    decoder: Decoder,
}

impl Watcher {
    fn of(fanout: &Fanout) -> Self {
        Self { viewer: fanout.subscribe(), decoder: Decoder::new().unwrap() }
    }

    /// The next picture, and its size.
    async fn sees(&mut self) -> (EncodedFrame, (usize, usize)) {
        let frame = next(&mut self.viewer).await;
        let decoded = self.decoder.decode(&frame.data).unwrap().expect("every unit is one picture");
        let size = decoded.dimensions();
        (frame, size)
    }

    /// Watches until pictures have this size.
    async fn becomes(&mut self, size: (usize, usize)) {
        let mut seen = None;
        let becomes = async {
            while seen != Some(size) {
                seen = Some(self.sees().await.1);
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, becomes).await;
        assert!(in_time.is_ok(), "pictures become {size:?}; the last one was {seen:?}");
    }

    /// Pictures in a second of the stream's own time, over two seconds.
    async fn counts(&mut self) -> u32 {
        let first = self.sees().await.0.rtp_time;
        let mut count = 0;
        while self.sees().await.0.rtp_time.wrapping_sub(first) < 2 * 90_000 {
            count += 1;
        }
        count / 2
    }
}

/// 518,400 pixels: at 466, 259, 129 and 77 kbit/s they step down.
const MIDDLE: &str =
    "gst:videotestsrc is-live=true ! video/x-raw,format=I420,width=960,height=540,framerate=30/1";

#[tokio::test(flavor = "multi_thread")]
async fn size_and_then_the_number_of_pictures_step_down_with_the_path_and_up_again() {
    for encoder in ["x264enc", "openh264"] {
        let fanout = played(MIDDLE, Some(encoder));
        let mut watcher = Watcher::of(&fanout);
        watcher.becomes((960, 540)).await;
        watcher.viewer.report(carries(400_000));
        watcher.becomes((720, 404)).await;
        watcher.viewer.report(carries(100_000));
        watcher.becomes((480, 270)).await;
        let fewer = watcher.counts().await;
        assert!(fewer <= 20, "{encoder}: every second of 30 pictures: {fewer}");
        watcher.viewer.report(carries(5_000_000));
        watcher.becomes((960, 540)).await;
        let info = fanout.info();
        assert_eq!((info.width, info.height, info.fps), (960, 540, 30.0), "of the source");
        fanout.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_viewer_gets_the_rendition_that_its_path_carries_of_anything_that_comes_in() {
    for (typed, encoder) in [
        (MIDDLE.to_owned(), "x264enc"),
        // What would be passed on is encoded again, because renditions are asked for.
        (
            format!("{MIDDLE} ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15"),
            "openh264",
        ),
    ] {
        let renditions: Renditions = "540p@1M,270p15@300k".parse().unwrap();
        let fanout = played_in(&typed, Some(encoder), renditions);
        let (mut fast, mut slow) = (Watcher::of(&fanout), Watcher::of(&fanout));
        fast.becomes((960, 540)).await;
        slow.becomes((960, 540)).await;
        fast.viewer.report(carries(5_000_000));
        slow.viewer.report(carries(400_000));
        slow.becomes((480, 270)).await;
        let fewer = slow.counts().await;
        assert!(fewer <= 20, "{encoder}: at most 15 pictures a second: {fewer}");
        assert_eq!(fast.sees().await.1, (960, 540), "{encoder}: nobody else is sent less");
        slow.viewer.report(carries(5_000_000));
        slow.becomes((960, 540)).await;
        fanout.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encoder_that_dies_is_replaced_while_the_viewer_goes_on() {
    // GStreamer's own element for pipelines that fail.
    let dying = format!("{SMALL} ! errorignore ! identity error-after=25");
    let fanout = played(&dying, Some("x264enc"));
    let mut events = fanout.events();
    let mut viewer = fanout.subscribe();
    let mut story = Vec::new();
    while story != ["lost", "back", "lost"] {
        tokio::select! {
            frame = next(&mut viewer) => drop(frame),
            event = events.recv() => match event.expect("events") {
                SourceEvent::Lost { reason } => {
                    assert!(reason.contains("the GStreamer pipeline"), "{reason}");
                    story.push("lost");
                }
                SourceEvent::Back => story.push("back"),
                _ => {}
            }
        }
    }
    fanout.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_film_is_played_again_and_again_at_its_own_pace() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("film ! of a bird.mkv");
    gst::init().unwrap();
    let film = "videotestsrc num-buffers=20 ! video/x-raw,width=320,height=180,framerate=20/1 ! \
                x264enc ! matroskamux ! filesink name=end";
    let film = Playing(gst::parse::launch(film).unwrap().downcast().unwrap());
    film.0.by_name("end").unwrap().set_property("location", path.display().to_string());
    film.0.set_state(gst::State::Playing).unwrap();
    let ended = film.0.bus().unwrap().timed_pop_filtered(
        gst::ClockTime::from_seconds(30),
        &[gst::MessageType::Eos, gst::MessageType::Error],
    );
    assert!(matches!(ended.unwrap().view(), gst::MessageView::Eos(_)));
    drop(film);

    let fanout = played(&format!("file:{}", path.display()), Some("x264enc"));
    let mut viewer = fanout.subscribe();
    watch(&mut viewer, (320, 180), 1).await;
    let began = Instant::now();
    let times = watch_on(&mut viewer, 60).await;
    let took = began.elapsed().as_secs_f64();
    assert!((2.0..8.0).contains(&took), "60 pictures of 20 a second take 3 s: {took}");
    assert!(
        times.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]).cast_signed() > 0),
        "{times:?}"
    );
    assert_eq!(fanout.trouble(), None);
    fanout.stop().await;
}

async fn watch_on(viewer: &mut Subscription, pictures: usize) -> Vec<u32> {
    let mut times = Vec::new();
    while times.len() < pictures {
        times.push(next(viewer).await.rtp_time);
    }
    times
}

#[test]
fn what_is_no_pipeline_is_refused_with_gstreamers_own_words() {
    let spec = |typed| GstSpec::parse(typed).expect("one of these").expect("understood");
    let error = check(&spec("gst:nosuchelement ! identity")).expect_err("refused").to_string();
    assert!(error.contains("nosuchelement"), "{error}");
    assert!(check(&spec("gst:videotestsrc !")).is_err());
    assert!(check(&spec("gst:videotestsrc ! audioconvert")).is_err(), "no picture");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_that_is_not_there_gives_a_slate_with_its_name() {
    let fanout = played("v4l2:/dev/video987", Some("openh264"));
    let mut viewer = fanout.subscribe();
    assert!(next(&mut viewer).await.is_key, "of the slate");
    let trouble = fanout.trouble().expect("no camera is there");
    assert!(trouble.contains("/dev/video987"), "{trouble}");
    fanout.stop().await;
}
