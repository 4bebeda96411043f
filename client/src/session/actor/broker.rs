//! What comes from the broker: who is in the room, and what the worker says by way of it.

use std::time::Duration;

use halyard_protocol::{
    access::PeerRole,
    ids::PeerId,
    signal::{ClientMessage, ErrorCode, Filters, Registered, ServerMessage},
};

use super::{Actor, Connection};
use crate::{
    peer::PeerError,
    session::{
        SessionError, SessionEvent,
        recovery::{Generation, Input},
        room::Change,
    },
    signaling::{SignalError, SignalEvent},
};

impl Actor {
    /// What the link says.
    pub(super) async fn signal(&mut self, event: Option<SignalEvent>) -> Result<(), SessionError> {
        match event {
            Some(SignalEvent::Message(message)) => self.message(message).await,
            Some(SignalEvent::Reconnected(registered)) => {
                self.signal_lost = None;
                self.shared.tell(SessionEvent::SignalBack);
                self.registered(&registered, true).await
            }
            // Nobody but the link needs it.
            Some(SignalEvent::Identity(_)) => Ok(()),
            Some(SignalEvent::Lost { reason, retry_in }) => {
                self.signal_lost = Some(reason.clone());
                self.shared.tell(SessionEvent::SignalLost { reason, retry_in });
                self.feed(Input::SignalDown).await
            }
            Some(SignalEvent::Ended(
                error @ (SignalError::Replaced
                | SignalError::Revoked
                | SignalError::RoomClosed { .. }),
            )) => Err(error.into()),
            Some(SignalEvent::Ended(error)) => {
                self.shared.tell(SessionEvent::SignalLost {
                    reason: error.to_string(),
                    retry_in: Duration::MAX,
                });
                self.signal_ended = Some(error);
                self.feed(Input::SignalDown).await
            }
            None => Err(SignalError::Ended.into()),
        }
    }

    /// We are in the room, for the first time or again.
    pub(super) async fn registered(
        &mut self,
        registered: &Registered,
        again: bool,
    ) -> Result<(), SessionError> {
        self.me = registered.peer_id.clone();
        self.ice_servers.clone_from(&registered.ice_servers);
        if let Some(connection) = &self.connection
            && let Err(error) = connection.peer.set_ice_servers(self.ice_servers.clone()).await
        {
            tracing::debug!(%error, "new ICE servers were left out");
        }
        let change = self.room.registered(registered);
        self.roster_changed();
        if registered.peers.is_empty() && !registered.peer_list.is_empty() {
            let filters =
                Filters { role: Some(PeerRole::Worker.to_string()), ..Filters::default() };
            self.say(ClientMessage::DiscoverPeers { filters }).await;
        }
        self.worker_changed(change).await?;
        if again { self.feed(Input::SignalUp).await } else { Ok(()) }
    }

    async fn message(&mut self, message: ServerMessage) -> Result<(), SessionError> {
        match message {
            ServerMessage::PeerJoined(peer) => {
                self.shared.tell(SessionEvent::PeerJoined(peer.clone()));
                let change = self.room.joined(peer);
                self.roster_changed();
                self.worker_changed(change).await
            }
            ServerMessage::PeerLeft { peer_id, .. } => {
                let change = self.room.left(&peer_id);
                self.roster_changed();
                self.shared.tell(SessionEvent::PeerLeft(peer_id));
                self.worker_changed(change).await
            }
            ServerMessage::PeerList { peers, .. } => {
                let change = self.room.discovered(peers);
                self.roster_changed();
                self.worker_changed(change).await
            }
            ServerMessage::MetadataUpdated { peer_id, metadata } => {
                let change = self.room.described(&peer_id, metadata);
                self.roster_changed();
                self.worker_changed(change).await
            }
            ServerMessage::IceServers { ice_servers, .. } => {
                // For ICE restarts of this connection, and for the next one.
                if let Some(connection) = &self.connection
                    && let Err(error) = connection.peer.set_ice_servers(ice_servers.clone()).await
                {
                    tracing::debug!(%error, "new ICE servers were left out");
                }
                self.ice_servers = ice_servers;
                Ok(())
            }
            ServerMessage::Answer { sender, sdp } => match self.connection_to(&sender) {
                Some(connection) => {
                    let generation = connection.generation;
                    match connection.peer.accept_answer(&sdp).await {
                        Ok(()) => Ok(()),
                        Err(error) => self.broken(generation, &error).await,
                    }
                }
                None => Ok(()),
            },
            ServerMessage::Candidate { sender, candidate } => {
                if let Some(connection) = self.connection_to(&sender)
                    && let Err(error) = connection.peer.add_candidate(candidate).await
                {
                    tracing::debug!(%error, "a candidate was left out");
                }
                Ok(())
            }
            ServerMessage::Error(error) => {
                let about_worker = error.target.is_some()
                    && error.target.as_ref() == self.connection.as_ref().map(|c| &c.worker);
                tracing::debug!(code = ?error.code, "the broker refused a message");
                if about_worker
                    && matches!(
                        error.code,
                        Some(
                            ErrorCode::PeerNotFound
                                | ErrorCode::PeerNotInRoom
                                | ErrorCode::DeliveryFailed
                        )
                    )
                    && let Some(generation) = self.recovery.generation()
                    && self.shared.link.borrow().is_none()
                {
                    self.last = error.message;
                    return self.feed(Input::Failed(generation)).await;
                }
                Ok(())
            }
            // A worker that does not connect says why: too many peers, WebRTC turned off.
            ServerMessage::PeerMessage { from_peer_id, payload, .. } => {
                let about_us = self.connection.as_ref().is_some_and(|c| c.worker == from_peer_id)
                    && payload["type"] == "refused";
                if about_us
                    && let Some(generation) = self.recovery.generation()
                    && self.shared.link.borrow().is_none()
                {
                    let words = payload["message"].as_str().unwrap_or("it refused");
                    self.last = words.chars().filter(|c| !c.is_control()).take(300).collect();
                    return self.feed(Input::Failed(generation)).await;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    async fn broken(
        &mut self,
        generation: Generation,
        error: &PeerError,
    ) -> Result<(), SessionError> {
        tracing::debug!(%error, "an answer was left out");
        self.last = error.to_string();
        self.feed(Input::Failed(generation)).await
    }

    async fn worker_changed(&mut self, change: Change) -> Result<(), SessionError> {
        // Later on it may be about to come back.
        if !self.was_connected
            && self.connection.is_none()
            && let Some(worker) = self.room.foreign()
        {
            return Err(SessionError::ForeignWorker { worker: worker.clone() });
        }
        match change {
            Change::None => Ok(()),
            Change::Came => self.feed(Input::WorkerCame).await,
            Change::Left => self.feed(Input::WorkerLeft).await,
        }
    }

    fn roster_changed(&self) {
        self.shared.roster.send_replace(self.room.peers());
    }

    fn connection_to(&self, sender: &PeerId) -> Option<&Connection> {
        self.connection.as_ref().filter(|connection| connection.worker == *sender)
    }
}
