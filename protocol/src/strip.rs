//! The latency strip: 64 black or white cells along the bottom edge of a picture.
//!
//! Cells are 16 px high and `floor(width / 64)` px wide, most significant bit first: 8 bits
//! `10100101`, 32 bits Unix time in ms modulo 2^32 when the frame was rendered, 16 bits frame
//! number, 8 bits CRC-8 (polynomial 0x07, initial 0) over the 48 bits between. Whoever shows the
//! picture reads the luma at the cells' centres; above 127 is 1.

/// Pixels.
pub const CELL_HEIGHT: usize = 16;

/// How many cells there are.
pub const CELLS: usize = 64;

const SYNC: u8 = 0b1010_0101;

/// What a strip says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strip {
    /// Unix time in milliseconds, modulo 2^32, when the frame was rendered.
    pub time_ms: u32,
    /// Frame number, modulo 2^16.
    pub frame: u16,
}

impl Strip {
    /// The cells, the leftmost as the most significant bit.
    pub fn to_bits(self) -> u64 {
        let middle = (u64::from(self.time_ms) << 16) | u64::from(self.frame);
        (u64::from(SYNC) << 56) | (middle << 8) | u64::from(crc8(middle))
    }

    /// Reads cells back. `None` when they are no strip, or damaged.
    pub fn from_bits(bits: u64) -> Option<Self> {
        let middle = (bits >> 8) & 0xFFFF_FFFF_FFFF;
        let intact = (bits >> 56) as u8 == SYNC && bits as u8 == crc8(middle);
        intact.then_some(Self { time_ms: (middle >> 16) as u32, frame: middle as u16 })
    }

    /// How old the frame is at `now_ms` (Unix time, modulo 2^32), in milliseconds. Negative when
    /// the clocks disagree.
    pub fn age_ms(self, now_ms: u32) -> i32 {
        now_ms.wrapping_sub(self.time_ms).cast_signed()
    }
}

/// CRC-8, polynomial 0x07, initial value 0, over the lowest 48 bits, most significant first.
fn crc8(middle: u64) -> u8 {
    middle.to_be_bytes()[2..].iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ byte, |crc, _| if crc & 0x80 == 0 { crc << 1 } else { (crc << 1) ^ 0x07 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_the_polynomial() {
        // CRC-8/SMBUS of "123456" , from an independent implementation.
        assert_eq!(crc8(0x3132_3334_3536), 0xFD);
    }

    #[test]
    fn a_flipped_cell_is_noticed() {
        let strip = Strip { time_ms: 0xDEAD_BEEF, frame: 0x1234 };
        assert_eq!(Strip::from_bits(strip.to_bits()), Some(strip));
        for bit in 0..64 {
            assert_eq!(Strip::from_bits(strip.to_bits() ^ (1 << bit)), None, "bit {bit}");
        }
    }

    #[test]
    fn age_survives_the_wrap() {
        let strip = Strip { time_ms: u32::MAX - 10, frame: 0 };
        assert_eq!(strip.age_ms(9), 20);
    }
}
