//! Sound between the machine and one peer, in both directions.

use halyard_client::peer::{AudioTrack, NotSent, Peer};
use halyard_protocol::{
    channel::{Message, Talk},
    ids::PeerId,
};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::{
    Start,
    hello::SoundWords,
    speaker::{NotReading, Speaker},
};
use crate::sound::{Direction, Sound, SoundEvent, SpeakerHandle};

/// What one peer hears of the machine, and says there.
pub(super) struct Voices {
    me: PeerId,
    hearing: Hearing,
    loudspeaker: Option<SpeakerHandle>,
    may_talk: bool,
    carried: Option<AbortOnDropHandle<()>>,
    talker: Option<watch::Receiver<Option<PeerId>>>,
}

impl Voices {
    pub(super) fn new(start: &Start, peer: &Peer) -> Self {
        let me = start.asker.peer.clone();
        let loudspeaker = start.shared.speaker.clone();
        let may_talk = start.may_talk();
        let heard = loudspeaker.as_ref().filter(|_| may_talk);
        Self {
            hearing: Hearing::new(start.shared.sound.clone()),
            carried: heard.map(|speaker| carry_voice(peer, &me, speaker)),
            talker: loudspeaker.as_ref().map(SpeakerHandle::talker),
            me,
            loudspeaker,
            may_talk,
        }
    }

    /// What the peer can do with sound.
    pub(super) fn words(&self) -> SoundWords {
        SoundWords { listen: self.hearing.sound.is_some(), talk: self.may_talk }
    }

    /// How sound is, and who speaks, for who was greeted.
    pub(super) fn greet(&mut self, speaker: &Speaker) -> Result<(), NotReading> {
        if let Some(reason) = self.hearing.sound.as_ref().and_then(Sound::trouble) {
            let notice = SoundEvent::Lost { reason }.notice(Direction::Heard);
            speaker.say(Message::Notice(notice))?;
        }
        self.tell_talker(speaker)
    }

    /// Sends the machine's sound once the peer has agreed to some and can be reached.
    pub(super) fn update(&mut self, peer: &Peer) {
        self.hearing.update(peer);
    }

    /// The peer wants to hear the machine, or no more.
    pub(super) fn listen(&mut self, on: bool, peer: &Peer) {
        self.hearing.wanted = on;
        self.hearing.update(peer);
    }

    /// The peer wants to speak, or lets go; it hears who speaks then.
    pub(super) fn talk(&self, on: bool, speaker: &mut Speaker) -> Result<(), NotReading> {
        let Some(loudspeaker) = &self.loudspeaker else {
            let text = "this machine has no speaker; its owner gives it one with --speaker";
            return speaker.complain("no_speaker", text.to_owned());
        };
        if !self.may_talk {
            let text = "speaking at the machine needs the operator's link";
            return speaker.complain("forbidden", text.to_owned());
        }
        if !on {
            loudspeaker.release(&self.me);
        } else if let Err(taken) = loudspeaker.ask(&self.me) {
            speaker.complain("talk_taken", taken.to_string())?;
        }
        let talker = loudspeaker.talker().borrow().clone();
        speaker.say(self.talking(talker))
    }

    /// Waits until somebody else speaks. Cancel safe.
    pub(super) async fn talker_changed(&mut self) {
        if let Some(talker) = &mut self.talker
            && talker.changed().await.is_ok()
        {
            return;
        }
        std::future::pending::<()>().await;
    }

    /// Who speaks, to who was greeted.
    pub(super) fn tell_talker(&mut self, speaker: &Speaker) -> Result<(), NotReading> {
        let Some(talker) = &mut self.talker else { return Ok(()) };
        let talker = talker.borrow_and_update().clone();
        speaker.tell(self.talking(talker))
    }

    /// Nothing is heard any more, on either side.
    pub(super) fn end(&mut self) {
        self.hearing.task = None;
        self.carried = None;
    }

    fn talking(&self, talker: Option<PeerId>) -> Message {
        let you = talker.as_ref() == Some(&self.me);
        Message::Talk(Talk::State { talker, you })
    }
}

/// Sends the machine's sound to one peer while it wants it.
struct Hearing {
    sound: Option<Sound>,
    wanted: bool,
    task: Option<AbortOnDropHandle<()>>,
}

impl Hearing {
    /// Who does not say otherwise hears it.
    fn new(sound: Option<Sound>) -> Self {
        Self { sound, wanted: true, task: None }
    }

    /// Begins once the peer has agreed to sound and can be reached, and ends when it is not wanted.
    fn update(&mut self, peer: &Peer) {
        if !self.wanted {
            self.task = None;
        }
        let runs = self.task.as_ref().is_some_and(|task| !task.is_finished());
        if runs || !self.wanted {
            return;
        }
        let track = peer.audio().filter(AudioTrack::is_ready);
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
}

/// Brings what a peer says to the speaker, which plays it if the peer has the floor.
fn carry_voice(peer: &Peer, name: &PeerId, speaker: &SpeakerHandle) -> AbortOnDropHandle<()> {
    let (peer, name, speaker) = (peer.clone(), name.clone(), speaker.clone());
    AbortOnDropHandle::new(tokio::spawn(async move {
        while let Some(packet) = peer.next_sound().await {
            speaker.say(&name, packet);
        }
    }))
}
