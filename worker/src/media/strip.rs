//! Burns the latency strip into a picture, and reads it back.

use halyard_protocol::strip::{CELL_HEIGHT, CELLS, Strip};

use super::picture::{Color, Picture};

/// Burns the strip into the bottom edge. Does nothing to pictures narrower than the strip has cells
/// or lower than a cell.
pub fn burn(picture: &mut Picture, strip: Strip) {
    let size = picture.size();
    let cell = size.width / CELLS;
    if cell == 0 || size.height < CELL_HEIGHT {
        return;
    }
    let bits = strip.to_bits();
    let top = size.height - CELL_HEIGHT;
    for index in 0..CELLS {
        let one = bits >> (CELLS - 1 - index) & 1 == 1;
        let color = if one { Color::WHITE } else { Color::BLACK };
        let at = ((index * cell) as i32, top as i32);
        picture.blend_rect(at, (cell as i32, CELL_HEIGHT as i32), color, 256);
    }
}

/// Reads the strip from the luma plane of a picture: the cells' centres, above 127 is 1.
pub fn read(luma: &[u8], stride: usize, width: usize, height: usize) -> Option<Strip> {
    let cell = width / CELLS;
    if cell == 0 || height < CELL_HEIGHT {
        return None;
    }
    let row = (height - CELL_HEIGHT / 2) * stride;
    let bits = (0..CELLS).try_fold(0u64, |bits, index| {
        let luma = luma.get(row + index * cell + cell / 2)?;
        Some(bits << 1 | u64::from(*luma > 127))
    })?;
    Strip::from_bits(bits)
}

#[cfg(test)]
mod tests {
    use openh264::formats::YUVSource;
    use proptest::prelude::*;

    use super::*;
    use crate::media::picture::Size;

    proptest! {
        #[test]
        fn what_is_burned_is_read_at_any_size(
            time_ms in any::<u32>(), frame in any::<u16>(), width in 32usize..1000, height in 8usize..200,
        ) {
            let mut picture = Picture::new(Size { width: width * 2, height: height * 2 });
            let strip = Strip { time_ms, frame };
            burn(&mut picture, strip);
            let size = picture.size();
            prop_assert_eq!(read(picture.y(), size.width, size.width, size.height), Some(strip));
        }
    }

    #[test]
    fn a_picture_too_small_is_left_alone() {
        let mut picture = Picture::new(Size { width: 62, height: 40 });
        burn(&mut picture, Strip { time_ms: 1, frame: 1 });
        assert!(picture.y().iter().all(|&luma| luma == 16));
        assert_eq!(read(picture.y(), 62, 62, 40), None);
    }
}
