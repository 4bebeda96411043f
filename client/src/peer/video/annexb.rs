//! The byte stream format of H.264 (Annex B): NAL units with start codes between them.

use bytes::Bytes;

/// The kinds of NAL units that matter here (H.264, table 7-1; RFC 6184, table 1).
pub(super) mod nal {
    pub(in super::super) const IDR: u8 = 5;
    pub(in super::super) const SPS: u8 = 7;
    pub(in super::super) const DELIMITER: u8 = 9;
    pub(in super::super) const FILLER: u8 = 12;
    pub(in super::super) const STAP_A: u8 = 24;
    pub(in super::super) const FU_A: u8 = 28;

    /// The kind of a NAL unit with this first byte.
    pub(in super::super) fn kind(header: u8) -> u8 {
        header & 0x1f
    }
}

/// The start code that we write.
pub(super) const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// The NAL units of a stream, without their start codes. What stands before the first start code is
/// skipped.
pub(super) fn nal_units(stream: &Bytes) -> impl Iterator<Item = Bytes> {
    let mut next = find_start_code(stream, 0);
    std::iter::from_fn(move || {
        loop {
            let (_, begin) = next?;
            next = find_start_code(stream, begin);
            let mut end = next.map_or(stream.len(), |(start, _)| start);
            // Zeros behind a NAL unit belong to nobody.
            while end > begin && stream[end - 1] == 0 {
                end -= 1;
            }
            if end > begin {
                return Some(stream.slice(begin..end));
            }
        }
    })
}

/// Where the next `00 00 01` begins and ends.
fn find_start_code(stream: &[u8], from: usize) -> Option<(usize, usize)> {
    let mut at = from;
    while at + 3 <= stream.len() {
        // The third byte decides how far to go on.
        match stream[at + 2] {
            0 => at += 1,
            1 if stream[at] == 0 && stream[at + 1] == 0 => return Some((at, at + 3)),
            _ => at += 3,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn units(stream: &[u8]) -> Vec<Vec<u8>> {
        nal_units(&Bytes::copy_from_slice(stream)).map(|unit| unit.to_vec()).collect()
    }

    #[test]
    fn start_codes_of_three_and_four_bytes_separate() {
        let stream = [0, 0, 0, 1, 0x67, 1, 2, 0, 0, 1, 0x68, 3, 0, 0, 0, 1, 0x65, 4];
        assert_eq!(units(&stream), [vec![0x67, 1, 2], vec![0x68, 3], vec![0x65, 4]]);
    }

    #[test]
    fn noise_and_empty_units_are_skipped() {
        assert!(units(&[]).is_empty());
        assert!(units(&[1, 2, 3, 4]).is_empty());
        assert!(units(&[0, 0, 1]).is_empty());
        assert_eq!(units(&[9, 9, 0, 0, 1, 0, 0, 1, 0x41]), [vec![0x41]]);
        assert_eq!(units(&[0, 0, 1, 0x41, 0, 0, 0, 0]), [vec![0x41]]);
    }

    proptest! {
        #[test]
        fn what_was_joined_comes_apart(
            parts in prop::collection::vec(prop::collection::vec(2u8..=255, 1..40), 0..10)
        ) {
            let mut stream = Vec::new();
            for part in &parts {
                stream.extend_from_slice(&START_CODE);
                stream.extend_from_slice(part);
            }
            prop_assert_eq!(units(&stream), parts);
        }

        #[test]
        fn any_bytes_come_apart_without_panic(stream in prop::collection::vec(0u8..4, 0..200)) {
            for unit in units(&stream) {
                prop_assert!(!unit.is_empty());
            }
        }
    }
}
