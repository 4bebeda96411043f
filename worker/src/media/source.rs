//! What every origin of pictures can do.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use halyard_protocol::channel::{Notice, Severity, VideoInfo};

use super::{follow::Aim, frame::EncodedFrame, keyframes::KeyframeReason};

/// An origin of encoded pictures.
///
/// It gives a picture in one or more [renditions](super::rendition), which are counted from 0, the best;
/// each is watched, asked for key frames and aimed by itself. The [`Fanout`](super::Fanout) owns it,
/// starts it once and stops it once. A source works only while somebody watches; everything but
/// [`start`](Self::start) and [`stop`](Self::stop) returns at once.
pub trait Source: Send + Sync + 'static {
    /// What is known of the picture now. Changes are told as [`SourceEvent::Info`].
    fn info(&self) -> VideoInfo;

    /// Begins to give frames into `sink`, once somebody watches. Called at most once, inside a
    /// Tokio runtime.
    fn start(&mut self, sink: Arc<dyn Sink>) -> Result<(), SourceError>;

    /// Whether anybody watches this rendition. A source that encodes rests while nobody does, and
    /// begins with a key frame when somebody comes. Must not call the sink.
    fn set_watched(&self, rendition: usize, watched: bool);

    /// Asks for a key frame of a rendition, under the rule of [`keyframes`](super::keyframes).
    fn request_keyframe(&self, rendition: usize, reason: KeyframeReason);

    /// Aims at this from now on. Sources that do not encode ignore it, others do what they can: all
    /// follow the rate.
    fn aim(&self, rendition: usize, aim: Aim);

    /// Whether a key frame can be had by asking. Where not, the fan-out keeps the current group of
    /// pictures for newcomers.
    fn makes_keyframes(&self) -> bool {
        true
    }

    /// Whether a supervisor takes a long silence for the end of it. Sources that say themselves why
    /// nothing comes, and go on waiting for it, do not want that.
    fn is_restarted_when_silent(&self) -> bool {
        false
    }

    /// What it did so far.
    fn stats(&self) -> SourceStats {
        SourceStats::default()
    }

    /// Stops, and waits until its threads and tasks cannot give another frame. Takes at most about
    /// the time of one picture.
    fn stop(&self);
}

/// Where a source puts what it makes. Called from the source's own thread; never waits.
pub trait Sink: Send + Sync {
    /// One more picture.
    fn frame(&self, frame: EncodedFrame);

    /// Something people should know.
    fn event(&self, event: SourceEvent);
}

/// Held by a source's thread: tells people when the thread dies of a bug, where otherwise the picture
/// would just stand still. The panic itself comes up again in [`Source::stop`].
pub(super) struct Alarm(pub(super) Arc<dyn Sink>);

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let reason = "a fault in the worker; its log says more";
            self.0.event(SourceEvent::Ended { reason: reason.to_owned() });
        }
    }
}

/// Something happened to a source, other than a picture.
#[derive(Debug, Clone, PartialEq)]
pub enum SourceEvent {
    /// The size, the rate or the codec became known or changed.
    Info(VideoInfo),
    /// Pictures come, but in a form that browsers do not show well. Told once per stream.
    Unfit {
        /// For people: what is unusual and what to change.
        reason: String,
    },
    /// No picture comes any more. The source keeps trying by itself.
    Lost {
        /// For people: what happened and what to do.
        reason: String,
    },
    /// Pictures come again.
    Back,
    /// It is over and will not come back by itself: a [supervisor](super::supervisor) starts it anew.
    Ended {
        /// For people: what happened, as part of a sentence.
        reason: String,
    },
    /// Whether key frames come when asked for became known or changed, see
    /// [`Source::makes_keyframes`].
    Keyframes {
        /// They do.
        on_request: bool,
    },
}

impl SourceEvent {
    /// The notice to send to everybody about the track of this name, where there is something to
    /// say: codes `source_lost`, `source_back` and `source_unfit`.
    pub fn notice(&self, track: &str) -> Option<Notice> {
        let (severity, code, message) = match self {
            Self::Info(_) | Self::Keyframes { .. } => return None,
            Self::Unfit { reason } => (Severity::Warning, "source_unfit", reason.clone()),
            Self::Lost { reason } | Self::Ended { reason } => {
                (Severity::Warning, "source_lost", reason.clone())
            }
            Self::Back => (Severity::Info, "source_back", "The picture is back.".to_owned()),
        };
        Some(Notice { track: Some(track.to_owned()), ..Notice::new(severity, code, message) })
    }
}

/// What a source did since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SourceStats {
    /// Pictures painted.
    pub painted: u64,
    /// Pictures that a newer one replaced before the encoder was free.
    pub replaced: u64,
    /// Pictures encoded. With any number of viewers, each picture counts once.
    pub encoded: u64,
    /// Pictures that the encoder skipped to hold the bitrate.
    pub skipped: u64,
    /// Time spent painting, in all.
    pub paint_time: Duration,
    /// Time spent encoding, in all.
    pub encode_time: Duration,
}

impl SourceStats {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            painted: self.painted + other.painted,
            replaced: self.replaced + other.replaced,
            encoded: self.encoded + other.encoded,
            skipped: self.skipped + other.skipped,
            paint_time: self.paint_time + other.paint_time,
            encode_time: self.encode_time + other.encode_time,
        }
    }
}

/// Why a source cannot start.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Another program receives there already, or the address is not this machine's: choose another.
    #[error(
        "cannot receive RTP on UDP {addr}: {source}; choose another port, for example rtp:5600"
    )]
    BindRtp {
        /// Where.
        addr: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The system gives no more threads.
    #[error("cannot start a thread for the picture: {0}")]
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
    /// GStreamer itself does not start.
    #[error("GStreamer does not start: {0}")]
    Gstreamer(String),
    /// GStreamer does not understand the pipeline.
    #[error(
        "GStreamer refuses the pipeline of --video gst:…: {0}; try it with gst-launch-1.0, and let it \
         end in a picture: gst:videotestsrc is-live=true"
    )]
    Pipeline(String),
    /// It was started before; a source starts once.
    #[error("this source was started before")]
    StartedBefore,
}
