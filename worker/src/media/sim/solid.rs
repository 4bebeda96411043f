//! Solid things, drawn face by face: lit by one sun, hazy in the distance.

use super::{
    camera::{Camera, NEAR, Seen, World},
    raster::{Fill, polygon},
};
use crate::media::picture::{Color, Picture};

/// Where the light comes from, as a unit vector: south-west, rather high.
const SUN: World = [-0.44, -0.40, 0.804];

/// Light where the sun does not reach.
const SHADE: f32 = 0.58;

/// What the air looks like.
pub const HAZE: Color = Color::rgb(0xE9_D8BE);

/// How far one sees, in metres: there, nearly all is haze.
const SIGHT: f32 = 34.0;

/// How hazy something is at a distance in metres, 0 to 256.
pub fn haze(distance: f32) -> u32 {
    let clear = (-distance.max(0.0) / SIGHT * 1.6).exp();
    ((1.0 - clear) * 256.0) as u32
}

/// A picture in the making, and the eye it is seen by.
pub struct Canvas<'a> {
    /// The picture.
    pub picture: &'a mut Picture,
    /// The eye.
    pub camera: Camera,
    seen: Vec<Seen>,
    points: Vec<[f32; 2]>,
}

/// How a face looks.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// In full light.
    pub color: Color,
    /// How much of what is behind is covered: 256 is all.
    pub share: u32,
    /// Darker towards the ground.
    pub grounded: bool,
}

impl Look {
    /// Covers all, evenly lit.
    pub fn plain(color: Color) -> Self {
        Self { color, share: 256, grounded: false }
    }

    /// Another colour.
    #[must_use]
    pub fn with(self, color: Color) -> Self {
        Self { color, ..self }
    }
}

impl<'a> Canvas<'a> {
    /// Draws into a picture.
    pub fn new(picture: &'a mut Picture, camera: Camera) -> Self {
        Self { picture, camera, seen: Vec::with_capacity(32), points: Vec::with_capacity(32) }
    }

    /// A flat convex face, seen from both sides, as it is: neither lit nor hazy.
    pub fn flat(&mut self, corners: &[World], color: Color, share: u32) {
        if self.place(corners) {
            polygon(self.picture, &self.points, Fill::clear(color, share));
        }
    }

    /// A flat mark on the ground: hazy, but not lit.
    pub fn mark(&mut self, corners: &[World], color: Color, share: u32) {
        if self.place(corners) {
            let away = self.seen.iter().map(|seen| seen[2]).sum::<f32>() / self.seen.len() as f32;
            // What the haze hides of the mark shows the ground, which is hazy by itself.
            let share = (share * (256 - haze(away))) >> 8;
            polygon(self.picture, &self.points, Fill::clear(color, share));
        }
    }

    /// A flat convex face of a solid thing: its corners counter-clockwise as seen from outside. Not
    /// drawn when it looks away.
    pub fn face(&mut self, corners: &[World], look: Look) {
        let Some(corner) = corners.first() else { return };
        let normal = normal(corners);
        if dot(normal, minus(self.camera.at, *corner)) <= 0.0 || !self.place(corners) {
            return;
        }
        let length = dot(normal, normal).sqrt();
        let sun = (dot(normal, SUN) / length).max(0.0);
        let light = SHADE + (1.06 - SHADE) * sun;
        let away = self.seen.iter().map(|seen| seen[2]).sum::<f32>() / self.seen.len() as f32;
        let hazy = haze(away);
        let lit = |light: f32| look.color.lit(light).mix(HAZE, hazy);
        let low = if look.grounded { light * 0.72 } else { light };
        let fill = Fill { top: lit(light), bottom: lit(low), share: look.share };
        polygon(self.picture, &self.points, fill);
    }

    /// A box: the middle of its bottom, half its length and width along its own axes, its height.
    pub fn block(&mut self, frame: Frame, half: [f32; 2], height: f32, look: Look) {
        let [hx, hy] = half;
        let bottom = [[hx, hy], [-hx, hy], [-hx, -hy], [hx, -hy]];
        self.prism(frame, &bottom, &bottom, height, look, look);
    }

    /// A prism standing on its outline (counter-clockwise from above), or a stump if its top differs.
    pub fn prism(
        &mut self,
        frame: Frame,
        bottom: &[[f32; 2]],
        top: &[[f32; 2]],
        height: f32,
        side: Look,
        lid: Look,
    ) {
        for index in 0..bottom.len() {
            let next = (index + 1) % bottom.len();
            let corner = |outline: &[[f32; 2]], index: usize, z: f32| {
                let [x, y] = outline[index];
                frame.place([x, y, z])
            };
            let face = [
                corner(bottom, index, 0.0),
                corner(bottom, next, 0.0),
                corner(top, next, height),
                corner(top, index, height),
            ];
            self.face(&face, side);
        }
        let mut corners = [[0.0; 3]; MAX_CORNERS];
        let count = top.len().min(MAX_CORNERS);
        for (corner, [x, y]) in corners.iter_mut().zip(top) {
            *corner = frame.place([*x, *y, height]);
        }
        self.face(&corners[..count], lid);
    }

    /// A wheel: its middle, its radius and half its width; its axle points to the side of the frame.
    pub fn wheel(&mut self, frame: Frame, radius: f32, half: f32, tyre: Look, hub: Look) {
        const SIDES: usize = 14;
        let rim = |index: usize, side: f32| {
            let (sin, cos) = (index as f32 / SIDES as f32 * std::f32::consts::TAU).sin_cos();
            frame.place([radius * cos, side, radius * sin])
        };
        for index in 0..SIDES {
            let face =
                [rim(index, half), rim(index + 1, half), rim(index + 1, -half), rim(index, -half)];
            self.face(&face, tyre);
        }
        for side in [half, -half] {
            for (size, look) in [(1.0, tyre), (0.5, hub)] {
                let mut corners = [[0.0; 3]; SIDES];
                for (index, corner) in corners.iter_mut().enumerate() {
                    // Counter-clockwise as seen from that side.
                    let turn = if side > 0.0 { SIDES - index } else { index } as f32;
                    let (sin, cos) = (turn / SIDES as f32 * std::f32::consts::TAU).sin_cos();
                    *corner = frame.place([radius * size * cos, side, radius * size * sin]);
                }
                self.face(&corners, look);
            }
        }
    }

    /// Puts corners into the picture, cut off at [`NEAR`]. Says whether anything is left.
    fn place(&mut self, corners: &[World]) -> bool {
        self.seen.clear();
        self.points.clear();
        let Some(last) = corners.last() else { return false };
        let mut from = self.camera.see(*last);
        for corner in corners {
            let to = self.camera.see(*corner);
            if (from[2] < NEAR) != (to[2] < NEAR) {
                let share = (NEAR - from[2]) / (to[2] - from[2]);
                self.seen.push([0, 1, 2].map(|axis| from[axis] + (to[axis] - from[axis]) * share));
            }
            if to[2] >= NEAR {
                self.seen.push(to);
            }
            from = to;
        }
        for seen in &mut self.seen {
            seen[2] = seen[2].max(NEAR);
            self.points.push(self.camera.project(*seen));
        }
        self.points.len() >= 3
    }
}

/// Most corners of a prism's lid.
const MAX_CORNERS: usize = 24;

/// Where a thing's own coordinates lie in the world: it stands upright and is turned.
#[derive(Debug, Clone, Copy)]
pub struct Frame {
    origin: World,
    /// Cosine and sine of its heading.
    turn: [f32; 2],
}

impl Frame {
    /// At a place, turned by a heading (radians counter-clockwise).
    pub fn new(origin: World, heading: f32) -> Self {
        Self { origin, turn: [heading.cos(), heading.sin()] }
    }

    /// The same, with its origin elsewhere in its own coordinates.
    #[must_use]
    pub fn at(self, offset: World) -> Self {
        Self { origin: self.place(offset), ..self }
    }

    /// Where a place in its own coordinates is in the world.
    pub fn place(&self, [x, y, z]: World) -> World {
        let [cos, sin] = self.turn;
        [self.origin[0] + x * cos - y * sin, self.origin[1] + x * sin + y * cos, self.origin[2] + z]
    }
}

/// The corners of a regular outline, counter-clockwise.
pub fn ring<const N: usize>(radius: f32) -> [[f32; 2]; N] {
    std::array::from_fn(|index| {
        let (sin, cos) = (index as f32 / N as f32 * std::f32::consts::TAU).sin_cos();
        [radius * cos, radius * sin]
    })
}

/// Where the shadow of a place falls on the ground.
pub fn shadow([x, y, z]: World) -> [f32; 2] {
    [x - SUN[0] / SUN[2] * z, y - SUN[1] / SUN[2] * z]
}

/// Which way a face looks, by Newell's method: corners that fall together do no harm.
fn normal(corners: &[World]) -> World {
    let following = corners.iter().cycle().skip(1);
    corners.iter().zip(following).fold([0.0; 3], |sum, (a, b)| {
        let turn = cross(*a, *b);
        [sum[0] + turn[0], sum[1] + turn[1], sum[2] + turn[2]]
    })
}

fn minus(a: World, b: World) -> World {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

fn dot(a: World, b: World) -> f32 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

fn cross(a: World, b: World) -> World {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}
