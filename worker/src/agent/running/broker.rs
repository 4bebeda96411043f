//! What comes from the broker: news of the room, and what peers say by way of it.

use std::time::{Duration, Instant};

use halyard_client::signaling::{SignalError, SignalEvent};
use halyard_protocol::{
    ids::PeerId,
    signal::{ClientMessage, LeftReason, ServerMessage},
};

use super::{BUSY, Running};
use crate::{
    agent::{AgentError, Held, WEBRTC_OFF, room},
    existing::requests::{self, Offer},
    report::Report,
    session::{Dismissed, ToSession},
};

impl<F: FnMut(&Held) + Send> Running<F> {
    /// What the link says.
    pub(super) fn signal(&mut self, event: Option<SignalEvent>) -> Result<(), AgentError> {
        match event {
            Some(SignalEvent::Message(message)) => self.message(message),
            Some(SignalEvent::Reconnected(registered)) => {
                tracing::info!(resumed = registered.resumed, "the broker is back");
                self.reports.tell(Report::SignalingBack);
                self.registered(&registered);
            }
            Some(SignalEvent::Identity(identity)) => self.tenure.proved(identity),
            Some(SignalEvent::Lost { reason, retry_in }) => {
                self.linked = false;
                self.leases.link_lost();
                tracing::warn!(reason, ?retry_in, "the broker is away, sessions go on");
                self.reports.tell(Report::SignalingLost { reason });
            }
            Some(SignalEvent::Ended(error)) => return self.room_ended(error),
            None => return self.room_ended(SignalError::Ended),
        }
        Ok(())
    }

    /// Of a room that is over for good nobody stays; whether there is a new one is not known yet.
    fn room_ended(&mut self, error: SignalError) -> Result<(), AgentError> {
        self.linked = false;
        self.leases.link_lost();
        if room::is_ended(&error) {
            for peer in self.leases.end_all() {
                self.sessions.end(&peer, Dismissed::RoomClosed);
            }
        }
        self.tenure.over(error)
    }

    fn message(&mut self, message: ServerMessage) {
        match message {
            ServerMessage::Offer { sender, sdp } => self.offer(sender, sdp),
            ServerMessage::Candidate { sender, candidate } => {
                // Candidates of strangers find no session.
                self.sessions.tell(&sender, ToSession::Candidate(candidate));
            }
            ServerMessage::PeerJoined(info) => {
                let change = self.roster.joined(&info);
                self.rights(change);
                self.regranted(&info);
            }
            ServerMessage::PeerLeft { peer_id, reason } => {
                self.roster.left(&peer_id);
                let why = match reason {
                    Some(LeftReason::Revoked) => Dismissed::Revoked,
                    _ => Dismissed::NotHere,
                };
                self.sessions.end(&peer_id, why);
            }
            ServerMessage::RightsChanged {} => {
                self.leases.hurry(Instant::now());
                self.tend_leases();
            }
            ServerMessage::RightsConfirmed { seq, grants, valid_for } => {
                let valid_for = Duration::from_secs(valid_for);
                for peer in self.leases.answered(seq, &grants, valid_for) {
                    self.sessions.end(&peer, Dismissed::Revoked);
                }
            }
            ServerMessage::IceServers { ice_servers, .. } => {
                tracing::debug!("new STUN and TURN servers");
                self.sessions.ice_servers(&ice_servers);
                self.ice_servers = ice_servers;
            }
            ServerMessage::Error(error) => {
                tracing::warn!(code = ?error.code, message = error.message, "the broker refused");
            }
            ServerMessage::PeerMessage { from_peer_id, payload, .. } => {
                self.requested(from_peer_id, &payload);
            }
            ServerMessage::RoomClosed { reason } => tracing::warn!(reason, "the room is closed"),
            ServerMessage::Draining { .. } => tracing::info!("the broker is about to restart"),
            _ => {}
        }
    }

    fn offer(&mut self, sender: PeerId, sdp: String) {
        let Some(access) = self.roster.access(&sender) else {
            tracing::warn!(peer = %sender, "an offer of somebody the broker did not name");
            return;
        };
        if !self.offers.allow(Instant::now(), &sender) {
            tracing::warn!(peer = %sender, "too many offers");
            return self.refuse(sender, BUSY, "too many offers; wait a few seconds");
        }
        if !self.webrtc {
            return self.refuse(sender, "webrtc_off", WEBRTC_OFF);
        }
        let (own, ice) = (self.own_id.clone(), self.ice_servers.clone());
        let grant = self.roster.grant(&sender).cloned();
        match self.sessions.offer(own, ice, sender.clone(), access, grant.clone(), sdp) {
            Ok(()) => self.hold(sender, grant),
            Err(full) => self.refuse(sender, BUSY, &full.to_string()),
        }
    }

    /// Says no in the words that the peer reads.
    pub(super) fn refuse(&self, to_peer_id: PeerId, code: &str, message: &str) {
        if self.roster.is_existing(&to_peer_id) {
            return self.tenure.send(ClientMessage::OfferRefused {
                target: to_peer_id,
                reason: "worker_busy".to_owned(),
                message: message.to_owned(),
                current_status: "busy".to_owned(),
            });
        }
        let payload = serde_json::json!({"type": "refused", "code": code, "message": message});
        self.tenure.send(ClientMessage::PeerMessage { to_peer_id, payload });
    }

    /// An existing client asks before it connects.
    fn requested(&self, from: PeerId, payload: &serde_json::Value) {
        let Some(access) = self.roster.access(&from) else { return };
        let load = self.shared.jobs.as_ref().map(|jobs| *jobs.load().borrow());
        let is_busy = load.is_some_and(|load| load.running + load.queued > 0);
        let offer = Offer { is_busy, ..self.shared.existing.offer() };
        if let Some(payload) = requests::answer(payload, access, offer) {
            self.tenure.send(ClientMessage::PeerMessage { to_peer_id: from, payload });
        }
    }
}
