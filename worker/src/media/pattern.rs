//! A moving test card: colour bars, a ramp, a bar that crosses the picture once in two seconds, and
//! the clock.

use super::{
    painted::{PaintedSource, Painter, Stamp},
    picture::{Color, Picture, Size},
    rendition::Renditions,
    source::Source,
    text::{Font, clock},
};

/// The name of the picture.
pub const NAME: &str = "pattern";

/// The bars of a 75 % test card, in their order.
const BARS: [u32; 7] =
    [0xBF_BFBF, 0xBF_BF00, 0x00_BFBF, 0x00_BF00, 0xBF_00BF, 0xBF_0000, 0x00_00BF];

/// The test card in these renditions.
pub fn source(renditions: &Renditions) -> impl Source + use<> {
    PaintedSource::new(NAME, |size| Box::new(Pattern::new(size))).in_renditions(renditions)
}

/// Paints the test card.
pub struct Pattern {
    card: Picture,
    font: Font,
}

impl Pattern {
    /// A test card of a size.
    pub fn new(size: Size) -> Self {
        let mut card = Picture::new(size);
        let Size { width, height } = card.size();
        let (width, height) = (width as i32, height as i32);
        for (index, bar) in BARS.into_iter().enumerate() {
            let (from, to) = (width * index as i32 / 7, width * (index as i32 + 1) / 7);
            card.blend_rect((from, 0), (to - from, height * 3 / 4), Color::rgb(bar), 256);
        }
        for x in (0..width).step_by(2) {
            let grey = Color { y: (16 + x * 219 / width) as u8, ..Color::BLACK };
            card.blend_rect((x, height * 3 / 4), (2, height - height * 3 / 4), grey, 256);
        }
        Self { card, font: Font::large() }
    }
}

impl Painter for Pattern {
    fn paint(&mut self, picture: &mut Picture, stamp: Stamp) {
        picture.copy_from(&self.card);
        let Size { width, height } = picture.size();
        let (width, height) = (width as i32, height as i32);
        let x = (stamp.elapsed.as_millis() % 2_000) as i32 * width / 2_000;
        picture.blend_rect((x, 0), (width / 40, height), Color::WHITE, 256);
        let text = clock(stamp.unix_ms);
        let (wide, high) = (self.font.width(&text), self.font.height());
        let at = ((width - wide) / 2, height / 2 - high);
        picture.blend_rect((at.0 - 12, at.1 - 8), (wide + 24, high + 16), Color::BLACK, 200);
        self.font.draw(picture, &text, at, Color::WHITE);
    }
}
