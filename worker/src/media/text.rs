//! Text in a picture: `embedded-graphics`' monospaced font, rendered once and smoothed to twice its
//! size so that it can be read on a phone.

use embedded_graphics::{
    Drawable, Pixel,
    draw_target::DrawTarget,
    geometry::{OriginDimensions, Point, Size as FontSize},
    mono_font::{MonoTextStyle, iso_8859_1::FONT_10X20},
    pixelcolor::BinaryColor,
    text::{Baseline, Text},
};

use super::picture::{Color, Picture};

const WIDE: usize = 10;
const HIGH: usize = 20;
/// Space to tilde, and the degree sign.
const FIRST: char = ' ';
const LAST: char = '~';
const DEGREE: char = '\u{b0}';

/// A font, ready to be put into pictures.
pub struct Font {
    /// Pixels on a side for one of the font's own.
    scale: usize,
    /// Per glyph, how much of each pixel is covered, 0 to 255.
    glyphs: Vec<Vec<u8>>,
}

/// One glyph as the font draws it.
struct Cell([bool; WIDE * HIGH]);

impl OriginDimensions for Cell {
    fn size(&self) -> FontSize {
        FontSize::new(WIDE as u32, HIGH as u32)
    }
}

impl DrawTarget for Cell {
    type Color = BinaryColor;
    type Error = std::convert::Infallible;

    fn draw_iter<I>(&mut self, pixels: I) -> Result<(), Self::Error>
    where
        I: IntoIterator<Item = Pixel<BinaryColor>>,
    {
        for Pixel(at, color) in pixels {
            let (x, y) = (at.x as usize, at.y as usize);
            if at.x >= 0 && at.y >= 0 && x < WIDE && y < HIGH {
                self.0[y * WIDE + x] = color.is_on();
            }
        }
        Ok(())
    }
}

impl Font {
    /// 10x20 pixels a glyph.
    pub fn small() -> Self {
        Self::new(1)
    }

    /// 20x40 pixels a glyph.
    pub fn large() -> Self {
        Self::new(2)
    }

    fn new(scale: usize) -> Self {
        let glyphs = (FIRST..=LAST).chain([DEGREE]).map(|glyph| render(glyph, scale)).collect();
        Self { scale, glyphs }
    }

    /// Pixels across that a text takes.
    pub fn width(&self, text: &str) -> i32 {
        (text.chars().count() * WIDE * self.scale) as i32
    }

    /// Pixels down that a line takes.
    pub fn height(&self) -> i32 {
        (HIGH * self.scale) as i32
    }

    /// Puts a line of text into a picture, its upper left corner at `(x, y)`. What the font does not
    /// have is left blank.
    pub fn draw(&self, picture: &mut Picture, text: &str, (x, y): (i32, i32), color: Color) {
        let wide = (WIDE * self.scale) as i32;
        for (index, glyph) in text.chars().enumerate() {
            let Some(cover) = self.glyph(glyph) else { continue };
            let left = x + index as i32 * wide;
            for (row, line) in (y..).zip(cover.chunks_exact(wide as usize)) {
                for (column, &cover) in (left..).zip(line) {
                    if cover > 0 {
                        picture.blend_pixel(column, row, color, u32::from(cover) + 1);
                    }
                }
            }
        }
    }

    fn glyph(&self, glyph: char) -> Option<&[u8]> {
        let index = match glyph {
            DEGREE => self.glyphs.len() - 1,
            FIRST..=LAST => glyph as usize - FIRST as usize,
            _ => return None,
        };
        self.glyphs.get(index).map(Vec::as_slice)
    }
}

fn render(glyph: char, scale: usize) -> Vec<u8> {
    let mut cell = Cell([false; WIDE * HIGH]);
    let style = MonoTextStyle::new(&FONT_10X20, BinaryColor::On);
    let mut buffer = [0; 4];
    let text = glyph.encode_utf8(&mut buffer);
    // Drawing into memory cannot fail.
    let _ = Text::with_baseline(text, Point::zero(), style, Baseline::Top).draw(&mut cell);
    let on = |x: i32, y: i32| {
        let inside = (0..WIDE as i32).contains(&x) && (0..HIGH as i32).contains(&y);
        inside && cell.0[y as usize * WIDE + x as usize]
    };
    let mut cover = Vec::with_capacity(WIDE * HIGH * scale * scale);
    for y in 0..(HIGH * scale) as i32 {
        for x in 0..(WIDE * scale) as i32 {
            let (cx, cy) = (x / scale as i32, y / scale as i32);
            let middle = on(cx, cy);
            // At twice the size, corners are rounded off where the two neighbours next to them agree,
            // as Scale2x does; half covered, so that slanted strokes look smooth.
            let (dx, dy) = (x % 2 * 2 - 1, y % 2 * 2 - 1);
            let near = [on(cx + dx, cy), on(cx, cy + dy)];
            let far = [on(cx - dx, cy), on(cx, cy - dy)];
            let corner = scale == 2 && near == [!middle; 2] && far != near;
            cover.push(match (middle, corner) {
                (_, true) => 128,
                (true, false) => 255,
                (false, false) => 0,
            });
        }
    }
    cover
}

/// A time of day in UTC, as it is burned into pictures: `HH:MM:SS.mmm`.
pub fn clock(unix_ms: u64) -> String {
    let (ms, seconds) = (unix_ms % 1_000, unix_ms / 1_000);
    let (s, m, h) = (seconds % 60, seconds / 60 % 60, seconds / 3_600 % 24);
    format!("{h:02}:{m:02}:{s:02}.{ms:03}")
}

#[cfg(test)]
mod tests {
    use openh264::formats::YUVSource;

    use super::*;
    use crate::media::picture::Size;

    #[test]
    fn the_clock_shows_the_time_of_day_in_utc() {
        // 2001-09-09T01:46:40Z is a well-known one.
        assert_eq!(clock(1_000_000_000_123), "01:46:40.123");
        assert_eq!(clock(0), "00:00:00.000");
        assert_eq!(clock(86_399_999), "23:59:59.999");
    }

    #[test]
    fn text_is_drawn_where_it_is_asked_for_and_cut_off_at_the_edges() {
        let font = Font::large();
        let mut picture = Picture::new(Size { width: 100, height: 60 });
        font.draw(&mut picture, "1\u{1f600}\u{b0}", (10, 10), Color::WHITE);
        let lit = |picture: &Picture, x: usize| (0..60).any(|y| picture.y()[y * 100 + x] > 128);
        assert!((10..30).any(|x| lit(&picture, x)), "the digit");
        assert!(!(30..50).any(|x| lit(&picture, x)), "what the font does not have is blank");
        assert!((50..70).any(|x| lit(&picture, x)), "the degree sign");
        for at in [(-30, -20), (95, 55), (1_000, 0), (0, -1_000)] {
            font.draw(&mut picture, "8888", at, Color::WHITE);
        }
        assert_eq!((font.width("abc"), font.height()), (60, 40));
    }
}
