//! Paints the world, seen from behind the rover.

use std::{collections::VecDeque, sync::Arc};

use super::{
    camera::{Camera, World},
    hud::Hud,
    owner::SimHandle,
    scenery::Scenery,
    solid::Canvas,
    things,
    world::{GOAL_RADIUS, Obstacle, Point, WorldState},
};
use crate::media::{
    painted::{Painter, Stamp},
    picture::{Picture, Size},
};

/// Metres behind the rover and above the ground.
const BEHIND: f32 = 2.35;
const ABOVE: f32 = 1.1;

/// Radians downwards, and the horizontal field of view.
const TILT: f32 = 0.21;
const VIEW: f32 = 1.2;

/// The eye swings after the rover: it makes up for most of a turn in this many seconds.
const SWING: f32 = 0.18;

/// The rover's tracks: metres from one mark to the next, and how many are kept.
const TRACK_STEP: f32 = 0.22;
const TRACKS: usize = 90;

/// Paints one world.
pub struct Renderer {
    world: SimHandle,
    size: Size,
    scenery: Scenery,
    hud: Hud,
    /// Where the eye looks.
    heading: Option<f32>,
    painted_at: f32,
    trail: VecDeque<[f32; 2]>,
    /// The obstacles that `shadows` belongs to.
    obstacles: Arc<[Obstacle]>,
    shadows: Vec<Vec<World>>,
    order: Vec<(f32, Thing)>,
}

#[derive(Debug, Clone, Copy)]
enum Thing {
    Obstacle(usize),
    Wall(usize),
    Goal,
    Rover,
}

impl Renderer {
    /// For pictures of a size.
    pub fn new(world: SimHandle, size: Size) -> Self {
        let camera = Camera::new([0.0; 3], 0.0, TILT, VIEW, size.width, size.height);
        Self {
            world,
            size,
            scenery: Scenery::new(size, &camera),
            hud: Hud::new(size),
            heading: None,
            painted_at: 0.0,
            trail: VecDeque::new(),
            obstacles: Arc::from([]),
            shadows: Vec::new(),
            order: Vec::new(),
        }
    }

    /// The eye for this picture.
    fn camera(&mut self, state: &WorldState, seconds: f32) -> Camera {
        let wanted = state.pose.heading as f32;
        let passed = (seconds - self.painted_at).max(0.0);
        let heading = self.heading.map_or(wanted, |heading| {
            let off = (wanted - heading + things::TURN / 2.0).rem_euclid(things::TURN)
                - things::TURN / 2.0;
            heading + off * (1.0 - (-passed / SWING).exp())
        });
        self.heading = Some(heading);
        self.painted_at = seconds;
        let (x, y) = (state.pose.x as f32, state.pose.y as f32);
        let at = [x - BEHIND * heading.cos(), y - BEHIND * heading.sin(), ABOVE];
        Camera::new(at, heading, TILT, VIEW, self.size.width, self.size.height)
    }

    fn remember(&mut self, state: &WorldState) {
        let here = [state.pose.x as f32, state.pose.y as f32];
        let moved = self.trail.back().map_or(f32::MAX, |last| distance(*last, here));
        if moved > 2.0 {
            self.trail.clear(); // The world began anew.
        }
        if moved > TRACK_STEP {
            self.trail.push_back(here);
            if self.trail.len() > TRACKS {
                self.trail.pop_front();
            }
        }
        if !Arc::ptr_eq(&self.obstacles, &state.obstacles) {
            self.obstacles = state.obstacles.clone();
            self.shadows = self.obstacles.iter().map(things::obstacle_shadow).collect();
        }
    }

    /// Everything that stands, from the furthest to the nearest.
    fn sort(&mut self, state: &WorldState, camera: &Camera) {
        let away = |[x, y]: [f32; 2]| camera.see([x, y, 0.0])[2];
        let half = state.half_size as f32;
        self.order.clear();
        for (index, obstacle) in state.obstacles.iter().enumerate() {
            let (Obstacle::Box { at, .. } | Obstacle::Pillar { at, .. }) = obstacle;
            self.order.push((away(flat(*at)), Thing::Obstacle(index)));
        }
        for index in 0..things::WALLS {
            // Walls stand behind everything inside them.
            self.order.push((away(things::wall_middle(index, half)) + 1.0, Thing::Wall(index)));
        }
        self.order.push((away(flat(state.goal)), Thing::Goal));
        self.order.push((away(flat(state.pose.point())), Thing::Rover));
        self.order.sort_by(|a, b| b.0.total_cmp(&a.0));
    }
}

impl Painter for Renderer {
    fn paint(&mut self, picture: &mut Picture, stamp: Stamp) {
        let state = self.world.state();
        let seconds = stamp.elapsed.as_secs_f32();
        let camera = self.camera(&state, seconds);
        self.remember(&state);
        self.sort(&state, &camera);
        self.scenery.paint(picture, &camera);

        let mut canvas = Canvas::new(picture, camera);
        let goal = flat(state.goal);
        things::goal_ring(&mut canvas, goal, GOAL_RADIUS as f32, seconds);
        let (older, newer) = self.trail.as_slices();
        let joint = older.last().copied().into_iter().chain(newer.first().copied());
        let joint: Vec<_> = joint.collect();
        for piece in older.windows(2).chain(joint.windows(2)).chain(newer.windows(2)) {
            things::track(&mut canvas, piece[0], piece[1]);
        }
        for shadow in &self.shadows {
            things::paint_shadow(&mut canvas, shadow);
        }
        things::rover_shadow(&mut canvas, &state);
        for &(_, thing) in &self.order {
            match thing {
                Thing::Obstacle(index) => {
                    let obstacle = &state.obstacles[index];
                    let share = if hides(obstacle, &camera, &state) { 90 } else { 256 };
                    things::obstacle(&mut canvas, index, obstacle, share);
                }
                Thing::Wall(index) => things::wall(&mut canvas, index, state.half_size as f32),
                Thing::Goal => things::goal(&mut canvas, goal, seconds),
                Thing::Rover => things::rover(&mut canvas, &state, seconds),
            }
        }
        let trail = self.trail.make_contiguous();
        self.hud.paint(picture, &state, stamp.unix_ms, trail);
    }
}

/// Whether an obstacle stands between the eye and the rover.
fn hides(obstacle: &Obstacle, camera: &Camera, state: &WorldState) -> bool {
    let (eye, rover) = ([camera.at[0], camera.at[1]], state.pose.point());
    (0..6).any(|step| {
        let share = f64::from(step) / 6.0;
        let x = f64::from(eye[0]) + (rover.x - f64::from(eye[0])) * share;
        let y = f64::from(eye[1]) + (rover.y - f64::from(eye[1])) * share;
        obstacle.distance(Point { x, y }) < 0.3
    })
}

fn flat(point: Point) -> [f32; 2] {
    [point.x as f32, point.y as f32]
}

fn distance(a: [f32; 2], b: [f32; 2]) -> f32 {
    (a[0] - b[0]).hypot(a[1] - b[1])
}

#[cfg(test)]
#[path = "render_tests.rs"]
mod tests;
