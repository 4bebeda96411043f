//! A worker in its room: everything that happens comes through one loop.

mod broker;
mod direct;
mod rights;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use halyard_protocol::{
    channel::Notice,
    ids::PeerId,
    signal::{ClientMessage, IceServer, Metadata},
};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{
    Agent, AgentError, DirectAsk, Entered, Held, Leases, Offers, Roster, STOP_WITHIN,
    link::Link,
    sessions::Sessions,
    tenure::{Tenure, Turn},
    wait::{at, received, sound_event},
};
use crate::{
    media::SourceEvent,
    report::{Addresses, Report, Reports},
    session::{Dismissed, FromSession, Shared},
    sound::{Direction, Sound, SpeakerHandle},
};

/// How often the agent looks for peers that did not come back.
const LOOK_AROUND: Duration = Duration::from_secs(5);

/// The code of a refusal that trying again may mend.
const BUSY: &str = "busy";

pub(super) struct Running<F> {
    tenure: Tenure,
    reports: Reports,
    entered: F,
    own_id: PeerId,
    webrtc: bool,
    ice_servers: Vec<IceServer>,
    roster: Roster,
    leases: Leases,
    /// The broker hears and answers, as far as is known.
    linked: bool,
    offers: Offers,
    sessions: Sessions,
    from_sessions: mpsc::Receiver<FromSession>,
    direct: Option<mpsc::Receiver<DirectAsk>>,
    shared: Arc<Shared>,
    presence: watch::Receiver<Metadata>,
}

impl<F: FnMut(&Held) + Send> Running<F> {
    pub(super) fn new(agent: Agent, first: Entered, entered: F) -> Self {
        let (sessions, from_sessions) = Sessions::new(
            agent.shared.clone(),
            agent.max_sessions,
            agent.relay_only,
            agent.reports.clone(),
        );
        let mut running = Self {
            tenure: Tenure::new(agent.plan, agent.reports.clone()),
            reports: agent.reports,
            entered,
            own_id: first.registered.peer_id.clone(),
            webrtc: agent.webrtc,
            ice_servers: Vec::new(),
            roster: Roster::default(),
            leases: Leases::new(agent.rights_lease, Instant::now()),
            linked: false,
            offers: Offers::new(Instant::now()),
            sessions,
            from_sessions,
            direct: agent.direct,
            shared: agent.shared,
            presence: agent.presence,
        };
        running.enter(first);
        running
    }

    /// Until `stop` fires, or it cannot go on.
    pub(super) async fn serve(&mut self, stop: &CancellationToken) -> Result<(), AgentError> {
        let mut look_around = tokio::time::interval(LOOK_AROUND);
        look_around.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut video = self.shared.tracks.events();
        let mut heard = self.shared.sound.as_ref().map(Sound::events);
        let mut spoken = self.shared.speaker.as_ref().map(SpeakerHandle::events);
        let machine = self.shared.machine.clone();
        let machine_ended = machine.ended();
        tokio::pin!(machine_ended);
        loop {
            tokio::select! {
                // Stop first; then sessions, which are owed; then the broker and whoever is new.
                biased;

                () = stop.cancelled() => return Ok(()),
                () = &mut machine_ended => return Err(AgentError::Machine),
                Some(ended) = self.sessions.next_ended() => {
                    // Its last words may wait behind its end, and somebody may wait for them.
                    while let Ok(said) = self.from_sessions.try_recv() {
                        self.said(said);
                    }
                    if let Some(peer) = self.sessions.ended(ended) {
                        self.leases.release(&peer);
                    }
                }
                Some(said) = self.from_sessions.recv() => self.said(said),
                // Before anybody new is let in.
                () = at(self.leases.next_look(self.linked)) => self.tend_leases(),
                turn = self.tenure.next() => match turn {
                    Turn::Signal(event) => self.signal(event)?,
                    Turn::Entered(entered) => self.enter(*entered),
                },
                ask = received(&mut self.direct) => match ask {
                    Some(ask) => self.direct_ask(ask),
                    None => self.direct = None,
                },
                (track, event) = video.next() => self.video(&track, &event),
                Ok(()) = self.presence.changed() => {
                    let metadata = self.presence.borrow_and_update().clone();
                    self.tenure.describe(metadata);
                }
                event = sound_event(&mut heard) => self.sound(&event.notice(Direction::Heard)),
                event = sound_event(&mut spoken) => self.sound(&event.notice(Direction::Spoken)),
                _ = look_around.tick() => self.look_around(),
            }
        }
    }

    /// In a room, for the first time or anew.
    fn enter(&mut self, entered: Entered) {
        let Entered { held, signaling, registered, events } = entered;
        tracing::info!(room = %held.room_id, "in the room");
        let mut room = held.report();
        if self.direct.is_some() {
            room.direct = Addresses::beside(&held.join_url);
        }
        self.reports.tell(Report::Room(room));
        (self.entered)(&held);
        self.tenure.take(Link::new(held, signaling, events), registered.expires_at);
        self.registered(&registered);
    }

    fn said(&mut self, said: FromSession) {
        match said {
            FromSession::Answer { to, sdp } => {
                if let Some(sdp) = self.sessions.answer_direct(&to, sdp) {
                    self.tenure.send(ClientMessage::Answer { target: to, sdp });
                }
            }
            FromSession::NoAnswer { to, reason } => {
                tracing::warn!(peer = %to, reason, "an offer that cannot be answered");
                if !self.sessions.refuse_direct(&to, &reason) {
                    self.refuse(to, BUSY, &reason);
                }
            }
            FromSession::Candidate { to, candidate } => {
                // Direct peers found them in the answer.
                if !self.sessions.is_direct(&to) {
                    self.tenure.send(ClientMessage::Candidate { target: to, candidate });
                }
            }
            FromSession::Connected(peer) => self.sessions.connected(&peer),
        }
    }

    fn video(&self, track: &str, event: &SourceEvent) {
        if let Some(notice) = self.shared.tracks.notice(track, event) {
            tracing::warn!(track, code = notice.code, message = notice.message, "picture");
            let (code, message) = (notice.code.clone(), notice.message.clone());
            self.reports.tell(Report::Video { track: track.to_owned(), code, message });
            self.shared.machine.tell(notice);
        }
    }

    fn sound(&self, notice: &Notice) {
        let (code, message) = (notice.code.clone(), notice.message.clone());
        self.reports.tell(Report::Sound { code, message });
        self.shared.machine.tell(notice.clone());
    }

    fn look_around(&mut self) {
        for peer in self.roster.expired(Instant::now()) {
            tracing::info!(%peer, "did not come back to the room");
            self.sessions.end(&peer, Dismissed::NotHere);
        }
    }

    /// Sessions first, so that their goodbyes go over live connections; then the room.
    pub(super) async fn goodbye(mut self) {
        let from_sessions = &mut self.from_sessions;
        let closing = async {
            tokio::select! {
                () = self.sessions.close() => {}
                // What sessions still have for the broker is of no use any more.
                () = async { while from_sessions.recv().await.is_some() {} } => {}
            }
            self.tenure.leave().await;
        };
        if tokio::time::timeout(STOP_WITHIN, closing).await.is_err() {
            tracing::warn!("not everybody could be told goodbye in time");
        }
        self.reports.tell(Report::Stopped);
    }
}
