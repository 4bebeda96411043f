//! Access units come out as they went in, whatever is cut, lost or invented on the way.

use bytes::BytesMut;
use proptest::prelude::*;

use super::*;
use crate::media::rtp::packet::Packet;

fn ordered(timestamp: u32, marker: bool, payload: impl Into<Bytes>, after_gap: bool) -> Ordered {
    let packet = Packet { ssrc: 1, sequence: 0, timestamp, marker, payload: payload.into() };
    Ordered { packet, after_gap }
}

/// Cuts a NAL unit into FU-A fragments of at most `size` bytes.
fn fragments(nal: &[u8], size: usize) -> Vec<Bytes> {
    let pieces: Vec<_> = nal[1..].chunks(size).collect();
    let last = pieces.len() - 1;
    let fragment = |(index, piece): (usize, &&[u8])| {
        let mut bytes = BytesMut::from(&[nal[0] & 0xE0 | 0x1C, nal[0] & 0x1F][..]);
        bytes[1] |= u8::from(index == 0) << 7 | u8::from(index == last) << 6;
        bytes.extend_from_slice(piece);
        bytes.freeze()
    };
    pieces.iter().enumerate().map(fragment).collect()
}

fn aggregate(nals: &[&[u8]]) -> Bytes {
    let mut bytes = vec![0x78];
    for nal in nals {
        bytes.extend((nal.len() as u16).to_be_bytes());
        bytes.extend_from_slice(nal);
    }
    bytes.into()
}

fn feed(packets: Vec<Ordered>) -> (Vec<AccessUnit>, u64) {
    let (mut depacketizer, mut out) = (Depacketizer::default(), Vec::new());
    for packet in packets {
        depacketizer.push(packet, &mut out);
    }
    (out, depacketizer.dropped())
}

const SPS: &[u8] = &[0x67, 1, 2];
const PPS: &[u8] = &[0x68, 3];
const IDR: &[u8] = &[0x65, 0x88, 1, 2, 3, 4, 5, 6, 7, 8, 9];
const SLICE: &[u8] = &[0x41, 0x9A, 1, 2];

#[test]
fn single_units_aggregates_and_fragments_make_one_picture() {
    let mut packets = vec![ordered(9, false, aggregate(&[SPS, PPS]), false)];
    packets.extend(fragments(IDR, 3).into_iter().map(|f| ordered(9, false, f, false)));
    packets.push(ordered(9, true, SLICE, false));
    let (units, dropped) = feed(packets);
    assert_eq!(
        units,
        [AccessUnit { nals: vec![SPS.into(), PPS.into(), IDR.into(), SLICE.into()], timestamp: 9 }]
    );
    assert!(units[0].is_idr());
    assert_eq!(dropped, 0);
}

#[test]
fn a_sender_without_markers_is_understood_by_its_timestamps() {
    let (units, _) = feed(vec![
        ordered(1, false, IDR, false),
        ordered(2, false, SLICE, false),
        ordered(3, false, SLICE, false),
    ]);
    assert_eq!(units.iter().map(|unit| unit.timestamp).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn a_picture_with_a_hole_is_dropped_and_the_next_goes_on() {
    let pieces = fragments(IDR, 3);
    for lost in 0..pieces.len() {
        let mut packets: Vec<_> =
            pieces.iter().map(|f| ordered(1, false, f.clone(), false)).collect();
        packets.remove(lost);
        if let Some(after) = packets.get_mut(lost) {
            after.after_gap = true;
        }
        // The marker came with the last fragment; where that is the lost one, the gap shows here.
        let gap = lost == pieces.len() - 1;
        packets.push(ordered(2, true, SLICE, gap));
        let (units, dropped) = feed(packets);
        assert_eq!(units.len(), 1, "without piece {lost}");
        assert_eq!((units[0].timestamp, dropped), (2, 1));
    }
}

#[test]
fn after_a_gap_a_picture_counts_only_with_its_first_slice() {
    let second_slice: &[u8] = &[0x41, 0x1A, 1, 2];
    let (units, dropped) =
        feed(vec![ordered(1, true, second_slice, true), ordered(2, true, SLICE, false)]);
    assert_eq!((units.len(), units[0].timestamp, dropped), (1, 2, 1));
    let (units, dropped) = feed(vec![ordered(1, true, SLICE, true)]);
    assert_eq!((units.len(), dropped), (1, 0));
}

#[test]
fn an_aggregate_that_lies_about_its_lengths_is_dropped() {
    for payload in [&[0x78, 0xFF, 0xFF, 0x65][..], &[0x78, 0, 9, 0x65]] {
        let (units, dropped) = feed(vec![ordered(1, true, payload, false)]);
        assert_eq!((units.len(), dropped), (0, 1));
    }
}

#[test]
fn endless_fragments_do_not_fill_the_memory() {
    let mut depacketizer = Depacketizer::default();
    let mut out = Vec::new();
    let mut start = vec![0x7C, 0x85];
    start.resize(60_000, 1);
    depacketizer.push(ordered(1, false, start, false), &mut out);
    let mut middle = vec![0x7C, 0x05];
    middle.resize(60_000, 1);
    let middle = Bytes::from(middle);
    for _ in 0..1_000 {
        depacketizer.push(ordered(1, false, middle.clone(), false), &mut out);
        assert!(depacketizer.fragment.as_ref().map_or(0, Vec::len) <= MAX_UNIT_BYTES);
    }
    depacketizer.push(ordered(2, true, SLICE, false), &mut out);
    assert_eq!((out.len(), depacketizer.dropped()), (1, 1));
}

proptest! {
    #[test]
    fn bytes_from_anywhere_never_panic_and_memory_stays_bounded(
        packets in proptest::collection::vec(
            (0u32..4, any::<bool>(), any::<bool>(), proptest::collection::vec(any::<u8>(), 0..40)),
            0..200,
        ),
        kind in proptest::sample::select(vec![None, Some(24u8), Some(28)]),
    ) {
        let (mut depacketizer, mut out) = (Depacketizer::default(), Vec::new());
        let mut fed = 0;
        for (timestamp, marker, gap, mut payload) in packets {
            if let (Some(kind), Some(first)) = (kind, payload.first_mut()) {
                *first = *first & 0xE0 | kind;
            }
            fed += payload.len() + 1;
            depacketizer.push(ordered(timestamp, marker, payload, gap), &mut out);
        }
        let held: usize = out.iter().flat_map(|unit| &unit.nals).map(Bytes::len).sum();
        prop_assert!(held <= fed);
        prop_assert!(out.iter().all(|unit| unit.nals.iter().all(|nal| !nal.is_empty())));
    }

    #[test]
    fn any_cut_into_fragments_gives_the_same_picture(
        body in proptest::collection::vec(any::<u8>(), 1..2_000), size in 1usize..1_200,
    ) {
        let mut nal = vec![0x65, 0x88];
        nal.extend(body);
        let mut packets: Vec<_> =
            fragments(&nal, size).into_iter().map(|f| ordered(7, false, f, false)).collect();
        packets.last_mut().unwrap().packet.marker = true;
        let (units, dropped) = feed(packets);
        prop_assert_eq!(dropped, 0);
        prop_assert_eq!(&units[0].nals, &vec![Bytes::from(nal)]);
    }
}
