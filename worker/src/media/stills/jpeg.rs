//! From a decoded picture to a JPEG file, without RGB in between.

use bytes::Bytes;
use jpeg_encoder::{Encoder, ImageBuffer, JpegColorType, SamplingFactor};
use openh264::formats::YUVSource;

/// A whole JPEG file; nothing where the picture is larger than JPEG can be.
pub(super) fn encode(picture: &impl YUVSource, quality: u8) -> Option<Bytes> {
    let (width, height) = picture.dimensions();
    let planes = Planes {
        width: u16::try_from(width).ok()?,
        height: u16::try_from(height).ok()?,
        y: picture.y(),
        u: picture.u(),
        v: picture.v(),
        strides: picture.strides(),
    };
    if width == 0 || height == 0 {
        return None;
    }
    // Some 10 bytes for 8 by 8 pixels is what pictures come to.
    let mut file = Vec::with_capacity(width * height / 6);
    let mut encoder = Encoder::new(&mut file, quality);
    // As the colour came: one sample for four pixels.
    encoder.set_sampling_factor(SamplingFactor::R_4_2_0);
    match encoder.encode_image(planes) {
        Ok(()) => Some(file.into()),
        Err(error) => {
            tracing::debug!(%error, "a picture that cannot be a JPEG");
            None
        }
    }
}

/// Video is BT.709 in limited range, as our own pictures are and as browsers take what does not say;
/// JPEG files are BT.601 in full range (JFIF).
struct Planes<'a> {
    width: u16,
    height: u16,
    y: &'a [u8],
    u: &'a [u8],
    v: &'a [u8],
    strides: (usize, usize, usize),
}

impl ImageBuffer for Planes<'_> {
    fn get_jpeg_color_type(&self) -> JpegColorType {
        JpegColorType::Ycbcr
    }

    fn width(&self) -> u16 {
        self.width
    }

    fn height(&self) -> u16 {
        self.height
    }

    fn fill_buffers(&self, row: u16, buffers: &mut [Vec<u8>; 4]) {
        let (row, width) = (usize::from(row), usize::from(self.width));
        let colours = width.div_ceil(2);
        let line = |plane: &'_ [u8], row: usize, stride: usize, len: usize| {
            let at = row * stride;
            at..(at + len).min(plane.len())
        };
        let luma = &self.y[line(self.y, row, self.strides.0, width)];
        let blue = &self.u[line(self.u, row / 2, self.strides.1, colours)];
        let red = &self.v[line(self.v, row / 2, self.strides.2, colours)];
        let [lumas, blues, reds, _] = buffers;
        for ((pair, &u), &v) in luma.chunks(2).zip(blue).zip(red) {
            let (u, v) = (i32::from(u) - 128, i32::from(v) - 128);
            let (lift, cb, cr) = full_range(u, v);
            for &y in pair {
                lumas.push(whole(76_309 * (i32::from(y) - 16) + lift));
                blues.push(cb);
                reds.push(cr);
            }
        }
    }
}

/// What the colour adds to luma (in 1/65536), and the two colours, of differences in BT.709 and
/// limited range. Each is the product of the two matrices of ITU-R BT.709-6 and T.871, rounded to
/// 1/65536.
fn full_range(u: i32, v: i32) -> (i32, u8, u8) {
    let lift = 7_580 * u + 14_628 * v;
    let cb = whole((128 << 16) + 73_848 * u - 8_256 * v);
    let cr = whole((128 << 16) - 5_407 * u + 73_366 * v);
    (lift, cb, cr)
}

/// From 1/65536 to the nearest whole number that a byte has.
fn whole(value: i32) -> u8 {
    ((value + 32_768) >> 16).clamp(0, 255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::picture::{Color, Picture, Size};

    /// A picture of one colour.
    fn plain(color: Color, width: usize, height: usize) -> Picture {
        let mut picture = Picture::new(Size { width, height });
        let (y, u, v) = picture.planes();
        y.fill(color.y);
        u.fill(color.u);
        v.fill(color.v);
        picture
    }

    #[test]
    fn colours_come_out_as_they_were_painted() {
        for (hex, jfif) in [
            (0x00_0000, (0, 128, 128)),
            (0xFF_FFFF, (255, 128, 128)),
            (0xFF_0000, (76, 85, 255)),
            (0x00_FF00, (150, 44, 21)),
            (0x00_00FF, (29, 255, 107)),
            (0x80_8080, (128, 128, 128)),
        ] {
            let Color { y, u, v } = Color::rgb(hex);
            let (lift, cb, cr) = full_range(i32::from(u) - 128, i32::from(v) - 128);
            let y = whole(76_309 * (i32::from(y) - 16) + lift);
            let off = |a: u8, b: i32| (i32::from(a) - b).abs();
            let worst = off(y, jfif.0).max(off(cb, jfif.1)).max(off(cr, jfif.2));
            assert!(worst <= 2, "{hex:06x}: {:?} for {jfif:?}", (y, cb, cr));
        }
    }

    #[test]
    fn a_file_begins_and_ends_as_jpeg_and_says_its_size() {
        let file = encode(&plain(Color::rgb(0x33_66_99), 64, 48), 75).expect("a file");
        assert_eq!(file[..2], [0xff, 0xd8]);
        assert_eq!(file[file.len() - 2..], [0xff, 0xd9]);
        let frame = file.windows(2).position(|two| two == [0xff, 0xc0]).expect("a frame header");
        let size = &file[frame + 5..frame + 9];
        assert_eq!(size, [0, 48, 0, 64]);
    }
}
