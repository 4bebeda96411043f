//! Plays a pipeline: the source behind everything that GStreamer brings, in one or more renditions.
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
    branch::{Branch, Full},
    camera, description,
    encoders::Encoder,
    modes,
    probe::{Found, Playing},
    rest,
    spec::GstSpec,
};
use crate::media::{
    follow::Aim,
    keyframes::{KeyframeGate, KeyframeReason},
    rendition::Renditions,
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
    renditions: Renditions,
    /// One for each rendition.
    rungs: Vec<Rung>,
    makes_keyframes: AtomicBool,
    began: Instant,
    encoded: AtomicU64,
    skipped: AtomicU64,
    parts: Mutex<Parts>,
    /// Held while elements are told of a change, so that the last word is the right one.
    changing: Mutex<()>,
}

/// What is looked at with every picture of a rendition.
#[derive(Default)]
struct Rung {
    gate: Mutex<KeyframeGate>,
    bitrate: AtomicU32,
    /// One in so many pictures is encoded.
    every: AtomicU32,
    /// Thousandths of pictures a second that are encoded.
    millihertz: AtomicU32,
}

/// What is there of the pipeline.
struct Parts {
    stopped: bool,
    /// Whether pictures come at their own pace; known once it plays.
    is_live: Option<bool>,
    bus: Option<gst::Bus>,
    gate: Option<gst::Element>,
    pace: Option<gst::Element>,
    full: Full,
    /// One for each rendition.
    branches: Vec<Branch>,
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

    /// In which renditions it is to be had.
    pub(super) fn renditions(&self) -> &Renditions {
        &self.renditions
    }

    /// Bits and pictures a second that are wanted of a rendition.
    pub(super) fn rate(&self, rendition: usize) -> (u32, f32) {
        let rung = &self.rungs[rendition];
        let fps = rung.millihertz.load(Ordering::Relaxed) as f32 / 1e3;
        (rung.bitrate.load(Ordering::Relaxed), fps)
    }

    /// One in so many pictures of a rendition is encoded.
    pub(super) fn every(&self, rendition: usize) -> u32 {
        self.rungs[rendition].every.load(Ordering::Relaxed)
    }

    /// It became known what pictures of the source are like.
    pub(super) fn set_full(&self, full: Full) {
        lock(&self.parts).full = full;
        self.change();
    }

    /// What pictures of the source are like.
    pub(super) fn full(&self) -> Full {
        lock(&self.parts).full
    }

    /// Tells all elements what they are not told yet.
    fn change(&self) {
        let _last_word = lock(&self.changing);
        let encodes = self.makes_keyframes.load(Ordering::Relaxed);
        let mut changes = Vec::new();
        let mut parts = lock(&self.parts);
        parts.set_gates(encodes);
        let full = parts.full;
        for (branch, rung) in parts.branches.iter_mut().zip(&self.rungs) {
            rung.bitrate.store(branch.bitrate(), Ordering::Relaxed);
            rung.every.store(branch.every(), Ordering::Relaxed);
            let millihertz = (branch.fps(full) * 1e3) as u32;
            rung.millihertz.store(millihertz, Ordering::Relaxed);
            changes.extend(branch.changes(full));
        }
        drop(parts);
        for change in changes {
            change.make();
        }
    }

    /// Nanoseconds since the source was made.
    pub(super) fn age(&self, now: Instant) -> u64 {
        now.duration_since(self.began).as_nanos() as u64
    }

    pub(super) fn keyframe_due(&self, rendition: usize, now: Instant) -> bool {
        lock(&self.rungs[rendition].gate).is_due(now)
    }

    pub(super) fn keyframe_made(&self, rendition: usize, now: Instant) {
        lock(&self.rungs[rendition].gate).made(now);
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
        self.makes_keyframes.load(Ordering::Relaxed)
            && !lock(&self.parts).branches.iter().any(Branch::is_foreign)
    }

    /// Tells GStreamer's encoder, wherever in the pipeline it is, to make a key frame now.
    pub(super) fn ask_encoder(&self, rendition: usize, now: Instant) {
        let end = lock(&self.parts).branches.get(rendition).and_then(|one| one.end().cloned());
        let Some(end) = end else { return };
        // Asked is as good as made: asking again at the next picture would make two.
        lock(&self.rungs[rendition].gate).made(now);
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
        ends: &[AppSink],
        encoder: &'static Encoder,
    ) {
        self.makes_keyframes.store(encodes, Ordering::Relaxed);
        let mut parts = lock(&self.parts);
        parts.gate = bin.by_name("gate");
        parts.pace = bin.by_name("pace");
        for (number, (branch, end)) in parts.branches.iter_mut().zip(ends).enumerate() {
            branch.grown(bin, number, end, encoder);
        }
        parts.set_pace();
        drop(parts);
        self.change();
    }
}

impl Parts {
    fn set_gates(&self, encodes: bool) {
        if let Some(gate) = &self.gate {
            let is_open = self.branches.iter().any(|branch| branch.is_open(encodes));
            gate.set_property("drop", !is_open);
        }
        for branch in &self.branches {
            branch.set_gate(encodes);
        }
    }

    fn is_watched(&self) -> bool {
        self.branches.iter().any(Branch::is_watched)
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
    pub(super) fn new(spec: GstSpec, encoders: Arc<Found>, renditions: Renditions) -> Self {
        let info = VideoInfo {
            name: spec.name().to_owned(),
            codec: "h264".to_owned(),
            width: 0,
            height: 0,
            fps: 0.0,
            strip: false,
            renditions: Vec::new(),
        };
        let encodes = renditions.are_asked_for() || !matches!(spec, GstSpec::Rtsp(_));
        let parts = Parts {
            stopped: false,
            is_live: None,
            bus: None,
            gate: None,
            pace: None,
            full: Full::default(),
            branches: renditions.iter().map(Branch::new).collect(),
        };
        let shared = Shared {
            info: Mutex::new(info),
            rungs: renditions.iter().map(|_| Rung::default()).collect(),
            renditions,
            makes_keyframes: AtomicBool::new(encodes),
            began: Instant::now(),
            encoded: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            parts: Mutex::new(parts),
            changing: Mutex::default(),
        };
        shared.change();
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

    fn set_watched(&self, rendition: usize, watched: bool) {
        let mut parts = lock(&self.shared.parts);
        let Some(branch) = parts.branches.get_mut(rendition) else { return };
        if branch.is_watched() == watched {
            return;
        }
        branch.set_watched(watched);
        parts.set_gates(self.makes_keyframes());
        if matches!(self.spec, GstSpec::File(_)) {
            parts.wake();
        }
        drop(parts);
        if watched {
            self.request_keyframe(rendition, KeyframeReason::NewViewer);
        }
    }

    fn request_keyframe(&self, rendition: usize, reason: KeyframeReason) {
        let now = Instant::now();
        let Some(rung) = self.shared.rungs.get(rendition) else { return };
        let mut gate = lock(&rung.gate);
        gate.request(reason, now);
        let is_due = gate.is_due(now);
        drop(gate);
        // What is not due yet is looked at with each picture; the own encoder is asked only there.
        if is_due && !self.shared.is_own() {
            self.shared.ask_encoder(rendition, now);
        }
    }

    fn aim(&self, rendition: usize, aim: Aim) {
        if let Some(branch) = lock(&self.shared.parts).branches.get_mut(rendition) {
            branch.set_aim(aim);
        }
        self.shared.change();
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
            parts.is_watched()
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
                    let (stopped, watched) = (parts.stopped, parts.is_watched());
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
        let is_encoder = error.src().is_some_and(|source| {
            lock(&self.shared.parts).branches.iter().any(|branch| branch.has_encoder(source))
        });
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
