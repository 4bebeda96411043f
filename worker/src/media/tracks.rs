//! The pictures of a worker: each has a name, a source under its own supervisor, and a fan-out, so that
//! one that fails or that nobody watches touches no other.

use std::sync::Arc;

use halyard_protocol::channel::{Notice, VideoInfo};
use tokio::sync::broadcast;

use super::{fanout::Fanout, source::SourceEvent};

/// One picture.
#[derive(Clone)]
pub struct Track {
    name: Arc<str>,
    fanout: Fanout,
}

impl Track {
    /// A running source under this name.
    pub fn new(name: &str, fanout: Fanout) -> Self {
        Self { name: name.into(), fanout }
    }

    /// What its owner calls it; unique in this worker.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its pictures come from.
    pub fn fanout(&self) -> &Fanout {
        &self.fanout
    }

    /// What is known of the picture now.
    pub fn info(&self) -> VideoInfo {
        VideoInfo {
            name: self.name.to_string(),
            renditions: self.fanout.renditions().names(),
            ..self.fanout.info()
        }
    }
}

/// A name that is not the name of a picture here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no picture {name:?} here; there are: {there_are}")]
pub struct UnknownTrack {
    name: String,
    there_are: String,
}

/// All pictures of a worker, in the order in which its owner named them: who does not choose is
/// shown the first. Cloning gives another handle.
#[derive(Clone, Default)]
pub struct Tracks {
    tracks: Arc<[Track]>,
}

impl Tracks {
    /// These, in this order.
    pub fn new(tracks: Vec<Track>) -> Self {
        Self { tracks: tracks.into() }
    }

    /// What is shown to who does not choose.
    pub fn first(&self) -> Option<&Track> {
        self.tracks.first()
    }

    /// The picture of this name, and which it is, counted from 0; or the names that there are.
    pub fn find(&self, name: &str) -> Result<(usize, &Track), UnknownTrack> {
        let found = self.iter().enumerate().find(|(_, track)| track.name() == name);
        found.ok_or_else(|| {
            let names: Vec<_> = self.iter().map(Track::name).collect();
            UnknownTrack {
                name: name.chars().take(80).collect(),
                there_are: if names.is_empty() { "none".to_owned() } else { names.join(", ") },
            }
        })
    }

    /// All of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Track> {
        self.tracks.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.tracks.len()
    }

    /// Whether there is no picture at all.
    pub fn is_empty(&self) -> bool {
        self.tracks.is_empty()
    }

    /// What is known of all pictures now.
    pub fn infos(&self) -> Vec<VideoInfo> {
        self.iter().map(Track::info).collect()
    }

    /// What happens to the pictures from now on.
    pub fn events(&self) -> TrackEvents {
        let all = self.iter().map(|track| (track.name.clone(), track.fanout.events()));
        TrackEvents { waiting: all.collect() }
    }

    /// What to tell everybody of an event, where there is something to say. With several pictures the
    /// words say which.
    pub fn notice(&self, track: &str, event: &SourceEvent) -> Option<Notice> {
        let mut notice = event.notice(track)?;
        if self.len() > 1 {
            notice.message = format!("{track}: {}", notice.message);
        }
        Some(notice)
    }

    /// What to tell somebody who comes now: which pictures are lost, and why.
    pub fn troubles(&self) -> Vec<Notice> {
        let lost = |track: &Track| {
            let event = SourceEvent::Lost { reason: track.fanout.trouble()? };
            self.notice(&track.name, &event)
        };
        self.iter().filter_map(lost).collect()
    }

    /// Stops every source and waits until they have stopped.
    pub async fn stop(&self) {
        futures_util::future::join_all(self.iter().map(|track| track.fanout.stop())).await;
    }
}

impl<'a> IntoIterator for &'a Tracks {
    type Item = &'a Track;
    type IntoIter = std::slice::Iter<'a, Track>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// What happens to several pictures.
pub struct TrackEvents {
    waiting: Vec<(Arc<str>, broadcast::Receiver<SourceEvent>)>,
}

impl TrackEvents {
    /// The next thing that happens, and to which picture; never again once all have ended. Who is
    /// late misses some. Cancel safe.
    pub async fn next(&mut self) -> (Arc<str>, SourceEvent) {
        use broadcast::error::RecvError;
        loop {
            if self.waiting.is_empty() {
                return std::future::pending().await;
            }
            let all = self.waiting.iter_mut().map(|(_, events)| Box::pin(events.recv()));
            let (event, index, _) = futures_util::future::select_all(all).await;
            match event {
                Ok(event) => return (self.waiting[index].0.clone(), event),
                Err(RecvError::Lagged(missed)) => {
                    tracing::debug!(track = %self.waiting[index].0, missed, "events were missed");
                }
                Err(RecvError::Closed) => drop(self.waiting.swap_remove(index)),
            }
        }
    }
}
