//! The simulated rover: a world with obstacles and goals, and a picture of it.
//!
//! [`world`] is pure; [`owner`] is the task that lets its time pass and hands out [`SimHandle`]s;
//! [`render`] paints it, seen from behind the rover.

pub mod owner;
pub mod render;
pub mod world;

pub use owner::{Sim, SimError, SimHandle};
pub use world::{Point, Pose, VelocityCommand, WorldConfig, WorldState};

use super::{painted::PaintedSource, source::Source};

/// The name of its picture.
pub const NAME: &str = "sim";

/// The picture of a world.
pub fn source(world: SimHandle) -> impl Source {
    PaintedSource::new(NAME, move |size| Box::new(render::Renderer::new(world.clone(), size)))
}
