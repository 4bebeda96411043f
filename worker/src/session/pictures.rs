//! Pictures and one peer: what it is shown, what it chooses, and how it hears of its path.

use std::time::{Duration, Instant};

use halyard_client::peer::Peer;
use halyard_protocol::channel::{Lane, Message, Watch};
use tokio::{
    sync::mpsc,
    time::{Interval, MissedTickBehavior},
};

use super::{
    Start,
    speaker::{NotReading, Speaker},
    video::{Places, Unplayable},
    viewer::Viewer,
};
use crate::media::Tracks;

/// How often a viewer is told how its path looks from here.
const TELL_STATS: Duration = Duration::from_secs(1);

/// The pictures of one peer.
pub(super) struct Pictures {
    tracks: Tracks,
    places: Places,
    unplayable: mpsc::Receiver<Unplayable>,
    stats_due: Interval,
}

/// Something to [do](Pictures::perform) for them.
#[derive(Debug)]
pub(super) enum Due {
    /// A choice that waited is followed.
    Choice,
    /// The peer wants to know how its path is.
    Stats,
    /// What it is sent it does not play.
    Unplayable(Unplayable),
}

impl Pictures {
    pub(super) fn new(start: &Start, peer: &Peer) -> Self {
        let tracks = start.shared.tracks.clone();
        let standing = start.shared.machine.standing();
        let viewer = Viewer::new(peer, standing, start.asker.peer.clone());
        let (places, unplayable) = Places::new(tracks.clone(), viewer);
        // The first time at once, then evenly, however late a session is.
        let mut stats_due = tokio::time::interval(TELL_STATS);
        stats_due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { tracks, places, unplayable, stats_due }
    }

    /// What the peer is shown, for who was greeted.
    pub(super) fn greet(&mut self, peer: &Peer, speaker: &Speaker) -> Result<(), NotReading> {
        self.places.show(peer);
        speaker.say(Message::Watch(self.places.watch()))
    }

    /// Which pictures are lost, and why.
    pub(super) fn tell_troubles(&self, speaker: &Speaker) -> Result<(), NotReading> {
        let mut troubles = self.tracks.troubles().into_iter();
        troubles.try_for_each(|notice| speaker.say(Message::Notice(notice)))
    }

    /// Starts them once the peer has agreed to some and can be reached, and says so.
    pub(super) fn show(&mut self, peer: &Peer, speaker: &Speaker) -> Result<(), NotReading> {
        match self.places.show(peer) {
            Some(shown) => speaker.tell(Message::Watch(shown)),
            None => Ok(()),
        }
    }

    /// The peer chooses, and hears what it is shown.
    pub(super) fn choose(
        &mut self,
        choice: &Watch,
        peer: &Peer,
        speaker: &mut Speaker,
    ) -> Result<(), NotReading> {
        if let Err(unknown) = self.places.choose(choice, Instant::now()) {
            speaker.complain("unknown_track", unknown.to_string())?;
            return speaker.say(Message::Watch(self.places.watch()));
        }
        let shown = self.places.show(peer);
        // What changes nothing is answered too; what waits is answered when it is followed.
        match shown.or_else(|| self.places.due().is_none().then(|| self.places.watch())) {
            Some(shown) => speaker.tell(Message::Watch(shown)),
            None => Ok(()),
        }
    }

    /// Waits until there is something to do. Cancel safe.
    pub(super) async fn due(&mut self) -> Due {
        let choice = self.places.due().map(tokio::time::Instant::from_std);
        tokio::select! {
            biased;

            Some(unplayable) = self.unplayable.recv() => Due::Unplayable(unplayable),
            () = super::sleep_until(choice) => Due::Choice,
            _ = self.stats_due.tick() => Due::Stats,
        }
    }

    /// Does it.
    pub(super) fn perform(
        &mut self,
        due: Due,
        peer: &Peer,
        speaker: &mut Speaker,
    ) -> Result<(), NotReading> {
        match due {
            Due::Unplayable(unplayable) => {
                speaker.complain_rarely("codec_unsupported", unplayable.to_string())
            }
            Due::Choice => {
                self.places.follow(Instant::now());
                self.show(peer, speaker)
            }
            Due::Stats => {
                self.tell_stats(peer, speaker);
                Ok(())
            }
        }
    }

    /// The peer lost the picture in this place.
    pub(super) fn request_keyframe(&self, place: usize) {
        self.places.request_keyframe(place);
    }

    /// Nothing is shown any more.
    pub(super) fn end(&mut self) {
        self.places.end();
    }

    fn tell_stats(&self, peer: &Peer, speaker: &Speaker) {
        let Some(stats) = self.places.stats(peer.packets_repaired()) else { return };
        if speaker.has_greeted()
            && let Err(error) = peer.try_send_lossy(Lane::State, &Message::Stats(stats))
        {
            tracing::trace!(%error, "stats");
        }
    }
}
