//! What has to be read of VP8 that somebody else encoded (RFC 6386, section 9.1).

/// The part of a key frame that is read here.
pub const HEADER: usize = 10;

/// Where its size stands.
pub const SIZE: std::ops::Range<usize> = 6..10;

/// Whether a decoder can start with this frame.
pub fn is_key(frame: &[u8]) -> bool {
    frame.first().is_some_and(|first| first & 1 == 0)
}

/// The width and height that a key frame says; nothing for others, and for what is no VP8.
pub fn size(frame: &[u8]) -> Option<(u32, u32)> {
    let [first, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1] = *frame.first_chunk::<HEADER>()? else {
        return None;
    };
    // The upper two bits say how it is scaled for showing.
    let number = |bytes: [u8; 2]| u32::from(u16::from_le_bytes(bytes) & 0x3fff);
    (first & 1 == 0).then(|| (number([w0, w1]), number([h0, h1])))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_key_frame_says_its_size() {
        let key = [0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0xc1, 9, 9];
        assert!(is_key(&key));
        assert_eq!(size(&key), Some((640, 360)));
        assert!(!is_key(&[0x11, 0, 0]) && !is_key(&[]));
        assert_eq!(size(&[0x11, 2, 0, 0x9d, 1, 0x2a, 0x80, 2, 0x68, 1]), None);
    }

    proptest! {
        #[test]
        fn nothing_that_comes_panics(frame in proptest::collection::vec(any::<u8>(), 0..20)) {
            let _ = (is_key(&frame), size(&frame));
        }
    }
}
