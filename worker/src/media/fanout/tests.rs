//! Who watches gets pictures he can decode; who does not take them disturbs nobody.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use bytes::Bytes;
use proptest::prelude::*;

use crate::media::{VideoCodec, rendition::MAX_RENDITIONS};

use super::{gop::MAX_BYTES, queue::ROOM, queue::Taken, *};

/// A source whose pictures the test makes.
struct Puppet {
    seen: Arc<Seen>,
    makes_keyframes: bool,
}

#[derive(Default)]
struct Seen {
    sink: Mutex<Option<Arc<dyn Sink>>>,
    watched: [AtomicBool; MAX_RENDITIONS],
    asked: [AtomicU32; MAX_RENDITIONS],
    aim: Mutex<Option<Aim>>,
    stopped: AtomicBool,
}

impl Seen {
    fn sink(&self) -> Arc<dyn Sink> {
        self.sink.lock().unwrap().clone().unwrap()
    }

    /// Sends pictures: `K` is a key frame. The number is the presentation time.
    fn send(&self, from: u32, kinds: &str) {
        for (number, kind) in (from..).zip(kinds.chars()) {
            self.sink().frame(picture(number, kind == 'K', 10));
        }
    }

    /// The same of another rendition.
    fn send_in(&self, rendition: usize, from: u32, kinds: &str) {
        for (number, kind) in (from..).zip(kinds.chars()) {
            let frame = picture(number, kind == 'K', 10);
            self.sink().frame(EncodedFrame { rendition, ..frame });
        }
    }

    fn asked(&self) -> u32 {
        self.asked[0].swap(0, Ordering::SeqCst)
    }

    fn is_watched(&self, rendition: usize) -> bool {
        self.watched[rendition].load(Ordering::SeqCst)
    }
}

fn picture(number: u32, is_key: bool, size: usize) -> EncodedFrame {
    let data = Bytes::from(vec![0; size]);
    EncodedFrame {
        rendition: 0,
        codec: VideoCodec::H264,
        data,
        is_key,
        captured: Instant::now(),
        rtp_time: number,
    }
}

impl Source for Puppet {
    fn info(&self) -> VideoInfo {
        VideoInfo {
            name: "puppet".to_owned(),
            codec: "h264".to_owned(),
            width: 0,
            height: 0,
            fps: 0.0,
            strip: false,
            renditions: Vec::new(),
        }
    }

    fn start(&mut self, sink: Arc<dyn Sink>) -> Result<(), SourceError> {
        *self.seen.sink.lock().unwrap() = Some(sink);
        Ok(())
    }

    fn set_watched(&self, rendition: usize, watched: bool) {
        self.seen.watched[rendition].store(watched, Ordering::SeqCst);
    }

    fn request_keyframe(&self, rendition: usize, _: KeyframeReason) {
        self.seen.asked[rendition].fetch_add(1, Ordering::SeqCst);
    }

    fn aim(&self, _: usize, aim: Aim) {
        *self.seen.aim.lock().unwrap() = Some(aim);
    }

    fn makes_keyframes(&self) -> bool {
        self.makes_keyframes
    }

    fn stop(&self) {
        self.seen.stopped.store(true, Ordering::SeqCst);
    }
}

fn fanout(makes_keyframes: bool) -> (Fanout, Arc<Seen>) {
    fanout_in(makes_keyframes, Renditions::plain(DEFAULT_BITRATE))
}

fn fanout_in(makes_keyframes: bool, renditions: Renditions) -> (Fanout, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    let puppet = Puppet { seen: seen.clone(), makes_keyframes };
    (Fanout::start_in(Box::new(puppet), renditions).unwrap(), seen)
}

/// Everything that waits for a viewer now.
async fn waiting(viewer: &mut Subscription) -> Vec<u32> {
    let mut numbers = Vec::new();
    // The pause between kept pictures is shorter than this; time is paused.
    while let Ok(Some(frame)) = tokio::time::timeout(Duration::from_secs(1), viewer.next()).await {
        numbers.push(frame.rtp_time);
    }
    numbers
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_begins_on_a_key_frame_and_the_others_do_not_notice() {
    let (fanout, seen) = fanout(true);
    let mut first = fanout.subscribe();
    assert_eq!(seen.asked(), 1);
    seen.send(0, "KPP");
    let mut second = fanout.subscribe();
    assert_eq!(seen.asked(), 1);
    seen.send(3, "PPKP");
    assert_eq!(waiting(&mut first).await, [0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(waiting(&mut second).await, [5, 6]);
    assert_eq!(seen.asked(), 0, "waiting for the first key frame is no loss");
    assert_eq!(fanout.stats().dropped, 0);
}

#[tokio::test(start_paused = true)]
async fn a_slow_viewer_loses_pictures_goes_on_at_a_key_frame_and_nobody_else_suffers() {
    let (fanout, seen) = fanout(true);
    let (mut slow, mut quick) = (fanout.subscribe(), fanout.subscribe());
    seen.send(0, "K");
    assert_eq!(waiting(&mut slow).await, [0]);
    seen.asked();
    let mut got = waiting(&mut quick).await;
    for number in 1..=ROOM as u32 + 3 {
        seen.send(number, "P");
        got.extend(waiting(&mut quick).await);
    }
    assert_eq!(got, (0..=ROOM as u32 + 3).collect::<Vec<_>>());
    assert_eq!(seen.asked(), 0, "a viewer who is stuck asks for nothing");
    assert_eq!(waiting(&mut slow).await, [0; 0], "the middle of a group is of no use");
    assert_eq!(seen.asked(), 1, "now that he is ready, he asks");
    seen.send(100, "PKP");
    assert_eq!(waiting(&mut slow).await, [101, 102]);
    assert_eq!(fanout.stats().dropped, ROOM as u64 + 3 + 1);
    drop(slow);
    assert_eq!(fanout.stats().dropped, ROOM as u64 + 3 + 1, "still known when he is gone");
}

#[tokio::test(start_paused = true)]
async fn a_viewer_whose_line_is_full_skips_to_the_next_key_frame() {
    let (fanout, seen) = fanout(true);
    let mut viewer = fanout.subscribe();
    seen.send(0, "KPP");
    seen.asked();
    assert_eq!(viewer.next().await.unwrap().rtp_time, 0);
    viewer.skip_to_keyframe();
    assert_eq!(seen.asked(), 1);
    seen.send(3, "PKP");
    assert_eq!(waiting(&mut viewer).await, [4, 5]);
}

#[tokio::test(start_paused = true)]
async fn the_source_works_while_somebody_watches_and_stops_with_the_last_handle() {
    let (fanout, seen) = fanout(true);
    assert!(!seen.is_watched(0));
    let (one, two) = (fanout.subscribe(), fanout.subscribe());
    drop(one);
    assert!(seen.is_watched(0));
    drop(two);
    assert!(!seen.is_watched(0));
    let mut three = fanout.subscribe();
    drop(fanout);
    assert!(!seen.stopped.load(Ordering::SeqCst), "a viewer holds it");
    three.fanout.stop().await;
    assert!(three.next().await.is_none());
    drop(three);
    assert!(seen.stopped.load(Ordering::SeqCst));
}

#[tokio::test(start_paused = true)]
async fn where_no_key_frame_can_be_asked_for_a_newcomer_gets_the_current_group() {
    let (fanout, seen) = fanout(false);
    seen.send(0, "PPKPPPKPP");
    let mut viewer = fanout.subscribe();
    seen.send(9, "P");
    assert_eq!(waiting(&mut viewer).await, [6, 7, 8, 9]);
    assert_eq!(seen.asked(), 0);
    seen.send(10, "PPK");
    let mut other = fanout.subscribe();
    assert_eq!(waiting(&mut other).await, [12]);
    assert_eq!(waiting(&mut viewer).await, [10, 11, 12]);
}

#[tokio::test(start_paused = true)]
async fn a_long_group_is_handed_over_at_a_bounded_rate() {
    let (fanout, seen) = fanout(false);
    seen.sink().frame(picture(0, true, 500_000));
    for number in 1..100 {
        seen.sink().frame(picture(number, false, 25_000));
    }
    let mut viewer = fanout.subscribe();
    // The pace is kept by the machine's clock, so this takes real time: 3 MB at 5 MB/s.
    tokio::time::resume();
    let begun = Instant::now();
    for number in 0..100 {
        assert_eq!(viewer.next().await.unwrap().rtp_time, number);
    }
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(400), "{took:?}");
    seen.send(100, "PP");
    assert_eq!(viewer.next().await.unwrap().rtp_time, 100);
}

#[test]
fn the_kept_group_is_bounded_in_bytes() {
    let mut gop = GopCache::default();
    gop.push(picture(0, true, MAX_BYTES - 5));
    assert_eq!(gop.frames().count(), 1);
    gop.push(picture(1, false, 6));
    assert_eq!(gop.frames().count(), 0, "not decodable without its middle, so not kept at all");
    gop.push(picture(2, false, 6));
    gop.push(picture(3, true, 6));
    assert_eq!(gop.frames().map(|frame| frame.rtp_time).collect::<Vec<_>>(), [3]);
}

#[tokio::test(start_paused = true)]
async fn what_happens_to_the_source_is_told_and_remembered() {
    let (fanout, seen) = fanout(true);
    let mut events = fanout.events();
    let lost = SourceEvent::Lost { reason: "unplugged".to_owned() };
    seen.sink().event(lost.clone());
    assert_eq!(fanout.trouble().as_deref(), Some("unplugged"));
    assert_eq!(events.recv().await.unwrap(), lost);
    assert_eq!(lost.notice("rear").unwrap().code, "source_lost");
    seen.sink().event(SourceEvent::Back);
    assert_eq!((fanout.trouble(), events.recv().await.unwrap()), (None, SourceEvent::Back));
    assert_eq!(SourceEvent::Back.notice("rear").unwrap().code, "source_back");
}

proptest! {
    #[test]
    fn whatever_a_viewer_does_what_he_gets_can_be_decoded_and_his_queue_is_short(
        steps in proptest::collection::vec((0u8..8, any::<bool>()), 0..400),
        kept in 0usize..40,
    ) {
        let kept: Vec<_> = (0..kept as u32).map(|number| picture(number, number == 0, 1)).collect();
        let mut queue = Queue::catching_up(kept.iter());
        let mut number = kept.len() as u32;
        let mut last: Option<u32> = None;
        let mut taken = 0u32;
        for (step, is_key) in steps {
            match step {
                0..5 => {
                    queue.push(picture(number, is_key, 1));
                    number += 1;
                }
                5 => queue.lose(),
                _ => if let Taken::Frame { frame, .. } = queue.take(None, Instant::now()) {
                    taken += 1;
                    let follows = last.is_some_and(|last| frame.rtp_time == last + 1);
                    prop_assert!(follows || frame.is_key, "{last:?} {frame:?}");
                    prop_assert!(last.is_none_or(|last| frame.rtp_time > last));
                    last = Some(frame.rtp_time);
                },
            }
        }
        let mut rest = 0u32;
        while let Taken::Frame { .. } = queue.take(None, Instant::now()) {
            rest += 1;
        }
        prop_assert!(rest as usize <= kept.len() + ROOM);
        prop_assert!(u64::from(taken + rest) + queue.dropped() <= u64::from(number));
    }
}

#[tokio::test(start_paused = true)]
async fn the_source_follows_who_watches_and_begins_anew_for_the_next() {
    let (fanout, seen) = fanout(true);
    let bitrate = || seen.aim.lock().unwrap().map(|aim| aim.bitrate);
    let look = || tokio::time::sleep(2 * follow::EVERY);
    fanout.set_bitrate(2_000_000);
    assert_eq!(bitrate(), Some(2_000_000));
    let (driver, viewer) = (fanout.subscribe(), fanout.subscribe());
    let reading = Reading {
        bitrate: 1_000_000,
        delivered: None,
        is_measured: true,
        drives: true,
        backlog: Duration::from_millis(200),
    };
    driver.report(reading);
    viewer.report(Reading { bitrate: 700_000, drives: false, ..reading });
    look().await;
    assert_eq!(bitrate(), Some(880_000), "who drives decides");
    assert!(seen.aim.lock().unwrap().unwrap().hold, "what waits has to leave first");
    driver.report(Reading { backlog: Duration::ZERO, ..reading });
    look().await;
    assert!(!seen.aim.lock().unwrap().unwrap().hold);
    drop((driver, viewer));
    look().await;
    assert_eq!(bitrate(), Some(2_000_000));
    fanout.stop().await;
}

#[test]
fn on_the_way_up_the_lower_rendition_goes_on_until_the_better_one_begins() {
    let now = Instant::now();
    let mut queue = Queue::waiting();
    let push = |queue: &mut Queue, rendition, number, is_key| {
        queue.push(EncodedFrame { rendition, ..picture(number, is_key, 10) });
    };
    let taken = |queue: &mut Queue| match queue.take(None, now) {
        Taken::Frame { frame, .. } => Some((frame.rendition, frame.is_key)),
        _ => None,
    };
    push(&mut queue, 0, 0, true);
    queue.want(1);
    push(&mut queue, 0, 1, false);
    assert!(matches!(queue.take(None, now), Taken::Empty { wants_keyframe: true }), "down at once");
    push(&mut queue, 1, 2, true);
    queue.want(0);
    push(&mut queue, 0, 3, false);
    push(&mut queue, 1, 4, false);
    push(&mut queue, 0, 5, true);
    push(&mut queue, 1, 6, false);
    let all: Vec<_> = std::iter::from_fn(|| taken(&mut queue)).collect();
    assert_eq!(all, [(1, true), (1, false), (0, true)]);
}

#[tokio::test]
async fn a_viewer_changes_over_on_a_key_frame_and_a_rendition_that_nobody_is_sent_rests() {
    let (fanout, seen) = fanout_in(true, "720p@2M,360p@400k".parse().unwrap());
    let (mut fast, mut slow) = (fanout.subscribe(), fanout.subscribe());
    assert!(seen.is_watched(0) && !seen.is_watched(1), "who comes begins with the best");
    seen.send(0, "KP");
    assert_eq!(waiting(&mut slow).await, [0, 1]);
    let reading = Reading {
        bitrate: 300_000,
        delivered: Some(290_000),
        is_measured: true,
        drives: false,
        backlog: Duration::ZERO,
    };
    slow.report(reading);
    fast.report(Reading { bitrate: 3_000_000, delivered: Some(2_900_000), ..reading });
    let asked = async {
        while seen.asked[1].load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), asked).await.expect("the small one is begun");
    assert!(seen.is_watched(0) && seen.is_watched(1));
    assert_eq!((fast.rendition(), slow.rendition(), slow.is_lowest()), (0, 1, true));
    let best = fanout.aim(0).map(|aim| aim.bitrate);
    assert_eq!(best, Some(2_000_000), "who leaves it does not lower it first");
    seen.send_in(1, 2, "P");
    seen.send(3, "P");
    seen.send_in(1, 4, "KP");
    seen.send(6, "P");
    assert_eq!(waiting(&mut slow).await, [4, 5]);
    assert_eq!(waiting(&mut fast).await, [0, 1, 3, 6]);
    seen.asked();
    slow.request_keyframe();
    assert_eq!((seen.asked(), seen.asked[1].load(Ordering::SeqCst)), (0, 2));
    drop(fast);
    assert!(!seen.is_watched(0) && seen.is_watched(1));
    assert_eq!(fanout.aim(1).map(|aim| aim.bitrate), Some(264_000), "it follows who is sent it");
    fanout.stop().await;
}
