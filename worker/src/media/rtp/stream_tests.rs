//! What viewers get out of what senders send.

use proptest::prelude::*;

use super::*;

/// SPS of 1280x720 at 30 frames/s, and the PPS and slices that go with it as far as this code looks.
const SPS: &[u8] = &[
    0x67, 0x42, 0xC0, 0x1F, 0xD9, 0x00, 0x50, 0x05, 0xBB, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10,
    0x00, 0x00, 0x03, 0x03, 0xC0, 0xF1, 0x83, 0x24, 0x80,
];
const PPS: &[u8] = &[0x68, 0xCB, 0x83, 0xCB, 0x20];
const IDR: &[u8] = &[0x65, 0x88, 0x84, 0x01];
const SLICE: &[u8] = &[0x41, 0x9A, 0x01];

/// A sender, a receiver, and the time between them.
struct Link {
    stream: Stream,
    start: Instant,
    ms: u64,
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
}

impl Link {
    fn new() -> Self {
        let stream = Stream::default();
        Self { stream, start: Instant::now(), ms: 0, ssrc: 7, sequence: 65_530, timestamp: 1_000 }
    }

    /// One picture, a packet per NAL unit, 33 ms after the last.
    fn picture(&mut self, nals: &[&[u8]]) -> Vec<Output> {
        self.ms += 33;
        self.timestamp = self.timestamp.wrapping_add(3_000);
        let mut out = Vec::new();
        for (index, nal) in nals.iter().enumerate() {
            let marker = if index + 1 == nals.len() { 0x80 } else { 0 };
            let mut bytes = vec![0x80, 0x60 | marker];
            bytes.extend(self.sequence.to_be_bytes());
            bytes.extend(self.timestamp.to_be_bytes());
            bytes.extend(self.ssrc.to_be_bytes());
            bytes.extend_from_slice(nal);
            self.sequence = self.sequence.wrapping_add(1);
            let now = self.start + Duration::from_millis(self.ms);
            self.stream.datagram(&bytes.into(), now, &mut out);
        }
        out
    }
}

fn frames(out: Vec<Output>) -> Vec<EncodedFrame> {
    out.into_iter()
        .filter_map(|output| match output {
            Output::Frame(frame) => Some(frame),
            _ => None,
        })
        .collect()
}

fn annexed(nals: &[&[u8]]) -> Vec<u8> {
    nals.iter().flat_map(|nal| [&[0, 0, 0, 1], *nal].concat()).collect()
}

#[test]
fn nothing_comes_out_before_a_key_frame_with_its_parameter_sets() {
    let mut link = Link::new();
    assert!(link.picture(&[SLICE]).is_empty());
    assert!(link.picture(&[IDR]).is_empty(), "no decoder could start on it");
    assert!(matches!(link.picture(&[SPS])[..], [Output::Geometry(Geometry { width: 1280, .. })]));
    assert!(link.picture(&[PPS]).is_empty());
    assert!(link.picture(&[SLICE]).is_empty());
    let key = frames(link.picture(&[IDR])).remove(0);
    assert!(key.is_key);
    assert_eq!(key.data, annexed(&[SPS, PPS, IDR]));
    let next = frames(link.picture(&[SLICE])).remove(0);
    assert!(!next.is_key);
    assert_eq!((next.data, next.rtp_time - key.rtp_time), (annexed(&[SLICE]).into(), 3_000));
}

#[test]
fn every_key_frame_carries_the_parameter_sets_once() {
    let mut link = Link::new();
    let out = link.picture(&[&[0x09, 0xF0], SPS, PPS, &[0x06, 1, 1, 1, 0x80], IDR]);
    let first = frames(out).remove(0);
    assert_eq!(first.data, annexed(&[SPS, PPS, &[0x06, 1, 1, 1, 0x80], IDR]), "no delimiter");
    let out = link.picture(&[IDR, IDR]);
    assert_eq!(frames(out).remove(0).data, annexed(&[SPS, PPS, IDR, IDR]));
    assert_eq!(link.stream.seen(), Seen { datagrams: 7, packets: 7, units: 2, frames: 2 });
}

#[test]
fn a_sender_that_starts_again_is_followed_and_time_goes_on() {
    let mut link = Link::new();
    let first = frames(link.picture(&[SPS, PPS, IDR])).remove(0);
    (link.ssrc, link.timestamp, link.sequence) = (99, 4_000_000_000, 3);
    assert!(link.picture(&[SPS, PPS, IDR]).is_empty(), "the first may still be there");
    link.ms += 967;
    let out = link.picture(&[SPS, PPS, IDR]);
    assert!(matches!(out[0], Output::Restarted));
    let again = frames(out).remove(0);
    assert_eq!(again.rtp_time - first.rtp_time, 90_000 * 1_033 / 1_000);
    link.ms += 967;
    link.ssrc = 100;
    assert_eq!(frames(link.picture(&[SLICE])).len(), 0, "a new sender starts with a key frame");
}

#[test]
fn a_second_sender_at_the_same_time_is_ignored() {
    let mut link = Link::new();
    link.picture(&[SPS, PPS, IDR]);
    for _ in 0..100 {
        let sequence = link.sequence;
        link.ssrc = 8;
        assert!(link.picture(&[SPS, PPS, IDR]).is_empty());
        (link.ssrc, link.sequence) = (7, sequence);
        assert_eq!(frames(link.picture(&[SLICE])).len(), 1);
    }
}

#[test]
fn a_picture_that_changes_its_size_is_told() {
    let mut link = Link::new();
    link.picture(&[SPS, PPS, IDR]);
    let again = link.picture(&[SPS, PPS, IDR]);
    assert!(!again.iter().any(|out| matches!(out, Output::Geometry(_))), "nothing new");
    // 640x360 at 25 frames/s, written by x264.
    let smaller: &[u8] = &[
        0x67, 0x42, 0xC0, 0x1E, 0xDA, 0x02, 0x80, 0xBF, 0xE5, 0xC0, 0x44, 0x00, 0x00, 0x03, 0x00,
        0x04, 0x00, 0x00, 0x03, 0x00, 0xCA, 0x3C, 0x58, 0xBA, 0x80,
    ];
    let out = link.picture(&[smaller, PPS, IDR]);
    let Output::Geometry(read) = out[0] else { panic!("{out:?}") };
    assert_eq!(read, Geometry { width: 640, height: 360, fps: Some(25.0), ordinary: true });
    let frame = frames(out).remove(0);
    assert_eq!(frame.data, annexed(&[smaller, PPS, IDR]), "the old one is replaced");
}

#[test]
fn what_browsers_do_not_show_well_is_told_once() {
    let mut link = Link::new();
    let unfit = |out: &[Output]| {
        out.iter().filter(|out| matches!(out, Output::Unfit(Unfit::LooksAhead))).count()
    };
    assert_eq!(unfit(&link.picture(&[SPS, PPS, IDR])), 0);
    assert_eq!(unfit(&link.picture(&[SLICE])), 0);
    let looking_ahead: &[u8] = &[0x01, 0x9E, 0x01];
    assert_eq!(unfit(&link.picture(&[looking_ahead])), 1);
    assert_eq!(unfit(&link.picture(&[looking_ahead])), 0);
    // 1280x720 in 4:4:4, as x264enc makes of videotestsrc when nothing else is asked for.
    let full_color: &[u8] = &[
        0x67, 0xF4, 0x00, 0x1F, 0x90, 0xD9, 0x64, 0x01, 0x40, 0x16, 0xEC, 0x05, 0xA8, 0x08, 0x08,
        0x0A, 0x00, 0x00, 0x03, 0x00, 0x02, 0x00, 0x00, 0x03, 0x00, 0x79, 0x1E, 0x30, 0x64, 0x90,
    ];
    let out = link.picture(&[full_color, PPS, IDR]);
    assert!(out.iter().any(|out| matches!(out, Output::Unfit(Unfit::Format))), "{out:?}");
}

proptest! {
    #[test]
    fn bytes_from_anywhere_never_panic(
        datagrams in proptest::collection::vec(
            (proptest::collection::vec(any::<u8>(), 0..60), 0u64..400, any::<bool>()), 0..200,
        ),
    ) {
        let (mut stream, mut out, mut now) = (Stream::default(), Vec::new(), Instant::now());
        for (mut bytes, ms, looks_right) in datagrams {
            now += Duration::from_millis(ms);
            if looks_right && bytes.len() > 12 {
                bytes[0] = 0x80;
                bytes[1] &= 0x3F;
                bytes[8..12].copy_from_slice(&[0, 0, 0, 1]);
                bytes[12] = [0x67, 0x68, 0x65, 0x41, 0x7C, 0x78][usize::from(bytes[12] % 6)];
            }
            stream.datagram(&bytes.into(), now, &mut out);
        }
        let frames = frames(out);
        prop_assert!(frames.first().is_none_or(|frame| frame.is_key));
        prop_assert_eq!(frames.len() as u64, stream.seen().frames);
    }

    #[test]
    fn cut_lost_doubled_and_reordered_packets_never_panic_and_pictures_stay_whole(
        changes in proptest::collection::vec((0usize..400, 0u8..4, any::<usize>()), 0..40),
    ) {
        let mut link = Link::new();
        let mut packets: Vec<Bytes> = Vec::new();
        let pieces = |nal: &[u8], n: u8| -> [Vec<u8>; 2] {
            let head = [nal[0] & 0xE0 | 0x1C, nal[0] & 0x1F];
            [
                [&[head[0], head[1] | 0x80], &nal[1..], &[n; 9][..]].concat(),
                [&[head[0], head[1] | 0x40][..], &[n; 9][..]].concat(),
            ]
        };
        for number in 0..100u8 {
            let nal = if number % 20 == 0 { IDR } else { SLICE };
            let [a, b] = pieces(nal, number);
            let sets = [SPS, PPS];
            let all = sets.into_iter().filter(|_| number % 20 == 0).chain([&a[..], &b[..]]);
            let all: Vec<_> = all.collect();
            for (index, nal) in all.iter().enumerate() {
                let marker = if index + 1 == all.len() { 0x80 } else { 0 };
                let mut bytes = vec![0x80, 0x60 | marker];
                bytes.extend((packets.len() as u16).to_be_bytes());
                bytes.extend((u32::from(number) * 3_000 + 9).to_be_bytes());
                bytes.extend([0, 0, 0, 7]);
                bytes.extend_from_slice(nal);
                packets.push(bytes.into());
            }
        }
        for (at, kind, how) in changes {
            let at = at % packets.len();
            match kind {
                0 => { packets.remove(at); }
                1 => packets.insert(at, packets[how % packets.len()].clone()),
                2 => { let other = (at + how % 5).min(packets.len() - 1); packets.swap(at, other); }
                _ => { let cut = how % (packets[at].len() + 1); packets[at].truncate(cut); }
            }
        }
        let mut out = Vec::new();
        for (index, packet) in packets.iter().enumerate() {
            let now = link.start + Duration::from_millis(index as u64 * 15);
            link.stream.datagram(packet, now, &mut out);
        }
        let mut last = None;
        for frame in frames(out) {
            prop_assert!(last.is_none_or(|last| frame.rtp_time > last), "in order, none twice");
            last = Some(frame.rtp_time);
        }
    }
}

#[test]
fn vp8_comes_out_from_its_first_key_frame_on_with_its_size() {
    const KEY: &[u8] = &[0x10, 0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01, 9, 9];
    const DELTA: &[u8] = &[0x10, 0x11, 0x02, 0x00];
    let mut link = Link { stream: Stream::new(VideoCodec::Vp8), ..Link::new() };
    assert!(link.picture(&[DELTA]).is_empty(), "no decoder could start on it");
    let out = link.picture(&[KEY]);
    let [Output::Geometry(read), Output::Frame(key)] = &out[..] else { panic!("{out:?}") };
    assert_eq!((read.width, read.height), (640, 360));
    assert_eq!((key.codec, key.is_key, &key.data[..]), (VideoCodec::Vp8, true, &KEY[1..]));
    let next = frames(link.picture(&[DELTA])).remove(0);
    assert!(!next.is_key);
    assert_eq!(next.rtp_time.wrapping_sub(key.rtp_time), 3_000);
    // H.264 by mistake is no key frame of VP8, and is counted as what could not be begun with.
    let mut link = Link { stream: Stream::new(VideoCodec::Vp8), ..Link::new() };
    assert!(link.picture(&[SPS, PPS, IDR]).is_empty());
}
