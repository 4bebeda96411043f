//! What comes from the worker over the connection.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use halyard_protocol::{
    channel::{Bye, Estop, Hello, Lane, Message},
    signal::ClientMessage,
};

use super::Actor;
use crate::{
    peer::{PeerEvent, PeerState},
    session::{
        SessionError, SessionEvent, Telemetry,
        recovery::{Generation, Input},
        shared::Link,
    },
};

/// How often the round trip is measured where a picture is watched.
const MEASURE: Duration = Duration::from_secs(1);

impl Actor {
    /// What the connection says; `None` when it has ended without a word.
    pub(super) async fn peer(&mut self, event: Option<PeerEvent>) -> Result<(), SessionError> {
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
}
