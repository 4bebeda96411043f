//! The world of the simulated rover: pure, deterministic, in metres, radians and seconds.
//!
//! The ground is a square around the origin; x points east, y north, a heading of 0 is along +x and
//! grows counter-clockwise. The rover is a disc with two driven sides (differential drive): it moves
//! along its heading and turns on the spot. It follows a commanded velocity within its accelerations,
//! stops dead at what it runs into, and collects goals.

use std::{f64::consts::TAU, sync::Arc, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};

/// A place on the ground, in metres.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Point {
    /// East.
    pub x: f64,
    /// North.
    pub y: f64,
}

impl Point {
    /// Metres between two places.
    pub fn distance(self, other: Self) -> f64 {
        (self.x - other.x).hypot(self.y - other.y)
    }
}

/// Where the rover is and where it looks.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Pose {
    /// Metres east of the middle.
    pub x: f64,
    /// Metres north of the middle.
    pub y: f64,
    /// Radians counter-clockwise from +x, from -pi to pi.
    pub heading: f64,
}

impl Pose {
    /// The place alone.
    pub fn point(self) -> Point {
        Point { x: self.x, y: self.y }
    }

    /// Degrees clockwise from north, as a compass shows it: 0 to 360.
    pub fn compass_degrees(self) -> f64 {
        // A hair west of north would be rounded up to 360.
        (90.0 - self.heading.to_degrees()).rem_euclid(360.0) % 360.0
    }
}

/// The velocity that the rover is asked to take.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct VelocityCommand {
    /// Metres a second, forwards.
    pub linear: f64,
    /// Radians a second, counter-clockwise.
    pub angular: f64,
}

/// Something to run into.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Obstacle {
    /// A box along the axes.
    Box {
        /// Its middle.
        at: Point,
        /// Half its width in x and in y.
        half: (f64, f64),
        /// Metres high.
        height: f64,
    },
    /// A round pillar.
    Pillar {
        /// Its middle.
        at: Point,
        /// Metres.
        radius: f64,
        /// Metres high.
        height: f64,
    },
}

impl Obstacle {
    /// Metres from a place to the nearest point of the obstacle; 0 inside it.
    pub fn distance(&self, from: Point) -> f64 {
        match *self {
            Self::Box { at, half, .. } => {
                let dx = ((from.x - at.x).abs() - half.0).max(0.0);
                let dy = ((from.y - at.y).abs() - half.1).max(0.0);
                dx.hypot(dy)
            }
            Self::Pillar { at, radius, .. } => (from.distance(at) - radius).max(0.0),
        }
    }
}

/// What the rover and its world are like.
#[derive(Debug, Clone, PartialEq)]
pub struct WorldConfig {
    /// Decides where obstacles and goals are.
    pub seed: u64,
    /// Metres from the middle to each wall.
    pub half_size: f64,
    /// How many obstacles to place.
    pub obstacles: usize,
    /// Metres a second, forwards.
    pub max_speed: f64,
    /// Metres a second, backwards.
    pub max_reverse: f64,
    /// Radians a second, either way.
    pub max_angular: f64,
    /// Metres a second squared while gaining speed; it brakes with twice as much.
    pub acceleration: f64,
    /// Radians a second squared.
    pub angular_acceleration: f64,
    /// How long a full battery lasts at full speed.
    pub endurance: Duration,
}

impl Default for WorldConfig {
    fn default() -> Self {
        Self {
            seed: 7,
            half_size: 14.0,
            obstacles: 22,
            max_speed: 1.5,
            max_reverse: 0.8,
            max_angular: 1.6,
            acceleration: 2.0,
            angular_acceleration: 6.0,
            endurance: Duration::from_hours(2),
        }
    }
}

/// Metres from the rover's middle to its edge.
pub const ROVER_RADIUS: f64 = 0.35;

/// A goal counts from this many metres.
pub const GOAL_RADIUS: f64 = 0.7;

/// The longest time that is simulated in one piece: 3 cm at full speed, so nothing is jumped over.
const MAX_STEP: f64 = 0.02;

/// More than this is not made up for: a machine that was asleep wakes up where it was.
const MAX_CATCH_UP: f64 = 0.5;

/// Everything that can be known of the world at one time. Cheap to clone.
#[derive(Debug, Clone, PartialEq)]
pub struct WorldState {
    /// Simulated seconds since the start.
    pub time: f64,
    /// Where the rover is.
    pub pose: Pose,
    /// Metres a second along its heading; negative backwards.
    pub speed: f64,
    /// Radians a second, counter-clockwise.
    pub angular_speed: f64,
    /// 1 full, 0 empty; an empty rover stands still.
    pub battery: f64,
    /// Where to go.
    pub goal: Point,
    /// Goals reached so far.
    pub goals_reached: u64,
    /// Whether something stands in the way just now.
    pub blocked: bool,
    /// What the rover was asked to do, within its limits.
    pub command: VelocityCommand,
    /// What stands where.
    pub obstacles: Arc<[Obstacle]>,
    /// Metres from the middle to each wall.
    pub half_size: f64,
}

impl WorldState {
    /// Metres from the rover to its goal.
    pub fn distance_to_goal(&self) -> f64 {
        self.pose.point().distance(self.goal)
    }

    /// Metres from a place to whatever is nearest, walls included; negative outside the walls.
    pub fn clearance(&self, at: Point) -> f64 {
        let wall = self.half_size - at.x.abs().max(at.y.abs());
        self.obstacles.iter().map(|obstacle| obstacle.distance(at)).fold(wall, f64::min)
    }
}

/// Why a goal cannot be where somebody wants it.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum GoalError {
    /// Not a number, or behind the walls.
    #[error("a goal must lie inside the walls: x and y from -{limit:.1} to {limit:.1} m")]
    Outside {
        /// Metres from the middle.
        limit: f64,
    },
    /// The rover could not get there.
    #[error("something stands there; a goal needs {radius} m around it", radius = ROVER_RADIUS)]
    Blocked,
}

/// The world and its laws.
#[derive(Debug)]
pub struct World {
    config: WorldConfig,
    state: WorldState,
    goals: StdRng,
}

impl World {
    /// A world at its start. The same configuration makes the same world.
    pub fn new(config: WorldConfig) -> Self {
        let mut rng = StdRng::seed_from_u64(config.seed);
        let obstacles = scatter(&config, &mut rng);
        let state = WorldState {
            time: 0.0,
            pose: Pose { x: 0.0, y: 0.0, heading: TAU / 4.0 },
            speed: 0.0,
            angular_speed: 0.0,
            battery: 1.0,
            goal: Point::default(),
            goals_reached: 0,
            blocked: false,
            command: VelocityCommand::default(),
            obstacles,
            half_size: config.half_size,
        };
        let mut world = Self { config, state, goals: rng };
        world.move_goal();
        world
    }

    /// Everything that can be known now.
    pub fn state(&self) -> &WorldState {
        &self.state
    }

    /// What it is like.
    pub fn config(&self) -> &WorldConfig {
        &self.config
    }

    /// Lets time pass while the rover follows a command. Commands beyond its limits are cut down to
    /// them; what is no number means standing still.
    pub fn step(&mut self, dt: Duration, command: VelocityCommand) {
        self.state.command = self.within_limits(command);
        let mut left = dt.as_secs_f64().min(MAX_CATCH_UP);
        while left > 0.0 {
            let step = left.min(MAX_STEP);
            self.advance(step);
            left -= step;
        }
    }

    /// Puts the goal somewhere.
    pub fn set_goal(&mut self, goal: Point) -> Result<(), GoalError> {
        let limit = self.state.half_size - ROVER_RADIUS;
        // Written so that what is no number fails too.
        let inside = goal.x.abs() <= limit && goal.y.abs() <= limit;
        if !inside {
            return Err(GoalError::Outside { limit });
        }
        if self.state.clearance(goal) < ROVER_RADIUS {
            return Err(GoalError::Blocked);
        }
        self.state.goal = goal;
        Ok(())
    }

    fn within_limits(&self, command: VelocityCommand) -> VelocityCommand {
        let number = |value: f64| if value.is_finite() { value } else { 0.0 };
        let powered = self.state.battery > 0.0;
        if !powered {
            return VelocityCommand::default();
        }
        let limits = &self.config;
        VelocityCommand {
            linear: number(command.linear).clamp(-limits.max_reverse, limits.max_speed),
            angular: number(command.angular).clamp(-limits.max_angular, limits.max_angular),
        }
    }

    fn advance(&mut self, dt: f64) {
        let limits = &self.config;
        let state = &mut self.state;
        if state.battery <= 0.0 {
            state.command = VelocityCommand::default();
        }
        let wanted = state.command;
        let turns_around = wanted.linear * state.speed < 0.0;
        state.speed = if turns_around {
            towards(state.speed, 0.0, 2.0 * limits.acceleration * dt)
        } else if wanted.linear.abs() < state.speed.abs() {
            towards(state.speed, wanted.linear, 2.0 * limits.acceleration * dt)
        } else {
            towards(state.speed, wanted.linear, limits.acceleration * dt)
        };
        state.angular_speed =
            towards(state.angular_speed, wanted.angular, limits.angular_acceleration * dt);

        // Along the arc: the heading in the middle of the step.
        let middle = state.pose.heading + state.angular_speed * dt / 2.0;
        let (dx, dy) = (state.speed * dt * middle.cos(), state.speed * dt * middle.sin());
        let there = Point { x: state.pose.x + dx, y: state.pose.y + dy };
        state.blocked = state.clearance(there) < ROVER_RADIUS;
        if state.blocked {
            state.speed = 0.0;
        } else {
            (state.pose.x, state.pose.y) = (there.x, there.y);
        }
        state.pose.heading = wrapped(state.pose.heading + state.angular_speed * dt);
        state.time += dt;

        let effort = state.speed.abs() / limits.max_speed
            + 0.4 * state.angular_speed.abs() / limits.max_angular;
        state.battery =
            (state.battery - effort * dt / limits.endurance.as_secs_f64()).clamp(0.0, 1.0);

        if state.distance_to_goal() < GOAL_RADIUS {
            state.goals_reached += 1;
            self.move_goal();
        }
    }

    /// Somewhere free, not too near. The same places in the same order for the same seed.
    fn move_goal(&mut self) {
        let reach = self.state.half_size - 1.5;
        let here = self.state.pose.point();
        for _ in 0..1_000 {
            let goal = Point {
                x: self.goals.random_range(-reach..=reach),
                y: self.goals.random_range(-reach..=reach),
            };
            if self.state.clearance(goal) > 1.0 && goal.distance(here) > 4.0 {
                self.state.goal = goal;
                return;
            }
        }
        // A world too full for goals: the middle is kept free for the start.
        self.state.goal = Point { x: 0.0, y: 2.0 };
    }
}

/// Obstacles of several shapes, apart from each other so that the rover fits between them, and away
/// from the start.
fn scatter(config: &WorldConfig, rng: &mut StdRng) -> Arc<[Obstacle]> {
    let mut placed: Vec<Obstacle> = Vec::new();
    let reach = config.half_size - 1.5;
    for _ in 0..config.obstacles * 50 {
        if placed.len() == config.obstacles {
            break;
        }
        let at = Point { x: rng.random_range(-reach..=reach), y: rng.random_range(-reach..=reach) };
        let (obstacle, size) = if rng.random_bool(0.6) {
            let half = (rng.random_range(0.3..0.9), rng.random_range(0.3..0.9));
            let height = rng.random_range(0.4..1.3);
            (Obstacle::Box { at, half, height }, f64::hypot(half.0, half.1))
        } else {
            let radius = rng.random_range(0.2..0.5);
            let height = rng.random_range(0.9..2.2);
            (Obstacle::Pillar { at, radius, height }, radius)
        };
        let lonely = placed.iter().all(|other| other.distance(at) > size + 1.2);
        if lonely && at.distance(Point::default()) > size + 2.5 {
            placed.push(obstacle);
        }
    }
    placed.into()
}

fn towards(from: f64, to: f64, most: f64) -> f64 {
    from + (to - from).clamp(-most, most)
}

/// The same direction, from -pi to pi.
fn wrapped(angle: f64) -> f64 {
    let positive = angle.rem_euclid(TAU);
    if positive > TAU / 2.0 { positive - TAU } else { positive }
}

#[cfg(test)]
#[path = "world_tests.rs"]
mod tests;
