//! The task behind a session: carries out what the recovery decides, and passes on what is said.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use halyard_protocol::{
    PROTOCOL_VERSION,
    access::PeerRole,
    channel::{Bye, Estop, Hello, Lane, Message},
    ids::PeerId,
    signal::{ClientMessage, ErrorCode, Filters, IceServer, Registered, ServerMessage},
};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    SessionError, SessionEvent, SessionOptions, Telemetry,
    recovery::{Action, Generation, GiveUp, Input, Patience, Recovery},
    room::{Change, Room},
    shared::{Link, Sense, Shared},
};
use crate::{
    peer::{Peer, PeerConfig, PeerError, PeerEvent, PeerState, VideoRole},
    signaling::{SignalError, SignalEvent, Signaling},
    transfer::{Serving, Transfers},
};

/// How long a goodbye to the worker may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// How often the round trip is measured where a picture is watched.
const MEASURE: Duration = Duration::from_secs(1);

/// A connection that is being made, or is up.
struct Connection {
    generation: Generation,
    worker: PeerId,
    peer: Peer,
    events: mpsc::Receiver<PeerEvent>,
    /// The newest report's number: older ones that arrive later are left out.
    newest: Option<u64>,
    /// When the round trip was last measured.
    measured: Option<Instant>,
    /// How far it came, for people.
    state: PeerState,
    /// Everything about files on it.
    transfers: Transfers,
    /// Brings what comes on `bulk` to the transfers.
    bulk: AbortOnDropHandle<()>,
}

impl Connection {
    /// Stops the transfers, so that their unfinished files stay, and closes.
    async fn close(self) {
        self.transfers.close().await;
        drop(self.bulk);
        self.peer.close().await;
    }
}

/// What the next turn of the loop is about.
enum Turn {
    Stop,
    Signal(Option<SignalEvent>),
    Peer(Option<PeerEvent>),
    Time,
}

pub(super) struct Actor {
    pub(super) signaling: Signaling,
    pub(super) signals: mpsc::Receiver<SignalEvent>,
    pub(super) shared: Arc<Shared>,
    options: SessionOptions,
    me: PeerId,
    room_id: halyard_protocol::ids::RoomId,
    ice_servers: Vec<IceServer>,
    room: Room,
    recovery: Recovery,
    born: Instant,
    connection: Option<Connection>,
    was_connected: bool,
    last: String,
    /// Why the signaling socket is away, while it is.
    signal_lost: Option<String>,
    /// The signaling link ended for good, but the peer connection lives on.
    signal_ended: Option<SignalError>,
    closing: JoinSet<()>,
    stop: CancellationToken,
}

impl Actor {
    pub(super) fn new(
        signaling: Signaling,
        signals: mpsc::Receiver<SignalEvent>,
        registered: &Registered,
        options: SessionOptions,
        shared: Arc<Shared>,
        stop: CancellationToken,
    ) -> Self {
        let patience = Patience {
            worker: options.worker_wait,
            outage: options.connection_wait,
            back: options.return_wait,
            ..Patience::default()
        };
        Self {
            signaling,
            signals,
            shared,
            room: Room::new(options.choice.clone()),
            options,
            me: registered.peer_id.clone(),
            room_id: registered.room_id.clone(),
            ice_servers: registered.ice_servers.clone(),
            recovery: Recovery::new(patience, Duration::ZERO),
            born: Instant::now(),
            connection: None,
            was_connected: false,
            last: "nothing was heard from it".into(),
            signal_lost: None,
            signal_ended: None,
            closing: JoinSet::new(),
            stop,
        }
    }

    /// Runs until the session is closed or can go on no more.
    pub(super) async fn run(mut self, registered: Registered) {
        let error = self.run_inner(registered).await;
        // Whoever waits hears why before the connection goes.
        self.shared.ended.send_replace(Some(error));
        self.shared.link.send_replace(None);
        if let Some(connection) = self.connection.take() {
            let bye = Message::Bye(Bye { reason: "closed by the user".into() });
            let said = connection.peer.send(Lane::Control, &bye);
            let _ = tokio::time::timeout(GOODBYE, said).await;
            connection.close().await;
        }
        while self.closing.join_next().await.is_some() {}
        self.signaling.leave().await;
    }

    async fn run_inner(&mut self, registered: Registered) -> SessionError {
        if let Err(error) = self.registered(&registered, false).await {
            return error;
        }
        loop {
            let wake = self.recovery.wake().map(|at| self.born + at);
            let turn = tokio::select! {
                biased;
                () = self.stop.cancelled() => Turn::Stop,
                signal = self.signals.recv(), if self.signal_ended.is_none() => Turn::Signal(signal),
                event = next_event(&mut self.connection) => Turn::Peer(event),
                () = sleep_until(wake) => Turn::Time,
            };
            while self.closing.try_join_next().is_some() {}
            let done = match turn {
                Turn::Stop => return SessionError::Closed,
                Turn::Signal(event) => self.signal(event).await,
                Turn::Peer(event) => self.peer(event).await,
                Turn::Time => self.feed(Input::Tick).await,
            };
            if let Err(error) = done {
                return error;
            }
            // Without signaling nothing new can be made: when the connection is gone, so are we.
            if self.connection.is_none()
                && let Some(error) = self.signal_ended.take()
            {
                return error.into();
            }
        }
    }

    async fn signal(&mut self, event: Option<SignalEvent>) -> Result<(), SessionError> {
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
    async fn registered(
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

    async fn peer(&mut self, event: Option<PeerEvent>) -> Result<(), SessionError> {
        let Some(connection) = &mut self.connection else { return Ok(()) };
        let generation = connection.generation;
        match event {
            None => self.feed(Input::Closed(generation)).await,
            Some(PeerEvent::LocalCandidate(candidate)) => {
                let target = connection.worker.clone();
                self.say(ClientMessage::Candidate { target, candidate }).await;
                Ok(())
            }
            Some(PeerEvent::State(state)) => {
                connection.state = state;
                tracing::debug!(generation, %state, "the peer connection");
                let linked = self.shared.link.borrow().is_some();
                let input = match state {
                    PeerState::New | PeerState::Connecting => return Ok(()),
                    PeerState::Connected => {
                        if linked {
                            self.shared.tell(SessionEvent::Heard);
                        }
                        Input::Heard(generation)
                    }
                    PeerState::Disconnected { .. } => {
                        if linked {
                            self.shared.tell(SessionEvent::Silent);
                        }
                        Input::Silent(generation)
                    }
                    PeerState::Failed { .. } => Input::Failed(generation),
                    PeerState::Closed => Input::Closed(generation),
                };
                self.feed(input).await
            }
            Some(PeerEvent::Text(lane, text)) => self.text(generation, lane, &text).await,
            Some(PeerEvent::LaneClosed(Lane::Control | Lane::Bulk)) => {
                self.feed(Input::Closed(generation)).await
            }
            Some(_) => Ok(()),
        }
    }

    async fn text(
        &mut self,
        generation: Generation,
        lane: Lane,
        text: &str,
    ) -> Result<(), SessionError> {
        if let Some(payload) = text.strip_prefix("TELEMETRY::") {
            self.telemetry(payload).await;
            return Ok(());
        }
        let message = match Message::decode(text) {
            Ok(message) => message,
            Err(error) => {
                tracing::debug!(%lane, bytes = text.len(), %error, "a message was left out");
                return Ok(());
            }
        };
        match message {
            Message::Hello(hello) if lane == Lane::Control => {
                return self.hello(generation, *hello).await;
            }
            Message::Ack(ack) => self.shared.ack(ack),
            Message::JobAccepted(ref accepted) => self.shared.job(&accepted.id.clone(), message),
            Message::JobRejected(ref rejected) => self.shared.job(&rejected.id.clone(), message),
            Message::JobEntries(ref entries) => self.shared.job(&entries.id.clone(), message),
            Message::JobEventPage(ref page) => self.shared.job(&page.id.clone(), message),
            Message::LeaseState(state) => {
                self.shared.lease.send_replace(Some(state.clone()));
                self.shared.tell(SessionEvent::Lease(state));
            }
            Message::Estop(Estop::State { latched, by }) => {
                self.shared.tell(SessionEvent::Estop { latched, by });
            }
            Message::Watch(watch) => self.shared.tell(SessionEvent::Watch(watch)),
            Message::Notice(notice) => self.shared.tell(SessionEvent::Notice(notice)),
            Message::TelemetrySchema(schema) => {
                self.shared.schema.send_replace(Some(Arc::new(schema)));
            }
            Message::Changed(changed) => {
                self.shared.changed.send_modify(|known| {
                    Arc::make_mut(known).extend(changed.values.clone());
                });
                self.shared.tell(SessionEvent::Changed(changed));
            }
            Message::Bye(Bye { reason }) => {
                self.last = format!("the worker said goodbye: {reason}");
                self.shared.tell(SessionEvent::Bye { reason });
                return self.feed(Input::Closed(generation)).await;
            }
            message => {
                if let Some(connection) = &self.connection {
                    connection.transfers.message(message);
                }
            }
        }
        Ok(())
    }

    async fn hello(&mut self, generation: Generation, hello: Hello) -> Result<(), SessionError> {
        let Some(connection) = &self.connection else { return Ok(()) };
        let (worker, peer) = (connection.worker.clone(), connection.peer.clone());
        let transfers = connection.transfers.clone();
        let hello = Arc::new(hello);
        let again = std::mem::replace(&mut self.was_connected, true);
        self.feed(Input::Ready(generation)).await?;
        self.shared.tell(SessionEvent::Connected {
            worker: worker.clone(),
            hello: Arc::clone(&hello),
            again,
        });
        self.shared.link.send_replace(Some(Link { generation, worker, hello, peer, transfers }));
        Ok(())
    }

    async fn telemetry(&mut self, payload: &str) {
        let Some(connection) = &mut self.connection else { return };
        let Some(report) = Telemetry::read(payload) else {
            tracing::debug!(bytes = payload.len(), "telemetry that is no JSON object");
            return;
        };
        if let Some(seq) = report.seq() {
            if connection.newest.is_some_and(|newest| seq <= newest) {
                return;
            }
            connection.newest = Some(seq);
        }
        if let Some(host) = report.value.get("host") {
            self.shared.host.send_replace(Some(host.clone()));
        }
        if let Some(stamp) = report.value.get("stamp").and_then(serde_json::Value::as_u64) {
            self.shared.sense().stamp = Some(stamp);
        }
        if self.options.video && connection.measured.is_none_or(|at| at.elapsed() > MEASURE) {
            connection.measured = Some(Instant::now());
            let round_trip = connection.peer.stats().await.rtt;
            self.shared.sense().round_trip = round_trip;
        }
        self.shared.telemetry.send_replace(Some(report.clone()));
        self.shared.tell(SessionEvent::Telemetry(report));
    }

    /// Tells the recovery what happened, and does what it says until it has nothing more to say.
    async fn feed(&mut self, input: Input) -> Result<(), SessionError> {
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
        let serving = Serving::nothing("this end is a client and shares no folder");
        // Nobody can start a transfer here, so there is nothing to look at.
        let (transfers, _) = Transfers::new(Arc::new(peer.clone()), serving);
        let bulk = AbortOnDropHandle::new(tokio::spawn(bring(peer.clone(), transfers.clone())));
        self.connection = Some(Connection {
            generation,
            worker,
            peer,
            events,
            newest: None,
            measured: None,
            state: PeerState::New,
            transfers,
            bulk,
        });
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

    async fn say(&self, message: ClientMessage) {
        // A message that is lost here is missed by the recovery's time-outs.
        if let Err(error) = self.signaling.send(message).await {
            tracing::debug!(%error, "a signaling message was not sent");
        }
    }
}

/// Brings file bytes to the transfers; waits when they do.
async fn bring(peer: Peer, transfers: Transfers) {
    while let Some(bytes) = peer.recv_bulk().await {
        transfers.chunk(bytes).await;
    }
}

async fn next_event(connection: &mut Option<Connection>) -> Option<PeerEvent> {
    match connection {
        Some(connection) => connection.events.recv().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
