//! The eye behind the rover: where things of the world land in the picture.
//!
//! World coordinates are metres, z up. The eye looks along a heading, tilted down a little, and never
//! rolls, so every row of the picture sees the ground at one distance.

/// A place in the world, in metres: east, north, up.
pub type World = [f32; 3];

/// A place seen from the eye, in metres: to the right, down, away.
pub type Seen = [f32; 3];

/// Nothing nearer than this is drawn, in metres.
pub const NEAR: f32 = 0.12;

/// An eye.
#[derive(Debug, Clone, Copy)]
pub struct Camera {
    /// Where it is.
    pub at: World,
    /// The direction on the ground it looks in, as a unit vector.
    pub forward: [f32; 2],
    /// How far it is tilted down: sine and cosine.
    tilt: (f32, f32),
    /// Pixels that a thing of 1 m takes at a distance of 1 m.
    pub focal: f32,
    /// The middle of the picture in pixels.
    middle: [f32; 2],
}

impl Camera {
    /// An eye at a place, looking along a heading (radians counter-clockwise from east), tilted down,
    /// with a horizontal field of view (radians) in a picture of so many pixels.
    pub fn new(at: World, heading: f32, tilt: f32, view: f32, width: usize, height: usize) -> Self {
        let middle = [width as f32 / 2.0, height as f32 / 2.0];
        Self {
            at,
            forward: [heading.cos(), heading.sin()],
            tilt: tilt.sin_cos(),
            focal: middle[0] / (view / 2.0).tan(),
            middle,
        }
    }

    /// How a place is seen.
    pub fn see(&self, place: World) -> Seen {
        let (dx, dy, dz) = (place[0] - self.at[0], place[1] - self.at[1], place[2] - self.at[2]);
        let [fx, fy] = self.forward;
        let (ahead, right) = (dx * fx + dy * fy, dx * fy - dy * fx);
        let (sin, cos) = self.tilt;
        [right, -dz * cos - ahead * sin, ahead * cos - dz * sin]
    }

    /// Where in the picture that is, in pixels. Only for what is further away than [`NEAR`].
    pub fn project(&self, seen: Seen) -> [f32; 2] {
        let scale = self.focal / seen[2];
        [self.middle[0] + seen[0] * scale, self.middle[1] + seen[1] * scale]
    }

    /// The row of the horizon, in pixels from the top; may lie outside the picture.
    pub fn horizon(&self) -> f32 {
        self.middle[1] - self.focal * self.tilt.0 / self.tilt.1
    }

    /// What a row sees of the ground: how far ahead in metres, and how many metres a pixel is wide
    /// there. `None` at and above the horizon.
    pub fn ground(&self, row: usize) -> Option<(f32, f32)> {
        let down = (row as f32 + 0.5 - self.middle[1]) / self.focal;
        let (sin, cos) = self.tilt;
        let falls = sin + down * cos;
        (falls > 1e-4).then(|| {
            let reach = self.at[2] / falls;
            (reach * (cos - down * sin), reach / self.focal)
        })
    }

    /// The heading that a column of the picture looks in, relative to the middle: radians to the
    /// right, near the horizon.
    pub fn bearing(&self, column: usize) -> f32 {
        ((column as f32 + 0.5 - self.middle[0]) / self.focal).atan()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_point_on_the_ground_is_seen_in_the_row_that_looks_at_it(
            heading in -3.1f32..3.1, row in 300usize..700, right in -3.0f32..3.0,
        ) {
            let camera = Camera::new([1.0, -2.0, 1.3], heading, 0.3, 1.2, 1280, 720);
            let (ahead, pixel) = camera.ground(row).unwrap();
            let [fx, fy] = camera.forward;
            let place = [1.0 + fx * ahead + fy * right, -2.0 + fy * ahead - fx * right, 0.0];
            let [x, y] = camera.project(camera.see(place));
            prop_assert!((y - row as f32 - 0.5).abs() < 0.1, "{y} {row}");
            prop_assert!((x - 640.0 - right / pixel).abs() < 0.5, "{x}");
        }
    }

    #[test]
    fn the_horizon_is_where_the_ground_ends() {
        let camera = Camera::new([0.0, 0.0, 1.0], 0.0, 0.25, 1.2, 1280, 720);
        let horizon = camera.horizon() as usize;
        assert!(camera.ground(horizon - 1).is_none());
        assert!(camera.ground(horizon + 1).is_some());
    }
}
