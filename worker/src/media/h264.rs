//! As much of H.264 as is needed to pass it on: kinds of NAL units, parameter sets, the size.
//!
//! Everything here may come from the network, so everything is bounded and nothing panics.

use std::collections::BTreeMap;

use bytes::Bytes;
use h264_reader::{
    nal::sps::{ChromaFormat, SeqParameterSet},
    rbsp::{BitReader, decode_nal},
};

/// What stands before every NAL unit in Annex B.
pub const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// Largest parameter set that is kept, in bytes. Real ones have 10 to 100; one with scaling lists
/// about 500.
const MAX_SET_BYTES: usize = 2_048;

/// Most parameter sets of each kind that are kept. Real streams have one of each; some encoders use
/// a few picture parameter sets.
const MAX_SETS: usize = 8;

/// Kinds of NAL unit that matter here (ITU-T H.264, table 7-1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NalKind {
    /// A piece of a picture that needs others.
    Slice,
    /// A piece of a picture where decoding can start.
    Idr,
    /// Sequence parameter set.
    Sps,
    /// Picture parameter set.
    Pps,
    /// Access unit delimiter, end of sequence or stream, filler: of no use to a packetizer.
    Noise,
    /// Anything else, passed on.
    Other,
}

impl NalKind {
    /// The kind, from the first byte.
    pub fn of(nal: &[u8]) -> Self {
        match nal.first().map(|first| first & 0x1F) {
            Some(1..=4) => Self::Slice,
            Some(5) => Self::Idr,
            Some(7) => Self::Sps,
            Some(8) => Self::Pps,
            Some(9..=12) | None => Self::Noise,
            Some(_) => Self::Other,
        }
    }
}

/// The NAL units of an access unit in Annex B, without their start codes.
pub fn nals(unit: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = after_start_code(unit).map(|(_, rest)| rest);
    std::iter::from_fn(move || {
        let data = rest.take()?;
        let nal = match after_start_code(data) {
            Some((nal, next)) => {
                rest = Some(next);
                nal
            }
            None => data,
        };
        // Zeros before a start code belong to it.
        let end = nal.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        Some(&nal[..end])
    })
    .filter(|nal| !nal.is_empty())
}

/// What stands before the next start code, and what behind it.
fn after_start_code(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = data.windows(3).position(|three| three == [0, 0, 1])?;
    Some((&data[..at], &data[at + 3..]))
}

/// Whether a slice is the first of its picture: its first macroblock is number 0, which is written as
/// a single 1 bit.
pub fn begins_picture(slice: &[u8]) -> bool {
    slice.get(1).is_some_and(|byte| byte & 0x80 != 0)
}

/// Whether a slice may look at later pictures (a B slice): it is shown later than the next one, which
/// live video cannot have. `None` where that cannot be read.
pub fn looks_ahead(slice: &[u8]) -> Option<bool> {
    if !matches!(NalKind::of(slice), NalKind::Slice | NalKind::Idr) {
        return None;
    }
    // Two Exp-Golomb numbers: the first macroblock, the type (1 and 6 are B). The first slice of a
    // picture begins with macroblock 0, a single bit.
    let head = u16::from_be_bytes([*slice.get(1)?, slice.get(2).copied().unwrap_or(0)]);
    if head & 0x8000 == 0 {
        return None;
    }
    let kind = unsigned_golomb(&(head << 1).to_be_bytes())?;
    Some(matches!(kind, 1 | 6))
}

/// What a sequence parameter set says of the picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Geometry {
    /// Pixels, after cropping.
    pub width: u32,
    /// Pixels, after cropping.
    pub height: u32,
    /// Frames a second, where it is told.
    pub fps: Option<f32>,
    /// 8 bits and colour at half the resolution (4:2:0), which is all that browsers show.
    pub ordinary: bool,
}

/// Reads a sequence parameter set, NAL header included. `None` where it is damaged.
pub fn geometry(sps: &[u8]) -> Option<Geometry> {
    if sps.len() > MAX_SET_BYTES || NalKind::of(sps) != NalKind::Sps {
        return None;
    }
    let payload = decode_nal(sps).ok()?;
    let sps = SeqParameterSet::from_bits(BitReader::new(&*payload)).ok()?;
    let (width, height) = sps.pixel_dimensions().ok()?;
    let fps = sps.fps().map(|fps| fps as f32).filter(|fps| (1.0..=240.0).contains(fps));
    let chroma = &sps.chroma_info;
    let ordinary = chroma.chroma_format == ChromaFormat::YUV420
        && chroma.bit_depth_luma_minus8 == 0
        && chroma.bit_depth_chroma_minus8 == 0;
    (width > 0 && height > 0).then_some(Geometry { width, height, fps, ordinary })
}

/// The parameter sets that a stream has shown, so that every key frame can carry them.
#[derive(Debug, Default)]
pub struct ParameterSets {
    sps: BTreeMap<u32, Bytes>,
    pps: BTreeMap<u32, Bytes>,
}

impl ParameterSets {
    /// Remembers a parameter set; whatever is none, or makes no sense, is ignored. Says whether a
    /// sequence parameter set is new or has changed.
    pub fn see(&mut self, nal: &Bytes) -> bool {
        // The id stands first in a PPS, and behind profile, constraints and level in an SPS.
        let (sets, skip) = match NalKind::of(nal) {
            NalKind::Sps => (&mut self.sps, 4),
            NalKind::Pps => (&mut self.pps, 1),
            _ => return false,
        };
        let Some(id) = nal.get(skip..).and_then(unsigned_golomb) else { return false };
        let fits = nal.len() <= MAX_SET_BYTES && (sets.len() < MAX_SETS || sets.contains_key(&id));
        if !fits || sets.get(&id) == Some(nal) {
            return false;
        }
        sets.insert(id, nal.clone());
        skip == 4
    }

    /// Whether there is enough to decode a key frame.
    pub fn complete(&self) -> bool {
        !self.sps.is_empty() && !self.pps.is_empty()
    }

    /// All of them, in the order in which a decoder wants them.
    pub fn all(&self) -> impl Iterator<Item = &Bytes> {
        self.sps.values().chain(self.pps.values())
    }

    /// Forgets everything: another stream begins.
    pub fn clear(&mut self) {
        self.sps.clear();
        self.pps.clear();
    }
}

/// The first Exp-Golomb number in some bytes, if it is below 256 as all ids are.
fn unsigned_golomb(bytes: &[u8]) -> Option<u32> {
    let window = bytes.iter().chain([0, 0, 0].iter()).take(3);
    let bits = window.fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << 8;
    let zeros = bits.leading_zeros();
    (zeros < 8).then(|| (bits << zeros >> (31 - zeros)) - 1)
}

/// Puts NAL units into one Annex B access unit.
pub fn annex_b<'a>(nals: impl IntoIterator<Item = &'a Bytes>) -> Bytes {
    let nals: Vec<&Bytes> = nals.into_iter().collect();
    let size = nals.iter().map(|nal| START_CODE.len() + nal.len()).sum();
    let mut data = Vec::with_capacity(size);
    for nal in nals {
        data.extend_from_slice(&START_CODE);
        data.extend_from_slice(nal);
    }
    data.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// SPS of 1280x720 at 30 frames/s, constrained baseline 3.1, written by x264.
    const X264_SPS: &[u8] = &[
        0x67, 0x42, 0xC0, 0x1F, 0xD9, 0x00, 0x50, 0x05, 0xBB, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00,
        0x10, 0x00, 0x00, 0x03, 0x03, 0xC0, 0xF1, 0x83, 0x24, 0x80,
    ];

    #[test]
    fn the_size_and_rate_of_a_stream_are_read_from_its_parameters() {
        let read = geometry(X264_SPS).unwrap();
        assert_eq!((read.width, read.height, read.fps), (1280, 720, Some(30.0)));
    }

    #[test]
    fn ids_are_read_as_written() {
        assert_eq!(looks_ahead(&[0x41, 0b1010_0000]), Some(true), "type 1");
        assert_eq!(looks_ahead(&[0x41, 0b1001_1100]), Some(true), "type 6");
        assert_eq!(looks_ahead(&[0x41, 0b1001_1010]), Some(false), "type 5, x264's P");
        assert_eq!(looks_ahead(&[0x65, 0b1000_1000]), Some(false), "type 7, x264's I");
        assert_eq!(looks_ahead(&[0x41, 0b0010_0000]), None, "not the first slice");
        for (bits, id) in [(0x80u8, 0), (0x40, 1), (0x60, 2), (0x20, 3), (0x38, 6)] {
            assert_eq!(unsigned_golomb(&[bits]), Some(id), "{bits:08b}");
        }
        assert_eq!(unsigned_golomb(&[0x01, 0x01]), Some(127), "seven zeros");
        assert_eq!(unsigned_golomb(&[0, 0x80]), None);
        assert_eq!(unsigned_golomb(&[]), None);
    }

    #[test]
    fn a_picture_is_cut_at_its_start_codes() {
        let unit = [&[0, 0, 0, 1, 0x67, 1][..], &[0, 0, 1, 0x68], &[0, 0, 0, 1], &[0x65, 0, 9]];
        let unit = unit.concat();
        assert_eq!(nals(&unit).collect::<Vec<_>>(), [&[0x67, 1][..], &[0x68], &[0x65, 0, 9]]);
        assert_eq!(nals(&[1, 2, 3]).count(), 0);
        assert_eq!(nals(&[0, 0, 1]).count(), 0);
    }

    #[test]
    fn parameter_sets_are_kept_by_id_and_the_newest_counts() {
        let mut sets = ParameterSets::default();
        let nal = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
        assert!(sets.see(&nal(X264_SPS)));
        assert!(!sets.see(&nal(X264_SPS)), "nothing new");
        assert!(!sets.complete());
        assert!(!sets.see(&nal(&[0x68, 0xC0, 1])));
        assert!(!sets.see(&nal(&[0x68, 0xC0, 2])), "a PPS is no news of the size");
        assert!(!sets.see(&nal(&[0x68, 0x40, 3])));
        assert!(sets.complete());
        let all: Vec<_> = sets.all().map(|nal| nal[0] & 31).collect();
        assert_eq!(all, [7, 8, 8]);
        sets.clear();
        assert!(!sets.complete());
    }

    proptest! {
        #[test]
        fn bytes_from_anywhere_never_panic_and_memory_stays_bounded(
            mut nals in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 0..200),
        ) {
            let mut sets = ParameterSets::default();
            for nal in &mut nals {
                if let Some(first) = nal.first_mut() {
                    *first = 0x67 + (*first & 1);
                }
                let _ = geometry(nal);
                let _ = begins_picture(nal);
                let _ = looks_ahead(nal);
                let _ = super::nals(nal).count();
                sets.see(&Bytes::copy_from_slice(nal));
            }
            prop_assert!(sets.all().count() <= 2 * MAX_SETS);
        }

        #[test]
        fn a_damaged_parameter_set_never_panics(at in 1usize..25, flip in 1u8..) {
            let mut sps = X264_SPS.to_vec();
            sps[at] ^= flip;
            let _ = geometry(&sps);
            let _ = geometry(&sps[..at]);
        }
    }
}
