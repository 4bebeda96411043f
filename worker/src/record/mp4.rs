//! Fragmented MP4 of H.264, as pure logic: access units in, bytes out.
//!
//! A file is a header and fragments of about a second. Whatever ends the writer, what was written up
//! to the last whole fragment plays.

use bytes::Bytes;
use mp4_atom::{
    Avc1, Avcc, Codec, Dinf, Dref, DrefEntry, Encode, Ftyp, Hdlr, Mdat, Mdhd, Mdia, Mfhd, Minf,
    Moof, Moov, Mvex, Mvhd, Stbl, Stco, Stsd, Tfdt, Tfhd, Tkhd, Traf, Trak, Trex, Trun, TrunEntry,
    TrunSamples, Url, Visual, Vmhd,
};

use crate::media::h264::{NalKind, geometry, nals};

/// Ticks a second, as in RTP.
pub(super) const CLOCK: u64 = 90_000;

const TRACK: u32 = 1;

/// Flags of a sample that a decoder can start on, and of one that needs others (ISO 14496-12,
/// 8.8.3.1: depends on no other; depends on others and is no sync sample).
const SYNC: u32 = 0x0200_0000;
const DEPENDS: u32 = 0x0101_0000;

/// What one file can hold: pictures of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Format {
    sps: Vec<u8>,
    pps: Vec<u8>,
    width: u16,
    height: u16,
}

impl Format {
    /// Of a key frame in Annex B form, where it carries its parameter sets.
    pub(super) fn of(key_frame: &[u8]) -> Option<Self> {
        let find = |kind| nals(key_frame).find(|nal| NalKind::of(nal) == kind).map(<[u8]>::to_vec);
        let (sps, pps) = (find(NalKind::Sps)?, find(NalKind::Pps)?);
        let size = geometry(&sps)?;
        let (width, height) = (u16::try_from(size.width).ok()?, u16::try_from(size.height).ok()?);
        (sps.len() >= 4).then_some(Self { sps, pps, width, height })
    }

    /// The beginning of a file.
    pub(super) fn header(&self) -> Result<Vec<u8>, mp4_atom::Error> {
        let mut out = Vec::with_capacity(1024);
        Ftyp {
            major_brand: b"iso6".into(),
            minor_version: 0,
            compatible_brands: vec![b"iso6".into(), b"isom".into(), b"mp41".into()],
        }
        .encode(&mut out)?;
        let avc1 = Avc1 {
            visual: Visual { width: self.width, height: self.height, ..Visual::default() },
            avcc: Avcc {
                configuration_version: 1,
                avc_profile_indication: self.sps[1],
                profile_compatibility: self.sps[2],
                avc_level_indication: self.sps[3],
                length_size: 4,
                sequence_parameter_sets: vec![self.sps.clone()],
                picture_parameter_sets: vec![self.pps.clone()],
                ext: None,
            },
            ..Avc1::default()
        };
        let track = Trak {
            tkhd: Tkhd {
                track_id: TRACK,
                enabled: true,
                in_movie: true,
                width: self.width.into(),
                height: self.height.into(),
                ..Tkhd::default()
            },
            mdia: Mdia {
                mdhd: Mdhd {
                    timescale: CLOCK as u32,
                    language: "und".to_owned(),
                    ..Mdhd::default()
                },
                hdlr: Hdlr { handler: b"vide".into(), name: "picture".to_owned() },
                minf: Minf {
                    vmhd: Some(Vmhd::default()),
                    dinf: Dinf { dref: Dref { entries: vec![DrefEntry::Url(Url::default())] } },
                    stbl: Stbl {
                        stsd: Stsd { codecs: vec![Codec::Avc1(avc1)] },
                        stco: Some(Stco::default()),
                        ..Stbl::default()
                    },
                    ..Minf::default()
                },
            },
            ..Trak::default()
        };
        Moov {
            mvhd: Mvhd { timescale: CLOCK as u32, next_track_id: TRACK + 1, ..Mvhd::default() },
            mvex: Some(Mvex {
                mehd: None,
                trex: vec![Trex {
                    track_id: TRACK,
                    default_sample_description_index: 1,
                    ..Trex::default()
                }],
            }),
            trak: vec![track],
            ..Moov::default()
        }
        .encode(&mut out)?;
        Ok(out)
    }
}

/// One picture on its way into a fragment.
#[derive(Debug)]
struct Sample {
    /// Ticks since the recording began.
    at: u64,
    is_key: bool,
    data: Vec<u8>,
}

/// Collects the pictures of one fragment.
#[derive(Debug, Default)]
pub(super) struct Fragment {
    samples: Vec<Sample>,
    bytes: usize,
}

impl Fragment {
    /// One more picture, taken so many ticks after the recording began. Times only grow: one that does
    /// not is moved behind the one before.
    pub(super) fn push(&mut self, at: u64, is_key: bool, unit: &Bytes) {
        let after = self.samples.last().map_or(0, |last| last.at + 1);
        let mut data = Vec::with_capacity(unit.len());
        for nal in nals(unit) {
            // Parameter sets stand in the header.
            if !matches!(NalKind::of(nal), NalKind::Sps | NalKind::Pps | NalKind::Noise) {
                data.extend_from_slice(&(nal.len() as u32).to_be_bytes());
                data.extend_from_slice(nal);
            }
        }
        self.bytes += data.len();
        self.samples.push(Sample { at: at.max(after), is_key, data });
    }

    /// When the first picture was taken.
    pub(super) fn begins(&self) -> Option<u64> {
        self.samples.first().map(|sample| sample.at)
    }

    /// Bytes of its pictures.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The bytes of the fragment, of which this is the number; it is empty afterwards. Each picture is
    /// shown until the next one, the last until `next`.
    pub(super) fn finish(&mut self, number: u32, next: u64) -> Result<Vec<u8>, mp4_atom::Error> {
        let samples = std::mem::take(&mut self.samples);
        self.bytes = 0;
        let Some(first) = samples.first() else { return Ok(Vec::new()) };
        let ends = samples.iter().skip(1).map(|sample| sample.at).chain([next]);
        let entries = samples.iter().zip(ends).map(|(sample, end)| TrunEntry {
            duration: Some(end.saturating_sub(sample.at).clamp(1, CLOCK * 60) as u32),
            size: Some(sample.data.len() as u32),
            flags: Some(if sample.is_key { SYNC } else { DEPENDS }),
            cts: None,
        });
        let mut moof = Moof {
            mfhd: Mfhd { sequence_number: number },
            traf: vec![Traf {
                tfhd: Tfhd { track_id: TRACK, default_base_is_moof: true, ..Tfhd::default() },
                tfdt: Some(Tfdt { base_media_decode_time: first.at }),
                trun: vec![Trun {
                    data_offset: Some(0),
                    samples: TrunSamples::Explicit(entries.collect()),
                }],
                ..Traf::default()
            }],
        };
        // The pictures begin behind this very box, so its length has to be known first.
        let mut out = Vec::new();
        moof.encode(&mut out)?;
        moof.traf[0].trun[0].data_offset = i32::try_from(out.len() + 8).ok();
        out.clear();
        moof.encode(&mut out)?;
        Mdat { data: samples.into_iter().flat_map(|sample| sample.data).collect() }
            .encode(&mut out)?;
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(bytes: &[u8], at: usize) -> usize {
        u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes")) as usize
    }

    fn find(bytes: &[u8], name: &[u8]) -> usize {
        bytes.windows(name.len()).position(|window| window == name).expect("it is there")
    }

    #[test]
    fn a_fragment_says_when_its_pictures_were_taken_and_where_they_are() {
        let mut fragment = Fragment::default();
        let key = Bytes::from_static(&[0, 0, 0, 1, 0x67, 1, 2, 3, 0, 0, 0, 1, 0x65, 7, 7]);
        fragment.push(9_000, true, &key);
        // A clock that stood still does not put two pictures into one moment.
        fragment.push(9_000, false, &Bytes::from_static(&[0, 0, 1, 0x41, 8]));
        assert_eq!(fragment.begins(), Some(9_000));
        let bytes = fragment.finish(3, 12_000).expect("written");
        assert_eq!(fragment.begins(), None);

        let moof = number(&bytes, 0);
        assert_eq!(&bytes[4..8], b"moof");
        assert_eq!(&bytes[moof + 4..moof + 8], b"mdat");
        let trun = find(&bytes, b"trun");
        let (count, offset) = (number(&bytes, trun + 8), number(&bytes, trun + 12));
        assert_eq!((count, offset), (2, moof + 8));
        // Parameter sets stand in the header; what is left has its length in front.
        assert_eq!(bytes[offset..], [0, 0, 0, 3, 0x65, 7, 7, 0, 0, 0, 2, 0x41, 8]);
        let tfdt = find(&bytes, b"tfdt");
        // 64 bits: a recording may go on for longer than 13 hours.
        assert_eq!((number(&bytes, tfdt + 8), number(&bytes, tfdt + 12)), (0, 9_000));
    }

    #[test]
    fn nothing_makes_no_fragment() {
        assert!(Fragment::default().finish(1, 0).expect("nothing").is_empty());
    }

    #[test]
    fn a_picture_without_parameter_sets_has_no_format() {
        assert_eq!(Format::of(&[0, 0, 0, 1, 0x65, 7, 7]), None);
        assert_eq!(Format::of(&[]), None);
    }
}
