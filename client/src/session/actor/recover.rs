//! Carries out what the recovery decides: connects, tries another way, gives up.

use std::{collections::VecDeque, sync::Arc};

use halyard_protocol::{
    PROTOCOL_VERSION,
    channel::{Hello, Lane, Message},
    signal::ClientMessage,
};

use super::{Actor, Connection};
use crate::{
    peer::{Peer, PeerConfig, PeerError, VideoRole},
    session::{
        SessionError, SessionEvent,
        recovery::{Action, Generation, GiveUp, Input},
        shared::Sense,
    },
    signaling::SignalError,
};

impl Actor {
    /// Tells the recovery what happened, and does what it says until it has nothing more to say.
    pub(super) async fn feed(&mut self, input: Input) -> Result<(), SessionError> {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for action in self.recovery.step(self.born.elapsed(), input, rand::random()) {
                tracing::debug!(?input, ?action, "recovery");
                match action {
                    Action::Connect(generation) => {
                        if let Err(error) = self.connect(generation).await {
                            self.last = error.to_string();
                            inputs.push_back(Input::Failed(generation));
                        }
                    }
                    Action::Restart(generation) => {
                        if let Err(error) = self.offer(true).await {
                            self.last = error.to_string();
                            inputs.push_back(Input::Failed(generation));
                        }
                    }
                    Action::Close(_) => self.disconnect(),
                    Action::GiveUp(why) => return Err(self.given_up(why)),
                }
            }
        }
        Ok(())
    }

    async fn connect(&mut self, generation: Generation) -> Result<(), PeerError> {
        let Some(worker) = self.room.worker().cloned() else {
            return Err(PeerError::Closed);
        };
        let config = PeerConfig {
            ice_servers: self.ice_servers.clone(),
            relay_only: self.options.relay_only,
            video: if self.options.video { VideoRole::Receive } else { VideoRole::None },
            ..PeerConfig::default()
        };
        let (peer, events) = Peer::offerer(config).await?;
        // The lane keeps what is said before it opens: nothing can come before the greeting.
        peer.send(Lane::Control, &self.greeting()).await?;
        self.connection = Some(Connection::new(generation, worker, peer, events));
        self.offer(false).await
    }

    async fn offer(&mut self, restart: bool) -> Result<(), PeerError> {
        let Some(connection) = &self.connection else { return Err(PeerError::Closed) };
        let sdp = connection.peer.create_offer(restart).await?;
        let target = connection.worker.clone();
        self.say(ClientMessage::Offer { target, sdp }).await;
        Ok(())
    }

    fn disconnect(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        if self.shared.link.send_replace(None).is_some() {
            self.shared.tell(SessionEvent::Disconnected { reason: self.last.clone() });
        } else {
            self.last = format!("the connection was {}", connection.state);
        }
        self.shared.lease.send_replace(None);
        *self.shared.sense() = Sense::default();
        self.shared.changed.send_replace(Arc::default());
        self.closing.spawn(connection.close());
    }

    fn greeting(&self) -> Message {
        Message::Hello(Box::new(Hello {
            protocol: PROTOCOL_VERSION,
            agent: self.options.name.clone(),
            peer_id: self.me.clone(),
            your_access: None,
            capabilities: Vec::new(),
            video: Vec::new(),
            commands: Vec::new(),
            drive: None,
            files: None,
        }))
    }

    fn given_up(&self, why: GiveUp) -> SessionError {
        // Without the broker nobody can be found: that is what to mend first.
        if let Some(reason) = &self.signal_lost {
            return SignalError::Lost { reason: reason.clone() }.into();
        }
        if let (GiveUp::NoConnection, Some(worker)) = (why, self.room.worker()) {
            return SessionError::NoConnection {
                worker: worker.clone(),
                waited: self.options.connection_wait,
                last: self.last.clone(),
            };
        }
        let (room, waited) = (self.room_id.clone(), self.options.worker_wait);
        match self.room.unmet() {
            Some(why) => SessionError::NoneFits { room, waited, why },
            None => SessionError::NoWorker { room, waited },
        }
    }
}
