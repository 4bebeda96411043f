//! Paints the world, seen from behind the rover.

use super::owner::SimHandle;
use crate::media::{
    painted::{Painter, Stamp},
    picture::{Color, Picture, Size},
    text::{Font, clock},
};

/// Paints one world.
pub struct Renderer {
    world: SimHandle,
    font: Font,
}

impl Renderer {
    /// For pictures of a size.
    pub fn new(world: SimHandle, _size: Size) -> Self {
        Self { world, font: Font::large() }
    }
}

impl Painter for Renderer {
    fn paint(&mut self, picture: &mut Picture, stamp: Stamp) {
        let state = self.world.state();
        let Size { width, height } = picture.size();
        picture.blend_rect((0, 0), (width as i32, height as i32), Color::rgb(0x33_5533), 256);
        self.font.draw(picture, &clock(stamp.unix_ms), (20, 20), Color::WHITE);
        self.font.draw(picture, &format!("{:.2} m/s", state.speed), (20, 70), Color::WHITE);
    }
}
