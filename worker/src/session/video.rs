//! Pictures on their way to one viewer.
//!
//! A viewer has as many places for pictures as its offer had sections for video. Which picture is in
//! which place is its own choice; another one begins on its next key frame, without a new offer. What
//! nobody has in any place is not encoded.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use halyard_client::peer::{AccessUnit, MAX_PLACES, NotSent, Peer, VideoTrack};
use halyard_protocol::channel::{Stats, Watch};
use tokio::{sync::mpsc, task::JoinHandle, time::MissedTickBehavior};

use super::viewer::Viewer;
use crate::media::{
    EncodedFrame, Track, Tracks, UnknownTrack, VideoCodec,
    follow::{
        self,
        patience::{Patience, Send},
    },
};

/// A viewer's choice is followed at once, and another one no sooner than this: each costs a key frame
/// that all who watch the same picture pay for.
const CHOICE_SPACING: Duration = Duration::from_millis(250);

/// A picture that a viewer does not play.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "this end does not play {codec}, which the camera {name:?} sends; use a browser that does, or have \
     the camera send H.264", codec = .codec.name()
)]
pub(super) struct Unplayable {
    name: String,
    codec: VideoCodec,
}

/// What one viewer is shown.
pub(super) struct Places {
    tracks: Tracks,
    viewer: Viewer,
    /// Which picture belongs into each place, as a number in `tracks`.
    wanted: Vec<Option<usize>>,
    shown: Vec<Option<Shown>>,
    /// To the session: pictures that this viewer does not play.
    unplayable: mpsc::Sender<Unplayable>,
    /// A choice that waits for its time.
    waiting: Option<Vec<Option<usize>>>,
    chosen: Option<Instant>,
}

/// A picture in its place.
struct Shown {
    track: usize,
    pump: Pump,
}

impl Places {
    /// The first picture in the first place.
    /// Also gives what tells of pictures that this viewer does not play.
    pub(super) fn new(tracks: Tracks, viewer: Viewer) -> (Self, mpsc::Receiver<Unplayable>) {
        let wanted = tracks.first().map(|_| Some(0)).into_iter().collect();
        // One that waits stands for all that follow.
        let (unplayable, told) = mpsc::channel(1);
        let (shown, waiting, chosen) = (Vec::new(), None, None);
        (Self { tracks, viewer, wanted, shown, unplayable, waiting, chosen }, told)
    }

    /// The viewer wants these. Names of pictures that there are not change nothing; places that it
    /// does not have are ignored. A choice that comes too early after another waits until
    /// [`due`](Self::due), and of several that wait the last one counts.
    pub(super) fn choose(&mut self, choice: &Watch, now: Instant) -> Result<(), UnknownTrack> {
        let numbered = choice.tracks.iter().take(MAX_PLACES).map(|name| {
            let Some(name) = name else { return Ok(None) };
            self.tracks.find(name).map(|(number, _)| Some(number))
        });
        self.waiting = Some(numbered.collect::<Result<_, _>>()?);
        self.follow(now);
        Ok(())
    }

    /// When to [follow](Self::follow) a choice that waits.
    pub(super) fn due(&self) -> Option<Instant> {
        self.waiting.as_ref()?;
        self.chosen.map(|chosen| chosen + CHOICE_SPACING)
    }

    /// Follows the choice that waits, if it is time. Then [`show`](Self::show) shows it.
    pub(super) fn follow(&mut self, now: Instant) {
        if self.due().is_none_or(|due| due <= now)
            && let Some(choice) = self.waiting.take()
        {
            self.chosen = Some(now);
            self.wanted = choice;
        }
    }

    /// Shows what is wanted in every place that the viewer agreed to and that can be reached, and
    /// says what is shown, where that has changed.
    pub(super) fn show(&mut self, peer: &Peer) -> Option<Watch> {
        let before = self.watch();
        let places = peer.videos();
        self.shown.resize_with(places.len(), || None);
        for (index, (shown, place)) in self.shown.iter_mut().zip(places).enumerate() {
            let wanted = self.wanted.get(index).copied().flatten();
            let runs = |shown: &Shown| Some(shown.track) == wanted && !shown.pump.is_over();
            if shown.as_ref().is_some_and(runs) {
                continue;
            }
            let next = wanted.and_then(|number| self.tracks.iter().nth(number).zip(Some(number)));
            *shown = match next {
                Some((track, number)) if place.is_ready() => {
                    let (viewer, unplayable) = (self.viewer.clone(), self.unplayable.clone());
                    let pump = Pump::start(track, place.begin(), viewer, unplayable);
                    Some(Shown { track: number, pump })
                }
                _ => None,
            };
        }
        self.viewer.shows(self.shown.iter().flatten().count());
        let now = self.watch();
        (now != before).then_some(now)
    }

    /// How the viewer's path looks from here, while it is shown anything.
    pub(super) fn stats(&self, repaired: u64) -> Option<Stats> {
        let first = self.shown.iter().flatten().next()?;
        let fanout = self.tracks.iter().nth(first.track)?.fanout();
        let rendition = first.pump.rendition.load(Ordering::Relaxed);
        let name = fanout.renditions().get(rendition).name();
        Some(self.viewer.stats(name, fanout.aim(rendition), repaired))
    }

    /// What is shown.
    pub(super) fn watch(&self) -> Watch {
        let name = |shown: &Option<Shown>| {
            let number = shown.as_ref()?.track;
            self.tracks.iter().nth(number).map(|track| track.name().to_owned())
        };
        let mut tracks: Vec<_> = self.shown.iter().map(name).collect();
        while tracks.last() == Some(&None) {
            tracks.pop();
        }
        Watch { tracks }
    }

    /// The viewer lost the picture in this place.
    pub(super) fn request_keyframe(&self, place: usize) {
        if let Some(Some(shown)) = self.shown.get(place) {
            shown.pump.request_keyframe();
        }
    }

    /// Nothing is shown any more.
    pub(super) fn end(&mut self) {
        self.shown.clear();
    }
}

/// Sends one picture to one viewer until dropped.
struct Pump {
    keyframes: mpsc::Sender<()>,
    /// The one that is sent.
    rendition: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Pump {
    /// Subscribes, and sends from the next key frame on.
    fn start(
        picture: &Track,
        track: VideoTrack,
        viewer: Viewer,
        unplayable: mpsc::Sender<Unplayable>,
    ) -> Self {
        let mut subscription = picture.fanout().subscribe();
        let name = picture.name().to_owned();
        // One request that waits stands for any number of them.
        let (keyframes, mut wanted) = mpsc::channel(1);
        let sent = Arc::new(AtomicUsize::new(0));
        let rendition = sent.clone();
        let task = tokio::spawn(async move {
            // Pictures were lost while the connection was away. A key frame costs everybody, so
            // it is asked for once, when there is somebody to see it.
            let mut away = false;
            let mut patience = Patience::default();
            let mut look = tokio::time::interval(follow::EVERY);
            look.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    frame = subscription.next() => {
                        let Some(frame) = frame else { return };
                        if away && track.is_ready() && !frame.is_key {
                            away = false;
                            subscription.skip_to_keyframe();
                            continue;
                        }
                        if sent.swap(frame.rendition, Ordering::Relaxed) != frame.rendition {
                            // Another encode of the same picture: numbers and times go on.
                            tracing::debug!(video = name, rendition = frame.rendition, "another rendition");
                            track.restart();
                        }
                        match patience.send(Instant::now(), frame.is_key) {
                            Send::Yes => {}
                            Send::No => continue,
                            Send::AskForKey => {
                                subscription.skip_to_keyframe();
                                continue;
                            }
                        }
                        match track.write(&unit(frame)) {
                            Ok(()) => away = false,
                            Err(NotSent::NotReady) => away = true,
                            // What follows is of no use without the one that was lost.
                            Err(NotSent::Behind) => {
                                subscription.report(viewer.reading(track.waiting()));
                                subscription.skip_to_keyframe();
                            }
                            // The next may be of another codec, as the slate is.
                            Err(NotSent::Unplayable(codec)) => {
                                let _ = unplayable.try_send(Unplayable { name: name.clone(), codec });
                            }
                            Err(NotSent::Closed) => return,
                        }
                    },
                    // Who is shown single pictures gets the next one when it is time.
                    Some(()) = wanted.recv() => if !patience.is_thin() {
                        subscription.request_keyframe();
                    },
                    _ = look.tick() => {
                        let reading = viewer.reading(track.waiting());
                        subscription.report(reading);
                        if !subscription.is_lowest() {
                            // There is a rendition for slower paths, which is better than single pictures.
                            patience = Patience::default();
                        } else if let Some(aim) = subscription.aim().filter(|_| reading.is_measured) {
                            patience.look(Instant::now(), reading.bitrate, aim.bitrate);
                        }
                    }
                }
            }
        });
        Self { keyframes, rendition, task }
    }

    fn request_keyframe(&self) {
        let _ = self.keyframes.try_send(());
    }

    /// The picture has ended.
    fn is_over(&self) -> bool {
        self.task.is_finished()
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The same bytes, shared by all viewers.
fn unit(frame: EncodedFrame) -> AccessUnit {
    AccessUnit {
        codec: frame.codec,
        data: frame.data,
        rtp_time: frame.rtp_time,
        is_key: frame.is_key,
    }
}
