//! The simulated rover: a world with obstacles and goals, and a picture of it.
//!
//! [`world`] is pure; [`owner`] is the task that lets its time pass and hands out [`SimHandle`]s;
//! [`render`] paints it, seen from behind the rover: [`scenery`] far away, [`things`] made of [`solid`]
//! faces seen by a [`camera`], filled by [`raster`], and the [`hud`] over them.

pub mod camera;
pub mod hud;
pub mod owner;
pub mod raster;
pub mod render;
pub mod scenery;
pub mod solid;
pub mod things;
pub mod world;

pub use owner::{Sim, SimError, SimHandle};
pub use world::{Point, Pose, VelocityCommand, WorldConfig, WorldState};

use super::{painted::PaintedSource, rendition::Renditions, source::Source};

/// The name of its picture.
pub const NAME: &str = "sim";

/// The picture of a world in these renditions.
pub fn source(world: SimHandle, renditions: &Renditions) -> impl Source + use<> {
    PaintedSource::new(NAME, move |size| Box::new(render::Renderer::new(world.clone(), size)))
        .in_renditions(renditions)
}
