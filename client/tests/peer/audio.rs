//! Sound from one end to the other.

use std::time::Duration;

use bytes::Bytes;
use halyard_client::peer::{AudioRole, NotSent, PeerConfig, SoundPacket, VideoRole};

use crate::pair::{End, config, pair_with, soon};

const HEARS: AudioRole = AudioRole { sends: false, receives: true };
const SPEAKS: AudioRole = AudioRole { sends: true, receives: false };
const BOTH: AudioRole = AudioRole { sends: true, receives: true };

fn with(audio: AudioRole, video: VideoRole) -> PeerConfig {
    PeerConfig { audio, ..config(video) }
}

fn packet(number: u32) -> SoundPacket {
    SoundPacket { data: Bytes::from(vec![0xf8, number as u8, 3]), rtp_time: number * 960 }
}

/// Says so many packets, and what of them is heard: payloads, and times from the first on.
async fn heard(from: &End, to: &End, count: u32) -> Vec<(u8, u32)> {
    let track = from.peer.audio().expect("it sends sound");
    soon("readiness", async {
        while !track.is_ready() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let mut heard = Vec::new();
    let mut first = None;
    for number in 0..count {
        track.write(packet(number)).expect("room");
        let packet = soon("sound", to.peer.next_sound()).await.expect("the connection lives");
        let first = *first.get_or_insert(packet.timestamp);
        heard.push((packet.payload[1], packet.timestamp.wrapping_sub(first)));
    }
    heard
}

fn all(count: u32) -> Vec<(u8, u32)> {
    (0..count).map(|number| (number as u8, number * 960)).collect()
}

#[tokio::test]
async fn sound_goes_both_ways_beside_a_picture() {
    let (client, worker) =
        pair_with(with(BOTH, VideoRole::Receive), with(BOTH, VideoRole::Send)).await;
    assert_eq!(heard(&worker, &client, 20).await, all(20));
    assert_eq!(heard(&client, &worker, 20).await, all(20));
}

#[tokio::test]
async fn a_worker_without_a_speaker_sends_sound_to_who_would_also_speak() {
    let (client, worker) =
        pair_with(with(BOTH, VideoRole::None), with(SPEAKS, VideoRole::None)).await;
    assert_eq!(heard(&worker, &client, 5).await, all(5));
    let voice = client.peer.audio().expect("it would speak");
    assert_eq!(voice.write(packet(0)), Err(NotSent::NotReady), "nobody would hear it");
}

#[tokio::test]
async fn a_worker_without_a_microphone_hears_who_speaks() {
    let (client, worker) =
        pair_with(with(BOTH, VideoRole::None), with(HEARS, VideoRole::None)).await;
    assert_eq!(heard(&client, &worker, 5).await, all(5));
    assert!(worker.peer.audio().is_none());
}

#[tokio::test]
async fn who_offers_sound_to_an_end_without_any_gets_everything_else() {
    let (client, worker) =
        pair_with(with(BOTH, VideoRole::Receive), with(AudioRole::default(), VideoRole::Send))
            .await;
    let voice = client.peer.audio().expect("it would speak");
    assert_eq!(voice.write(packet(0)), Err(NotSent::NotReady));
    assert!(worker.peer.video().expect("a picture").is_ready());
}
