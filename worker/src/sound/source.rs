//! What every origin of sound can do.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;

use super::{Hub, Make, spec::SoundSpec, tone::Tone};

/// An origin of Opus packets: started once, stopped once. It is there only while somebody listens.
pub trait SoundSource: Send {
    /// Begins to give packets into `sink`, at their own pace.
    fn start(&mut self, sink: SoundSink) -> Result<(), SoundError>;

    /// Stops, and waits until nothing comes any more. Stopping twice is fine.
    fn stop(&mut self);
}

/// Where a source puts what it makes. Never waits.
#[derive(Clone)]
pub struct SoundSink {
    pub(super) hub: Arc<Hub>,
    pub(super) source: u64,
}

impl SoundSink {
    /// One packet of Opus, and how long it sounds.
    pub fn packet(&self, data: Bytes, length: Duration) {
        self.hub.packet(self.source, data, length);
    }

    /// It is over, and does not come back by itself.
    pub fn ended(&self, reason: String) {
        self.hub.ended(self.source, reason);
    }
}

/// Why there can be no sound.
#[derive(Debug, thiserror::Error)]
pub enum SoundError {
    /// The system gives no more threads.
    #[error("cannot start a thread for the sound: {0}")]
    Thread(io::Error),
    /// This program was built without the cargo feature `gstreamer`.
    #[error(
        "{asked} needs GStreamer, and this halyard-worker was built without it; build it with \
         --features gstreamer (Debian: libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev), or use \
         the published image"
    )]
    NeedsGstreamer {
        /// What was asked for, in words.
        asked: String,
    },
    /// GStreamer does not start, lacks a part, or does not understand the pipeline.
    #[error("{asked}: {reason}")]
    Gstreamer {
        /// What was asked for, in words.
        asked: String,
        /// What GStreamer says.
        reason: String,
    },
}

/// What makes sources of this kind; nothing for `none`. What can be known to fail fails here.
pub(super) fn open(spec: &SoundSpec) -> Result<Option<Box<Make>>, SoundError> {
    match spec {
        SoundSpec::None => Ok(None),
        SoundSpec::Tone => Ok(Some(Box::new(|| Box::new(Tone::default()) as Box<dyn SoundSource>))),
        other => bring(other).map(Some),
    }
}

#[cfg(feature = "gstreamer")]
fn bring(spec: &SoundSpec) -> Result<Box<Make>, SoundError> {
    super::gst::source(spec)
}

#[cfg(not(feature = "gstreamer"))]
fn bring(spec: &SoundSpec) -> Result<Box<Make>, SoundError> {
    Err(SoundError::NeedsGstreamer { asked: spec.words() })
}
