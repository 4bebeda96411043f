//! Pictures out of RTP packets: the other direction of `payload`.
//!
//! Packets may come late (they are sent again when asked for) or never. They are put in order
//! first; a gap is waited for a little, then given up, and the picture after it says so.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    annexb::{START_CODE, nal},
    types::VideoFrame,
};

/// A missing packet is waited for this long: a few round trips for asking and sending again.
const GIVE_UP_AFTER: Duration = Duration::from_millis(200);

/// Packets kept behind a gap: a large key frame.
const MAX_WAITING: usize = 1024;

/// The largest picture that is put together. A 4K key frame has about 2 MiB.
const MAX_PICTURE_BYTES: usize = 8 * 1024 * 1024;

/// One packet, as far as it matters here.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub(super) sequence: u16,
    pub(super) timestamp: u32,
    pub(super) marker: bool,
    pub(super) payload: Bytes,
}

/// Puts pictures together. Time is an argument.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    /// The next number in order, extended to 64 bits.
    next: Option<u64>,
    waiting: BTreeMap<u64, Piece>,
    gap_since: Option<Instant>,
    picture: Picture,
    /// Something was lost since the last picture that came out.
    has_gap: bool,
}

#[derive(Debug, Default)]
struct Picture {
    timestamp: Option<u32>,
    data: BytesMut,
    is_key: bool,
    is_damaged: bool,
    in_fragment: bool,
}

impl Assembler {
    /// Takes a packet and gives the pictures that it completes.
    pub(super) fn push(&mut self, now: Instant, piece: Piece) -> Vec<VideoFrame> {
        let number = self.extend(piece.sequence);
        let next = *self.next.get_or_insert(number);
        // Late copies of what was used or given up.
        if number < next {
            return Vec::new();
        }
        self.waiting.insert(number, piece);
        self.drain(now)
    }

    /// 16 bits to 64, by the nearest number to the expected one.
    fn extend(&self, sequence: u16) -> u64 {
        let Some(next) = self.next else { return (1 << 32) | u64::from(sequence) };
        let ahead = sequence.wrapping_sub(next as u16).cast_signed();
        next.wrapping_add_signed(i64::from(ahead))
    }

    fn drain(&mut self, now: Instant) -> Vec<VideoFrame> {
        let mut frames = Vec::new();
        while let Some((&number, _)) = self.waiting.first_key_value() {
            let next = self.next.unwrap_or(number);
            if number > next {
                let since = *self.gap_since.get_or_insert(now);
                let is_over = now.saturating_duration_since(since) >= GIVE_UP_AFTER;
                if !is_over && self.waiting.len() < MAX_WAITING {
                    break;
                }
                self.has_gap = true;
                self.picture.is_damaged = true;
            }
            self.gap_since = None;
            self.next = Some(number + 1);
            if let Some(piece) = self.waiting.remove(&number) {
                frames.extend(self.add(now, &piece));
            }
        }
        frames
    }

    fn add(&mut self, now: Instant, piece: &Piece) -> Option<VideoFrame> {
        if self.picture.timestamp.is_some_and(|timestamp| timestamp != piece.timestamp) {
            // The last packet of the picture before is missing.
            self.has_gap = true;
            self.picture = Picture::default();
        }
        let picture = &mut self.picture;
        if picture.timestamp.is_none() && picture.is_damaged {
            // A gap between two pictures damages the second only if it does not begin here.
            picture.is_damaged = is_continuation(&piece.payload);
        }
        picture.timestamp = Some(piece.timestamp);
        if picture.add(&piece.payload).is_none() {
            picture.is_damaged = true;
        }
        if !piece.marker {
            return None;
        }
        let picture = std::mem::take(&mut self.picture);
        if picture.is_damaged || picture.data.is_empty() || picture.in_fragment {
            self.has_gap |= picture.is_damaged || picture.in_fragment;
            return None;
        }
        Some(VideoFrame {
            data: picture.data.freeze(),
            rtp_time: piece.timestamp,
            is_key: picture.is_key,
            received: now,
            gap_before: std::mem::take(&mut self.has_gap),
        })
    }
}

/// Whether a payload goes on with a unit that began before.
fn is_continuation(payload: &[u8]) -> bool {
    matches!(payload, [first, header, ..] if nal::kind(*first) == nal::FU_A && header & 0x80 == 0)
}

impl Picture {
    /// `None` if the payload makes no sense here.
    fn add(&mut self, payload: &Bytes) -> Option<()> {
        let first = *payload.first()?;
        match nal::kind(first) {
            nal::STAP_A => {
                let mut rest = payload.slice(1..);
                while !rest.is_empty() {
                    let (len, tail) = rest.split_first_chunk::<2>()?;
                    let len = usize::from(u16::from_be_bytes(*len));
                    self.add_unit(tail.get(..len)?)?;
                    rest = rest.slice(2 + len..);
                }
            }
            nal::FU_A => {
                let header = *payload.get(1)?;
                let (is_start, is_end) = (header & 0x80 != 0, header & 0x40 != 0);
                if is_start == self.in_fragment {
                    return None;
                }
                if is_start {
                    self.begin_unit(first & 0xe0 | nal::kind(header))?;
                }
                self.extend(&payload[2..])?;
                self.in_fragment = !is_end;
            }
            1..=23 if !self.in_fragment => self.add_unit(payload)?,
            _ => return None,
        }
        Some(())
    }

    fn add_unit(&mut self, unit: &[u8]) -> Option<()> {
        let (first, body) = unit.split_first()?;
        self.begin_unit(*first)?;
        self.extend(body)
    }

    fn begin_unit(&mut self, header: u8) -> Option<()> {
        self.is_key |= nal::kind(header) == nal::IDR;
        self.extend(&START_CODE)?;
        self.extend(&[header])
    }

    fn extend(&mut self, bytes: &[u8]) -> Option<()> {
        if self.data.len() + bytes.len() > MAX_PICTURE_BYTES {
            return None;
        }
        self.data.put_slice(bytes);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::peer::video::payload::payloads;

    fn picture(number: u32, is_key: bool, len: usize) -> Bytes {
        let mut data = Vec::new();
        if is_key {
            data.extend_from_slice(&[0, 0, 0, 1, 0x67, 0x42, 0xe0, 0x1f]);
            data.extend_from_slice(&[0, 0, 0, 1, 0x68, 0xce, 0x3c, 0x80 | 1]);
        }
        data.extend_from_slice(&[0, 0, 0, 1, if is_key { 0x65 } else { 0x41 }]);
        data.extend((0..len).map(|at| 1 + ((at as u32 * 7 + number) % 255) as u8));
        data.into()
    }

    fn pieces(start: u16, pictures: &[Bytes]) -> Vec<Piece> {
        let mut sequence = start;
        let mut pieces = Vec::new();
        for (number, picture) in pictures.iter().enumerate() {
            let payloads = payloads(picture);
            let last = payloads.len() - 1;
            for (index, payload) in payloads.into_iter().enumerate() {
                let timestamp = number as u32 * 3000;
                pieces.push(Piece { sequence, timestamp, marker: index == last, payload });
                sequence = sequence.wrapping_add(1);
            }
        }
        pieces
    }

    fn pictures(count: u32) -> Vec<Bytes> {
        (0..count).map(|n| picture(n, n == 0, 300 + 1700 * (n as usize % 4))).collect()
    }

    #[test]
    fn pictures_come_out_as_they_went_in_across_the_wrap() {
        let sent = pictures(40);
        let mut assembler = Assembler::default();
        let now = Instant::now();
        let frames: Vec<_> = pieces(65_500, &sent)
            .into_iter()
            .flat_map(|piece| assembler.push(now, piece))
            .collect();
        assert_eq!(frames.iter().map(|frame| frame.data.clone()).collect::<Vec<_>>(), sent);
        assert!(frames[0].is_key && frames[1..].iter().all(|frame| !frame.is_key));
        assert!(frames.iter().all(|frame| !frame.gap_before));
    }

    #[test]
    fn a_late_packet_is_waited_for() {
        let sent = pictures(6);
        let mut pieces = pieces(7, &sent);
        pieces.swap(3, 5);
        let mut assembler = Assembler::default();
        let now = Instant::now();
        let frames: Vec<_> =
            pieces.into_iter().flat_map(|piece| assembler.push(now, piece)).collect();
        assert_eq!(frames.len(), 6);
    }

    #[test]
    fn a_lost_packet_costs_its_picture_and_the_next_one_says_so() {
        let sent = pictures(6);
        let mut pieces = pieces(7, &sent);
        let lost = pieces.iter().position(|piece| piece.timestamp == 2 * 3000).unwrap() + 1;
        pieces.remove(lost);
        let mut assembler = Assembler::default();
        let start = Instant::now();
        let frames: Vec<_> = pieces
            .into_iter()
            .flat_map(|piece| {
                let at = start + Duration::from_millis(100) * (piece.timestamp / 3000);
                assembler.push(at, piece)
            })
            .collect();
        let times: Vec<_> = frames.iter().map(|frame| frame.rtp_time / 3000).collect();
        assert_eq!(times, [0, 1, 3, 4, 5]);
        assert!(frames[2].gap_before);
        assert!(!frames[3].gap_before);
    }

    proptest! {
        #[test]
        fn hostile_payloads_do_no_harm(
            packets in prop::collection::vec(
                (any::<u16>(), 0u32..4, any::<bool>(), prop::collection::vec(any::<u8>(), 0..40)),
                0..200
            )
        ) {
            let mut assembler = Assembler::default();
            let now = Instant::now();
            for (sequence, timestamp, marker, payload) in packets {
                let piece = Piece { sequence, timestamp, marker, payload: payload.into() };
                assembler.push(now, piece);
                prop_assert!(assembler.waiting.len() <= MAX_WAITING);
            }
        }
    }
}
