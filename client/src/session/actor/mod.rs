//! The task behind a session: carries out what the recovery decides, and passes on what is said.

mod broker;
mod connection;
mod recover;
mod worker;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use halyard_protocol::{
    channel::{Bye, Lane, Message},
    ids::{PeerId, RoomId},
    signal::{ClientMessage, IceServer, Registered},
};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;

use self::connection::Connection;
use super::{
    SessionError, SessionOptions,
    recovery::{Input, Patience, Recovery},
    room::Room,
    shared::Shared,
};
use crate::{
    peer::PeerEvent,
    signaling::{SignalError, SignalEvent, Signaling},
};

/// How long a goodbye to the worker may take.
const GOODBYE: Duration = Duration::from_secs(1);

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
    room_id: RoomId,
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
                event = Connection::next(&mut self.connection) => Turn::Peer(event),
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

    async fn say(&self, message: ClientMessage) {
        // A message that is lost here is missed by the recovery's time-outs.
        if let Err(error) = self.signaling.send(message).await {
            tracing::debug!(%error, "a signaling message was not sent");
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
