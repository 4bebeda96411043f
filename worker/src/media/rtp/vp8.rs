//! Puts frames of VP8 together from RTP payloads (RFC 7741).
//!
//! A frame with a hole is dropped whole; those after it go on, as with H.264: what is seen of them is worth
//! more than a picture that stands still until the next key frame.

use bytes::Bytes;

use super::{depacketize::MAX_UNIT_BYTES, reorder::Ordered};

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// As the encoder made it. Never empty.
    pub data: Bytes,
    /// As the sender wrote it.
    pub timestamp: u32,
}

/// Collects payloads of one stream in their order.
#[derive(Debug, Default)]
pub struct Depacketizer {
    data: Vec<u8>,
    timestamp: u32,
    /// The beginning of this frame was here, and nothing of it is missing since.
    is_whole: bool,
    /// Something of this frame came.
    is_begun: bool,
    dropped: u64,
}

/// What stands in front of a payload.
#[derive(Debug, PartialEq, Eq)]
struct Descriptor {
    /// How long it is.
    length: usize,
    /// The payload is the beginning of a frame.
    begins: bool,
}

impl Depacketizer {
    /// One more payload; gives the frames that it completes.
    pub fn push(&mut self, Ordered { packet, after_gap }: Ordered, out: &mut Vec<Frame>) {
        if after_gap {
            // The end of the last frame may be missing, too, unless its marker came.
            self.is_whole = false;
        }
        if packet.timestamp != self.timestamp {
            // A sender that sets no marker.
            self.finish(packet.timestamp, out);
        }
        self.payload(&packet.payload);
        if packet.marker {
            self.finish(packet.timestamp, out);
        }
    }

    /// Frames dropped so far because something of them was missing.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn payload(&mut self, payload: &Bytes) {
        if payload.is_empty() {
            return; // Padding alone.
        }
        let descriptor = Descriptor::read(payload).filter(|read| read.length < payload.len());
        let Some(Descriptor { length, begins }) = descriptor else {
            (self.is_begun, self.is_whole) = (true, false);
            return;
        };
        if begins {
            // Twice in a frame: what came before is of another one.
            self.dropped += u64::from(std::mem::replace(&mut self.is_begun, true));
            self.is_whole = true;
            self.data.clear();
        }
        self.is_begun = true;
        let body = &payload[length..];
        if self.data.len() + body.len() > MAX_UNIT_BYTES {
            self.is_whole = false;
        }
        if self.is_whole {
            self.data.extend_from_slice(body);
        }
    }

    fn finish(&mut self, next: u32, out: &mut Vec<Frame>) {
        let data = std::mem::take(&mut self.data);
        let timestamp = std::mem::replace(&mut self.timestamp, next);
        let is_begun = std::mem::take(&mut self.is_begun);
        if std::mem::take(&mut self.is_whole) && is_begun {
            out.push(Frame { data: data.into(), timestamp });
        } else if is_begun {
            self.dropped += 1;
        }
    }
}

impl Descriptor {
    /// `None` where it is cut off.
    fn read(payload: &[u8]) -> Option<Self> {
        const EXTENDED: u8 = 0x80;
        const START: u8 = 0x10;
        const PARTITION: u8 = 0x07;
        let first = *payload.first()?;
        let mut length = 1;
        if first & EXTENDED != 0 {
            let has = *payload.get(1)?;
            length += 1;
            if has & 0x80 != 0 {
                // The number of the picture, of 7 or of 15 bits.
                length += if payload.get(length)? & 0x80 != 0 { 2 } else { 1 };
            }
            // The layer's index; the layer and the number of the key frame, which share one byte.
            length += usize::from(has & 0x40 != 0) + usize::from(has & 0x30 != 0);
        }
        Some(Self { length, begins: first & START != 0 && first & PARTITION == 0 })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::packet::Packet, *};

    fn packet(timestamp: u32, marker: bool, payload: &[u8]) -> Ordered {
        let payload = Bytes::copy_from_slice(payload);
        let packet = Packet { ssrc: 1, sequence: 0, timestamp, marker, payload };
        Ordered { packet, after_gap: false }
    }

    fn gap(ordered: Ordered) -> Ordered {
        Ordered { after_gap: true, ..ordered }
    }

    fn push(packets: impl IntoIterator<Item = Ordered>) -> (Vec<Frame>, u64) {
        let (mut depacketizer, mut out) = (Depacketizer::default(), Vec::new());
        packets.into_iter().for_each(|packet| depacketizer.push(packet, &mut out));
        (out, depacketizer.dropped())
    }

    #[test]
    fn a_frame_is_put_together_behind_any_descriptor() {
        let descriptors: [&[u8]; 6] = [
            &[0x10],
            &[0x90, 0x80, 0x11],
            &[0x90, 0x80, 0x91, 0x22],
            &[0x90, 0xe0, 0x91, 0x22, 1, 0x40],
            &[0x90, 0x40, 7],
            &[0x90, 0x10, 3],
        ];
        for descriptor in descriptors {
            let more: Vec<u8> = [&[descriptor[0] & !0x10], &descriptor[1..], b"cd"].concat();
            let packets = [packet(9, false, &[descriptor, b"ab"].concat()), packet(9, true, &more)];
            let (frames, dropped) = push(packets);
            let whole = Frame { data: Bytes::from_static(b"abcd"), timestamp: 9 };
            assert_eq!((frames, dropped), (vec![whole], 0), "{descriptor:?}");
        }
    }

    #[test]
    fn a_frame_with_a_hole_is_dropped_and_the_next_one_is_not() {
        let (frames, dropped) = push([
            packet(1, false, &[0x10, 1]),
            gap(packet(1, true, &[0, 3])),
            // Its beginning is what was lost.
            gap(packet(2, true, &[0, 4])),
            packet(3, true, &[0x10, 5]),
            // The end of the fourth and the beginning of the fifth.
            packet(4, false, &[0x10, 6]),
            gap(packet(5, true, &[0, 7])),
            gap(packet(6, true, &[0x10, 8])),
        ]);
        let seen: Vec<_> = frames.iter().map(|frame| (frame.timestamp, &frame.data[..])).collect();
        assert_eq!(seen, [(3, &[5][..]), (6, &[8])]);
        assert_eq!(dropped, 4);
    }

    #[test]
    fn other_partitions_go_on_and_no_marker_is_needed() {
        let (frames, _) = push([
            packet(1, false, &[0x10, 1]),
            // The beginning of the second partition.
            packet(1, false, &[0x11, 2]),
            packet(2, false, &[0x10, 3]),
            packet(3, true, &[]),
        ]);
        let seen: Vec<_> = frames.iter().map(|frame| &frame.data[..]).collect();
        assert_eq!(seen, [&[1, 2][..], &[3]]);
    }

    proptest! {
        #[test]
        fn bytes_from_anywhere_never_panic_and_stay_bounded(
            packets in prop::collection::vec(
                (prop::collection::vec(any::<u8>(), 0..12), 0u32..4, any::<bool>(), any::<bool>()),
                0..60,
            ),
        ) {
            let bytes: usize = packets.iter().map(|(payload, ..)| payload.len()).sum();
            let (frames, dropped) = push(packets.iter().map(|(payload, time, marker, after_gap)| {
                Ordered { after_gap: *after_gap, ..packet(*time, *marker, payload) }
            }));
            prop_assert!(frames.iter().all(|frame| !frame.data.is_empty()));
            prop_assert!(frames.iter().map(|frame| frame.data.len()).sum::<usize>() <= bytes);
            prop_assert!(frames.len() + dropped as usize <= 2 * packets.len() + 1);
        }

        #[test]
        fn what_is_cut_is_put_together_again(
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 1..20),
            step in 1usize..100,
        ) {
            let mut packets = Vec::new();
            for (time, frame) in (0u32..).zip(&frames) {
                let last = frame.len().div_ceil(step) - 1;
                for (index, part) in frame.chunks(step).enumerate() {
                    let descriptor = if index == 0 { 0x10 } else { 0 };
                    packets.push(packet(time, index == last, &[&[descriptor], part].concat()));
                }
            }
            let (seen, dropped) = push(packets);
            let seen: Vec<_> = seen.iter().map(|frame| frame.data.to_vec()).collect();
            prop_assert_eq!((seen, dropped), (frames, 0));
        }
    }
}
