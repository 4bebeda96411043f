//! RTP payloads of a picture (RFC 6184, `packetization-mode=1`).

use bytes::{BufMut, Bytes, BytesMut};

use super::annexb::{nal, nal_units};

/// Bytes of payload in one packet. With the headers of RTP, its extensions, SRTP, UDP and IPv6 it
/// stays below 1280, which every path carries.
pub(super) const MAX_PAYLOAD_BYTES: usize = 1160;

const STAP_A_HEADER: usize = 1;
const STAP_A_LENGTH: usize = 2;
const FU_A_HEADER: usize = 2;

/// Cuts a picture into payloads. Delimiters and filler are left out. Small units that follow each
/// other (parameter sets above all) travel together.
pub(super) fn payloads(picture: &Bytes) -> Vec<Bytes> {
    let mut payloads = Vec::with_capacity(picture.len() / MAX_PAYLOAD_BYTES + 2);
    let mut small: Vec<Bytes> = Vec::new();
    let mut small_bytes = STAP_A_HEADER;
    // One allocation for all fragments of the picture.
    let mut fragments =
        BytesMut::with_capacity(picture.len() + picture.len() / MAX_PAYLOAD_BYTES * 4 + 64);

    for unit in nal_units(picture) {
        if matches!(nal::kind(unit[0]), nal::DELIMITER | nal::FILLER) {
            continue;
        }
        let with_it = small_bytes + STAP_A_LENGTH + unit.len();
        if with_it > MAX_PAYLOAD_BYTES {
            aggregate(&mut small, &mut fragments, &mut payloads);
            small_bytes = STAP_A_HEADER;
        }
        if unit.len() > MAX_PAYLOAD_BYTES {
            fragment(&unit, &mut fragments, &mut payloads);
        } else {
            small_bytes += STAP_A_LENGTH + unit.len();
            small.push(unit);
        }
    }
    aggregate(&mut small, &mut fragments, &mut payloads);
    payloads
}

/// Cuts a frame of VP8 into payloads, each behind the shortest descriptor (RFC 7741, section 4.2): its
/// one bit says where the frame begins.
pub(super) fn vp8_payloads(frame: &Bytes) -> Vec<Bytes> {
    if frame.is_empty() {
        return Vec::new();
    }
    let most = MAX_PAYLOAD_BYTES - 1;
    // Equal pieces: a last one of a few bytes costs as much as a full one.
    let step = frame.len().div_ceil(frame.len().div_ceil(most));
    let mut buffer = BytesMut::with_capacity(frame.len() + frame.len() / step + 1);
    let pieces = frame.chunks(step).enumerate().map(|(index, piece)| {
        buffer.put_u8(if index == 0 { 0x10 } else { 0 });
        buffer.put_slice(piece);
        buffer.split().freeze()
    });
    pieces.collect()
}

/// One unit goes as it is, several as a STAP-A.
fn aggregate(units: &mut Vec<Bytes>, buffer: &mut BytesMut, payloads: &mut Vec<Bytes>) {
    match units.as_slice() {
        [] => {}
        [unit] => payloads.push(unit.clone()),
        units => {
            // The highest importance of the units counts for all (RFC 6184, section 5.7.1).
            let importance = units.iter().map(|unit| unit[0] & 0x60).max().unwrap_or(0);
            buffer.put_u8(importance | nal::STAP_A);
            for unit in units {
                // A unit in here is shorter than a payload.
                buffer.put_u16(unit.len() as u16);
                buffer.put_slice(unit);
            }
            payloads.push(buffer.split().freeze());
        }
    }
    units.clear();
}

/// Cuts a unit into FU-A fragments.
fn fragment(unit: &Bytes, buffer: &mut BytesMut, payloads: &mut Vec<Bytes>) {
    let indicator = unit[0] & 0xe0 | nal::FU_A;
    let kind = nal::kind(unit[0]);
    let body = &unit[1..];
    let step = MAX_PAYLOAD_BYTES - FU_A_HEADER;
    let count = body.len().div_ceil(step);
    // Equal fragments: a last one of a few bytes costs as much as a full one.
    let step = body.len().div_ceil(count);
    for (index, part) in body.chunks(step).enumerate() {
        let start = if index == 0 { 0x80 } else { 0 };
        let end = if index + 1 == count { 0x40 } else { 0 };
        buffer.put_u8(indicator);
        buffer.put_u8(start | end | kind);
        buffer.put_slice(part);
        payloads.push(buffer.split().freeze());
    }
}

/// Whether decoding may start with this payload: it carries parameter sets, or begins a key frame.
pub(super) fn starts_key_frame(payload: &[u8]) -> bool {
    let is_key = |kind: u8| matches!(kind, nal::SPS | nal::IDR);
    match payload {
        [first, rest @ ..] => match nal::kind(*first) {
            nal::STAP_A => matches!(rest, [_, _, unit, ..] if is_key(nal::kind(*unit))),
            nal::FU_A => {
                matches!(rest, [header, ..] if header & 0x80 != 0 && is_key(nal::kind(*header)))
            }
            kind => is_key(kind),
        },
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(units: &[Vec<u8>]) -> Bytes {
        let mut picture = Vec::new();
        for unit in units {
            picture.extend_from_slice(&[0, 0, 0, 1]);
            picture.extend_from_slice(unit);
        }
        picture.into()
    }

    fn unit(kind: u8, len: usize) -> Vec<u8> {
        let mut unit = vec![0x60 | kind];
        unit.resize(len, 0xab);
        unit
    }

    #[test]
    fn a_small_unit_travels_as_it_is() {
        let payloads = payloads(&picture(&[unit(1, 500)]));
        assert_eq!(payloads, [Bytes::from(unit(1, 500))]);
    }

    #[test]
    fn parameter_sets_travel_together_and_the_rest_is_cut() {
        let payloads = payloads(&picture(&[unit(7, 12), unit(8, 5), unit(5, 5000)]));
        assert_eq!(nal::kind(payloads[0][0]), nal::STAP_A);
        assert_eq!(payloads[0].len(), 1 + 2 + 12 + 2 + 5);
        assert_eq!(payloads.len(), 1 + 5);
        assert!(starts_key_frame(&payloads[0]));
        assert!(starts_key_frame(&payloads[1]));
        assert!(!starts_key_frame(&payloads[2]));
        assert_eq!(payloads[1][1] & 0xc0, 0x80);
        assert_eq!(payloads[5][1] & 0xc0, 0x40);
    }

    #[test]
    fn delimiters_and_filler_are_not_sent() {
        assert!(payloads(&picture(&[unit(9, 2), unit(12, 4000)])).is_empty());
    }

    #[test]
    fn nothing_comes_from_nothing() {
        assert!(payloads(&Bytes::new()).is_empty());
        assert!(!starts_key_frame(&[]));
        assert!(!starts_key_frame(&[nal::STAP_A]));
        assert!(!starts_key_frame(&[nal::FU_A]));
    }

    #[test]
    fn a_frame_of_vp8_begins_once_and_loses_nothing() {
        for len in [1, MAX_PAYLOAD_BYTES - 1, MAX_PAYLOAD_BYTES, 5_000] {
            let frame: Bytes = (0..len).map(|at| at as u8).collect::<Vec<_>>().into();
            let payloads = vp8_payloads(&frame);
            assert!(payloads.iter().all(|payload| payload.len() <= MAX_PAYLOAD_BYTES));
            let begins: Vec<_> = payloads.iter().map(|payload| payload[0] == 0x10).collect();
            assert!(begins[0] && !begins[1..].contains(&true), "{begins:?}");
            let whole: Vec<u8> =
                payloads.iter().flat_map(|payload| payload[1..].to_vec()).collect();
            assert_eq!(whole, frame);
        }
        assert!(vp8_payloads(&Bytes::new()).is_empty());
    }

    proptest::proptest! {
        #[test]
        fn no_payload_is_too_large(
            lens in proptest::collection::vec(1usize..6000, 0..12)
        ) {
            let units: Vec<_> = lens.iter().map(|len| unit(1, *len)).collect();
            for payload in payloads(&picture(&units)) {
                assert!(!payload.is_empty() && payload.len() <= MAX_PAYLOAD_BYTES);
            }
        }
    }
}
