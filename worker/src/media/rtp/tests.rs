//! The socket and what people are told.

use std::sync::mpsc;

use super::*;
use crate::media::{Fanout, frame::EncodedFrame};

struct Collect(Mutex<mpsc::Sender<Told>>);

enum Told {
    Frame,
    Event(SourceEvent),
}

impl Sink for Collect {
    fn frame(&self, _: EncodedFrame) {
        // The test may have seen enough.
        let _ = lock(&self.0).send(Told::Frame);
    }

    fn event(&self, event: SourceEvent) {
        let _ = lock(&self.0).send(Told::Event(event));
    }
}

const PATIENCE: Duration = Duration::from_secs(20);

fn started() -> (RtpSource, SocketAddr, mpsc::Receiver<Told>) {
    let mut source = RtpSource::new((Ipv4Addr::LOCALHOST, 0).into(), VideoCodec::H264);
    let (send, told) = mpsc::channel();
    source.start(Arc::new(Collect(Mutex::new(send)))).unwrap();
    let addr = source.local_addr().unwrap();
    (source, addr, told)
}

fn event(told: &mpsc::Receiver<Told>) -> SourceEvent {
    loop {
        if let Told::Event(event) = told.recv_timeout(PATIENCE).unwrap() {
            return event;
        }
    }
}

/// A key frame of a real stream: SPS, PPS and a slice in one aggregate.
fn key_frame(sequence: u16) -> Vec<u8> {
    let sps: &[u8] = &[
        0x67, 0x42, 0xC0, 0x1F, 0xD9, 0x00, 0x50, 0x05, 0xBB, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00,
        0x10, 0x00, 0x00, 0x03, 0x03, 0xC0, 0xF1, 0x83, 0x24, 0x80,
    ];
    let mut bytes = vec![0x80, 0xE0];
    bytes.extend(sequence.to_be_bytes());
    bytes.extend((u32::from(sequence) * 3_000).to_be_bytes());
    bytes.extend([0, 0, 0, 1, 0x78]);
    for nal in [sps, &[0x68, 0xCB, 0x83, 0xCB, 0x20], &[0x65, 0x88, 0x84, 1]] {
        bytes.extend((nal.len() as u16).to_be_bytes());
        bytes.extend_from_slice(nal);
    }
    bytes
}

#[test]
fn silence_is_told_with_what_to_do_and_so_is_its_end() {
    let (source, addr, told) = started();
    let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let SourceEvent::Lost { reason } = event(&told) else { panic!("nothing came") };
    assert!(
        reason.contains("nothing arrives on UDP 127.0.0.1") && reason.contains("ffmpeg"),
        "{reason}"
    );

    sender.send_to(&key_frame(1), addr).unwrap();
    let SourceEvent::Info(info) = event(&told) else { panic!("the size comes first") };
    assert_eq!((info.width, info.height, info.fps), (1280, 720, 30.0));
    assert_eq!(event(&told), SourceEvent::Back);
    assert_eq!(source.info(), info);

    let SourceEvent::Lost { reason } = event(&told) else { panic!("silence again") };
    assert!(reason.contains("any more"), "{reason}");
    source.stop();
    source.stop();
}

#[test]
fn what_is_wrong_with_the_stream_is_told() {
    let local = ([127, 0, 0, 1], 5600).into();
    let seen = |datagrams, packets, units, frames| Seen { datagrams, packets, units, frames };
    for (since, said) in [
        (seen(0, 0, 0, 0), "nothing arrives on UDP 127.0.0.1:5600 yet. Start the sender"),
        (seen(0, 0, 0, 9), "any more"),
        (seen(9, 0, 0, 0), "no H.264 over RTP"),
        (seen(9, 9, 0, 0), "no H.264 over RTP"),
        (seen(9, 9, 9, 0), "config-interval=-1"),
    ] {
        let words = diagnosis(local, VideoCodec::H264, since);
        assert!(words.contains(said), "{said}: {words}");
    }
    for (since, said) in [
        (seen(0, 0, 0, 0), "libvpx"),
        (seen(9, 9, 0, 0), "no VP8 over RTP"),
        (seen(9, 9, 9, 0), "keyframe-max-dist"),
    ] {
        let words = diagnosis(local, VideoCodec::Vp8, since);
        assert!(words.contains(said), "{said}: {words}");
    }
}

#[test]
fn a_taken_port_is_a_clear_error() {
    let (source, addr, _told) = started();
    let (send, _other) = mpsc::channel();
    let error = RtpSource::new(addr, VideoCodec::H264)
        .start(Arc::new(Collect(Mutex::new(send))))
        .unwrap_err();
    assert!(error.to_string().contains(&format!("cannot receive RTP on UDP {addr}")), "{error}");
    source.stop();
}

#[tokio::test]
async fn a_viewer_who_comes_late_starts_at_the_last_key_frame() {
    let source = RtpSource::new((Ipv4Addr::LOCALHOST, 0).into(), VideoCodec::H264);
    let shared = source.shared.clone();
    let fanout = Fanout::start(Box::new(source)).unwrap();
    let to = *shared.local.get().unwrap();
    let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut early = fanout.subscribe();
    for sequence in 0..3 {
        sender.send_to(&key_frame(sequence), to).unwrap();
        tokio::time::timeout(PATIENCE, early.next()).await.unwrap().unwrap();
    }
    let mut late = fanout.subscribe();
    let frame = tokio::time::timeout(PATIENCE, late.next()).await.unwrap().unwrap();
    assert!(frame.is_key);
    assert_eq!(fanout.stats().frames, 3);
    fanout.stop().await;
}
