//! What comes by plain HTTP, without a broker.

use std::time::Instant;

use halyard_protocol::{channel::Watch, ids::PeerId, signal::Grant};

use super::Running;
use crate::{
    agent::{DirectAsk, DirectRefused, Held},
    session::ToSession,
};

impl<F: FnMut(&Held) + Send> Running<F> {
    /// The asker waits for the answer; nobody here does.
    pub(super) fn direct_ask(&mut self, ask: DirectAsk) {
        match ask {
            DirectAsk::Offer { sdp, track, access, grant, reply } => {
                if let Err(refused) = self.may_offer_directly() {
                    let _ = reply.send(Err(refused));
                    return;
                }
                let (own, ice) = (self.own_id.clone(), self.ice_servers.clone());
                let peer = self.sessions.offer_direct(own, ice, access, grant.clone(), sdp, reply);
                self.choose_direct(peer.as_ref(), track);
                self.hold_direct(peer, grant);
            }
            DirectAsk::Watch { offer, track, access, grant, reply } => {
                if let Err(refused) = self.may_offer_directly() {
                    let _ = reply.send(Err(refused));
                    return;
                }
                let (own, ice) = (self.own_id.clone(), self.ice_servers.clone());
                let peer = self.sessions.watch(own, ice, access, offer, reply);
                self.choose_direct(peer.as_ref(), track);
                self.hold_direct(peer, grant);
            }
            DirectAsk::Patch { session, access, if_match, fragment, reply } => {
                self.sessions.patch(&session, access, if_match.as_deref(), fragment, reply);
            }
            DirectAsk::Leave { session, access, reply } => {
                let _ = reply.send(self.sessions.leave(&session, access));
            }
            DirectAsk::Candidate { peer, candidate, reply } => {
                let _ = reply.send(self.sessions.candidate_direct(peer, candidate));
            }
        }
    }

    fn may_offer_directly(&mut self) -> Result<(), DirectRefused> {
        if !self.webrtc {
            return Err(DirectRefused::WebrtcOff);
        }
        let allowed = self.offers.allow_direct(Instant::now());
        let words = "too many offers; wait a few seconds";
        if allowed { Ok(()) } else { Err(DirectRefused::Busy(words.to_owned())) }
    }

    /// Shows another picture than the first, where one was asked for.
    fn choose_direct(&self, peer: Option<&PeerId>, track: Option<String>) {
        if let (Some(peer), Some(_)) = (peer, &track) {
            self.sessions.tell(peer, ToSession::Choose(Watch { tracks: vec![track] }));
        }
    }

    /// On a trusted network nobody gave any rights, and nobody takes them back.
    fn hold_direct(&mut self, peer: Option<PeerId>, grant: Option<Grant>) {
        if let (Some(peer), Some(grant)) = (peer, grant) {
            self.hold(peer, Some(grant));
        }
    }
}
