//! Runs a painter and an encoder: the source behind every picture that the worker makes itself.
//!
//! Two threads for each [rendition](super::rendition). One paints at an even pace and puts each picture into a
//! [leaky slot](super::slot); the other encodes whatever is newest. Both rest while nobody watches. Pictures are
//! painted into memory that comes back from the encoder, so a running source allocates no pictures.
//! A smaller rendition is painted in its own size: that is less work than to make a large picture smaller.

use std::{
    io,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use halyard_protocol::{channel::VideoInfo, strip::Strip};
use tracing::warn;

use super::{
    encoder::{BITRATES, DEFAULT_BITRATE, Encoded, FAST, H264Encoder, SLOW_WARNING},
    follow::{Aim, ladder::Shape},
    frame::{EncodedFrame, VideoCodec},
    keyframes::{KeyframeGate, KeyframeReason},
    picture::{Picture, Size},
    rendition::{Rendition, Renditions},
    restart::{Restart, spread},
    slot::Slot,
    source::{Alarm, Sink, Source, SourceError, SourceEvent, SourceStats},
    strip,
};

/// Pictures a second.
pub const FPS: u32 = 30;

/// When and as which a picture is painted.
#[derive(Debug, Clone, Copy)]
pub struct Stamp {
    /// Unix time in milliseconds.
    pub unix_ms: u64,
    /// Counts pictures from 0.
    pub number: u64,
    /// Since the source started; never jumps.
    pub elapsed: Duration,
}

/// Paints pictures.
pub trait Painter: Send {
    /// Paints all of a picture. What was in it is some earlier picture.
    fn paint(&mut self, picture: &mut Picture, stamp: Stamp);
}

type MakePainter = Arc<dyn Fn(Size) -> Box<dyn Painter> + Send + Sync>;

/// A source whose pictures are painted, stamped with the latency strip and encoded here.
pub struct PaintedSource {
    name: &'static str,
    format: Format,
    make: MakePainter,
    renditions: Renditions,
    /// One for each rendition.
    lines: Vec<Arc<Line>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    started: bool,
}

/// What pictures are like.
#[derive(Debug, Clone, Copy)]
struct Format {
    size: Size,
    /// Pictures a second.
    fps: u32,
    /// Whether the latency strip is burned in.
    strip: bool,
}

/// What the two threads of a rendition share.
#[derive(Default)]
struct Line {
    control: Mutex<Control>,
    changed: Condvar,
    gate: Mutex<KeyframeGate>,
    aim: Mutex<Option<Aim>>,
    /// The rate of the encoder that runs, 0 for none.
    encoder_rate: AtomicU32,
    waiting: Slot<Painted>,
    spare: Mutex<Vec<Picture>>,
    painted: AtomicU64,
    replaced: AtomicU64,
    encoded: AtomicU64,
    skipped: AtomicU64,
    paint_ns: AtomicU64,
    encode_ns: AtomicU64,
}

#[derive(Default)]
struct Control {
    watched: bool,
    stopped: bool,
}

struct Painted {
    picture: Picture,
    /// Pictures a second that are painted like this one.
    fps: u32,
    captured: Instant,
    elapsed: Duration,
}

impl PaintedSource {
    /// A source of 1280x720 pictures. The painter is made on its own thread when the source starts.
    pub fn new(
        name: &'static str,
        make: impl Fn(Size) -> Box<dyn Painter> + Send + Sync + 'static,
    ) -> Self {
        Self::sized(name, Size::HD, make)
    }

    /// The same in another size.
    pub fn sized(
        name: &'static str,
        size: Size,
        make: impl Fn(Size) -> Box<dyn Painter> + Send + Sync + 'static,
    ) -> Self {
        let format = Format { size, fps: FPS, strip: true };
        let renditions = Renditions::plain(DEFAULT_BITRATE);
        let (lines, threads) = (vec![Arc::default()], Mutex::default());
        Self { name, format, make: Arc::new(make), renditions, lines, threads, started: false }
    }

    /// In these renditions.
    #[must_use]
    pub fn in_renditions(mut self, renditions: &Renditions) -> Self {
        let line = |rendition: Rendition| {
            let aim = Mutex::new(Some(Aim::of(rendition.bitrate)));
            Arc::new(Line { aim, ..Line::default() })
        };
        self.lines = renditions.iter().map(line).collect();
        self.renditions = renditions.clone();
        self
    }

    /// With another number of pictures a second.
    #[must_use]
    pub fn at_fps(mut self, fps: u32) -> Self {
        self.format.fps = fps.max(1);
        self
    }

    /// Without the latency strip.
    #[must_use]
    pub fn without_strip(mut self) -> Self {
        self.format.strip = false;
        self
    }
}

impl Source for PaintedSource {
    fn info(&self) -> VideoInfo {
        VideoInfo {
            name: self.name.to_owned(),
            codec: "h264".to_owned(),
            width: self.format.size.width as u32,
            height: self.format.size.height as u32,
            fps: self.format.fps as f32,
            strip: self.format.strip,
            renditions: Vec::new(),
        }
    }

    fn start(&mut self, sink: Arc<dyn Sink>) -> Result<(), SourceError> {
        if std::mem::replace(&mut self.started, true) {
            return Err(SourceError::StartedBefore);
        }
        if !FAST {
            warn!("{SLOW_WARNING}");
        }
        // All of them count from here, so that a viewer who changes between them sees time go on.
        let began = Instant::now();
        let mut failed = None;
        for (number, (line, rendition)) in self.lines.iter().zip(self.renditions.iter()).enumerate()
        {
            let (make, format) = (self.make.clone(), self.format.of(rendition));
            let (alarm, shared) = (Alarm(sink.clone()), line.clone());
            let paint = spawn(format!("{}-paint", self.name), move || {
                let _alarm = alarm;
                paint(&shared, &*make, format, began);
            });
            let (alarm, shared) = (Alarm(sink.clone()), line.clone());
            let encode = spawn(format!("{}-encode", self.name), move || {
                encode(&shared, &*alarm.0, number);
            });
            // All handles are kept before any error is looked at, so that stopping finds them.
            for thread in [paint, encode] {
                match thread {
                    Ok(handle) => lock(&self.threads).push(handle),
                    Err(error) => failed = Some(error),
                }
            }
        }
        match failed {
            None => Ok(()),
            Some(error) => {
                self.stop();
                Err(SourceError::Thread(error))
            }
        }
    }

    fn set_watched(&self, rendition: usize, watched: bool) {
        let Some(line) = self.lines.get(rendition) else { return };
        let mut control = lock(&line.control);
        if watched && !control.watched {
            self.request_keyframe(rendition, KeyframeReason::NewViewer);
        }
        control.watched = watched;
        line.changed.notify_all();
    }

    fn request_keyframe(&self, rendition: usize, reason: KeyframeReason) {
        if let Some(line) = self.lines.get(rendition) {
            lock(&line.gate).request(reason, Instant::now());
        }
    }

    fn aim(&self, rendition: usize, aim: Aim) {
        if let Some(line) = self.lines.get(rendition) {
            *lock(&line.aim) = Some(aim);
        }
    }

    fn stats(&self) -> SourceStats {
        self.lines.iter().map(|line| line.stats()).fold(SourceStats::default(), SourceStats::plus)
    }

    fn stop(&self) {
        for line in &self.lines {
            lock(&line.control).stopped = true;
            line.changed.notify_all();
            line.waiting.close();
        }
        for thread in lock(&self.threads).drain(..) {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

impl Drop for PaintedSource {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.stop();
        }
    }
}

fn spawn(name: String, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name).spawn(body)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Line {
    fn stats(&self) -> SourceStats {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SourceStats {
            painted: count(&self.painted),
            replaced: count(&self.replaced),
            encoded: count(&self.encoded),
            skipped: count(&self.skipped),
            paint_time: Duration::from_nanos(count(&self.paint_ns)),
            encode_time: Duration::from_nanos(count(&self.encode_ns)),
        }
    }

    fn aim(&self) -> Aim {
        let aim = lock(&self.aim).unwrap_or(Aim::of(DEFAULT_BITRATE));
        Aim { bitrate: aim.bitrate.clamp(*BITRATES.start(), *BITRATES.end()), ..aim }
    }
}

impl Format {
    /// What pictures of a rendition are like.
    fn of(self, rendition: Rendition) -> Self {
        let (width, height) = rendition.size((self.size.width as u32, self.size.height as u32));
        let size = Size { width: width as usize, height: height as usize };
        Self { size, fps: rendition.fps.map_or(self.fps, |fps| fps.min(self.fps)), ..self }
    }

    /// The size of pictures in this shape.
    fn size(self, shape: Shape) -> Size {
        let part = |full: usize| (full * shape.sixteenths as usize / 16) & !1;
        Size { width: part(self.size.width), height: part(self.size.height) }
    }
}

/// Paints at an even pace while somebody watches, until the source stops.
fn paint(shared: &Line, make: &dyn Fn(Size) -> Box<dyn Painter>, format: Format, started: Instant) {
    let mut due = started;
    let mut number = 0u64;
    let mut size = format.size;
    let mut painter = make(size);
    while let Some(now) = wait_until(shared, &mut due) {
        let Aim { bitrate, shape, hold, .. } = shared.aim();
        let present = shared.encoder_rate.load(Ordering::Relaxed);
        let fps = (format.fps / shape.every).max(1);
        let spread = if present == 0 { 1.0 } else { spread(present, bitrate) };
        let period = (Duration::from_secs(1) / fps).mul_f64(spread);
        if hold {
            // What was encoded has not left yet.
            due = now + period;
            continue;
        }
        if size != format.size(shape) {
            size = format.size(shape);
            painter = make(size);
        }
        let spare = lock(&shared.spare).pop().filter(|spare| spare.size() == size);
        let mut picture = spare.unwrap_or_else(|| Picture::new(size));
        // The clock of the machine may be set back before 1970; then the strip says 0.
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let stamp = Stamp {
            unix_ms: unix.as_millis() as u64,
            number,
            elapsed: now.duration_since(started),
        };
        painter.paint(&mut picture, stamp);
        if format.strip {
            let strip = Strip { time_ms: stamp.unix_ms as u32, frame: number as u16 };
            strip::burn(&mut picture, strip);
        }
        shared.paint_ns.fetch_add(now.elapsed().as_nanos() as u64, Ordering::Relaxed);
        shared.painted.fetch_add(1, Ordering::Relaxed);
        number += 1;
        let fresh = Painted { picture, fps, captured: now, elapsed: stamp.elapsed };
        if let Some(stale) = shared.waiting.put(fresh) {
            shared.replaced.fetch_add(1, Ordering::Relaxed);
            lock(&shared.spare).push(stale.picture);
        }
        // A late picture does not make the next one follow on its heels.
        due = (due + period).max(now + period / 2);
    }
}

/// Waits for `due`, or, while nobody watches, for somebody to come; then `due` is at once. Gives the
/// time, or nothing once the source stops.
fn wait_until(shared: &Line, due: &mut Instant) -> Option<Instant> {
    let mut control = lock(&shared.control);
    loop {
        if control.stopped {
            return None;
        }
        if control.watched {
            let now = Instant::now();
            let Some(left) = due.checked_duration_since(now).filter(|left| !left.is_zero()) else {
                return Some(now);
            };
            let waited = shared.changed.wait_timeout(control, left);
            control = waited.unwrap_or_else(PoisonError::into_inner).0;
        } else {
            control = shared.changed.wait(control).unwrap_or_else(PoisonError::into_inner);
            *due = Instant::now();
        }
    }
}

/// Encodes what waits, until the source stops.
fn encode(shared: &Line, sink: &dyn Sink, rendition: usize) {
    let mut encoder: Option<H264Encoder> = None;
    let mut restart = Restart::default();
    let mut failing = false;
    while let Some(Painted { picture, fps, captured, elapsed }) = shared.waiting.take() {
        let begun = Instant::now();
        let Aim { bitrate, most, .. } = shared.aim();
        let is_due = restart.is_due(begun, bitrate);
        let fits = |encoder: &H264Encoder| {
            !is_due && encoder.size() == picture.size() && encoder.fps() as u32 == fps
        };
        let result = encoder.take().filter(fits).map_or_else(
            || H264Encoder::new(picture.size(), fps as f32, restart.make(begun, bitrate, most)),
            Ok,
        );
        let rate = result.as_ref().map_or(0, H264Encoder::bitrate);
        shared.encoder_rate.store(rate, Ordering::Relaxed);
        let result = result.and_then(|mut h264| {
            let due = lock(&shared.gate).is_due(begun);
            let encoded = h264.encode(&picture, elapsed.as_millis() as u64, due)?;
            encoder = Some(h264);
            Ok(encoded)
        });
        lock(&shared.spare).push(picture);
        match result {
            Ok(encoded) => {
                shared.encode_ns.fetch_add(begun.elapsed().as_nanos() as u64, Ordering::Relaxed);
                if std::mem::take(&mut failing) {
                    sink.event(SourceEvent::Back);
                }
                let Some(Encoded { data, is_key }) = encoded else {
                    shared.skipped.fetch_add(1, Ordering::Relaxed);
                    continue;
                };
                shared.encoded.fetch_add(1, Ordering::Relaxed);
                if is_key {
                    lock(&shared.gate).made(begun);
                }
                let rtp_time = (elapsed.as_micros() * 9 / 100) as u32;
                sink.frame(EncodedFrame {
                    rendition,
                    codec: VideoCodec::H264,
                    data: Bytes::from(data),
                    is_key,
                    captured,
                    rtp_time,
                });
            }
            // The encoder is gone; a new one is tried with the next picture. People are told once.
            Err(error) if !failing => {
                failing = true;
                sink.event(SourceEvent::Lost { reason: error.to_string() });
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
#[path = "painted_tests.rs"]
mod tests;
