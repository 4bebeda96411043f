//! Plays a pipeline: the source behind everything that GStreamer brings.
//!
//! A thread of its own finds the encoder, builds the pipeline, and listens to what it says until it
//! fails or is stopped. Pictures come on the pipeline's own threads. The camera stays open while
//! nobody watches, so that the next viewer sees at once; only then nothing is encoded. A film stands
//! still meanwhile.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Instant,
};

use gstreamer::{self as gst, prelude::*};
use gstreamer_app::AppSink;
use gstreamer_video as gst_video;
use halyard_protocol::channel::VideoInfo;
use tracing::{debug, info};

use super::{
    camera, description,
    encoders::Encoder,
    modes,
    probe::{self, Found, Playing},
    rest,
    spec::GstSpec,
};
use crate::media::{
    encoder::{BITRATES, DEFAULT_BITRATE},
    follow::Aim,
    keyframes::{KeyframeGate, KeyframeReason},
    source::{Alarm, Sink, Source, SourceError, SourceEvent, SourceStats},
};

/// Whether GStreamer works and understands what was typed.
pub(super) fn check(spec: &GstSpec) -> Result<(), SourceError> {
    gst::init().map_err(|error| SourceError::Gstreamer(error.message().to_owned()))?;
    if let GstSpec::Pipeline(_) = spec {
        let words = description::source(spec, None);
        gst::parse::launch(&words)
            .map_err(|error| SourceError::Pipeline(error.message().to_owned()))?;
    }
    Ok(())
}

/// A pipeline, played once.
pub struct GstSource {
    spec: GstSpec,
    encoders: Arc<Found>,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    started: bool,
}

/// What the pipeline's threads, the source's thread and its owner share.
pub(super) struct Shared {
    info: Mutex<VideoInfo>,
    gate: Mutex<KeyframeGate>,
    bitrate: AtomicU32,
    makes_keyframes: AtomicBool,
    began: Instant,
    encoded: AtomicU64,
    skipped: AtomicU64,
    parts: Mutex<Parts>,
}

/// What is there of the pipeline.
#[derive(Default)]
struct Parts {
    stopped: bool,
    watched: bool,
    /// No picture is to be encoded for now.
    holds: bool,
    /// Whether pictures come at their own pace; known once it plays.
    is_live: Option<bool>,
    bus: Option<gst::Bus>,
    gate: Option<gst::Element>,
    pace: Option<gst::Element>,
    encoder: Option<(gst::Element, &'static Encoder)>,
    end: Option<AppSink>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn info(&self) -> VideoInfo {
        lock(&self.info).clone()
    }

    pub(super) fn set_info(&self, info: VideoInfo) {
        *lock(&self.info) = info;
    }

    pub(super) fn bitrate(&self) -> u32 {
        self.bitrate.load(Ordering::Relaxed)
    }

    /// Nanoseconds since the source was made.
    pub(super) fn age(&self, now: Instant) -> u64 {
        now.duration_since(self.began).as_nanos() as u64
    }

    pub(super) fn keyframe_due(&self, now: Instant) -> bool {
        lock(&self.gate).is_due(now)
    }

    pub(super) fn keyframe_made(&self, now: Instant) {
        lock(&self.gate).made(now);
    }

    pub(super) fn skipped(&self) {
        self.skipped.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn encoded(&self, elsewhere: bool) {
        if !elsewhere {
            self.encoded.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether the encoder in this program is at the pipeline's end.
    fn is_own(&self) -> bool {
        self.makes_keyframes.load(Ordering::Relaxed) && lock(&self.parts).encoder.is_none()
    }

    /// Tells GStreamer's encoder, wherever in the pipeline it is, to make a key frame now.
    pub(super) fn ask_encoder(&self, now: Instant) {
        let Some(end) = lock(&self.parts).end.clone() else { return };
        // Asked is as good as made: asking again at the next picture would make two.
        lock(&self.gate).made(now);
        let event = gst_video::UpstreamForceKeyUnitEvent::builder().all_headers(true).build();
        if !end.send_event(event) {
            debug!("nothing in the pipeline makes key frames when asked");
        }
    }

    /// The rest of the pipeline is there, and about to flow.
    pub(super) fn grown(
        &self,
        encodes: bool,
        bin: &gst::Bin,
        end: &AppSink,
        encoder: &'static Encoder,
    ) {
        self.makes_keyframes.store(encodes, Ordering::Relaxed);
        let mut parts = lock(&self.parts);
        parts.gate = bin.by_name("gate");
        parts.pace = bin.by_name("pace");
        parts.encoder = bin.by_name("encoder").map(|element| (element, encoder));
        parts.end = Some(end.clone());
        parts.set_gate();
        parts.set_pace();
    }
}

impl Parts {
    fn set_gate(&self) {
        if let Some(gate) = &self.gate {
            gate.set_property("drop", !self.watched || self.holds);
        }
    }

    /// What does not come at its own pace is held to its times.
    fn set_pace(&self) {
        if let (Some(pace), Some(is_live)) = (&self.pace, self.is_live) {
            pace.set_property("sync", !is_live);
        }
    }

    /// Wakes the source's thread.
    fn wake(&self) {
        if let Some(bus) = &self.bus {
            let message = gst::message::Application::new(gst::Structure::new_empty("wake"));
            // A bus that takes nothing belongs to a pipeline that has ended.
            let _ = bus.post(message);
        }
    }
}

impl GstSource {
    /// Will play this. GStreamer must have been [checked](check) to work.
    pub(super) fn new(spec: GstSpec, encoders: Arc<Found>) -> Self {
        let info = VideoInfo {
            name: spec.name().to_owned(),
            codec: "h264".to_owned(),
            width: 0,
            height: 0,
            fps: 0.0,
            strip: false,
        };
        let shared = Shared {
            info: Mutex::new(info),
            gate: Mutex::default(),
            bitrate: AtomicU32::new(DEFAULT_BITRATE),
            makes_keyframes: AtomicBool::new(!matches!(spec, GstSpec::Rtsp(_))),
            began: Instant::now(),
            encoded: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            parts: Mutex::default(),
        };
        let (shared, thread) = (Arc::new(shared), Mutex::default());
        Self { spec, encoders, shared, thread, started: false }
    }
}

impl Source for GstSource {
    fn info(&self) -> VideoInfo {
        self.shared.info()
    }

    fn start(&mut self, sink: Arc<dyn Sink>) -> Result<(), SourceError> {
        if std::mem::replace(&mut self.started, true) {
            return Err(SourceError::StartedBefore);
        }
        let player = Player {
            spec: self.spec.clone(),
            encoders: self.encoders.clone(),
            shared: self.shared.clone(),
            sink: sink.clone(),
        };
        let thread = thread::Builder::new()
            .name(self.spec.name().to_owned())
            .spawn(move || {
                let alarm = Alarm(sink);
                if let Err(reason) = player.play() {
                    let reason = format!("{}: {reason}", player.spec.words());
                    alarm.0.event(SourceEvent::Ended { reason });
                }
            })
            .map_err(SourceError::Thread)?;
        *lock(&self.thread) = Some(thread);
        Ok(())
    }

    fn set_watched(&self, watched: bool) {
        let mut parts = lock(&self.shared.parts);
        if parts.watched == watched {
            return;
        }
        parts.watched = watched;
        parts.set_gate();
        if matches!(self.spec, GstSpec::File(_)) {
            parts.wake();
        }
        drop(parts);
        if watched {
            self.request_keyframe(KeyframeReason::NewViewer);
        }
    }

    fn request_keyframe(&self, reason: KeyframeReason) {
        let now = Instant::now();
        let mut gate = lock(&self.shared.gate);
        gate.request(reason, now);
        let is_due = gate.is_due(now);
        drop(gate);
        // What is not due yet is looked at with each picture; the own encoder is asked only there.
        if is_due && !self.shared.is_own() {
            self.shared.ask_encoder(now);
        }
    }

    fn aim(&self, aim: Aim) {
        let bps = aim.bitrate.clamp(*BITRATES.start(), *BITRATES.end());
        let is_other = self.shared.bitrate.swap(bps, Ordering::Relaxed) != bps;
        let mut parts = lock(&self.shared.parts);
        // What is encoded elsewhere cannot be held: later pictures need the earlier ones.
        parts.holds = aim.hold && self.makes_keyframes();
        parts.set_gate();
        let encoder = parts.encoder.clone().filter(|_| is_other);
        drop(parts);
        if let Some((element, encoder)) = encoder {
            probe::set_rate(&element, encoder, bps);
        }
    }

    fn makes_keyframes(&self) -> bool {
        self.shared.makes_keyframes.load(Ordering::Relaxed)
    }

    fn is_restarted_when_silent(&self) -> bool {
        true
    }

    fn stats(&self) -> SourceStats {
        let encoded = self.shared.encoded.load(Ordering::Relaxed);
        let skipped = self.shared.skipped.load(Ordering::Relaxed);
        SourceStats { painted: encoded + skipped, encoded, skipped, ..SourceStats::default() }
    }

    fn stop(&self) {
        let mut parts = lock(&self.shared.parts);
        parts.stopped = true;
        parts.wake();
        drop(parts);
        if let Some(Err(panic)) = lock(&self.thread).take().map(JoinHandle::join) {
            std::panic::resume_unwind(panic);
        }
    }
}

impl Drop for GstSource {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.stop();
        }
    }
}

/// What lives on the source's thread.
struct Player {
    spec: GstSpec,
    encoders: Arc<Found>,
    shared: Arc<Shared>,
    sink: Arc<dyn Sink>,
}

impl Player {
    /// Plays until stopped; the reason where it ends before.
    fn play(&self) -> Result<(), String> {
        let encoder = self.encoders.choose()?;
        let mode = match &self.spec {
            GstSpec::Camera(wish) => {
                let modes = camera::modes(&wish.device)?;
                let mode = modes::choose(&modes, wish)
                    .ok_or("it has no such format; `halyard-worker devices` lists what it has")?;
                info!(?mode, "camera");
                Some(mode)
            }
            _ => None,
        };
        let words = description::source(&self.spec, mode.as_ref());
        let pipeline = gst::parse::launch(&words).map_err(|error| error.message().to_owned())?;
        let pipeline = pipeline.downcast::<gst::Pipeline>();
        let pipeline = Playing(pipeline.map_err(|_| "it is no pipeline")?);
        self.address(&pipeline.0);
        rest::grow_when_known(&pipeline.0, &self.shared, &self.sink, encoder)?;
        let bus = pipeline.0.bus().ok_or("the pipeline says nothing")?;
        let watched = {
            let mut parts = lock(&self.shared.parts);
            parts.bus = Some(bus.clone());
            if parts.stopped {
                return Ok(());
            }
            parts.watched
        };
        let state = |watched: bool| match self.spec {
            GstSpec::File(_) if !watched => gst::State::Paused,
            _ => gst::State::Playing,
        };
        let paused = pipeline.0.set_state(gst::State::Paused);
        let is_live = paused == Ok(gst::StateChangeSuccess::NoPreroll);
        {
            let mut parts = lock(&self.shared.parts);
            parts.is_live = Some(is_live);
            parts.set_pace();
        }
        let mut wanted = state(watched);
        if paused.is_err() || pipeline.0.set_state(wanted).is_err() {
            return Err(pipeline.reason().unwrap_or_else(|| "it does not start".to_owned()));
        }
        loop {
            let Some(message) = bus.timed_pop(None) else { continue };
            match message.view() {
                gst::MessageView::Error(error) => return Err(self.failure(error)),
                gst::MessageView::Eos(_) => self.again(&pipeline.0, wanted)?,
                gst::MessageView::Latency(_) if pipeline.0.recalculate_latency().is_err() => {
                    debug!("the pipeline's latency is not known");
                }
                gst::MessageView::Application(_) => {
                    let parts = lock(&self.shared.parts);
                    let (stopped, watched) = (parts.stopped, parts.watched);
                    drop(parts);
                    if stopped {
                        return Ok(());
                    }
                    if std::mem::replace(&mut wanted, state(watched)) != wanted {
                        pipeline.0.set_state(wanted).map_err(|_| "it does not go on")?;
                    }
                }
                _ => {}
            }
        }
    }

    /// What users typed goes into properties, where no word of it means anything to a pipeline.
    fn address(&self, pipeline: &gst::Pipeline) {
        let Some(source) = pipeline.by_name("source") else { return };
        match &self.spec {
            GstSpec::Camera(camera) => {
                source.set_property("device", camera.device.display().to_string());
            }
            GstSpec::File(path) => source.set_property("location", path.display().to_string()),
            GstSpec::Rtsp(rtsp) => {
                let mut url = rtsp.url.clone();
                // Which transport is said by a property; GStreamer's own words for it are not needed.
                if matches!(url.scheme(), "rtspt" | "rtspu") {
                    let plain = url.as_str().replacen(url.scheme(), "rtsp", 1);
                    url = plain.parse().unwrap_or(url);
                }
                source.set_property("location", url.as_str());
                if let Some(user) = &rtsp.user {
                    source.set_property("user-id", user);
                }
                if let Some(password) = &rtsp.password {
                    source.set_property("user-pw", password.expose());
                }
            }
            GstSpec::Pipeline(_) => {}
        }
    }

    /// The end of a film is its beginning; the end of everything else is one.
    fn again(&self, pipeline: &gst::Pipeline, wanted: gst::State) -> Result<(), String> {
        if !matches!(self.spec, GstSpec::File(_)) {
            return Err("the stream ended".to_owned());
        }
        // Times begin anew with the film; only on its way out of a pause the pipeline's clock does too.
        let begun = pipeline.set_state(gst::State::Paused).is_ok()
            && pipeline
                .seek_simple(gst::SeekFlags::FLUSH | gst::SeekFlags::KEY_UNIT, gst::ClockTime::ZERO)
                .is_ok()
            && pipeline.set_state(wanted).is_ok();
        begun.then_some(()).ok_or_else(|| "it cannot be played again from its beginning".to_owned())
    }

    fn failure(&self, error: &gst::message::Error) -> String {
        let source = error.src().map(|source| source.name().to_string()).unwrap_or_default();
        debug!(source, debug = ?error.debug(), "pipeline");
        let is_encoder = lock(&self.shared.parts)
            .encoder
            .as_ref()
            .is_some_and(|(element, _)| error.src() == Some(element.upcast_ref()));
        if is_encoder {
            // The next attempt finds another, if this one does not start any more.
            self.encoders.forget();
        }
        error.error().message().trim_end_matches('.').to_owned()
    }
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
