//! The fixed part of an RTP packet (RFC 3550), read without trusting it.

use bytes::Bytes;

/// One RTP packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Whose stream.
    pub ssrc: u32,
    /// Counts packets, wrapping.
    pub sequence: u16,
    /// When its picture is to be shown, in ticks of 90 kHz, wrapping.
    pub timestamp: u32,
    /// It ends a picture.
    pub marker: bool,
    /// What it carries, without padding.
    pub payload: Bytes,
}

impl Packet {
    /// Reads a datagram. `None` for what is no RTP, RTCP included. Header extensions and contributing
    /// sources are skipped; any payload type is taken.
    pub fn parse(datagram: &Bytes) -> Option<Self> {
        let head: &[u8; 12] = datagram.first_chunk()?;
        let (first, second) = (head[0], head[1]);
        // RFC 5761: types 64 to 95 with the marker bit are RTCP on the same port.
        if first >> 6 != 2 || (192..=223).contains(&second) {
            return None;
        }
        let mut from = 12 + 4 * usize::from(first & 0x0F);
        if first & 0x10 != 0 {
            let length = datagram.get(from + 2..from + 4)?;
            from += 4 + 4 * usize::from(u16::from_be_bytes([length[0], length[1]]));
        }
        let mut to = datagram.len();
        if first & 0x20 != 0 {
            to = to.checked_sub(usize::from(*datagram.last()?))?;
        }
        if from > to {
            return None;
        }
        Some(Self {
            ssrc: u32::from_be_bytes([head[8], head[9], head[10], head[11]]),
            sequence: u16::from_be_bytes([head[2], head[3]]),
            timestamp: u32::from_be_bytes([head[4], head[5], head[6], head[7]]),
            marker: second & 0x80 != 0,
            payload: datagram.slice(from..to),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn extensions_sources_and_padding_are_skipped() {
        let mut bytes = vec![0xB1, 0xE0, 0, 7, 0, 0, 0, 9, 0, 0, 0, 5];
        bytes.extend([1, 1, 1, 1]); // one contributing source
        bytes.extend([0xBE, 0xDE, 0, 1, 9, 9, 9, 9]); // an extension of one word
        bytes.extend([0x65, 0xAA, 0, 2]); // two bytes, two of padding
        let packet = Packet::parse(&bytes.into()).unwrap();
        assert_eq!((packet.ssrc, packet.sequence, packet.timestamp), (5, 7, 9));
        assert!(packet.marker);
        assert_eq!(&packet.payload[..], [0x65, 0xAA]);
    }

    #[test]
    fn rtcp_and_other_protocols_are_not_taken() {
        for bytes in
            [&[0x80, 200, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], &[0x47; 188], &[], &[0x80; 11]]
        {
            assert_eq!(Packet::parse(&Bytes::copy_from_slice(bytes)), None);
        }
    }

    proptest! {
        #[test]
        fn bytes_from_anywhere_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let length = bytes.len();
            if let Some(packet) = Packet::parse(&bytes.into()) {
                prop_assert!(packet.payload.len() + 12 <= length);
            }
        }
    }
}
