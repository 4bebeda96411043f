//! The task behind a link: two small loops, connected and dialing.

use std::{
    pin::Pin,
    time::{Duration, Instant, SystemTime},
};

use futures_util::{SinkExt, StreamExt};
use halyard_protocol::signal::{ClientMessage, ServerMessage};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::{Message, protocol::CloseFrame};
use tokio_util::sync::CancellationToken;

use super::{
    Backoff, SignalError, SignalEvent, Timing,
    dial::{Connected, Dialer, Socket},
    queue::{self, EventQueue, NobodyListens},
    register::printable,
};
use crate::api::{ApiError, Identity};

/// A call for a fresh proof of who we are, while messages go on.
type Renewing = Pin<Box<dyn Future<Output = Result<Identity, ApiError>> + Send>>;

/// Why the connected loop ended.
enum Exit {
    /// We leave, or nobody listens any more.
    Left,
    /// The socket is gone; trying again may help.
    Lost(String),
    /// The broker goes away and named where to go.
    Moved,
    /// Trying again cannot help.
    Ended(SignalError),
}

pub(super) struct Link {
    dialer: Dialer,
    timing: Timing,
    backoff: Backoff,
    born: Instant,
    outgoing: mpsc::Receiver<ClientMessage>,
    /// Encoded, but the socket was lost while it was written.
    unsent: Option<String>,
    events: EventQueue,
    stop: CancellationToken,
}

impl Link {
    pub(super) fn new(
        dialer: Dialer,
        outgoing: mpsc::Receiver<ClientMessage>,
        events: mpsc::Sender<SignalEvent>,
        stop: CancellationToken,
    ) -> Self {
        let timing = dialer.config.timing;
        Self {
            dialer,
            timing,
            backoff: Backoff::new(timing.backoff),
            born: Instant::now(),
            outgoing,
            unsent: None,
            events: EventQueue::new(events),
            stop,
        }
    }

    /// Runs until the link is left or ends for good.
    pub(super) async fn run(mut self, first: Connected) {
        let mut connected = first;
        let mut name = connected.registered.peer_id.clone();
        loop {
            self.tell_identity();
            for message in connected.before {
                self.events.push(SignalEvent::Message(message));
            }
            self.backoff.connected(self.born.elapsed());
            let exit = self.connected(&mut connected.socket).await;
            self.dialer.lost();
            let error = match exit {
                Exit::Left => {
                    let waiting = std::iter::from_fn(|| self.outgoing.try_recv().ok()).collect();
                    goodbye(waiting, &mut connected.socket).await;
                    return;
                }
                Exit::Ended(error) => error,
                exit @ (Exit::Lost(_) | Exit::Moved) => {
                    // Closed without `leave`: the broker keeps the place.
                    drop(connected.socket);
                    match self.redial(exit).await {
                        Some(Ok(again)) => {
                            if again.registered.peer_id != name {
                                // What waited was said under a name that nobody answers any more.
                                self.unsent = None;
                                self.forget_waiting();
                                name = again.registered.peer_id.clone();
                            }
                            self.tell_identity();
                            let registered = Box::new(again.registered.clone());
                            self.events.push(SignalEvent::Reconnected(registered));
                            connected = again;
                            continue;
                        }
                        Some(Err(error)) => error,
                        None => return,
                    }
                }
            };
            tracing::debug!(code = error.code(), "the link ends");
            self.events.push(SignalEvent::Ended(error));
            self.outgoing.close();
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = self.events.flush() => {}
            }
            return;
        }
    }

    /// Drops what waits, all but what others shall find this peer by.
    fn forget_waiting(&mut self) {
        while let Ok(message) = self.outgoing.try_recv() {
            if let ClientMessage::UpdateMetadata { .. } = message {
                self.unsent = queue::encode(&message).ok().or(self.unsent.take());
            }
        }
    }

    /// Carries messages both ways until something ends it.
    async fn connected(&mut self, socket: &mut Socket) -> Exit {
        if let Some(text) = self.unsent.take()
            && let Err(reason) = self.write(socket, text).await
        {
            return Exit::Lost(reason);
        }
        let mut heard = Instant::now();
        let mut asked = false;
        let mut renewing: Option<Renewing> = None;
        let mut look_at = Instant::now();
        loop {
            let patience = if asked { self.timing.dead_after } else { self.timing.ping_after };
            tokio::select! {
                // Leave first; then deliver what was heard, because it makes room to hear more;
                // then say what is to be said, and only then listen.
                biased;

                () = self.stop.cancelled() => return Exit::Left,
                delivered = self.events.deliver_one() => if delivered.is_err() {
                    return Exit::Left;
                },
                message = self.outgoing.recv() => {
                    let Some(message) = message else { return Exit::Left };
                    let encoded = queue::encode(&message);
                    if let (ClientMessage::UpdateMetadata { metadata }, Ok(_)) = (message, &encoded) {
                        self.dialer.describe(metadata);
                    }
                    match encoded {
                        Ok(text) => if let Err(reason) = self.write(socket, text).await {
                            return Exit::Lost(reason);
                        },
                        Err(error) => tracing::warn!(%error, "a message was not sent"),
                    }
                }
                frame = socket.next(), if self.events.has_room() => {
                    heard = Instant::now();
                    asked = false;
                    let frame = match frame {
                        Some(Ok(frame)) => frame,
                        Some(Err(error)) => return Exit::Lost(error.to_string()),
                        None => return Exit::Lost("the connection was closed".into()),
                    };
                    if let Some(exit) = self.heard(socket, frame).await {
                        return exit;
                    }
                }
                () = tokio::time::sleep_until(look_at.into()), if renewing.is_none() => {
                    renewing = self.dialer.renewing().map(|it| Box::pin(it) as Renewing);
                    look_at = Instant::now() + self.look_again();
                }
                result = renewed(&mut renewing) => {
                    renewing = None;
                    look_at = Instant::now() + self.renewed(result);
                }
                () = tokio::time::sleep_until((heard + patience).into()), if self.events.has_room() => {
                    if asked {
                        return Exit::Lost(format!(
                            "nothing was heard for {} s", self.timing.dead_after.as_secs_f32()
                        ));
                    }
                    asked = true;
                    if let Err(reason) = self.frame(socket, Message::Ping(Vec::new().into())).await {
                        return Exit::Lost(reason);
                    }
                }
            }
        }
    }

    fn look_again(&self) -> Duration {
        self.dialer.config.identity.look_again(SystemTime::now())
    }

    /// How long until it is looked at again.
    fn renewed(&mut self, renewed: Result<Identity, ApiError>) -> Duration {
        match renewed {
            Ok(identity) => {
                self.dialer.set_identity(identity);
                self.tell_identity();
                self.look_again()
            }
            Err(error) => {
                let wait = self.look_again().max(error.retry_after().unwrap_or_default());
                tracing::warn!(%error, ?wait, "the identity was not renewed, trying again");
                wait
            }
        }
    }

    fn tell_identity(&mut self) {
        if let Some(identity) = self.dialer.take_changed_identity() {
            self.events.push(SignalEvent::Identity(identity));
        }
    }

    async fn heard(&mut self, socket: &mut Socket, frame: Message) -> Option<Exit> {
        let text = match frame {
            Message::Text(text) => text,
            Message::Close(frame) => return Some(closed(frame)),
            // Pings are answered by the library; binary frames are nothing that we know.
            _ => return None,
        };
        let message = match serde_json::from_str(&text) {
            Ok(message) => message,
            Err(error) => {
                tracing::debug!(bytes = text.len(), %error, "a message that does not fit");
                return None;
            }
        };
        match message {
            ServerMessage::Ping => {
                let pong = queue::encode(&ClientMessage::Pong).ok()?;
                self.write(socket, pong).await.err().map(Exit::Lost)
            }
            ServerMessage::Pong | ServerMessage::Unknown => None,
            ServerMessage::RoomClosed { reason } => {
                Some(Exit::Ended(SignalError::RoomClosed { reason: printable(&reason) }))
            }
            ServerMessage::Draining { reconnect_to } => {
                let moves = reconnect_to.as_deref().is_some_and(|to| self.dialer.move_to(to));
                self.events.push(SignalEvent::Message(ServerMessage::Draining { reconnect_to }));
                // Named no address that we follow: stay until it closes, then come back to it.
                moves.then_some(Exit::Moved)
            }
            message => {
                self.events.push(SignalEvent::Message(message));
                None
            }
        }
    }

    /// Writes, and remembers what could not be written.
    async fn write(&mut self, socket: &mut Socket, text: String) -> Result<(), String> {
        let written = self.frame(socket, Message::text(text.clone())).await;
        if written.is_err() {
            self.unsent = Some(text);
        }
        written
    }

    async fn frame(&self, socket: &mut Socket, frame: Message) -> Result<(), String> {
        match tokio::time::timeout(self.timing.write, socket.send(frame)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the socket takes nothing any more".into()),
        }
    }

    /// Tries again until a socket is registered. `None` when the link is left meanwhile.
    async fn redial(&mut self, exit: Exit) -> Option<Result<Connected, SignalError>> {
        let mut at_least = Duration::ZERO;
        let mut reason = match exit {
            Exit::Lost(reason) => reason,
            _ => "the server goes away and named another".into(),
        };
        loop {
            let jittered = self.backoff.failed(self.born.elapsed(), rand::random());
            let retry_in = jittered.max(at_least);
            tracing::debug!(%reason, ?retry_in, tries = self.backoff.failures(), "the link is down");
            self.events.push(SignalEvent::Lost { reason, retry_in });
            let tried = async {
                tokio::time::sleep(retry_in).await;
                Box::pin(self.dialer.connect()).await
            };
            let result = tokio::select! {
                biased;
                () = self.stop.cancelled() => return None,
                NobodyListens = self.events.deliver() => return None,
                result = tried => result,
            };
            match result {
                Err(error) if !error.is_fatal() => {
                    at_least = error.retry_after().unwrap_or_default();
                    reason = error.to_string();
                }
                result => return Some(result),
            }
        }
    }
}

fn closed(frame: Option<CloseFrame>) -> Exit {
    let Some(frame) = frame else {
        return Exit::Lost("the server closed the connection".into());
    };
    match SignalError::of_close(frame.code.into()) {
        Some(error) => Exit::Ended(error),
        None if frame.reason.is_empty() => Exit::Lost("the server closed the connection".into()),
        None => Exit::Lost(printable(&frame.reason)),
    }
}

/// What still waits, `leave`, then the closing handshake, as far as it goes quickly.
async fn goodbye(waiting: Vec<ClientMessage>, socket: &mut Socket) {
    let said = async {
        for message in waiting.iter().chain([&ClientMessage::Leave]) {
            if let Ok(text) = queue::encode(message) {
                socket.send(Message::text(text)).await?;
            }
        }
        socket.close(None).await?;
        while let Some(Ok(_)) = socket.next().await {}
        Ok::<_, tokio_tungstenite::tungstenite::Error>(())
    };
    let _ = tokio::time::timeout(super::GOODBYE, said).await;
}

/// What came of a renewal; never while there is none.
async fn renewed(renewing: &mut Option<Renewing>) -> Result<Identity, ApiError> {
    match renewing {
        Some(renewing) => renewing.await,
        None => std::future::pending().await,
    }
}
