//! What is written over the world: the clock, the compass, speed and battery, the goal, a map.

use std::f32::consts::TAU;

use super::{
    raster::{Fill, polygon},
    world::{Obstacle, WorldState},
};
use crate::media::{
    picture::{Color, Picture, Size},
    text::{Font, clock},
};

const INK: Color = Color::WHITE;
const DIM: Color = Color::rgb(0xC8_D2DC);
const PANEL: Color = Color::rgb(0x10_1822);
const ACCENT: Color = Color::rgb(0xFF_9A3C);
/// The goal, wherever it is shown.
pub const GOAL: Color = Color::rgb(0x2E_D573);
const ALARM: Color = Color::rgb(0xE8_3B3B);

/// How much a panel covers, of 256.
const PANEL_SHARE: u32 = 150;

/// Pixels between panels and the edges.
const MARGIN: i32 = 16;

/// Pixels along a side of the map.
const MAP: i32 = 208;

/// Pixels at the bottom that belong to the latency strip.
const STRIP: i32 = halyard_protocol::strip::CELL_HEIGHT as i32;

/// Writes over pictures of one size.
pub struct Hud {
    size: Size,
    large: Font,
    small: Font,
}

impl Hud {
    /// For pictures of a size. In pictures less than 960 pixels wide only the clock and the speed
    /// have room, and below 640 they would cover the world.
    pub fn new(size: Size) -> Self {
        Self { size, large: Font::large(), small: Font::small() }
    }

    /// Writes over a picture.
    pub fn paint(
        &self,
        picture: &mut Picture,
        state: &WorldState,
        unix_ms: u64,
        trail: &[[f32; 2]],
    ) {
        if self.size.width >= 640 && self.size.height >= 360 {
            self.clock(picture, unix_ms);
            self.speed(picture, state);
        }
        if self.size.width >= 960 && self.size.height >= 540 {
            self.compass(picture, state);
            self.map(picture, state, trail);
            self.goal(picture, state);
        }
        if state.battery <= 0.0 {
            self.banner(picture, "BATTERY EMPTY");
        } else if state.blocked {
            self.banner(picture, "BLOCKED");
        }
    }

    fn clock(&self, picture: &mut Picture, unix_ms: u64) {
        let text = clock(unix_ms);
        let wide = self.large.width(&text);
        picture.blend_rect((MARGIN, MARGIN), (wide + 68, 56), PANEL, PANEL_SHARE);
        self.large.draw(picture, &text, (MARGIN + 12, MARGIN + 8), INK);
        self.small.draw(picture, "UTC", (MARGIN + wide + 22, MARGIN + 25), DIM);
    }

    fn speed(&self, picture: &mut Picture, state: &WorldState) {
        let (wide, high) = (280, 104);
        let (x, y) = (MARGIN, self.size.height as i32 - STRIP - MARGIN - high);
        picture.blend_rect((x, y), (wide, high), PANEL, PANEL_SHARE);
        // No minus before a zero.
        let speed = if state.speed.abs() < 0.005 { 0.0 } else { state.speed };
        let text = format!("{speed:5.2}");
        self.large.draw(picture, &text, (x + 4, y + 8), INK);
        self.small.draw(picture, "m/s", (x + 114, y + 25), DIM);
        let turn = state.angular_speed.to_degrees().round() as i32;
        let text = if turn == 0 { "   0".to_owned() } else { format!("{turn:+4}") };
        self.small.draw(picture, &format!("{text}\u{b0}/s"), (x + 184, y + 25), DIM);

        let percent = (state.battery * 100.0).ceil() as i32;
        let (bar_x, bar_y, bar) = (x + 14, y + 64, 172);
        picture.blend_rect((bar_x - 2, bar_y - 2), (bar + 4, 28), DIM, 256);
        picture.blend_rect((bar_x, bar_y), (bar, 24), PANEL, 256);
        picture.blend_rect((bar_x + bar + 2, bar_y + 6), (5, 12), DIM, 256);
        let color = if percent > 20 { GOAL } else { ALARM };
        picture.blend_rect((bar_x + 2, bar_y + 2), ((bar - 4) * percent / 100, 20), color, 256);
        self.small.draw(picture, &format!("{percent:3} %"), (x + 212, y + 66), INK);
    }

    /// A tape of bearings that runs behind a fixed mark.
    fn compass(&self, picture: &mut Picture, state: &WorldState) {
        const NAMES: [&str; 8] = ["N", "NE", "E", "SE", "S", "SW", "W", "NW"];
        const PIXELS_PER_DEGREE: f64 = 4.0;
        let (wide, high) = (420, 56);
        let x = (self.size.width as i32 - wide) / 2;
        picture.blend_rect((x, MARGIN), (wide, high), PANEL, PANEL_SHARE);
        let bearing = state.pose.compass_degrees();
        for tick in 0..24 {
            let degrees = f64::from(tick * 15);
            let off = (degrees - bearing + 540.0).rem_euclid(360.0) - 180.0;
            let at = x + wide / 2 + (off * PIXELS_PER_DEGREE).round() as i32;
            if at < x + 24 || at > x + wide - 24 {
                continue;
            }
            if tick % 3 == 0 {
                let name = NAMES[tick as usize / 3];
                let color = if name == "N" { ACCENT } else { INK };
                let left = at - self.large.width(name) / 2;
                if left > x && left + self.large.width(name) < x + wide {
                    self.large.draw(picture, name, (left, MARGIN + 12), color);
                }
            } else {
                picture.blend_rect((at - 1, MARGIN + 30), (3, 14), DIM, 256);
            }
        }
        let middle = (x + wide / 2) as f32;
        let top = MARGIN as f32;
        let mark = [[middle - 9.0, top], [middle + 9.0, top], [middle, top + 13.0]];
        polygon(picture, &mark, Fill::plain(ACCENT));
        let text = format!("{:03}\u{b0}", bearing.round() as i32 % 360);
        let at = ((self.size.width as i32 - self.small.width(&text)) / 2, MARGIN + high + 4);
        picture.blend_rect(
            (at.0 - 6, at.1 - 4),
            (self.small.width(&text) + 12, 28),
            PANEL,
            PANEL_SHARE,
        );
        self.small.draw(picture, &text, at, INK);
    }

    /// The world from above, north up.
    fn map(&self, picture: &mut Picture, state: &WorldState, trail: &[[f32; 2]]) {
        let (left, top) = (self.size.width as i32 - MARGIN - MAP, MARGIN);
        picture.blend_rect((left, top), (MAP, MAP), PANEL, 190);
        let scale = (MAP as f32 / 2.0 - 6.0) / state.half_size as f32;
        let middle = [(left + MAP / 2) as f32, (top + MAP / 2) as f32];
        let place = |x: f32, y: f32| [middle[0] + x * scale, middle[1] - y * scale];
        let wall = (state.half_size as f32 * scale) as i32;
        let (cx, cy) = (left + MAP / 2, top + MAP / 2);
        for (x, y, w, h) in [
            (cx - wall, cy - wall, 2 * wall, 2),
            (cx - wall, cy + wall - 2, 2 * wall, 2),
            (cx - wall, cy - wall, 2, 2 * wall),
            (cx + wall - 2, cy - wall, 2, 2 * wall),
        ] {
            picture.blend_rect((x, y), (w, h), DIM, 160);
        }
        for obstacle in &*state.obstacles {
            let (at, half) = match *obstacle {
                Obstacle::Box { at, half, .. } => (at, (half.0 as f32, half.1 as f32)),
                Obstacle::Pillar { at, radius, .. } => (at, (radius as f32, radius as f32)),
            };
            let [x, y] = place(at.x as f32 - half.0, at.y as f32 + half.1);
            let size = ((half.0 * 2.0 * scale).max(3.0), (half.1 * 2.0 * scale).max(3.0));
            let corners = [[x, y], [x + size.0, y], [x + size.0, y + size.1], [x, y + size.1]];
            polygon(picture, &corners, Fill::plain(DIM));
        }
        for [x, y] in trail {
            let [x, y] = place(*x, *y);
            picture.blend_rect((x as i32, y as i32), (2, 2), ACCENT, 150);
        }
        let goal = place(state.goal.x as f32, state.goal.y as f32);
        polygon(picture, &around(goal, 7.0, 12), Fill::clear(GOAL, 120));
        polygon(picture, &around(goal, 4.0, 12), Fill::plain(GOAL));

        let pose = state.pose;
        let (x, y, heading) = (pose.x as f32, pose.y as f32, pose.heading as f32);
        let ray = |turn: f32, reach: f32| {
            place(
                x + reach / scale * (heading + turn).cos(),
                y + reach / scale * (heading + turn).sin(),
            )
        };
        let view = [place(x, y), ray(-0.55, 34.0), ray(0.55, 34.0)];
        polygon(picture, &view, Fill::clear(INK, 60));
        let arrow = [ray(0.0, 11.0), ray(2.5, 9.0), ray(-2.5, 9.0)];
        polygon(picture, &arrow, Fill::plain(ACCENT));
        self.small.draw(picture, "N", (cx - 5, top + 8), DIM);
    }

    /// Where the goal is, seen from the rover, and how far.
    fn goal(&self, picture: &mut Picture, state: &WorldState) {
        let (wide, high) = (300, 104);
        let x = self.size.width as i32 - MARGIN - wide;
        let y = self.size.height as i32 - STRIP - MARGIN - high;
        picture.blend_rect((x, y), (wide, high), PANEL, PANEL_SHARE);
        let (dx, dy) = (state.goal.x - state.pose.x, state.goal.y - state.pose.y);
        // Up is ahead.
        let turn = (dy.atan2(dx) - state.pose.heading) as f32 + TAU / 4.0;
        let middle = [(x + 52) as f32, (y + high / 2) as f32];
        let point = |angle: f32, reach: f32| {
            let (sin, cos) = (turn + angle).sin_cos();
            [middle[0] + reach * cos, middle[1] - reach * sin]
        };
        polygon(picture, &around(middle, 42.0, 32), Fill::clear(PANEL, 140));
        let left = [point(0.0, 38.0), point(2.45, 34.0), point(TAU / 2.0, 14.0)];
        let right = [point(0.0, 38.0), point(TAU / 2.0, 14.0), point(-2.45, 34.0)];
        polygon(picture, &left, Fill::plain(GOAL));
        polygon(picture, &right, Fill::plain(GOAL.lit(0.8)));
        let text = format!("{:4.1}", state.distance_to_goal());
        self.large.draw(picture, &text, (x + 108, y + 8), INK);
        self.small.draw(picture, "m to goal", (x + 196, y + 25), DIM);
        let reached = match state.goals_reached {
            1 => "1 goal reached".to_owned(),
            n => format!("{n} goals reached"),
        };
        self.small.draw(picture, &reached, (x + 112, y + 66), INK);
    }

    fn banner(&self, picture: &mut Picture, text: &str) {
        let wide = self.large.width(text) + 40;
        let x = (self.size.width as i32 - wide) / 2;
        let y = self.size.height as i32 / 4;
        picture.blend_rect((x, y), (wide, 60), ALARM, 220);
        self.large.draw(picture, text, (x + 20, y + 10), INK);
    }
}

/// A circle, nearly.
fn around([x, y]: [f32; 2], radius: f32, corners: usize) -> Vec<[f32; 2]> {
    let corner = |index: usize| {
        let (sin, cos) = (index as f32 / corners as f32 * TAU).sin_cos();
        [x + radius * cos, y + radius * sin]
    };
    (0..corners).map(corner).collect()
}
