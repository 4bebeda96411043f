//! Ends that are not ours: existing clients on one channel, and ends that misbehave.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use halyard_client::peer::{AccessUnit, PeerEvent, PeerState, VideoCodec, VideoRole};
use halyard_protocol::channel::{Lane, legacy::KEEP_ALIVE};
use rtc::rtp_transceiver::rtp_sender::{RTCRtpHeaderExtensionCapability, RtpCodecKind};
use tokio::sync::mpsc;
use webrtc::{
    data_channel::{DataChannel, DataChannelEvent, RTCDataChannelMessage},
    media_stream::track_remote::{TrackRemote, TrackRemoteEvent},
    peer_connection::{
        MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler,
        RTCIceGatheringState, RTCSessionDescription,
    },
    rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit},
    runtime::TokioRuntime,
};

use crate::pair::{End, config, note, number, soon};

/// A peer without any of our own parts: it puts all candidates into its offer, as `aiortc` does.
struct Foreign {
    connection: Arc<dyn PeerConnection>,
    gathered: mpsc::Receiver<()>,
    tracks: mpsc::Receiver<Arc<dyn TrackRemote>>,
}

struct Handler {
    gathered: mpsc::Sender<()>,
    tracks: mpsc::Sender<Arc<dyn TrackRemote>>,
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            let _ = self.gathered.try_send(());
        }
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        let _ = self.tracks.try_send(track);
    }
}

const PLAYOUT_DELAY: &str = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay";

/// What a browser offers: many codecs, VP8 first.
fn engine() -> MediaEngine {
    let mut engine = MediaEngine::default();
    engine.register_default_codecs().unwrap();
    let extension = RTCRtpHeaderExtensionCapability { uri: PLAYOUT_DELAY.to_owned() };
    engine.register_header_extension(extension, RtpCodecKind::Video, None).unwrap();
    engine
}

impl Foreign {
    async fn new() -> Self {
        let (tell_gathered, gathered) = mpsc::channel(1);
        let (tell_track, tracks) = mpsc::channel(1);
        let handler = Handler { gathered: tell_gathered, tracks: tell_track };
        let builder = PeerConnectionBuilder::new()
            .with_runtime(Arc::new(TokioRuntime))
            .with_handler(Arc::new(handler))
            .with_media_engine(engine())
            .with_udp_addrs(vec!["127.0.0.1:0"]);
        let connection = Box::pin(builder.build()).await.unwrap();
        Self { connection: Arc::new(connection), gathered, tracks }
    }

    /// Opens a channel before or after connecting.
    async fn open(&self, label: &str) -> Channel {
        let channel = self.connection.create_data_channel(label, None).await.unwrap();
        let (tell, messages) = mpsc::channel(64);
        let polled = Arc::clone(&channel);
        tokio::spawn(async move {
            while let Some(event) = polled.poll().await {
                if tell.send(event).await.is_err() {
                    return;
                }
            }
        });
        Channel { channel, events: messages }
    }

    async fn connect(&mut self, answerer: &End) {
        let offer = self.connection.create_offer(None).await.unwrap();
        self.connection.set_local_description(offer).await.unwrap();
        soon("gathering", self.gathered.recv()).await;
        let offer = self.connection.local_description().await.unwrap().sdp;
        assert!(offer.contains("a=candidate:"));
        let answer = answerer.peer.accept_offer(&offer).await.unwrap();
        assert!(answer.contains("a=candidate:"), "the other end takes no candidates later");
        let answer = RTCSessionDescription::answer(answer).unwrap();
        self.connection.set_remote_description(answer).await.unwrap();
    }
}

struct Channel {
    channel: Arc<dyn DataChannel>,
    events: mpsc::Receiver<DataChannelEvent>,
}

impl Channel {
    async fn until_open(&mut self) {
        while !matches!(self.next().await, DataChannelEvent::OnOpen) {}
    }

    async fn next(&mut self) -> DataChannelEvent {
        let e = soon("an event of the channel", self.events.recv()).await.expect("it is polled");
        println!("{e:?}");
        e
    }

    async fn message(&mut self) -> RTCDataChannelMessage {
        loop {
            if let DataChannelEvent::OnMessage(message) = self.next().await {
                return message;
            }
        }
    }
}

/// An existing client and the worker's end of it.
async fn existing_client() -> (Foreign, Channel, End) {
    let mut worker = End::answerer(config(VideoRole::Send)).await;
    let mut client = Foreign::new().await;
    let mut channel = client.open("my-data-channel").await;
    client.connect(&worker).await;
    worker
        .until("the client's channel", |event| {
            (event == PeerEvent::LegacyOpen("my-data-channel".to_owned())).then_some(())
        })
        .await;
    channel.until_open().await;
    (client, channel, worker)
}

/// Bytes that begin with this number.
fn numbered(number: u32, bytes: usize) -> BytesMut {
    number.to_be_bytes().into_iter().cycle().take(bytes).collect()
}

async fn next_legacy(worker: &mut End) -> PeerEvent {
    worker
        .until("something on the client's channel", |event| {
            matches!(event, PeerEvent::LegacyText(_) | PeerEvent::LegacyBinary(_)).then_some(event)
        })
        .await
}

#[tokio::test]
async fn an_existing_client_says_everything_on_its_one_channel_in_order() {
    let (_client, mut channel, mut worker) = existing_client().await;
    channel.channel.send_text("FILE_META::a.zip:9:True").await.unwrap();
    channel.channel.send(BytesMut::from(&b"123"[..])).await.unwrap();
    channel.channel.send(BytesMut::from(KEEP_ALIVE)).await.unwrap();
    channel.channel.send(BytesMut::from(&b"456789"[..])).await.unwrap();
    channel.channel.send_text("END_OF_FILE").await.unwrap();
    let meta = "FILE_META::a.zip:9:True".to_owned();
    assert_eq!(next_legacy(&mut worker).await, PeerEvent::LegacyText(meta));
    assert_eq!(next_legacy(&mut worker).await, PeerEvent::LegacyBinary(b"123"[..].into()));
    assert_eq!(next_legacy(&mut worker).await, PeerEvent::LegacyBinary(b"456789"[..].into()));
    let end = "END_OF_FILE".to_owned();
    assert_eq!(next_legacy(&mut worker).await, PeerEvent::LegacyText(end));

    worker.peer.send_legacy_text("TRAIN_JOB_START::centroid".to_owned()).await.unwrap();
    worker.peer.send_legacy_binary(&b"bytes"[..]).await.unwrap();
    let text = channel.message().await;
    assert!(text.is_string && text.data == "TRAIN_JOB_START::centroid");
    let binary = channel.message().await;
    assert!(!binary.is_string && binary.data == "bytes"[..]);
}

#[tokio::test]
async fn an_existing_client_gets_a_file_with_backpressure() {
    let (_client, mut channel, worker) = existing_client().await;
    let peer = worker.peer.clone();
    let sending = tokio::spawn(async move {
        for n in 0..512u32 {
            let chunk = numbered(n, 32 * 1024);
            peer.send_legacy_binary(chunk).await.unwrap();
        }
    });
    for n in 0..512u32 {
        let message = channel.message().await;
        assert_eq!(message.data.len(), 32 * 1024);
        assert_eq!(message.data[..4], n.to_be_bytes());
    }
    sending.await.unwrap();
}

#[tokio::test]
async fn an_existing_client_hears_a_sign_of_life_every_fifteen_seconds() {
    let (_client, mut channel, _worker) = existing_client().await;
    let opened = Instant::now();
    let message = channel.message().await;
    assert!(!message.is_string && message.data == KEEP_ALIVE);
    let after = opened.elapsed();
    assert!((14..17).contains(&after.as_secs()), "{after:?}");
}

#[tokio::test]
async fn an_existing_client_that_goes_closes_the_peer() {
    let (client, _channel, mut worker) = existing_client().await;
    client.connection.close().await.unwrap();
    worker.until_state(PeerState::Closed).await;
}

#[tokio::test]
async fn channels_too_many_are_closed_and_the_first_ones_go_on() {
    let mut worker = End::answerer(config(VideoRole::None)).await;
    let mut client = Foreign::new().await;
    let mut control = client.open("control").await;
    client.connect(&worker).await;
    control.until_open().await;
    // The first of another label is an existing client's.
    let mut one = client.open("one").await;
    one.until_open().await;
    for label in ["control", "two", "three", "control"] {
        let mut extra = client.open(label).await;
        while !matches!(extra.next().await, DataChannelEvent::OnClose) {}
    }
    control.channel.send_text(&note(4).encode()).await.unwrap();
    assert_eq!(number(&worker.until_text(Lane::Control).await), 4);
}

#[tokio::test]
async fn texts_that_are_no_texts_are_dropped_and_the_lane_goes_on() {
    let mut worker = End::answerer(config(VideoRole::None)).await;
    let mut client = Foreign::new().await;
    let mut control = client.open("control").await;
    client.connect(&worker).await;
    control.until_open().await;
    control.channel.send(BytesMut::from(&b"binary on control"[..])).await.unwrap();
    control.channel.send_text("BULK_WINDOW::nonsense").await.unwrap();
    control.channel.send_text("BULK_WINDOW::{\"bytes\":5}").await.unwrap();
    control.channel.send_text("").await.unwrap();
    control.channel.send_text(&note(9).encode()).await.unwrap();
    let first = worker.until_text(Lane::Control).await;
    let text = if first.is_empty() { worker.until_text(Lane::Control).await } else { first };
    assert_eq!(number(&text), 9);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sender_that_knows_no_window_loses_nothing_to_a_slow_consumer() {
    const MESSAGES: u32 = 800;
    let worker = End::answerer(config(VideoRole::None)).await;
    let mut client = Foreign::new().await;
    let mut bulk = client.open("bulk").await;
    client.connect(&worker).await;
    bulk.until_open().await;
    let channel = Arc::clone(&bulk.channel);
    let sending = tokio::spawn(async move {
        for n in 0..MESSAGES {
            let chunk = numbered(n, 60 * 1024);
            channel.send(chunk).await.unwrap();
        }
    });
    sending.await.unwrap();
    // 48 MB are on their way: more than the window, and nobody has taken any yet.
    tokio::time::sleep(Duration::from_millis(300)).await;
    for n in 0..MESSAGES {
        let message = soon("a message", worker.peer.recv_bulk()).await.unwrap();
        assert_eq!(message[..4], n.to_be_bytes());
    }
}

#[tokio::test]
async fn a_viewer_that_prefers_another_codec_still_gets_h264_and_no_delay() {
    let mut worker = End::answerer(config(VideoRole::Send)).await;
    let mut viewer = Foreign::new().await;
    let init = RTCRtpTransceiverInit {
        direction: RTCRtpTransceiverDirection::Recvonly,
        ..Default::default()
    };
    let kind = RtpCodecKind::Video;
    viewer.connection.add_transceiver_from_kind(kind, Some(init)).await.unwrap();
    let _control = viewer.open("control").await;
    viewer.connect(&worker).await;
    worker
        .until("a request for the first key frame", |event| {
            (event == PeerEvent::KeyframeRequested(0)).then_some(())
        })
        .await;
    let track = worker.peer.video().unwrap();
    let data = b"\0\0\0\x01\x67\x42\xe0\x1f\0\0\0\x01\x68\xce\0\0\0\x01\x65abc"[..].into();
    let sending = tokio::spawn(async move {
        let mut unit = AccessUnit { codec: VideoCodec::H264, data, rtp_time: 0, is_key: true };
        loop {
            track.write(&unit).unwrap();
            unit.rtp_time += 3000;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });

    let remote = soon("a track", viewer.tracks.recv()).await.unwrap();
    let header = loop {
        let event = soon("a packet", remote.poll()).await.unwrap();
        if let TrackRemoteEvent::OnRtpPacket(packet) = event {
            break packet.header;
        }
    };
    sending.abort();
    let codec = remote.codec(header.ssrc).await.unwrap();
    assert_eq!(codec.mime_type, "video/H264");
    assert!(codec.sdp_fmtp_line.contains("packetization-mode=1"), "{}", codec.sdp_fmtp_line);
    assert!(codec.sdp_fmtp_line.contains("profile-level-id=42e0"), "{}", codec.sdp_fmtp_line);
    let no_delay = header.extensions.iter().any(|extension| extension.payload[..] == [0, 0, 0]);
    assert!(no_delay, "{:?}", header.extensions);
}
