//! A picture as the encoder takes it: planar YUV, colour at half the resolution (I420), BT.709 in
//! the limited range of video (luma 16 to 235).

use openh264::formats::YUVSource;

/// Pixels. Both even, because colour has half the resolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Across.
    pub width: usize,
    /// Down.
    pub height: usize,
}

impl Size {
    /// 1280x720.
    pub const HD: Self = Self { width: 1280, height: 720 };
}

/// A colour as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Color {
    /// Luma, 16 to 235.
    pub y: u8,
    /// Blue difference, 128 is none.
    pub u: u8,
    /// Red difference, 128 is none.
    pub v: u8,
}

impl Color {
    /// Black of video.
    pub const BLACK: Self = Self { y: 16, u: 128, v: 128 };
    /// White of video.
    pub const WHITE: Self = Self { y: 235, u: 128, v: 128 };

    /// From sRGB, `0xRRGGBB`, by the coefficients of BT.709.
    pub const fn rgb(hex: u32) -> Self {
        let [_, red, green, blue] = hex.to_be_bytes();
        let (red, green, blue) = (red as i32, green as i32, blue as i32);
        // In 1/65536, rounded: limited range squeezes 255 steps into 219 (luma) and 224 (colour).
        let luma = 11_966 * red + 40_254 * green + 4_064 * blue;
        let blueness = -6_596 * red - 22_189 * green + 28_784 * blue;
        let redness = 28_784 * red - 26_145 * green - 2_639 * blue;
        Self {
            y: (16 + ((luma + 32_768) >> 16)) as u8,
            u: (128 + ((blueness + 32_768) >> 16)) as u8,
            v: (128 + ((redness + 32_768) >> 16)) as u8,
        }
    }

    /// Between this (at 0) and another (at 256).
    #[must_use]
    pub fn mix(self, other: Self, share: u32) -> Self {
        Self {
            y: lerp(self.y, other.y, share),
            u: lerp(self.u, other.u, share),
            v: lerp(self.v, other.v, share),
        }
    }

    /// Lighter or darker by a factor; the hue fades with the light.
    #[must_use]
    pub fn lit(self, light: f32) -> Self {
        let scale = |value: u8, middle: f32, least: f32, most: f32| {
            (middle + (f32::from(value) - middle) * light).clamp(least, most) as u8
        };
        Self {
            y: scale(self.y, 16.0, 16.0, 235.0),
            u: scale(self.u, 128.0, 16.0, 240.0),
            v: scale(self.v, 128.0, 16.0, 240.0),
        }
    }
}

/// Between `from` (at a share of 0) and `to` (at 256).
#[inline]
pub fn lerp(from: u8, to: u8, share: u32) -> u8 {
    ((u32::from(from) * (256 - share) + u32::from(to) * share) >> 8) as u8
}

/// Three planes, one after the other in memory.
#[derive(Debug, Clone)]
pub struct Picture {
    size: Size,
    data: Vec<u8>,
}

impl Picture {
    /// A black picture. Odd sizes are rounded down to even ones.
    pub fn new(size: Size) -> Self {
        let size = Size { width: size.width & !1, height: size.height & !1 };
        let luma = size.width * size.height;
        let mut data = vec![16; luma + luma / 2];
        data[luma..].fill(128);
        Self { size, data }
    }

    /// Pixels.
    pub fn size(&self) -> Size {
        self.size
    }

    /// All three planes, as files of raw video have them.
    pub fn bytes(&self) -> &[u8] {
        &self.data
    }

    /// Becomes the same as another picture, in the memory it has.
    pub fn copy_from(&mut self, other: &Self) {
        self.size = other.size;
        self.data.clone_from(&other.data);
    }

    /// Luma, and both colour planes.
    pub fn planes(&mut self) -> (&mut [u8], &mut [u8], &mut [u8]) {
        let luma = self.size.width * self.size.height;
        let (y, uv) = self.data.split_at_mut(luma);
        let (u, v) = uv.split_at_mut(luma / 4);
        (y, u, v)
    }

    /// Mixes a colour into a rectangle, cut off at the edges; 256 covers.
    pub fn blend_rect(&mut self, (x, y): (i32, i32), (w, h): (i32, i32), color: Color, share: u32) {
        let (x1, y1) = (self.clip_x(x + w), self.clip_y(y + h));
        let (x0, y0) = (self.clip_x(x), self.clip_y(y));
        for row in y0..y1 {
            self.blend_span(row, x0, x1, color, share);
        }
    }

    /// Mixes a colour into pixels `x0..x1` of one row; both must lie inside the picture.
    #[inline]
    pub fn blend_span(&mut self, row: usize, x0: usize, x1: usize, color: Color, share: u32) {
        if x0 >= x1 {
            return;
        }
        let width = self.size.width;
        let (y, u, v) = self.planes();
        blend(&mut y[row * width + x0..row * width + x1], color.y, share);
        if row & 1 == 0 {
            // A pair of pixels takes the colour when its left one is inside.
            let half = row / 2 * (width / 2);
            let (c0, c1) = (x0.div_ceil(2), x1.div_ceil(2));
            blend(&mut u[half + c0..half + c1], color.u, share);
            blend(&mut v[half + c0..half + c1], color.v, share);
        }
    }

    /// Mixes a colour into one pixel; outside the picture nothing happens.
    #[inline]
    pub fn blend_pixel(&mut self, x: i32, y: i32, color: Color, share: u32) {
        if x >= 0 && y >= 0 && (x as usize) < self.size.width && (y as usize) < self.size.height {
            self.blend_span(y as usize, x as usize, x as usize + 1, color, share);
        }
    }

    fn clip_x(&self, x: i32) -> usize {
        x.clamp(0, self.size.width as i32) as usize
    }

    fn clip_y(&self, y: i32) -> usize {
        y.clamp(0, self.size.height as i32) as usize
    }
}

#[inline]
fn blend(pixels: &mut [u8], value: u8, share: u32) {
    if share >= 256 {
        pixels.fill(value);
    } else {
        // The same as `lerp`, with what does not change taken out of the loop; fits 16 bits.
        let (keep, add) = (256 - share as u16, u16::from(value) * share as u16);
        for pixel in pixels {
            *pixel = ((u16::from(*pixel) * keep + add) >> 8) as u8;
        }
    }
}

impl YUVSource for Picture {
    fn dimensions(&self) -> (usize, usize) {
        (self.size.width, self.size.height)
    }

    fn strides(&self) -> (usize, usize, usize) {
        (self.size.width, self.size.width / 2, self.size.width / 2)
    }

    fn y(&self) -> &[u8] {
        &self.data[..self.size.width * self.size.height]
    }

    fn u(&self) -> &[u8] {
        let luma = self.size.width * self.size.height;
        &self.data[luma..luma + luma / 4]
    }

    fn v(&self) -> &[u8] {
        let luma = self.size.width * self.size.height;
        &self.data[luma + luma / 4..]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_corners_of_rgb_land_where_bt_709_puts_them() {
        // Y, Cb, Cr of 100 % colour bars, ITU-R BT.709, 8 bits.
        for (hex, yuv) in [
            (0x00_0000, (16, 128, 128)),
            (0xFF_FFFF, (235, 128, 128)),
            (0xFF_0000, (63, 102, 240)),
            (0x00_FF00, (173, 42, 26)),
            (0x00_00FF, (32, 240, 118)),
        ] {
            let Color { y, u, v } = Color::rgb(hex);
            assert_eq!((y, u, v), yuv, "{hex:06x}");
        }
    }

    proptest! {
        #[test]
        fn rectangles_anywhere_stay_inside(
            x in -200i32..200, y in -200i32..200, w in -50i32..300, h in -50i32..300, share in 0u32..=256,
        ) {
            let mut picture = Picture::new(Size { width: 64, height: 48 });
            picture.blend_rect((x, y), (w, h), Color::WHITE, share);
            let inside = x.max(0) < (x + w).min(64) && y.max(0) < (y + h).min(48);
            let touched = picture.y().iter().any(|&luma| luma > 16);
            prop_assert_eq!(touched, inside && share > 1);
        }
    }
}
