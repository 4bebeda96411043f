//! Pictures from one end to the other.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use halyard_client::peer::{
    AccessUnit, NotSent, PeerEvent, RtpPacket, VideoCodec, VideoFrame, VideoRole,
};

use crate::pair::{End, config, introduce, pair, pair_with, soon};

/// A made-up picture: the structure of H.264, with bytes that cannot be mistaken for start codes.
fn picture(number: u32, is_key: bool, len: usize) -> AccessUnit {
    let mut data = BytesMut::new();
    if is_key {
        data.put_slice(&[0, 0, 0, 1, 0x67, 0x42, 0xe0, 0x1f, 0x8c, 0x8d]);
        data.put_slice(&[0, 0, 0, 1, 0x68, 0xce, 0x3c, 0x81]);
    }
    data.put_slice(&[0, 0, 0, 1, if is_key { 0x65 } else { 0x41 }]);
    data.extend((0..len).map(|at| 1 + ((at as u32).wrapping_mul(7) + number) as u8 % 250));
    AccessUnit { codec: VideoCodec::H264, data: data.freeze(), rtp_time: number * 3000, is_key }
}

async fn watching() -> (End, End) {
    let (viewer, worker) = pair_with(config(VideoRole::Receive), config(VideoRole::Send)).await;
    assert!(worker.peer.video().unwrap().is_ready());
    (viewer, worker)
}

#[tokio::test]
async fn a_new_viewer_asks_for_a_key_frame_once_it_is_connected() {
    let viewer = End::offerer(config(VideoRole::Receive)).await;
    let mut worker = End::answerer(config(VideoRole::Send)).await;
    introduce(&viewer, &worker).await;
    worker
        .until("a request for the first key frame", |event| {
            (event == PeerEvent::KeyframeRequested(0)).then_some(())
        })
        .await;
    assert_eq!(worker.peer.video().unwrap().write(&picture(0, true, 100)), Ok(()));
}

async fn next(viewer: &End) -> VideoFrame {
    soon("a picture", viewer.peer.next_frame()).await.expect("the connection is open")
}

#[tokio::test]
async fn pictures_arrive_whole_and_in_order() {
    let (viewer, worker) = watching().await;
    let track = worker.peer.video().unwrap();
    assert!(track.is_ready());
    let mut first_time = None;
    for n in 0..300 {
        // From one packet to a large key frame.
        let sent = picture(
            n,
            n % 60 == 0,
            200 + (n as usize % 7) * 3000 + if n == 0 { 90_000 } else { 0 },
        );
        track.write(&sent).unwrap();
        let seen = next(&viewer).await;
        assert_eq!(seen.data, sent.data, "picture {n}");
        assert_eq!(seen.is_key, sent.is_key);
        assert!(!seen.gap_before);
        let first = *first_time.get_or_insert(seen.rtp_time);
        assert_eq!(seen.rtp_time.wrapping_sub(first), n * 3000);
    }
}

#[tokio::test]
async fn a_request_for_a_key_frame_reaches_the_worker() {
    let (viewer, mut worker) = watching().await;
    let track = worker.peer.video().unwrap();
    track.write(&picture(0, true, 500)).unwrap();
    next(&viewer).await;
    viewer.peer.request_keyframe();
    worker
        .until("a request for a key frame", |event| {
            (event == PeerEvent::KeyframeRequested(0)).then_some(())
        })
        .await;
}

#[tokio::test]
async fn ready_packets_are_passed_on() {
    let (viewer, worker) = watching().await;
    let track = worker.peer.video().unwrap();
    let mut sequence = 65_530u16;
    for n in 0u32..30 {
        // One unit as it is, one cut in two.
        let unit: Bytes =
            [&[if n == 0 { 0x65 } else { 0x41 }][..], &[n as u8 + 1; 900]].concat().into();
        let packets = [
            (false, unit.clone()),
            (false, [&[0x7c, 0x81][..], &[9; 700]].concat().into()),
            (true, [&[0x7c, 0x41][..], &[8; 600]].concat().into()),
        ];
        for (marker, payload) in packets {
            let packet = RtpPacket { sequence, timestamp: n * 3000, marker, payload };
            track.forward(&packet).unwrap();
            sequence = sequence.wrapping_add(1);
        }
        let seen = next(&viewer).await;
        let expected =
            [&[0, 0, 0, 1][..], &unit, &[0, 0, 0, 1, 0x61], &[9; 700], &[8; 600]].concat();
        assert_eq!(seen.data, expected, "picture {n}");
        assert_eq!(seen.is_key, n == 0);
    }
}

#[tokio::test]
async fn two_viewers_share_a_picture_under_their_own_sources() {
    let (first, worker_a) = watching().await;
    let (second, worker_b) = watching().await;
    let sent = picture(0, true, 5000);
    worker_a.peer.video().unwrap().write(&sent).unwrap();
    worker_b.peer.video().unwrap().write(&sent).unwrap();
    assert_eq!(next(&first).await.data, sent.data);
    assert_eq!(next(&second).await.data, sent.data);
}

#[tokio::test]
async fn a_sender_is_not_ready_without_a_viewer() {
    let (_offerer, worker) = pair_with(config(VideoRole::None), config(VideoRole::Send)).await;
    let track = worker.peer.video().unwrap();
    assert!(!track.is_ready());
    assert_eq!(track.write(&picture(0, true, 100)), Err(NotSent::NotReady));
    worker.peer.close().await;
    assert_eq!(track.write(&picture(0, true, 100)), Err(NotSent::Closed));
}

#[tokio::test]
async fn a_viewer_gets_its_lanes_from_a_worker_without_video() {
    let (viewer, worker) = pair_with(config(VideoRole::Receive), config(VideoRole::None)).await;
    assert!(worker.peer.video().is_none());
    worker.peer.close().await;
    assert_eq!(soon("the end", viewer.peer.next_frame()).await, None);
}

#[tokio::test]
async fn a_flood_of_pictures_is_dropped_and_never_waited_for() {
    let (viewer, mut worker) = watching().await;
    let track = worker.peer.video().unwrap();
    let started = std::time::Instant::now();
    let mut dropped = 0;
    for n in 0..2000 {
        match track.write(&picture(n, n == 0, 20_000)) {
            Ok(()) => {}
            Err(NotSent::Behind) => dropped += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    assert!(dropped > 0);
    worker
        .until("a request for a key frame", |event| {
            (event == PeerEvent::KeyframeRequested(0)).then_some(())
        })
        .await;
    // It goes on with the next key frame.
    let key = picture(3000, true, 400);
    let written = async {
        while track.write(&key) != Ok(()) {
            tokio::task::yield_now().await;
        }
    };
    soon("room for a key frame", written).await;
    let mut frames = 0;
    loop {
        let frame = next(&viewer).await;
        frames += 1;
        if frame.data == key.data {
            break;
        }
    }
    println!("{dropped} of 2000 pictures dropped, {frames} seen");
}

#[tokio::test]
async fn without_video_there_is_no_track() {
    let (offerer, answerer) = pair().await;
    assert!(offerer.peer.video().is_none() && answerer.peer.video().is_none());
}

#[tokio::test]
async fn what_a_viewer_reports_becomes_an_estimate() {
    let (viewer, worker) = watching().await;
    let track = worker.peer.video().unwrap();
    let mut estimate = worker.peer.estimate();
    assert!(!estimate.borrow().is_measured);
    let sending = async {
        for n in 0.. {
            let _ = track.write(&picture(n, n == 0, 6_000));
            next(&viewer).await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let measured =
        estimate.wait_for(|now| now.is_measured && now.delivered.is_some() && now.queue.is_some());
    let measured = async { *measured.await.expect("the connection is open") };
    let now = tokio::select! {
        () = sending => unreachable!("it goes on"),
        now = soon("a report of what arrived", measured) => now,
    };
    assert!(now.delivered.unwrap() > 100_000, "{now:?}");
    assert!(now.round_trip.is_some(), "{now:?}");
    assert_eq!(worker.peer.packets_repaired(), 0);
}
