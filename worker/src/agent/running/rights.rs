//! Who may what, as the broker says and goes on confirming.

use std::time::Instant;

use halyard_protocol::{
    ids::PeerId,
    signal::{ClientMessage, Grant, PeerInfo, Registered},
};

use super::Running;
use crate::{
    agent::{Change, Held, Question},
    session::Dismissed,
};

impl<F: FnMut(&Held) + Send> Running<F> {
    /// In a room, for the first time or again.
    pub(super) fn registered(&mut self, registered: &Registered) {
        self.own_id = registered.peer_id.clone();
        self.ice_servers.clone_from(&registered.ice_servers);
        self.sessions.ice_servers(&registered.ice_servers);
        self.tenure.ends_at(registered.expires_at);
        let now = Instant::now();
        for change in self.roster.registered(now, registered) {
            self.rights(change);
        }
        for info in &registered.peers {
            self.regranted(info);
        }
        self.linked = true;
        // Whatever changed meanwhile, nobody here has heard of it.
        self.leases.hurry(now);
        self.tend_leases();
    }

    /// Asks the broker whose rights still hold, where it is time to, and sends away whose lease is
    /// over.
    pub(super) fn tend_leases(&mut self) {
        let now = Instant::now();
        if self.linked
            && let Some(room) = self.tenure.room()
        {
            for Question { seq, grants } in self.leases.questions(room, now, rand::random()) {
                self.tenure.send(ClientMessage::ConfirmRights { seq, grants });
            }
        }
        for peer in self.leases.run_out(now) {
            self.sessions.end(&peer, Dismissed::Unconfirmed(self.leases.term()));
        }
    }

    pub(super) fn regranted(&mut self, info: &PeerInfo) {
        if let Some(room) = self.tenure.room() {
            self.leases.regranted(&info.peer_id, info.grant.as_ref(), room, Instant::now());
        }
    }

    /// A peer with other rights begins anew: what it was allowed is all over its session.
    pub(super) fn rights(&mut self, change: Change) {
        if let Change::Access(peer) = change {
            tracing::info!(%peer, "its rights are others now");
            self.sessions.end(&peer, Dismissed::OtherRights);
        }
    }

    /// A peer that is served has to have its rights confirmed from now on.
    pub(super) fn hold(&mut self, peer: PeerId, grant: Option<Grant>) {
        if let Some(room) = self.tenure.room().cloned() {
            if grant.is_none() {
                tracing::warn!(%peer, "the server is too old to confirm rights: update it");
            }
            self.leases.hold(peer, grant, room, Instant::now());
        }
    }
}
