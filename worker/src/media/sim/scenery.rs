//! Ground and sky: the parts of the picture that take most of its pixels, so the tight loops.
//!
//! Without roll, each row of the ground is at one distance: its haze, its level of detail and the step
//! from pixel to pixel are the same all along. The sky is one colour per row, with a skyline that
//! depends on the bearing alone.

use std::f32::consts::TAU;

use super::{
    camera::Camera,
    solid::{HAZE, haze},
};
use crate::media::picture::{Color, Picture, Size, lerp};

/// Metres of ground that the texture shows before it repeats.
const TILE_METRES: f32 = 4.0;

/// Pixels along a side of the texture; each level of detail has half.
const TILE: usize = 1_024;

const LEVELS: usize = 9;

const GROUND: Color = Color::rgb(0xBF_A57C);
const ZENITH: Color = Color::rgb(0x4F_86B8);
const FAR_HILLS: Color = Color::rgb(0xB9_A9A8);
const NEAR_HILLS: Color = Color::rgb(0x98_8886);

/// Steps of the bearing in a full turn of the skyline.
const BEARINGS: usize = 4_096;

/// What does not change from picture to picture.
pub struct Scenery {
    /// Luma of the ground, level after level.
    levels: Vec<Vec<u8>>,
    /// Heights of the hills over the horizon by bearing, in pixels: the far ones, the near ones.
    skyline: [Vec<u16>; 2],
    /// Bearing of each column to the right of the middle, in steps.
    columns: Vec<i32>,
    /// Hill heights of this picture's columns.
    tops: [Vec<u16>; 2],
}

impl Scenery {
    /// For pictures of a size, seen by such an eye.
    pub fn new(size: Size, camera: &Camera) -> Self {
        let columns = (0..size.width)
            .map(|column| (camera.bearing(column) / TAU * BEARINGS as f32).round() as i32)
            .collect();
        let tall = size.height as f32 / 720.0;
        let skyline = [skyline(3, 34.0 * tall, 46.0 * tall), skyline(11, 12.0 * tall, 26.0 * tall)];
        let tops = [vec![0; size.width], vec![0; size.width]];
        Self { levels: texture(), skyline, columns, tops }
    }

    /// Paints everything behind the things.
    pub fn paint(&mut self, picture: &mut Picture, camera: &Camera) {
        let Size { width, height } = picture.size();
        let horizon = (camera.horizon().round().max(0.0) as usize).min(height);
        self.find_skyline(camera);
        let tallest = self.tops.iter().flatten().copied().max().unwrap_or(0) as usize;
        let mut hills = vec![0u8; width];
        for row in 0..horizon {
            let share = (row * 256 / horizon.max(1)) as u32;
            // Squared, so that the blue stays above and the haze near the ground.
            let sky = ZENITH.mix(HAZE, (share * share) >> 8);
            let over = horizon - row;
            if over > tallest {
                fill_row(picture, row, sky);
            } else {
                self.skyline_row(picture, row, over, sky, &mut hills);
            }
        }
        for row in horizon..height {
            match camera.ground(row) {
                Some((ahead, pixel)) => self.ground_row(picture, row, camera, ahead, pixel),
                None => fill_row(picture, row, HAZE),
            }
        }
    }

    fn find_skyline(&mut self, camera: &Camera) {
        let heading = camera.forward[1].atan2(camera.forward[0]);
        let middle = (-heading / TAU * BEARINGS as f32).round() as i32;
        for (tops, skyline) in self.tops.iter_mut().zip(&self.skyline) {
            for (top, column) in tops.iter_mut().zip(&self.columns) {
                *top = skyline[(middle + column).rem_euclid(BEARINGS as i32) as usize];
            }
        }
    }

    /// A row of sky with hills in it; `over` is its height over the horizon.
    fn skyline_row(
        &self,
        picture: &mut Picture,
        row: usize,
        over: usize,
        sky: Color,
        hills: &mut [u8],
    ) {
        let width = picture.size().width;
        let fade = (256 - over.min(60) * 3) as u32;
        let colors = [sky, FAR_HILLS.mix(HAZE, fade * 3 / 4), NEAR_HILLS.mix(HAZE, fade * 3 / 5)];
        let over = over as u16;
        let [far, near] = &self.tops;
        for ((hill, far), near) in hills.iter_mut().zip(far).zip(near) {
            *hill = if *near >= over { 2 } else { u8::from(*far >= over) };
        }
        let (y, u, v) = picture.planes();
        for (luma, hill) in y[row * width..(row + 1) * width].iter_mut().zip(&*hills) {
            *luma = colors[usize::from(*hill)].y;
        }
        if row & 1 == 0 {
            let half = row / 2 * (width / 2)..(row / 2 + 1) * (width / 2);
            let pairs = u[half.clone()].iter_mut().zip(&mut v[half]);
            for ((u, v), hill) in pairs.zip(hills.iter().step_by(2)) {
                let color = colors[usize::from(*hill)];
                (*u, *v) = (color.u, color.v);
            }
        }
    }

    fn ground_row(
        &self,
        picture: &mut Picture,
        row: usize,
        camera: &Camera,
        ahead: f32,
        pixel: f32,
    ) {
        let width = picture.size().width;
        let hazy = haze(ahead);
        // Between the two directions: a pixel sees far more ground in depth than across.
        let depth = pixel * ahead.max(0.1) / camera.at[2];
        let texel = TILE_METRES / TILE as f32;
        let detail = ((pixel * depth).sqrt() / texel).log2();
        let level = (detail.round().max(0.0) as usize).min(LEVELS - 1);
        let side = TILE >> level;
        let (mask, shift) = (side as u32 - 1, side.trailing_zeros());
        // In 1/65536 of this level's pixels; whole tiles wrap away.
        let scale = side as f32 / TILE_METRES;
        let [fx, fy] = camera.forward;
        let fixed = |metres: f32| (f64::from(metres * scale) * 65_536.0) as i64 as u32;
        let left = -(width as f32) / 2.0 * pixel;
        let mut east = fixed(wrapped(camera.at[0] + fx * ahead + fy * left));
        let mut north = fixed(wrapped(camera.at[1] + fy * ahead - fx * left));
        let (step_east, step_north) = (fixed(fy * pixel), fixed(-fx * pixel));
        let texture = &self.levels[level][..side * side];
        let (keep, add) = (256 - hazy, u32::from(HAZE.y) * hazy);
        let (y, u, v) = picture.planes();
        for luma in &mut y[row * width..(row + 1) * width] {
            let index = (((north >> 16) & mask) << shift) + ((east >> 16) & mask);
            *luma = ((u32::from(texture[index as usize]) * keep + add) >> 8) as u8;
            east = east.wrapping_add(step_east);
            north = north.wrapping_add(step_north);
        }
        if row & 1 == 0 {
            let half = row / 2 * (width / 2)..(row / 2 + 1) * (width / 2);
            u[half.clone()].fill(lerp(GROUND.u, HAZE.u, hazy));
            v[half].fill(lerp(GROUND.v, HAZE.v, hazy));
        }
    }
}

fn fill_row(picture: &mut Picture, row: usize, color: Color) {
    let width = picture.size().width;
    picture.blend_span(row, 0, width, color, 256);
}

/// The same place in the first tile.
fn wrapped(metres: f32) -> f32 {
    metres.rem_euclid(TILE_METRES)
}

/// A number from 0 to 1 that looks random, the same for the same place.
fn noise(x: usize, y: usize, salt: u32) -> f32 {
    let mut bits = (x as u32).wrapping_mul(0x9E37_79B9) ^ (y as u32).wrapping_mul(0x85EB_CA6B);
    bits = (bits ^ salt.wrapping_mul(0xC2B2_AE35)).wrapping_mul(0x27D4_EB2F);
    bits = (bits ^ (bits >> 15)).wrapping_mul(0x2C1B_3C6D);
    (bits ^ (bits >> 13)) as f32 / u32::MAX as f32
}

/// Soft hills and dips, `cells` of them along a side, wrapping around.
fn soft(x: f32, y: f32, cells: usize, salt: u32) -> f32 {
    let (x, y) = (x * cells as f32, y * cells as f32);
    let (cx, cy) = (x.floor(), y.floor());
    let ease = |t: f32| t * t * (3.0 - 2.0 * t);
    let (tx, ty) = (ease(x - cx), ease(y - cy));
    let at =
        |dx: usize, dy: usize| noise((cx as usize + dx) % cells, (cy as usize + dy) % cells, salt);
    let low = at(0, 0) + (at(1, 0) - at(0, 0)) * tx;
    let high = at(0, 1) + (at(1, 1) - at(0, 1)) * tx;
    low + (high - low) * ty
}

/// Sand with a grid of lines, a metre apart and a stronger one every four.
fn texture() -> Vec<Vec<u8>> {
    let mut finest = vec![0u8; TILE * TILE];
    for y in 0..TILE {
        for x in 0..TILE {
            let (tx, ty) = (x as f32 / TILE as f32, y as f32 / TILE as f32);
            let sand = 14.0 * (soft(tx, ty, 5, 1) - 0.5)
                + 12.0 * (soft(tx, ty, 17, 2) - 0.5)
                + 10.0 * (soft(tx, ty, 67, 3) - 0.5)
                + 7.0 * (noise(x, y, 4) - 0.5);
            let line = grid_line(x).max(grid_line(y));
            let checker = if (x / 256 + y / 256) % 2 == 0 { 4.0 } else { -4.0 };
            finest[y * TILE + x] = (f32::from(GROUND.y) + sand + checker + line) as u8;
        }
    }
    let mut levels = vec![finest];
    for level in 1..LEVELS {
        let (side, above) = (TILE >> level, &levels[level - 1]);
        let mut smaller = Vec::with_capacity(side * side);
        for y in 0..side {
            for x in 0..side {
                let at =
                    |dx: usize, dy: usize| u32::from(above[(y * 2 + dy) * side * 2 + x * 2 + dx]);
                smaller.push(((at(0, 0) + at(1, 0) + at(0, 1) + at(1, 1) + 2) / 4) as u8);
            }
        }
        levels.push(smaller);
    }
    levels
}

/// How much lighter a line makes the ground, by the distance from it.
fn grid_line(at: usize) -> f32 {
    let metre = TILE / TILE_METRES as usize;
    let off = at % metre;
    let off = off.min(metre - off) as f32;
    let (half, light) =
        if at < metre / 2 || at > TILE - metre / 2 { (6.0, 46.0) } else { (3.5, 30.0) };
    light * (1.0 - (off - half).max(0.0) / 2.0).clamp(0.0, 1.0)
}

/// Hills all around, from `low` to `low + high` pixels, without a seam.
fn skyline(salt: u32, low: f32, high: f32) -> Vec<u16> {
    let wave = |t: f32, cells: usize| soft(t, 0.0, cells, salt + cells as u32);
    (0..BEARINGS)
        .map(|step| {
            let t = step as f32 / BEARINGS as f32;
            let shape = 0.6 * wave(t, 14) + 0.28 * wave(t, 41) + 0.12 * wave(t, 127);
            (low + high * shape) as u16
        })
        .collect()
}
