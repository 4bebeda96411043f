//! Sound between the machine and one peer, in both directions.

use halyard_client::peer::{NotSent, Peer};
use halyard_protocol::ids::PeerId;
use tokio_util::task::AbortOnDropHandle;

use crate::sound::{Sound, SpeakerHandle};

/// Sends the machine's sound to one peer while it wants it.
pub(super) struct Hearing {
    sound: Option<Sound>,
    wanted: bool,
    task: Option<AbortOnDropHandle<()>>,
}

impl Hearing {
    /// Who does not say otherwise hears it.
    pub(super) fn new(sound: Option<Sound>) -> Self {
        Self { sound, wanted: true, task: None }
    }

    /// Whether the peer wants to hear it.
    pub(super) fn want(&mut self, wanted: bool) {
        self.wanted = wanted;
    }

    /// Begins once the peer has agreed to sound and can be reached, and ends when it is not wanted.
    pub(super) fn update(&mut self, peer: &Peer) {
        if !self.wanted {
            self.task = None;
        }
        let runs = self.task.as_ref().is_some_and(|task| !task.is_finished());
        if runs || !self.wanted {
            return;
        }
        let track = peer.audio().filter(halyard_client::peer::AudioTrack::is_ready);
        let (Some(sound), Some(track)) = (&self.sound, track) else { return };
        let mut listener = sound.listen();
        let task = tokio::spawn(async move {
            while let Some(packet) = listener.next().await {
                if track.write(packet) == Err(NotSent::Closed) {
                    return;
                }
            }
        });
        self.task = Some(AbortOnDropHandle::new(task));
    }

    /// Nothing is sent any more.
    pub(super) fn end(&mut self) {
        self.task = None;
    }
}

/// Brings what a peer says to the speaker, which plays it if the peer has the floor.
pub(super) fn carry_voice(
    peer: &Peer,
    name: &PeerId,
    speaker: &SpeakerHandle,
) -> AbortOnDropHandle<()> {
    let (peer, name, speaker) = (peer.clone(), name.clone(), speaker.clone());
    AbortOnDropHandle::new(tokio::spawn(async move {
        while let Some(packet) = peer.next_sound().await {
            speaker.say(&name, packet);
        }
    }))
}
