//! A session's task: what comes from the peer, from the broker and from the machine, in one place.
//!
//! Each of a session's parts has an arm of its own in [`Live::step`]; [`heard`] hands what the peer says
//! to the part that it is for.

mod heard;

use std::time::Duration;

use halyard_client::peer::{Peer, PeerEvent, PeerState};
use halyard_protocol::channel::{Bye, EstopAction, Lane, Message};
use tokio::sync::mpsc;

use super::{
    CONNECT_WITHIN, Dismissed, Ended, FromSession, MEND_WITHIN, Start, ToSession,
    files::{self, Files},
    gauges::Gauges,
    hello,
    helm::Helm,
    peer_config,
    pictures::Pictures,
    questions::Questions,
    sleep_until,
    sound::Voices,
    speaker::{NotReading, Speaker},
};
use crate::existing::{Around, Existing, SPEAKER};

/// How long a goodbye may take to be handed over.
const GOODBYE: Duration = Duration::from_millis(500);

pub(super) struct Task {
    start: Start,
    inbox: mpsc::Receiver<ToSession>,
}

impl Task {
    pub(super) fn new(start: Start, inbox: mpsc::Receiver<ToSession>) -> Self {
        Self { start, inbox }
    }

    pub(super) async fn run(self) -> Ended {
        let Self { start, mut inbox } = self;
        let (peer, number) = (start.asker.peer.clone(), start.number);
        let reason = match Peer::answerer(peer_config(&start)).await {
            Ok((connection, mut events)) => {
                let mut live = Live::new(start, connection);
                let end = live.run(&mut inbox, &mut events).await;
                let reason = end.to_string();
                live.end(&end, events).await;
                reason
            }
            Err(error) => {
                let reason = error.to_string();
                tracing::error!(%peer, %error, "cannot serve a peer");
                let to = peer.clone();
                let _ = start.out.send(FromSession::NoAnswer { to, reason: reason.clone() }).await;
                reason
            }
        };
        tracing::info!(%peer, %reason, "session ended");
        Ended { peer, number, reason }
    }
}

/// Why a session ends.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("the worker is stopping")]
    Stopped,
    #[error(transparent)]
    Dismissed(Dismissed),
    #[error("the peer came back on another connection")]
    Replaced,
    #[error("the peer left: {0}")]
    Left(String),
    #[error("the connection is closed")]
    Closed,
    #[error("no connection came about")]
    NeverConnected,
    #[error("the connection was lost")]
    Lost,
    #[error(transparent)]
    NotReading(#[from] NotReading),
    #[error("its offer cannot be answered: {0}")]
    BadOffer(String),
}

/// A session with a connection.
struct Live {
    start: Start,
    peer: Peer,
    speaker: Speaker,
    helm: Helm,
    gauges: Gauges,
    pictures: Pictures,
    voices: Voices,
    files: Files,
    questions: Questions,
    existing: Option<Box<Existing>>,
    answered: bool,
    was_connected: bool,
    /// It is on its way out, and the machine knows.
    has_ended: bool,
    give_up_at: Option<tokio::time::Instant>,
}

impl Live {
    fn new(start: Start, peer: Peer) -> Self {
        Self {
            speaker: Speaker::new(peer.clone()),
            helm: Helm::new(&start),
            gauges: Gauges::new(&start),
            pictures: Pictures::new(&start, &peer),
            voices: Voices::new(&start, &peer),
            files: Files::new(&start, &peer),
            questions: Questions::new(&start),
            existing: None,
            answered: false,
            was_connected: false,
            has_ended: false,
            give_up_at: Some(tokio::time::Instant::now() + CONNECT_WITHIN),
            peer,
            start,
        }
    }

    async fn run(
        &mut self,
        inbox: &mut mpsc::Receiver<ToSession>,
        events: &mut mpsc::Receiver<PeerEvent>,
    ) -> End {
        loop {
            if let Err(end) = self.step(inbox, events).await {
                return end;
            }
        }
    }

    /// Waits for the next thing, and does what it asks for.
    async fn step(
        &mut self,
        inbox: &mut mpsc::Receiver<ToSession>,
        events: &mut mpsc::Receiver<PeerEvent>,
    ) -> Result<(), End> {
        tokio::select! {
            // Being told to end comes first; then the peer, whose words may be an e-stop; then
            // what it is owed; telemetry, of which only the latest counts, last.
            biased;

            () = self.start.replaced.cancelled() => return Err(End::Replaced),
            () = self.start.stop.cancelled() => return Err(End::Stopped),
            why = self.start.dismissed.dismissed() => return Err(End::Dismissed(why)),
            // The e-stop, before everything else that this peer has said.
            () = self.peer.pressed() => self.helm.estop(EstopAction::Press, &self.speaker).await?,
            event = events.recv() => match event {
                Some(event) => self.event(event).await?,
                None => return Err(End::Closed),
            },
            told = inbox.recv() => match told {
                Some(told) => self.told(told).await?,
                None => return Err(End::Stopped),
            },
            answer = self.questions.answer() => self.speaker.say(answer)?,
            () = self.voices.talker_changed() => self.voices.tell_talker(&self.speaker)?,
            owed = self.helm.owed() => self.helm.tell(owed, &self.speaker)?,
            due = self.pictures.due() => {
                self.pictures.perform(due, &self.peer, &mut self.speaker)?;
            }
            () = self.files.log_next() => {}
            lines = overdue(&mut self.existing) => self.say_existing(lines)?,
            () = sleep_until(self.give_up_at) => {
                return Err(if self.was_connected { End::Lost } else { End::NeverConnected });
            }
            () = self.gauges.changed() => self.gauges.tell(&self.peer, &self.speaker),
        }
        Ok(())
    }

    /// Whatever the way out: first the machine stops, then words, then the connection.
    async fn end(mut self, end: &End, mut events: mpsc::Receiver<PeerEvent>) {
        self.leave_machine();
        self.has_ended = true;
        self.pictures.end();
        self.voices.end();
        self.files.end();
        // Events that nobody takes would hold up the connection's own goodbye.
        let drain = tokio::spawn(async move { while events.recv().await.is_some() {} });
        if let Some(existing) = self.existing.take() {
            existing.close().await;
            if let End::Dismissed(why) = end {
                let _ = self.speaker.say_legacy(format!("{SPEAKER} {why}"));
            }
        }
        let polite = matches!(end, End::Stopped | End::Dismissed(_) | End::Replaced);
        if polite {
            let _ = self.speaker.tell(Message::Bye(Bye { reason: end.to_string() }));
        }
        // Who has no rights any more does not keep its connection until a disk has answered.
        let hasty = matches!(end, End::Dismissed(why) if why.takes_rights());
        if !hasty {
            self.files.close().await;
        }
        self.speaker.finish(GOODBYE).await;
        self.peer.close().await;
        if hasty {
            self.files.close().await;
        }
        drain.abort();
    }

    /// What the peer drove stops; but not what the same peer drives on its next connection. A peer
    /// that was sent away, or has other rights by now, takes nothing along to its next one.
    fn leave_machine(&self) {
        if !self.start.replaced.is_cancelled() || self.start.dismissed.why().is_some() {
            self.start.shared.machine.left(self.start.asker.clone());
            if let Some(speaker) = &self.start.shared.speaker {
                speaker.release(&self.start.asker.peer);
            }
        }
    }

    async fn told(&mut self, told: ToSession) -> Result<(), End> {
        match told {
            ToSession::Offer(sdp) => match self.peer.accept_offer(&sdp).await {
                Ok(sdp) => {
                    let to = self.start.asker.peer.clone();
                    self.answered = true;
                    self.out(FromSession::Answer { to, sdp }).await;
                    self.show()
                }
                Err(error) => {
                    let (to, reason) = (self.start.asker.peer.clone(), error.to_string());
                    self.out(FromSession::NoAnswer { to, reason: reason.clone() }).await;
                    // A connection survives a bad change of itself.
                    if self.answered { Ok(()) } else { Err(End::BadOffer(reason)) }
                }
            },
            ToSession::IceServers(servers) => {
                if let Err(error) = self.peer.set_ice_servers(servers).await {
                    tracing::debug!(peer = %self.start.asker.peer, %error, "ICE servers");
                }
                Ok(())
            }
            ToSession::Choose(choice) => {
                Ok(self.pictures.choose(&choice, &self.peer, &mut self.speaker)?)
            }
            ToSession::Candidate(candidate) => {
                if let Err(error) = self.peer.add_candidate(candidate).await {
                    tracing::debug!(peer = %self.start.asker.peer, %error, "a candidate");
                }
                Ok(())
            }
        }
    }

    async fn event(&mut self, event: PeerEvent) -> Result<(), End> {
        let is_word = !matches!(event, PeerEvent::State(_) | PeerEvent::KeyframeRequested(_));
        if self.start.watches_only && is_word {
            return Ok(());
        }
        match event {
            PeerEvent::LocalCandidate(candidate) => {
                let to = self.start.asker.peer.clone();
                self.out(FromSession::Candidate { to, candidate }).await;
            }
            PeerEvent::State(state) => return self.state(state).await,
            PeerEvent::LaneOpen(Lane::Control) => return self.greet(),
            // A closed tab closes its lanes before anything else is known of it.
            PeerEvent::LaneClosed(Lane::Control) => {
                return Err(End::Left("it closed the connection".into()));
            }
            PeerEvent::LaneOpen(_) | PeerEvent::LaneClosed(_) => {}
            PeerEvent::Text(lane, text) => return self.heard(lane, &text).await,
            PeerEvent::LegacyOpen(label) => return self.greet_existing(&label),
            PeerEvent::LegacyText(text) => {
                if let Some(existing) = &mut self.existing {
                    let lines = existing.text(text).await;
                    return self.say_existing(lines);
                }
            }
            PeerEvent::LegacyBinary(bytes) => {
                if let Some(existing) = &mut self.existing {
                    let lines = existing.binary(bytes).await;
                    return self.say_existing(lines);
                }
            }
            PeerEvent::LegacyClosed => return Err(End::Left("it closed its channel".into())),
            PeerEvent::KeyframeRequested(place) => self.pictures.request_keyframe(place),
        }
        Ok(())
    }

    async fn state(&mut self, state: PeerState) -> Result<(), End> {
        let peer = &self.start.asker.peer;
        tracing::info!(%peer, %state, "connection");
        match state {
            PeerState::New | PeerState::Connecting => {}
            PeerState::Connected => {
                self.give_up_at = None;
                if !self.was_connected {
                    self.was_connected = true;
                    self.out(FromSession::Connected(peer.clone())).await;
                }
                self.show()?;
            }
            PeerState::Disconnected { .. } | PeerState::Failed { .. } => {
                // It may be mended, but who cannot be heard does not drive.
                self.leave_machine();
                if self.give_up_at.is_none() {
                    self.give_up_at = Some(tokio::time::Instant::now() + MEND_WITHIN);
                }
            }
            PeerState::Closed => return Err(End::Closed),
        }
        Ok(())
    }

    /// Starts pictures and sound once the peer has agreed to some and can be reached.
    fn show(&mut self) -> Result<(), End> {
        self.voices.update(&self.peer);
        Ok(self.pictures.show(&self.peer, &self.speaker)?)
    }

    fn greet(&mut self) -> Result<(), End> {
        let shared = &self.start.shared;
        let hello = hello::hello(
            &self.start.own_id,
            self.start.asker.access,
            shared.machine.facts(),
            shared.tracks.infos(),
            self.voices.words(),
            self.files.info(),
            shared.jobs.is_some(),
        );
        self.speaker.greet(hello)?;
        self.pictures.greet(&self.peer, &self.speaker)?;
        self.helm.greet(&self.speaker)?;
        self.pictures.tell_troubles(&self.speaker)?;
        Ok(self.voices.greet(&self.speaker)?)
    }

    fn greet_existing(&mut self, label: &str) -> Result<(), End> {
        let Start { shared, asker, own_id, .. } = &self.start;
        tracing::info!(peer = %asker.peer, label = heard::shortened(label), "an existing client, everything on one channel");
        let around = Around {
            peer: self.peer.clone(),
            asker: asker.clone(),
            own_id: own_id.clone(),
            root: shared.files.clone(),
            serving: files::serving(&self.start),
            jobs: shared.jobs.clone(),
            common: shared.existing.clone(),
        };
        let (existing, first) = Existing::new(around, label);
        self.existing = Some(Box::new(existing));
        self.say_existing(first)
    }

    fn say_existing(&self, lines: Vec<String>) -> Result<(), End> {
        lines.into_iter().try_for_each(|line| Ok(self.speaker.say_legacy(line)?))
    }

    async fn out(&self, said: FromSession) {
        // The agent ends its sessions before itself, so a closed queue is the end anyway.
        let _ = self.start.out.send(said).await;
    }
}

/// Also when the session panics.
impl Drop for Live {
    fn drop(&mut self) {
        // Once is enough: by the end of a goodbye the peer may drive on another connection.
        if !self.has_ended {
            self.leave_machine();
        }
    }
}

async fn overdue(existing: &mut Option<Box<Existing>>) -> Vec<String> {
    match existing {
        Some(existing) => existing.overdue().await,
        None => std::future::pending().await,
    }
}
