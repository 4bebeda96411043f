//! The rover in the simulated world.

use halyard_protocol::{access::Access, channel::ActionSpec};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Action, CommandError, CommandFuture, Driver, DriverState, Point, Pose};
use crate::{
    drive::{Limits, Velocity},
    media::{
        SimHandle,
        sim::{self, SimError, VelocityCommand, WorldState},
    },
};

/// Drives the rover of a simulated world.
#[derive(Debug)]
pub struct SimDriver {
    world: SimHandle,
}

impl SimDriver {
    /// Drives this world's rover.
    pub fn new(world: SimHandle) -> Self {
        Self { world }
    }
}

impl Driver for SimDriver {
    fn name(&self) -> &'static str {
        "sim"
    }

    fn limits(&self) -> Option<Limits> {
        let config = self.world.config();
        Some(Limits {
            max_linear: config.max_speed,
            max_reverse: config.max_reverse,
            max_angular: config.max_angular,
            ..Limits::default()
        })
    }

    fn actions(&self) -> Vec<Action> {
        let action = |name: &str, help: &str, access, moves| Action {
            spec: ActionSpec { name: name.to_owned(), help: help.to_owned(), access },
            moves,
        };
        vec![
            action("status", "Tell where the rover is and how it moves.", Access::Viewer, false),
            action(
                "reset",
                "Put the rover back into the middle, standing still, its battery full.",
                Access::Operator,
                true,
            ),
            action(
                "set_goal",
                "Put the goal somewhere: {\"x\": metres, \"y\": metres}.",
                Access::Operator,
                false,
            ),
        ]
    }

    fn set_velocity(&mut self, velocity: Velocity) {
        let Velocity { linear, angular } = velocity;
        self.world.set_velocity(VelocityCommand { linear, angular });
    }

    fn stop(&mut self) {
        self.set_velocity(Velocity::ZERO);
    }

    fn state(&mut self) -> DriverState {
        told(&self.world.state())
    }

    fn command(&mut self, name: &str, args: Value) -> CommandFuture {
        let world = self.world.clone();
        let name = name.to_owned();
        Box::pin(async move {
            let state = match name.as_str() {
                "status" => world.state(),
                "reset" => world.reset().await.map_err(failed)?,
                "set_goal" => {
                    let At { x, y } = arguments(&args)?;
                    world.set_goal(sim::Point { x, y }).await.map_err(failed)?
                }
                other => {
                    return Err(CommandError::Failed(format!("the rover does not know {other}")));
                }
            };
            Ok(json!(told(&state)))
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct At {
    x: f64,
    y: f64,
}

fn arguments<T: serde::de::DeserializeOwned>(args: &Value) -> Result<T, CommandError> {
    T::deserialize(args).map_err(|error| {
        CommandError::BadArguments(format!(
            "{error}; accepted is an object like {{\"x\": 1.0, \"y\": 2.0}}"
        ))
    })
}

fn failed(error: SimError) -> CommandError {
    match error {
        SimError::Goal(_) => CommandError::BadArguments(error.to_string()),
        SimError::Ended => CommandError::Failed(error.to_string()),
    }
}

fn told(world: &WorldState) -> DriverState {
    let goal = Point { x: world.goal.x, y: world.goal.y };
    DriverState {
        pose: Some(Pose { x: world.pose.x, y: world.pose.y, heading: world.pose.heading }),
        speed: world.speed,
        angular_speed: world.angular_speed,
        battery: Some(world.battery),
        goal: Some(goal),
        distance_to_goal: Some(world.distance_to_goal()),
        ..DriverState::default()
    }
}
