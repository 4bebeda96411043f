//! Pictures that GStreamer brings: cameras of this machine and of the network, films, any pipeline.
//!
//! * [`spec`] is what a user types; [`modes`] chooses among what a camera can do; [`description`] turns
//!   both into the words of a pipeline; [`encoders`] is the table of encoders; [`thin`] leaves pictures
//!   out. All of them are pure.
//! * With the cargo feature `gstreamer`: [`run`] plays a pipeline and is the [`Source`]; [`rest`] grows
//!   it behind what the source turns out to give; `branch` is the part of it that makes one rendition, and
//!   changes size and rate while it runs; [`mod@unit`] makes frames of what comes out; [`probe`]
//!   finds the encoder that really starts; [`camera`] asks a camera what it can do.
//!
//! Nothing here tries again: a pipeline that fails ends, and the [supervisor](super::supervisor) makes
//! another.
//!
//! [`Source`]: super::source::Source

#[cfg(feature = "gstreamer")]
mod branch;
#[cfg(feature = "gstreamer")]
pub mod camera;
pub mod description;
pub mod encoders;
pub mod modes;
#[cfg(feature = "gstreamer")]
mod own;
#[cfg(feature = "gstreamer")]
pub mod probe;
#[cfg(feature = "gstreamer")]
mod rest;
#[cfg(feature = "gstreamer")]
pub mod run;
pub mod spec;
pub mod thin;
#[cfg(feature = "gstreamer")]
mod unit;

pub use encoders::Encoder;
pub use spec::{GstSpec, GstSpecError};

use super::{
    rendition::Renditions,
    source::{Source, SourceError},
};

/// The source that this names, under its supervisor. `wish` is the encoder that was asked for. Where
/// renditions are asked for, everything is encoded here, also what comes encoded.
#[cfg(feature = "gstreamer")]
pub fn open(
    spec: &GstSpec,
    wish: Option<&'static Encoder>,
    renditions: &Renditions,
) -> Result<Box<dyn Source>, SourceError> {
    use std::sync::Arc;

    use super::supervisor::Supervised;

    run::check(spec)?;
    let (spec, found) = (spec.clone(), Arc::new(probe::Found::new(wish)));
    let wanted = renditions.clone();
    let make = move || {
        let source = run::GstSource::new(spec.clone(), found.clone(), wanted.clone());
        Ok(Box::new(source) as Box<dyn Source>)
    };
    Ok(Box::new(Supervised::new(make)?.in_renditions(renditions)))
}

/// This program was built without GStreamer.
#[cfg(not(feature = "gstreamer"))]
pub fn open(
    spec: &GstSpec,
    _wish: Option<&'static Encoder>,
    _renditions: &Renditions,
) -> Result<Box<dyn Source>, SourceError> {
    Err(SourceError::NeedsGstreamer { asked: spec.words() })
}
