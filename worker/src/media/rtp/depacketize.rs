//! Puts access units together from RTP payloads (RFC 6184): single NAL units, STAP-A, FU-A.
//!
//! Interleaved modes are not used by anything that streams live, and are passed over. A picture with
//! a hole is dropped whole; the pictures after it go on, because a decoder that conceals shows more
//! than one that waits seconds for the next key frame.

use bytes::Bytes;

use super::reorder::Ordered;
use crate::media::h264::{NalKind, begins_picture};

/// Largest access unit in bytes. A key frame of 4K video at high quality has about 1 MiB.
pub const MAX_UNIT_BYTES: usize = 4 * 1024 * 1024;

/// Most NAL units in an access unit. Encoders cut a picture into a few dozen slices at most.
pub const MAX_UNIT_NALS: usize = 512;

/// All NAL units of one picture.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AccessUnit {
    /// In order, each without start code, none empty.
    pub nals: Vec<Bytes>,
    /// As the sender wrote it.
    pub timestamp: u32,
}

impl AccessUnit {
    /// Whether it holds a picture where decoding can start.
    pub fn is_idr(&self) -> bool {
        self.nals.iter().any(|nal| NalKind::of(nal) == NalKind::Idr)
    }
}

/// Collects payloads of one stream in their order.
#[derive(Debug, Default)]
pub struct Depacketizer {
    unit: AccessUnit,
    bytes: usize,
    /// The NAL unit of which fragments come.
    fragment: Option<Vec<u8>>,
    /// Something of this picture is missing.
    damaged: bool,
    /// Packets were lost before this picture: is its beginning here?
    unsure: bool,
    /// Pictures that were dropped because something was missing.
    dropped: u64,
}

impl Depacketizer {
    /// One more payload; gives the pictures that it completes.
    pub fn push(&mut self, Ordered { packet, after_gap }: Ordered, out: &mut Vec<AccessUnit>) {
        if packet.timestamp != self.unit.timestamp {
            // A sender that sets no marker.
            self.finish(packet.timestamp, out);
        }
        if after_gap {
            self.fragment = None;
            self.damaged |= !self.unit.nals.is_empty();
            self.unsure = true;
        }
        self.payload(&packet.payload);
        if packet.marker {
            self.finish(packet.timestamp, out);
        }
    }

    /// Pictures dropped so far because something of them was missing.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn payload(&mut self, payload: &Bytes) {
        let Some(&first) = payload.first() else { return };
        let kind = first & 0x1F;
        if kind != 28 {
            self.damaged |= self.fragment.take().is_some();
        }
        match kind {
            1..=23 => self.nal(payload.clone()),
            24 => self.aggregate(payload),
            28 => self.fragment(first, payload),
            _ => {}
        }
    }

    fn aggregate(&mut self, payload: &Bytes) {
        let mut at = 1;
        while let Some(&[high, low]) = payload.get(at..).and_then(|rest| rest.first_chunk()) {
            let from = at + 2;
            at = from + usize::from(u16::from_be_bytes([high, low]));
            if at > payload.len() {
                self.damaged = true;
                return;
            }
            self.nal(payload.slice(from..at));
        }
    }

    fn fragment(&mut self, indicator: u8, payload: &Bytes) {
        let Some(&header) = payload.get(1) else {
            self.damaged = true;
            return;
        };
        let (start, end) = (header & 0x80 != 0, header & 0x40 != 0);
        if start {
            self.damaged |= self.fragment.is_some();
            self.fragment = Some(vec![indicator & 0xE0 | header & 0x1F]);
        }
        let Some(fragment) = &mut self.fragment else {
            self.damaged = true; // Its beginning is missing.
            return;
        };
        if self.bytes + fragment.len() + payload.len() > MAX_UNIT_BYTES {
            self.fragment = None;
            self.damaged = true;
            return;
        }
        fragment.extend_from_slice(&payload[2..]);
        if end && let Some(whole) = self.fragment.take() {
            self.nal(whole.into());
        }
    }

    fn nal(&mut self, nal: Bytes) {
        if NalKind::of(&nal) == NalKind::Noise {
            return;
        }
        if self.unit.nals.len() == MAX_UNIT_NALS || self.bytes + nal.len() > MAX_UNIT_BYTES {
            self.damaged = true;
            return;
        }
        self.bytes += nal.len();
        self.unit.nals.push(nal);
    }

    /// Ends the picture; the next one has another timestamp, or this one's again after its marker.
    fn finish(&mut self, next: u32, out: &mut Vec<AccessUnit>) {
        let damaged = std::mem::take(&mut self.damaged) | self.fragment.take().is_some();
        self.bytes = 0;
        let fresh = AccessUnit { nals: Vec::new(), timestamp: next };
        let unit = std::mem::replace(&mut self.unit, fresh);
        let slice = |nal: &&Bytes| matches!(NalKind::of(nal), NalKind::Slice | NalKind::Idr);
        let headless = match unit.nals.iter().find(slice) {
            Some(first) => std::mem::take(&mut self.unsure) && !begins_picture(first),
            None => false, // Parameter sets alone.
        };
        if damaged || headless {
            self.dropped += 1;
        } else if !unit.nals.is_empty() {
            out.push(unit);
        }
    }
}

#[cfg(test)]
#[path = "depacketize_tests.rs"]
mod tests;
