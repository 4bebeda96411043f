//! One socket, from upgrade to goodbye, in one task.
//!
//! [`Connection::run`] wraps the loop, so that departure is handled once whatever the cause: the
//! place in the room is given up or kept, and the socket is closed with a code that says why.
//! Reading waits for writing and never the other way round, so a peer that does not read cannot
//! say more either.

mod confirm;
mod frames;
mod registration;
mod socket;

use std::{
    future::poll_fn,
    net::IpAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use halyard_protocol::signal::{CloseCode, ErrorCode, Grant, ServerMessage};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::yield_now,
    time::{Instant, Sleep, sleep, sleep_until, timeout},
};
use tracing::Instrument;

use self::{
    confirm::Confirming,
    frames::{Heard, Unreadable},
    socket::{Ended, Socket},
};
use crate::{
    broker::Broker,
    cue::Cue,
    limits::{Limit, Talk, TooOften, Verdict},
    rooms::{Batch, Mailbox, Outbox, Refusal, Said, Seat, Text, unregistered},
};

/// What a broker that goes away owes must be written by then, or it goes where the peer goes.
const LAST_WRITE_WITHIN: Duration = Duration::from_secs(1);
/// How long a goodbye may take: the peer should read what is left, and the close frame after it.
const GOODBYE_WITHIN: Duration = Duration::from_secs(5);
/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The peer said goodbye, by message or by a close frame.
    Left,
    /// The socket broke, or nothing was heard of it: the peer may come back.
    Lost,
    /// This end closes it.
    Closed(CloseCode),
    /// The peer breaks the rules of WebSocket (RFC 6455, close code 1002).
    Protocol,
}

impl End {
    /// The close code that says so; RFC 6455 keeps 1006 for a socket that broke.
    fn code(self) -> u16 {
        match self {
            Self::Left => CloseCode::Normal.code(),
            Self::Lost => 1006,
            Self::Closed(code) => code.code(),
            Self::Protocol => 1002,
        }
    }
}

/// One socket.
pub struct Connection<S> {
    socket: Socket<S>,
    broker: Arc<Broker>,
    outbox: Arc<Outbox>,
    seat: Option<Seat>,
    batch: Batch,
    /// Boxed: only workers ask, and every idle socket would carry it along.
    confirming: Option<Box<Confirming>>,
    /// When other TURN credentials are due.
    ice_due: Option<Instant>,
    heard: Instant,
    /// Boxed: a task carries everything twice.
    manners: Box<Manners>,
}

/// Whether a socket keeps to its limits.
struct Manners {
    from: IpAddr,
    talk: Talk,
    /// Runs while the socket is not read, because it talked too fast.
    pause: Option<Pin<Box<Sleep>>>,
    /// Whether it has tried to register.
    tried: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// A socket that was just upgraded, of somebody at this address. `first` is what arrived behind
    /// the request already.
    pub fn new(stream: S, first: Vec<u8>, broker: Arc<Broker>, from: IpAddr) -> Self {
        Self {
            socket: Socket::new(stream, first),
            broker,
            outbox: Arc::default(),
            seat: None,
            batch: Batch::default(),
            confirming: None,
            ice_due: None,
            heard: Instant::now(),
            manners: Box::new(Manners { from, talk: Talk::default(), pause: None, tried: false }),
        }
    }

    /// Runs until the peer leaves, the broker closes it, or `stop` fires, and says goodbye; `kill`
    /// ends even that. `held` is let go when the socket is.
    pub async fn run(mut self, stop: Cue, kill: Cue, held: impl Send) {
        let _open = self.broker.metrics.socket_opened();
        tokio::select! {
            biased;

            () = kill.fired() => {}
            () = self.run_and_leave(&stop) => {}
        }
        drop(held);
    }

    async fn run_and_leave(&mut self, stop: &Cue) {
        let end = self.run_inner(stop).await;
        self.broker.metrics.closed_with(end.code());
        if let Some(seat) = self.seat.take() {
            tracing::info!(room = %seat.room(), peer = %seat.peer(), ?end, "a peer is gone");
            match end {
                End::Left => seat.leave(),
                // Where the room itself ended the session, it is not there any more to be lost.
                End::Lost | End::Closed(_) | End::Protocol => {
                    seat.lost(std::time::Instant::now());
                }
            }
        } else {
            tracing::debug!(?end, "an unregistered socket is gone");
        }
        // Boxed: it is needed once, and every idle socket would carry it along.
        let _ = timeout(GOODBYE_WITHIN, Box::pin(self.goodbye(end))).await;
    }

    async fn run_inner(&mut self, stop: &Cue) -> End {
        let timing = self.broker.settings.timing;
        let register_by = Instant::now() + timing.register_within;
        let mut next_ping = Instant::now() + jittered(timing.ping_every);
        let mut tick = pin!(sleep_until(register_by));
        let mut stopped = pin!(stop.fired());
        let mut draining = false;
        let mut joined = false;
        loop {
            // First, because who talks without a break would never let the timer have its turn.
            if self.seat.is_none() && Instant::now() >= register_by {
                return End::Closed(CloseCode::TimedOut);
            }
            // Reading comes before writing, one frame at a time: a socket that dropped should be
            // noticed before a message is wasted on it.
            tokio::select! {
                biased;

                () = &mut stopped, if !draining => {
                    draining = true;
                    // First what waits already, because a peer that reads where to go may go there
                    // at once. Whatever comes from now on is kept for its return.
                    // Boxed: it is needed once, and every idle socket would carry it along.
                    if let Err(end) = Box::pin(self.write_owed(LAST_WRITE_WITHIN)).await {
                        return end;
                    }
                    if let Some(seat) = self.seat.take() {
                        tracing::info!(room = %seat.room(), peer = %seat.peer(), "a peer is sent away");
                        seat.lost(std::time::Instant::now());
                    }
                    self.say_draining();
                }
                heard = self.socket.next(), if self.manners.pause.is_none() => {
                    self.heard = Instant::now();
                    if let Ok(said) = &heard
                        && let Err(end) = self.not_too_fast(said)
                    {
                        return end;
                    }
                    let was_registered = self.seat.is_some();
                    self.broker.metrics.messages_received.inc();
                    if let Err(end) = self.heard(heard).await {
                        return end;
                    }
                    if !was_registered && self.seat.is_some() {
                        tick.as_mut().reset(self.next_tick(next_ping));
                        joined = true;
                    }
                }
                () = poll_fn(|cx| self.manners.poll_pause(cx)) => {}
                () = poll_fn(|cx| self.outbox.poll_ready(cx)) => {}
                answer = Confirming::next(&mut self.confirming, &self.broker) => {
                    // Few wait at a time, and each is written before the next is looked for.
                    self.outbox.put_welcome(answer);
                }
                () = &mut tick => {
                    if self.seat.is_none() {
                        return End::Closed(CloseCode::TimedOut);
                    }
                    if self.heard.elapsed() >= timing.idle_after {
                        return End::Closed(CloseCode::TimedOut);
                    }
                    if next_ping <= Instant::now() {
                        if let Err(end) = self.ping().await {
                            return end;
                        }
                        next_ping = Instant::now() + jittered(timing.ping_every);
                    }
                    if self.ice_due.is_some_and(|due| due <= Instant::now()) {
                        self.tell_ice_servers();
                    }
                    tick.as_mut().reset(self.next_tick(next_ping));
                }
            }
            let within = if draining { LAST_WRITE_WITHIN } else { timing.write_within };
            let closing = match self.write_owed(within).await {
                Ok(closing) => closing,
                Err(end) => return end,
            };
            if std::mem::take(&mut joined) {
                self.broker.metrics.joins.observe_duration(self.heard.elapsed());
            }
            if let Some(code) = closing {
                return End::Closed(code);
            }
            if draining {
                return End::Closed(CloseCode::GoingAway);
            }
            if self.socket.had_its_turn() {
                yield_now().await;
            }
        }
    }

    /// Tells the peer that the broker is going away, and where to go.
    fn say_draining(&self) {
        let reconnect_to = self.broker.hall.bus().refuge().and_then(|(_, url)| url);
        let text = ServerMessage::Draining { reconnect_to }.to_json();
        // Whether or not it fits, the close code says the same.
        let _ = self.outbox.put(Text::from(text), false);
    }

    /// Counts a frame. Who talks too fast is not read for a moment, then told, then closed.
    fn not_too_fast(&mut self, heard: &Heard) -> Result<(), End> {
        let now = self.heard.into_std();
        let wait = match self.manners.talk.heard(heard.len(), &self.broker.limiter.pace, now) {
            Verdict::Go => return Ok(()),
            Verdict::Pause(wait) => wait,
            Verdict::Tell(wait) => {
                let refused = TooOften { limit: Limit::Messages, retry_after: wait };
                self.refuse(&Refusal::too_often(&refused));
                wait
            }
            Verdict::Close => {
                self.broker.metrics.limited(Limit::Messages.name());
                return Err(End::Closed(CloseCode::TooFast));
            }
        };
        self.manners.pause = Some(Box::pin(sleep(wait)));
        Ok(())
    }

    /// Answers with a refusal.
    fn refuse(&self, refusal: &Refusal) {
        self.broker.metrics.refused(refusal.code());
        if let Some(limit) = refusal.limit() {
            self.broker.metrics.limited(limit.name());
        }
        tracing::debug!(code = ?refusal.code(), "refused");
        self.trace_refusal(refusal);
        // Answers to what the peer itself says are written before the next frame is read, so they
        // cannot pile up.
        self.outbox.put_welcome(refusal.to_text());
    }

    async fn heard(&mut self, heard: Result<Heard, Ended>) -> Result<(), End> {
        match heard {
            Ok(Heard::Text(text)) => self.heard_text(text).await,
            Ok(Heard::Binary) => Err(End::Closed(CloseCode::Unsupported)),
            Ok(Heard::Ping(payload)) => self.pong(&payload).await,
            Ok(Heard::Pong) => Ok(()),
            // The original's clients have no other goodbye, and a closed tab says 1001.
            Ok(Heard::Close(None | Some(1000 | 1001))) => Err(End::Left),
            Ok(Heard::Close(Some(_))) | Err(Ended::Lost) => Err(End::Lost),
            Err(Ended::Unreadable(why)) => Err(match why {
                Unreadable::TooBig => End::Closed(CloseCode::TooBig),
                Unreadable::InvalidUtf8 => End::Closed(CloseCode::InvalidUtf8),
                Unreadable::Protocol => End::Protocol,
            }),
        }
    }

    async fn heard_text(&mut self, text: Text) -> Result<(), End> {
        let said = match &self.seat {
            Some(seat) => Said::read(&text, seat.peer()),
            None => unregistered(&text),
        };
        let answer = match said {
            Ok(Said::Leave) => return Err(End::Left),
            // Boxed: it is needed once, and every idle socket would carry it along.
            Ok(Said::Register) => {
                let span = tracing::info_span!(
                    target: crate::SPANS,
                    "register",
                    otel.kind = "server",
                    room = tracing::field::Empty,
                    peer = tracing::field::Empty,
                );
                Box::pin(self.register(text).instrument(span)).await
            }
            Ok(Said::ConfirmRights { seq, grants }) => self.confirm_rights(seq, grants),
            Ok(said) => match &self.seat {
                Some(seat) => seat.say(said),
                None if matches!(said, Said::Ping) => {
                    self.outbox.put_welcome(Text::from_static(r#"{"type":"pong"}"#));
                    Ok(())
                }
                None => Ok(()),
            },
            Err(refusal) => Err(refusal),
        };
        if let Err(refusal) = answer {
            self.refuse(&refusal);
        }
        Ok(())
    }

    async fn register(&mut self, text: Text) -> Result<(), Refusal> {
        // Once for every socket that was admitted. Again and again on one socket would be as many
        // questions to the store as there may be messages.
        if std::mem::replace(&mut self.manners.tried, true) {
            let limiter = &self.broker.limiter;
            let admitted = limiter.admit(Limit::Sockets, self.manners.from, self.heard.into_std());
            admitted.map_err(|refused| Refusal::too_often(&refused))?;
        }
        let seat = registration::register(
            &self.broker,
            self.manners.from,
            &text,
            &self.outbox,
            self.seat.as_ref(),
        )
        .await?;
        self.socket.is_a_peers();
        tracing::info!(room = %seat.room(), peer = %seat.peer(), "a peer registered");
        let span = tracing::Span::current();
        span.record("room", seat.room().as_str()).record("peer", seat.peer().as_str());
        if let Some(old) = self.seat.take() {
            let same = old.room() == seat.room() && old.peer() == seat.peer();
            if same { old.forget() } else { old.leave() }
        }
        self.seat = Some(seat);
        self.ice_told();
        Ok(())
    }

    fn next_tick(&self, next_ping: Instant) -> Instant {
        self.ice_due.map_or(next_ping, |due| due.min(next_ping))
    }

    /// Told a list of servers just now: when the next one is due.
    fn ice_told(&mut self) {
        let wait = self.broker.ice.refresh_after(rand::random());
        self.ice_due = wait.and_then(|wait| Instant::now().checked_add(wait));
    }

    /// TURN credentials end, and sockets live on.
    fn tell_ice_servers(&mut self) {
        if let Some(seat) = &self.seat {
            let list = self.broker.ice.list_for(seat.peer().as_str(), crate::time::unix());
            let message = ServerMessage::IceServers {
                ice_servers: list.ice_servers,
                mesh_ice_servers: list.mesh_ice_servers,
                expires_at: list.expires_at,
            };
            // A mailbox that is full belongs to a peer that is being cut off.
            let _ = self.outbox.put(Text::from(message.to_json()), false);
        }
        self.ice_told();
    }

    fn confirm_rights(&mut self, seq: u64, grants: Vec<Grant>) -> Result<(), Refusal> {
        // Who was just revoked is in no room; its socket is being closed.
        let Some(seat) = &self.seat else { return Ok(()) };
        if !seat.may_operate() {
            return Err(Refusal::new(
                ErrorCode::Forbidden,
                "Only workers and operators confirm the rights of others",
            ));
        }
        let confirming = self.confirming.get_or_insert_default();
        confirming.ask(&self.broker, seat.room(), seq, grants, std::time::Instant::now())
    }

    /// A refusal as a span without a length.
    fn trace_refusal(&self, refusal: &Refusal) {
        let seat = self.seat.as_ref();
        let _ended = tracing::info_span!(
            target: crate::SPANS,
            "refused",
            otel.status_code = "ERROR",
            code = ?refusal.code(),
            room = seat.map(|seat| seat.room().as_str()),
            peer = seat.map(|seat| seat.peer().as_str()),
        );
    }

    /// Both kinds of ping: existing workers read the message, every library answers the frame.
    async fn ping(&mut self) -> Result<(), End> {
        self.write_small(|out| {
            frames::write_ping(out);
            frames::write_text(r#"{"type":"ping"}"#, out);
        })
        .await
    }

    async fn pong(&mut self, payload: &[u8]) -> Result<(), End> {
        self.write_small(|out| frames::write_pong(payload, out)).await
    }

    /// Writes what is not worth keeping.
    async fn write_small(&mut self, append: impl FnOnce(&mut Vec<u8>)) -> Result<(), End> {
        let within = self.broker.settings.timing.write_within;
        // Boxed: it is needed now and then, and every idle socket would carry it along.
        let write = Box::pin(timeout(within, self.socket.write_once(append)));
        match write.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(End::Lost),
        }
    }

    /// Writes everything that waits, as one batch, and says with which code the socket should close
    /// then. What could not be written is put back for the peer's return.
    async fn write_owed(&mut self, within: Duration) -> Result<Option<CloseCode>, End> {
        let closing = self.outbox.take(&mut self.batch);
        if self.batch.is_empty() {
            return Ok(closing);
        }
        if let Err(end) = self.write_batch(within).await {
            self.outbox.put_back(&mut self.batch);
            return Err(end);
        }
        let metrics = &self.broker.metrics;
        metrics.outbox.observe(self.batch.len() as f64);
        if let Some(since) = self.batch.timed() {
            metrics.relay.observe_duration(since.elapsed());
        }
        self.batch.clear();
        Ok(closing)
    }

    async fn write_batch(&mut self, within: Duration) -> Result<(), End> {
        let (socket, outbox) = (&mut self.socket, &self.outbox);
        let mut texts = self.batch.texts();
        let mut write = pin!(socket.write(|out| match texts.next() {
            Some(text) => {
                frames::write_text(text, out);
                true
            }
            None => false,
        }));
        // The kernel takes nearly every batch at once, and that needs no timer.
        if let Poll::Ready(written) = poll_fn(|cx| Poll::Ready(write.as_mut().poll(cx))).await {
            return written.map_err(|_| End::Lost);
        }
        tokio::select! {
            biased;

            written = timeout(within, write) => match written {
                Ok(Ok(())) => Ok(()),
                Ok(Err(_)) => Err(End::Lost),
                // It is there and does not read; the network would have said something.
                Err(_) => Err(End::Closed(CloseCode::SlowConsumer)),
            },
            () = poll_fn(|cx| outbox.poll_cut_off(cx)) => Err(End::Closed(CloseCode::SlowConsumer)),
        }
    }

    /// Tells the peer why.
    async fn goodbye(&mut self, end: End) {
        match end {
            End::Lost => {}
            End::Left => self.socket.close(end.code(), CloseCode::Normal.reason()).await,
            End::Closed(code) => self.socket.close(end.code(), code.reason()).await,
            End::Protocol => {
                self.socket.close(end.code(), &Unreadable::Protocol.to_string()).await;
            }
        }
    }
}

impl Manners {
    /// Ends the pause, where there is one and it is over.
    fn poll_pause(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(pause) = &mut self.pause else { return Poll::Pending };
        ready!(pause.as_mut().poll(cx));
        self.pause = None;
        Poll::Ready(())
    }
}

/// Within a tenth of `every`, so that peers which came together are not pinged together.
fn jittered(every: Duration) -> Duration {
    every.mul_f64(rand::random_range(0.9..1.1))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;
    use crate::{Settings, wiring};

    /// What a socket's task may take while it waits, in bytes. The whole of it lives as long as the
    /// socket: what is needed once, or now and then, belongs in a box.
    const MAX_TASK_BYTES: usize = 2048;

    #[tokio::test]
    async fn a_sockets_task_is_small() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let addr = listener.local_addr().expect("an address");
        let stream = TcpStream::connect(addr).await.expect("connected");
        let broker = Arc::new(wiring::open(Settings::default()).expect("a broker"));
        let stop = Cue::default();
        let from = "192.0.2.1".parse().expect("an address");
        let task = Connection::new(stream, Vec::new(), broker, from).run(stop.clone(), stop, ());
        let bytes = size_of_val(&task);
        assert!(bytes <= MAX_TASK_BYTES, "{bytes} bytes");
    }
}
