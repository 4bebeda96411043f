//! What stands in the world and how it looks: crates, pillars, walls, the goal, the rover.

use std::f32::consts::TAU;

use super::{
    camera::World,
    hud,
    raster::hull,
    solid::{Canvas, Frame, Look, ring, shadow},
    world::{Obstacle, WorldState},
};
use crate::media::picture::Color;

const CRATES: [u32; 5] = [0x2F_7C86, 0xB4_533A, 0x3C_5A86, 0xC8_9432, 0x6C_7B4A];
const BANDS: [u32; 2] = [0xE8_E4DA, 0xD8_5A2B];
const WALL: Color = Color::rgb(0x9A_8C80);
const SHADOW: Color = Color::rgb(0x4A_3C2E);
const SHADOW_SHARE: u32 = 110;

const BODY: Color = Color::rgb(0xEF_EEEA);
const TRIM: Color = Color::rgb(0xF0_7B26);
const TYRE: Color = Color::rgb(0x2C_2D31);
const HUB: Color = Color::rgb(0xA8_ACB2);
const PANEL: Color = Color::rgb(0x1E_3A66);
const PANEL_EDGE: Color = Color::rgb(0x5E_86B8);
const GLASS: Color = Color::rgb(0x18_1C22);
const TAIL: Color = Color::rgb(0x8E_1E1E);
const BRAKE: Color = Color::rgb(0xFF_3A2E);

/// Metres from a wall to where its top ends, outwards.
const WALL_THICK: f32 = 0.35;
const WALL_HIGH: f32 = 0.55;
/// Each wall is drawn in so many pieces, so that each has its own haze.
const WALL_PIECES: usize = 14;

/// The shadow of an obstacle on the ground. It never changes.
pub fn obstacle_shadow(obstacle: &Obstacle) -> Vec<World> {
    let (at, outline, height) = match *obstacle {
        Obstacle::Box { at, half, height } => {
            let (hx, hy) = (half.0 as f32, half.1 as f32);
            (at, vec![[hx, hy], [-hx, hy], [-hx, -hy], [hx, -hy]], height)
        }
        Obstacle::Pillar { at, radius, height } => (at, ring::<12>(radius as f32).to_vec(), height),
    };
    let mut points = Vec::with_capacity(outline.len() * 2);
    for [x, y] in outline {
        let (x, y) = (at.x as f32 + x, at.y as f32 + y);
        points.push([x, y]);
        points.push(shadow([x, y, height as f32]));
    }
    hull(points).into_iter().map(|[x, y]| [x, y, 0.0]).collect()
}

/// Darkens the ground there.
pub fn paint_shadow(canvas: &mut Canvas<'_>, outline: &[World]) {
    canvas.mark(outline, SHADOW, SHADOW_SHARE);
}

/// One of the obstacles; `share` of 256 covers what is behind it.
pub fn obstacle(canvas: &mut Canvas<'_>, index: usize, obstacle: &Obstacle, share: u32) {
    let look = |hex: u32| Look { color: Color::rgb(hex), share, grounded: true };
    match *obstacle {
        Obstacle::Box { at, half, height } => {
            let frame = Frame::new([at.x as f32, at.y as f32, 0.0], 0.0);
            let half = [half.0 as f32, half.1 as f32];
            let (height, look) = (height as f32, look(CRATES[index % CRATES.len()]));
            canvas.block(frame, half, height, look);
            panels(canvas, frame, half, height, look);
        }
        Obstacle::Pillar { at, radius, height } => {
            const PIECES: usize = 5;
            let outline = ring::<16>(radius as f32);
            let piece = height as f32 / PIECES as f32;
            for band in 0..PIECES {
                let frame = Frame::new([at.x as f32, at.y as f32, piece * band as f32], 0.0);
                let side = Look { grounded: band == 0, ..look(BANDS[band % 2]) };
                canvas.prism(frame, &outline, &outline, piece, side, look(BANDS[0]));
            }
        }
    }
}

/// The recessed panels of a crate's sides and lid.
fn panels(canvas: &mut Canvas<'_>, frame: Frame, [hx, hy]: [f32; 2], height: f32, look: Look) {
    let inner = look.with(look.color.lit(0.82));
    let edge = 0.09f32.min(height * 0.2);
    let (low, high) = (edge, height - edge);
    // Just outside the faces they lie on, so that they are not hidden by them.
    let (ox, oy) = (hx + 0.002, hy + 0.002);
    let (ix, iy) = (hx - edge, hy - edge);
    let sides: [[World; 4]; 5] = [
        [[ox, -iy, low], [ox, iy, low], [ox, iy, high], [ox, -iy, high]],
        [[-ox, iy, low], [-ox, -iy, low], [-ox, -iy, high], [-ox, iy, high]],
        [[ix, oy, low], [-ix, oy, low], [-ix, oy, high], [ix, oy, high]],
        [[-ix, -oy, low], [ix, -oy, low], [ix, -oy, high], [-ix, -oy, high]],
        [
            [ix, iy, height + 0.002],
            [-ix, iy, height + 0.002],
            [-ix, -iy, height + 0.002],
            [ix, -iy, height + 0.002],
        ],
    ];
    for side in sides {
        canvas.face(&side.map(|corner| frame.place(corner)), inner);
    }
}

/// How many pieces the walls have, all four together.
pub const WALLS: usize = 4 * WALL_PIECES;

/// The middle of a piece of wall on the ground.
pub fn wall_middle(index: usize, half_size: f32) -> [f32; 2] {
    let [a, b] = wall_ends(index, half_size);
    [f32::midpoint(a[0], b[0]), f32::midpoint(a[1], b[1])]
}

/// A piece of wall: its inner side and its top.
pub fn wall(canvas: &mut Canvas<'_>, index: usize, half_size: f32) {
    let [a, b] = wall_ends(index, half_size);
    let out = |[x, y]: [f32; 2]| {
        let grow = (half_size + WALL_THICK) / half_size;
        if x.abs() > y.abs() { [x * grow, y] } else { [x, y * grow] }
    };
    let (c, d) = (out(b), out(a));
    let tone = if index.is_multiple_of(2) { 1.0 } else { 0.94 };
    let look = Look { color: WALL.lit(tone), share: 256, grounded: true };
    let up = |[x, y]: [f32; 2]| [x, y, WALL_HIGH];
    canvas.face(&[[a[0], a[1], 0.0], [b[0], b[1], 0.0], up(b), up(a)], look);
    let top = Look { grounded: false, ..look.with(WALL.lit(1.15)) };
    canvas.face(&[up(a), up(b), up(c), up(d)], top);
}

/// The two ends of a piece on the inner side, the left one first as seen from inside.
fn wall_ends(index: usize, half_size: f32) -> [[f32; 2]; 2] {
    let (side, piece) = (index / WALL_PIECES, index % WALL_PIECES);
    let along = |step: usize| (step as f32 / WALL_PIECES as f32 * 2.0 - 1.0) * half_size;
    let (from, to) = (along(piece), along(piece + 1));
    // Clockwise around the square, so that the inside is to the right of each piece.
    match side {
        0 => [[from, half_size], [to, half_size]],
        1 => [[half_size, -from], [half_size, -to]],
        2 => [[-from, -half_size], [-to, -half_size]],
        _ => [[-half_size, from], [-half_size, to]],
    }
}

/// A ring on the ground.
pub fn goal_ring(canvas: &mut Canvas<'_>, [x, y]: [f32; 2], radius: f32, seconds: f32) {
    const PIECES: usize = 28;
    let pulse = 0.5 + 0.5 * (seconds * 3.0).sin();
    let disc: Vec<World> =
        ring::<PIECES>(radius).iter().map(|p| [x + p[0], y + p[1], 0.0]).collect();
    canvas.mark(&disc, hud::GOAL, 60 + (pulse * 40.0) as u32);
    let (inner, outer) = (ring::<PIECES>(radius * 0.86), ring::<PIECES>(radius));
    for index in 0..PIECES {
        let next = (index + 1) % PIECES;
        let corners = [inner[index], outer[index], outer[next], inner[next]];
        canvas.mark(&corners.map(|p| [x + p[0], y + p[1], 0.0]), hud::GOAL, 240);
    }
}

/// The beam over the goal, and a crystal that turns in it.
pub fn goal(canvas: &mut Canvas<'_>, [x, y]: [f32; 2], seconds: f32) {
    let [fx, fy] = canvas.camera.forward;
    for (half, share) in [(0.32, 44), (0.16, 70), (0.05, 120)] {
        let side = |way: f32, z: f32| [x + fy * half * way, y - fx * half * way, z];
        let beam = [side(-1.0, 0.0), side(1.0, 0.0), side(1.0, 5.5), side(-1.0, 5.5)];
        canvas.flat(&beam, hud::GOAL.mix(Color::WHITE, 90), share);
    }
    let bob = 1.15 + 0.08 * (seconds * 2.0).sin();
    let frame = Frame::new([x, y, bob], seconds * 1.2);
    let look = Look::plain(hud::GOAL);
    let (waist, tip) = (ring::<4>(0.24), [[0.0; 2]; 4]);
    canvas.prism(frame.at([0.0, 0.0, -0.34]), &tip, &waist, 0.34, look, look);
    canvas.prism(frame, &waist, &tip, 0.34, look, look);
}

/// The shadow of the rover.
pub fn rover_shadow(canvas: &mut Canvas<'_>, state: &WorldState) {
    let frame = rover_frame(state);
    let mut points = Vec::new();
    for [x, y] in [[0.33, 0.27], [-0.33, 0.27], [-0.33, -0.27], [0.33, -0.27]] {
        for z in [0.02, 0.3] {
            points.push(shadow(frame.place([x, y, z])));
        }
    }
    let outline: Vec<World> = hull(points).into_iter().map(|[x, y]| [x, y, 0.0]).collect();
    canvas.mark(&outline, SHADOW, 150);
}

/// The rover. Its parts are convex and drawn from the furthest to the nearest.
pub fn rover(canvas: &mut Canvas<'_>, state: &WorldState, seconds: f32) {
    let frame = rover_frame(state);
    let mut parts: [(World, Part); 11] = [
        ([0.0, 0.0, 0.16], Part::Body),
        ([-0.03, 0.0, 0.31], Part::Panel),
        ([0.24, 0.0, 0.36], Part::Mast),
        ([0.25, 0.0, 0.62], Part::Head),
        ([-0.26, 0.16, 0.4], Part::Antenna),
        ([0.23, 0.23, 0.11], Part::Wheel),
        ([0.0, 0.25, 0.11], Part::Wheel),
        ([-0.23, 0.23, 0.11], Part::Wheel),
        ([0.23, -0.23, 0.11], Part::Wheel),
        ([0.0, -0.25, 0.11], Part::Wheel),
        ([-0.23, -0.23, 0.11], Part::Wheel),
    ];
    // What is above is nearer to an eye that looks down.
    let away = |place: World| canvas.camera.see(frame.place(place))[2] - place[2] * 1.2;
    parts.sort_by(|a, b| away(b.0).total_cmp(&away(a.0)));
    for (place, part) in parts {
        match part {
            Part::Body => body(canvas, frame, state),
            Part::Panel => panel(canvas, frame),
            Part::Mast => {
                canvas.block(frame.at([0.2, 0.0, 0.28]), [0.025, 0.025], 0.3, Look::plain(HUB));
            }
            Part::Head => head(canvas, frame),
            Part::Antenna => antenna(canvas, frame, seconds),
            Part::Wheel => {
                canvas.wheel(frame.at(place), 0.11, 0.05, Look::plain(TYRE), Look::plain(HUB));
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Part {
    Body,
    Panel,
    Mast,
    Head,
    Antenna,
    Wheel,
}

fn rover_frame(state: &WorldState) -> Frame {
    let pose = state.pose;
    Frame::new([pose.x as f32, pose.y as f32, 0.0], pose.heading as f32)
}

fn body(canvas: &mut Canvas<'_>, frame: Frame, state: &WorldState) {
    let low = [[0.31, 0.17], [-0.31, 0.17], [-0.31, -0.17], [0.31, -0.17]];
    let high = [[0.27, 0.2], [-0.29, 0.2], [-0.29, -0.2], [0.27, -0.2]];
    canvas.prism(
        frame.at([0.0, 0.0, 0.1]),
        &low,
        &high,
        0.16,
        Look::plain(BODY),
        Look::plain(BODY),
    );
    // A stripe along the stern, and the lights in it.
    let stern = |y0: f32, y1: f32, z0: f32, z1: f32| {
        let x = |z: f32| -0.312 + (z - 0.1) / 0.16 * 0.02;
        [[x(z0), y1, z0], [x(z0), y0, z0], [x(z1), y0, z1], [x(z1), y1, z1]]
            .map(|corner| frame.place(corner))
    };
    canvas.face(&stern(-0.17, 0.17, 0.19, 0.225), Look::plain(TRIM));
    let braking = state.command.linear.abs() < state.speed.abs() - 0.01;
    let light = if braking { BRAKE } else { TAIL };
    for (from, to) in [(-0.16, -0.09), (0.09, 0.16)] {
        let corners = stern(from, to, 0.12, 0.165);
        canvas.face(&corners, Look::plain(light));
        if braking {
            // Brighter than the sun can make it.
            canvas.flat(&corners, BRAKE, 256);
        }
    }
}

fn panel(canvas: &mut Canvas<'_>, frame: Frame) {
    let frame = frame.at([-0.06, 0.0, 0.27]);
    canvas.block(frame, [0.24, 0.25], 0.02, Look::plain(PANEL_EDGE));
    for row in 0..3 {
        for column in 0..4 {
            let (x, y) = (-0.228 + row as f32 * 0.154, -0.238 + column as f32 * 0.12);
            let cell = [[x + 0.145, y], [x + 0.145, y + 0.113], [x, y + 0.113], [x, y]];
            let corners = cell.map(|[x, y]| frame.place([x, y, 0.021]));
            canvas.face(&corners, Look::plain(PANEL));
        }
    }
}

fn head(canvas: &mut Canvas<'_>, frame: Frame) {
    let frame = frame.at([0.22, 0.0, 0.57]);
    canvas.block(frame, [0.05, 0.12], 0.09, Look::plain(BODY));
    let back = |y0: f32, y1: f32, z0: f32, z1: f32| {
        [[-0.052, y1, z0], [-0.052, y0, z0], [-0.052, y0, z1], [-0.052, y1, z1]]
            .map(|corner| frame.place(corner))
    };
    canvas.face(&back(-0.1, 0.1, 0.025, 0.065), Look::plain(TRIM));
    let front = [[0.052, -0.1, 0.02], [0.052, 0.1, 0.02], [0.052, 0.1, 0.07], [0.052, -0.1, 0.07]];
    canvas.face(&front.map(|corner| frame.place(corner)), Look::plain(GLASS));
}

fn antenna(canvas: &mut Canvas<'_>, frame: Frame, seconds: f32) {
    let foot = frame.at([-0.26, 0.17, 0.26]);
    canvas.block(foot, [0.008, 0.008], 0.4, Look::plain(HUB));
    let lit = seconds.rem_euclid(1.0) < 0.5;
    let light = if lit { BRAKE } else { TAIL };
    let tip = foot.at([0.0, 0.0, 0.4]);
    canvas.prism(
        tip,
        &ring::<8>(0.02),
        &ring::<8>(0.014),
        0.035,
        Look::plain(light),
        Look::plain(light),
    );
}

/// The mark that the wheels left between two places.
pub fn track(canvas: &mut Canvas<'_>, from: [f32; 2], to: [f32; 2]) {
    let (dx, dy) = (to[0] - from[0], to[1] - from[1]);
    let length = dx.hypot(dy).max(1e-3);
    let side = [-dy / length, dx / length];
    for way in [-0.23, 0.23] {
        let edge = |[x, y]: [f32; 2], off: f32| {
            [x + side[0] * (way + off), y + side[1] * (way + off), 0.0]
        };
        let corners = [edge(from, -0.05), edge(to, -0.05), edge(to, 0.05), edge(from, 0.05)];
        canvas.mark(&corners, SHADOW, 46);
    }
}

/// A full turn, for things that spin.
pub const TURN: f32 = TAU;
