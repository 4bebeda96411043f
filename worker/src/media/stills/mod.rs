//! The picture as single JPEGs, for those who can show nothing else.
//!
//! ```text
//! Fanout -> one decoder -> (at most `fps`) -> one JPEG encoder -> the newest, for everybody
//! ```
//! It is one more viewer of the [`Fanout`], so it works with any source, and only while somebody
//! watches. There is no queue: who is slow sees fewer pictures and never older ones, and costs the
//! others nothing.

mod jpeg;
mod pace;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use futures_util::FutureExt;
use openh264::decoder::{DecodedYUV, Decoder};
use tokio::{runtime::Handle, sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use self::pace::Pace;
use super::{EncodedFrame, Fanout, Subscription, VideoCodec};

/// Without a single picture decoded for this long, although some came, people are told.
const TELL_AFTER: Duration = Duration::from_secs(3);

/// Pictures that are decoded without being shown because newer ones wait; then one is, however late.
const MOST_SKIPPED: usize = 8;

/// How it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Pictures a second, at most.
    pub fps: u32,
    /// Of JPEG, 1 to 100.
    pub quality: u8,
    /// How many may watch a picture at a time.
    pub viewers: usize,
}

impl Default for Plan {
    /// 15 pictures a second is half of what cameras give, and smooth enough to see what happens; at
    /// quality 75 the bytes are well spent. A stream of 720p is then some 10 Mbit/s, so sixteen of
    /// them fill what a robot's network has.
    fn default() -> Self {
        Self { fps: 15, quality: 75, viewers: 16 }
    }
}

/// One picture.
#[derive(Debug, Clone)]
pub struct Still {
    /// A whole JPEG file.
    pub jpeg: Bytes,
    /// When it was taken or painted; see [`EncodedFrame::captured`].
    pub taken: SystemTime,
}

/// Why there is no picture.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// The source is gone for good, or the worker stops.
    #[error("the picture has ended")]
    Ended,
    /// Pictures come, and are not understood.
    #[error(
        "the picture cannot be decoded here ({0}); WebRTC may show it, and a source that sends H.264 \
         in the baseline, main or high profile can be shown both ways"
    )]
    Undecodable(String),
}

/// Everybody who watches already is as many as may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} watch over HTTP already, which is as many as may (mjpeg_viewers); try again later")]
pub struct Crowded(usize);

/// Makes stills of a [`Fanout`]. Clones share one decoder and one encoder.
#[derive(Clone)]
pub struct Stills {
    inner: Arc<Inner>,
}

struct Inner {
    fanout: Fanout,
    plan: Plan,
    shown: watch::Sender<Shown>,
    desk: Mutex<Desk>,
}

/// Who watches, and who works for them.
#[derive(Default)]
struct Desk {
    seats: usize,
    work: Option<Work>,
}

struct Work {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

#[derive(Debug, Clone, Default)]
enum Shown {
    #[default]
    Nothing,
    Still(Arc<Still>),
    Trouble(Trouble),
}

impl Stills {
    /// Nothing is decoded before somebody [watches](Self::watch).
    pub fn new(fanout: Fanout, plan: Plan) -> Self {
        let inner = Inner { fanout, plan, shown: watch::Sender::default(), desk: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    /// Where they come from.
    pub fn fanout(&self) -> &Fanout {
        &self.inner.fanout
    }

    /// Those who watch now.
    pub fn viewers(&self) -> usize {
        self.inner.lock().seats
    }

    /// One more who watches, until what is returned is dropped. Must be called inside a Tokio
    /// runtime.
    pub fn watch(&self) -> Result<Watching, Crowded> {
        let inner = &self.inner;
        let mut desk = inner.lock();
        if desk.seats >= inner.plan.viewers {
            return Err(Crowded(inner.plan.viewers));
        }
        desk.seats += 1;
        let is_working = desk
            .work
            .as_ref()
            .is_some_and(|work| !work.stop.is_cancelled() && !work.task.is_finished());
        if !is_working {
            let before = desk.work.take();
            inner.shown.send_replace(Shown::Nothing);
            let stop = CancellationToken::new();
            let worker = Worker {
                fanout: inner.fanout.clone(),
                plan: inner.plan,
                shown: inner.shown.clone(),
                stop: stop.clone(),
            };
            let runtime = Handle::current();
            // Decoding and encoding take milliseconds each, too long for a runtime's own threads.
            let task = tokio::task::spawn_blocking(move || {
                runtime.block_on(async {
                    if let Some(before) = before {
                        before.ended().await;
                    }
                    worker.run().await;
                });
            });
            desk.work = Some(Work { stop, task });
        }
        let mut shown = inner.shown.subscribe();
        // What is there already is news to a newcomer.
        shown.mark_changed();
        Ok(Watching { shown, seat: Seat(inner.clone()) })
    }

    /// Stops, and waits until nothing is decoded any more.
    pub async fn stop(&self) {
        let work = self.inner.lock().work.take();
        if let Some(work) = work {
            work.stop.cancel();
            work.ended().await;
        }
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Work {
    async fn ended(self) {
        if let Err(error) = self.task.await {
            tracing::error!(%error, "making stills ended badly");
        }
    }
}

/// Somebody who watches.
pub struct Watching {
    shown: watch::Receiver<Shown>,
    seat: Seat,
}

struct Seat(Arc<Inner>);

impl Watching {
    /// The newest picture that was not taken yet; waits where there is none. Cancel safe.
    pub async fn next(&mut self) -> Result<Arc<Still>, Trouble> {
        loop {
            // The sender lives as long as the seat does.
            if self.shown.changed().await.is_err() {
                return Err(Trouble::Ended);
            }
            match &*self.shown.borrow_and_update() {
                Shown::Nothing => {}
                Shown::Still(still) => return Ok(still.clone()),
                Shown::Trouble(trouble) => return Err(trouble.clone()),
            }
        }
    }

    /// Why no picture comes, as far as the source knows.
    pub fn trouble(&self) -> Option<String> {
        self.seat.0.fanout.trouble()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut desk = self.0.lock();
        desk.seats -= 1;
        if desk.seats == 0
            && let Some(work) = &desk.work
        {
            work.stop.cancel();
        }
    }
}

/// Decodes, thins out, encodes, shows.
struct Worker {
    fanout: Fanout,
    plan: Plan,
    shown: watch::Sender<Shown>,
    stop: CancellationToken,
}

impl Worker {
    async fn run(self) {
        // Also where a bug ends it: nobody waits for what does not come.
        let farewell = Farewell(&self.shown);
        let trouble = self.work().await;
        std::mem::forget(farewell);
        if !self.stop.is_cancelled() {
            self.shown.send_replace(Shown::Trouble(trouble));
        }
    }

    async fn work(&self) -> Trouble {
        let mut subscription = self.fanout.subscribe();
        let mut pace = Pace::new(self.plan.fps);
        let mut eye = Eye::default();
        let (mut failing_since, mut shown_any): (Option<Instant>, _) = (None, false);
        while let Some(mut frame) = self.next(&mut subscription).await {
            let mut skipped = 0;
            let seen = loop {
                let seen = eye.see(&frame);
                // Of those that wait behind it only the last is of use: a computer that is too slow
                // shows fewer pictures, not older ones.
                match subscription.next().now_or_never() {
                    Some(Some(newer)) if seen.is_ok() && skipped < MOST_SKIPPED => {
                        skipped += 1;
                        frame = newer;
                    }
                    Some(None) => return Trouble::Ended,
                    Some(Some(_)) => {
                        subscription.skip_to_keyframe();
                        break seen;
                    }
                    None => break seen,
                }
            };
            match seen {
                Ok(Some(picture)) => {
                    failing_since = None;
                    if pace.is_due(frame.captured)
                        && let Some(jpeg) = jpeg::encode(&picture, self.plan.quality)
                    {
                        shown_any = true;
                        self.show(Still { jpeg, taken: at(frame.captured) });
                    }
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(error, "a picture that cannot be decoded");
                    let since = *failing_since.get_or_insert_with(Instant::now);
                    if !shown_any && since.elapsed() >= TELL_AFTER {
                        return Trouble::Undecodable(error);
                    }
                    eye.forget();
                    subscription.skip_to_keyframe();
                }
            }
        }
        Trouble::Ended
    }

    async fn next(&self, subscription: &mut Subscription) -> Option<EncodedFrame> {
        tokio::select! {
            biased;

            () = self.stop.cancelled() => None,
            frame = subscription.next() => frame,
        }
    }

    fn show(&self, still: Still) {
        self.shown.send_if_modified(|shown| {
            let shows = !self.stop.is_cancelled();
            if shows {
                *shown = Shown::Still(Arc::new(still));
            }
            shows
        });
    }
}

/// The decoder, made where it is needed and anew where it lost its way.
#[derive(Default)]
struct Eye(Option<Decoder>);

impl Eye {
    /// Begins anew, at a key frame.
    fn forget(&mut self) {
        self.0 = None;
    }

    /// Nothing where more is needed for a picture.
    fn see(&mut self, frame: &EncodedFrame) -> Result<Option<DecodedYUV<'_>>, String> {
        if frame.codec != VideoCodec::H264 {
            return Err(format!("{} is not decoded here", frame.codec.name()));
        }
        if self.0.is_none() {
            self.0 = Some(Decoder::new().map_err(|error| error.to_string())?);
        }
        let Some(decoder) = &mut self.0 else { return Ok(None) };
        decoder.decode(&frame.data).map_err(|error| error.to_string())
    }
}

/// On the clock on the wall.
fn at(when: Instant) -> SystemTime {
    SystemTime::now() - when.elapsed()
}

struct Farewell<'a>(&'a watch::Sender<Shown>);

impl Drop for Farewell<'_> {
    fn drop(&mut self) {
        self.0.send_replace(Shown::Trouble(Trouble::Ended));
    }
}

#[cfg(test)]
mod tests;
