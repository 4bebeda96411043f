//! One rendition at the end of a pipeline: its gate, its size, its encoder.
//!
//! Size and rate change while it runs, as [`Aim`] says. The size is changed before the encoder, which
//! begins anew with a key frame then. The number of pictures is changed by leaving some out; an encoder
//! counts on as many as there were, so it is told a rate that is as much higher.

use std::str::FromStr;

use gstreamer::{self as gst, prelude::*};
use gstreamer_app::AppSink;
use tracing::debug;

use super::{encoders::Encoder, probe};
use crate::media::{encoder::BITRATES, follow::Aim, rendition::Rendition};

/// Pictures a second where a source does not say how many there are.
pub(super) const USUAL_FPS: f64 = 30.0;

/// What pictures of the source are like; 0 where that is not known.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Full {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) fps: f64,
}

impl Full {
    /// As caps say it.
    pub(super) fn of(caps: &gst::CapsRef) -> Option<Self> {
        let structure = caps.structure(0)?;
        let size = |name| structure.get::<i32>(name).ok().and_then(|size| u32::try_from(size).ok());
        let fps = structure.get::<gst::Fraction>("framerate").ok();
        let fps = fps.map(|fps| f64::from(fps.numer()) / f64::from(fps.denom().max(1)));
        Some(Self { width: size("width")?, height: size("height")?, fps: fps.unwrap_or(0.0) })
    }

    /// Pictures a second that there are.
    fn rate(self) -> f64 {
        if self.fps >= 1.0 { self.fps } else { USUAL_FPS }
    }
}

/// One rendition.
pub(super) struct Branch {
    rendition: Rendition,
    watched: bool,
    aim: Aim,
    parts: Option<Parts>,
}

struct Parts {
    encoder: &'static Encoder,
    gate: Option<gst::Element>,
    shape: Option<gst::Element>,
    element: Option<gst::Element>,
    end: AppSink,
    /// What they were told.
    caps: String,
    bps: u32,
}

/// Something to tell an element, outside of every lock.
pub(super) enum Change {
    Caps(gst::Element, String),
    Rate(gst::Element, &'static Encoder, u32),
}

impl Change {
    pub(super) fn make(self) {
        match self {
            Self::Caps(shape, caps) => match gst::Caps::from_str(&caps) {
                Ok(caps) => shape.set_property("caps", caps),
                Err(error) => debug!(caps, %error, "no caps"),
            },
            Self::Rate(element, encoder, bps) => probe::set_rate(&element, encoder, bps),
        }
    }
}

impl Branch {
    pub(super) fn new(rendition: Rendition) -> Self {
        Self { rendition, watched: false, aim: Aim::of(clamped(rendition.bitrate)), parts: None }
    }

    /// Its part of the pipeline is there.
    pub(super) fn grown(
        &mut self,
        bin: &gst::Bin,
        number: usize,
        end: &AppSink,
        encoder: &'static Encoder,
    ) {
        self.parts = Some(Parts {
            encoder,
            gate: bin.by_name(&format!("gate{number}")),
            shape: bin.by_name(&format!("shape{number}")),
            element: bin.by_name(&format!("encoder{number}")),
            end: end.clone(),
            caps: encoder.caps(None),
            bps: 0,
        });
    }

    pub(super) fn set_watched(&mut self, watched: bool) {
        self.watched = watched;
    }

    pub(super) fn is_watched(&self) -> bool {
        self.watched
    }

    pub(super) fn set_aim(&mut self, aim: Aim) {
        self.aim = Aim { bitrate: clamped(aim.bitrate), ..aim };
    }

    pub(super) fn bitrate(&self) -> u32 {
        self.aim.bitrate
    }

    /// Whether pictures go to its encoder. What is encoded elsewhere cannot be held: later pictures need the
    /// earlier ones.
    pub(super) fn is_open(&self, encodes: bool) -> bool {
        self.watched && !(self.aim.hold && encodes)
    }

    /// Opens or closes its own gate, where it has one.
    pub(super) fn set_gate(&self, encodes: bool) {
        if let Some(gate) = self.parts.as_ref().and_then(|parts| parts.gate.as_ref()) {
            gate.set_property("drop", !self.is_open(encodes));
        }
    }

    /// Where its pictures come out.
    pub(super) fn end(&self) -> Option<&AppSink> {
        self.parts.as_ref().map(|parts| &parts.end)
    }

    /// Whether this is its encoder.
    pub(super) fn has_encoder(&self, element: &gst::Object) -> bool {
        let own = self.parts.as_ref().and_then(|parts| parts.element.as_ref());
        own.is_some_and(|own| own.upcast_ref::<gst::Object>() == element)
    }

    /// Whether its encoder is one of GStreamer's.
    pub(super) fn is_foreign(&self) -> bool {
        self.parts.as_ref().is_some_and(|parts| parts.element.is_some())
    }

    /// One in so many of its pictures is encoded.
    pub(super) fn every(&self) -> u32 {
        self.aim.shape.every
    }

    /// Pictures a second that are encoded.
    pub(super) fn fps(&self, full: Full) -> f64 {
        let most = self.rendition.fps.map_or(f64::INFINITY, f64::from);
        full.rate().min(most) / f64::from(self.every())
    }

    /// What its elements are to be told of what has changed.
    pub(super) fn changes(&mut self, full: Full) -> Vec<Change> {
        let counted_on = full.rate() / self.fps(full);
        let size = self.size(full);
        let Some(parts) = &mut self.parts else { return Vec::new() };
        let mut changes = Vec::new();
        let caps = parts.encoder.caps(size);
        if let Some(shape) = &parts.shape
            && parts.caps != caps
        {
            parts.caps.clone_from(&caps);
            changes.push(Change::Caps(shape.clone(), caps));
        }
        let bps = (f64::from(self.aim.bitrate) * counted_on) as u32;
        if let Some(element) = &parts.element
            && parts.bps != bps
        {
            parts.bps = bps;
            changes.push(Change::Rate(element.clone(), parts.encoder, bps));
        }
        changes
    }

    /// The size of its pictures, where it is not the source's.
    fn size(&self, full: Full) -> Option<(u32, u32)> {
        if full.width == 0 || full.height == 0 {
            return None;
        }
        let (width, height) = self.rendition.size((full.width, full.height));
        let reshapes = self.parts.as_ref().is_some_and(|parts| parts.encoder.reshapes);
        let sixteenths = if reshapes { self.aim.shape.sixteenths } else { 16 };
        if sixteenths == 16 && (height >= full.height & !1) {
            return None;
        }
        let part = |whole: u32| ((whole * sixteenths / 16) & !1).max(2);
        Some((part(width), part(height)))
    }
}

fn clamped(bps: u32) -> u32 {
    bps.clamp(*BITRATES.start(), *BITRATES.end())
}
