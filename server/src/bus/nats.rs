//! Servers that speak over NATS. Core publish and subscribe is all that is used, so any NATS server
//! or cluster of the last years will do; certainty and order across a lost connection are the
//! links' own.

use std::{
    fs, io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use async_nats::{Client, ConnectOptions, Subscriber, connection::State};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use tokio::{
    sync::{Notify, watch},
    time::{sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Bus, Listener, NodeId, NotSent, Worth,
    cluster::{Cluster, Event, To},
    packet::Packet,
};
use crate::{metrics::Metrics, settings::NatsSettings};

/// A packet that the client does not take for this long counts as lost; it is sent again.
const PUBLISH_WITHIN: Duration = Duration::from_millis(100);
/// At a start, the time until everybody has answered our first heartbeat.
const ANSWERED_WITHIN: Duration = Duration::from_millis(150);
/// At a start, how long is waited for a bus that does not answer.
const SETTLED_WITHIN: Duration = Duration::from_secs(1);
/// Longest wait between two attempts to connect.
const SLOWEST_RECONNECT: Duration = Duration::from_secs(1);
/// Packets that are read before anything is written.
const READ_AT_ONCE: usize = 256;
/// Longest wait for the goodbye to reach NATS.
const GOODBYE_WITHIN: Duration = Duration::from_secs(1);

/// The bus cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NatsError {
    /// The credentials cannot be read.
    #[error("cannot read bus_credentials {path}: {source}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not what `nsc` writes.
    #[error("bus_credentials {path} is not a .creds file with a user's JWT and key in it")]
    Credentials {
        /// Which file.
        path: PathBuf,
    },
}

/// The other servers, over NATS.
#[derive(Debug)]
pub struct NatsBus {
    me: NodeId,
    servers: Vec<String>,
    options: Mutex<Option<ConnectOptions>>,
    /// The beginning of every subject.
    prefix: String,
    cluster: Mutex<Cluster>,
    /// There is something to send or to tell.
    wake: Notify,
    settled: watch::Sender<bool>,
    /// Something has arrived.
    acked: Notify,
    metrics: Arc<Metrics>,
    /// When the last heartbeat was published that has not come back yet.
    beat_at: Mutex<Option<Instant>>,
}

impl NatsBus {
    /// Reads the credentials. Nothing is connected before [`run`](Bus::run).
    ///
    /// `prefix` begins every subject; servers with the same one serve the same rooms. `url` is
    /// where this server alone is reached.
    pub fn new(
        settings: &NatsSettings,
        prefix: &str,
        url: Option<String>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, NatsError> {
        let me = NodeId::random();
        let mut options = ConnectOptions::new()
            .name(format!("halyard {me}"))
            .retry_on_initial_connect()
            .ping_interval(Duration::from_secs(5))
            .connection_timeout(Duration::from_secs(2))
            .reconnect_delay_callback(|attempts| {
                let attempts = u32::try_from(attempts).unwrap_or(u32::MAX);
                Duration::from_millis(50).saturating_mul(attempts).min(SLOWEST_RECONNECT)
            });
        if let Some(path) = &settings.credentials {
            let text = fs::read_to_string(path)
                .map_err(|source| NatsError::Read { path: path.clone(), source })?;
            options = options
                .credentials(&text)
                .map_err(|_| NatsError::Credentials { path: path.clone() })?;
        }
        if let Some(token) = &settings.token {
            options = options.token(token.expose().to_owned());
        }
        Ok(Self {
            me,
            servers: settings.servers.clone(),
            options: Mutex::new(Some(options)),
            prefix: prefix.to_owned(),
            cluster: Mutex::new(Cluster::new(me, url, Instant::now())),
            wake: Notify::new(),
            settled: watch::Sender::new(false),
            acked: Notify::new(),
            metrics,
            beat_at: Mutex::new(None),
        })
    }

    fn cluster(&self) -> MutexGuard<'_, Cluster> {
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count_nodes(&self) {
        let others = self.cluster().nodes().len();
        self.metrics.bus_nodes.set(i64::try_from(others + 1).unwrap_or(i64::MAX));
    }

    fn everybody(&self) -> String {
        format!("{}.nodes", self.prefix)
    }

    fn only(&self, node: NodeId) -> String {
        format!("{}.node.{node}", self.prefix)
    }

    /// Connects in the background. Only addresses that cannot be any are refused.
    async fn connect(&self) -> Option<(Client, Subscriber, Subscriber)> {
        let options = self.options.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let connected = async {
            let client = options.connect(&self.servers).await.map_err(|error| error.to_string())?;
            let everybody = client.subscribe(self.everybody()).await;
            let me = client.subscribe(self.only(self.me)).await;
            let (everybody, me) =
                (everybody.map_err(|e| e.to_string())?, me.map_err(|e| e.to_string())?);
            Ok::<_, String>((client, everybody, me))
        };
        match connected.await {
            Ok(connected) => Some(connected),
            Err(error) => {
                tracing::error!(error, "the bus cannot be used; rooms go on here by themselves");
                None
            }
        }
    }

    async fn carry(&self, listener: &dyn Listener, stop: &CancellationToken) {
        self.count_nodes();
        let started = Instant::now();
        let mut answered_at = None;
        let Some((client, mut everybody, mut me)) = self.connect().await else {
            self.settled.send_replace(true);
            return stop.cancelled().await;
        };
        loop {
            let wake_at = self.speak(&client, listener).await;
            let now = Instant::now();
            if answered_at.is_none() && self.cluster().is_connected() {
                answered_at = Some(now + ANSWERED_WITHIN);
            }
            let settled_at = answered_at.unwrap_or(started + SETTLED_WITHIN);
            if !*self.settled.borrow() && settled_at <= now {
                self.settled.send_replace(true);
            }
            let settling = !*self.settled.borrow();
            let wake_at = if settling { wake_at.min(settled_at) } else { wake_at };
            tokio::select! {
                biased;

                () = stop.cancelled() => break,
                packet = me.next() => self.hear(packet, &mut me),
                packet = everybody.next() => self.hear(packet, &mut everybody),
                () = self.wake.notified() => {}
                () = sleep_until(wake_at.into()) => {}
            }
        }
        let goodbye = self.cluster().goodbye().to_bytes(self.me);
        let said = async {
            client.publish(self.everybody(), goodbye).await.ok();
            client.flush().await.ok();
        };
        let _ = timeout(GOODBYE_WITHIN, said).await;
    }

    /// Takes in a packet, and what came right behind it.
    fn hear(&self, first: Option<async_nats::Message>, rest: &mut Subscriber) {
        let mut cluster = self.cluster();
        let now = Instant::now();
        let mut next = first;
        for _ in 0..READ_AT_ONCE {
            let Some(message) = next else { break };
            if Packet::is_beat_of(&message.payload, self.me) {
                // A clock of our own: those of two servers would differ by more than this.
                let at = self.beat_at.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some(at) = at {
                    self.metrics.bus_lag.observe_duration(now.saturating_duration_since(at));
                }
            } else {
                self.metrics.bus_received.inc();
            }
            cluster.receive(message.payload, now);
            next = rest.next().now_or_never().flatten();
        }
    }

    /// Tells the rooms what happened and the others what is due. When to look again.
    async fn speak(&self, client: &Client, listener: &dyn Listener) -> Instant {
        loop {
            // The rooms send from within these calls.
            let event = self.cluster().next_event();
            match event {
                None => break,
                Some(Event::Up(node)) => {
                    self.count_nodes();
                    listener.up(node);
                }
                Some(Event::Down(node)) => {
                    self.count_nodes();
                    listener.down(node);
                }
                Some(Event::Heard(from, message)) => listener.heard(from, message),
                Some(Event::Undelivered(to, message)) => {
                    self.metrics.bus_dropped.inc();
                    listener.undelivered(to, message);
                }
                Some(Event::Back) => {
                    self.metrics.bus_reconnects.inc();
                    listener.back();
                }
            }
        }
        let (packets, wake_at, flushed) = {
            let mut cluster = self.cluster();
            let packets = cluster.due(Instant::now());
            (packets, cluster.wake_at(), cluster.is_flushed())
        };
        if flushed {
            self.acked.notify_waiters();
        }
        // Without a connection the client would keep packets that are out of date when it is back.
        if client.connection_state() == State::Connected {
            self.publish(client, packets).await;
        }
        wake_at
    }

    async fn publish(&self, client: &Client, packets: Vec<(To, Packet)>) {
        let publishing = async {
            for (to, packet) in packets {
                let subject = match to {
                    To::Everybody => self.everybody(),
                    To::Node(node) => self.only(node),
                };
                if matches!(packet, Packet::Beat(_)) {
                    let now = Some(Instant::now());
                    *self.beat_at.lock().unwrap_or_else(PoisonError::into_inner) = now;
                }
                match client.publish(subject, packet.to_bytes(self.me)).await {
                    Ok(()) => {
                        self.metrics.bus_sent.inc();
                    }
                    Err(error) => tracing::debug!(%error, "a packet was not taken"),
                }
            }
        };
        if timeout(PUBLISH_WITHIN, publishing).await.is_err() {
            tracing::debug!("the bus takes nothing");
        }
    }
}

#[async_trait]
impl Bus for NatsBus {
    fn node(&self) -> NodeId {
        self.me
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn is_connected(&self) -> bool {
        self.cluster().is_connected()
    }

    fn nodes(&self) -> Vec<NodeId> {
        self.cluster().nodes()
    }

    fn send(&self, to: NodeId, message: Bytes, worth: Worth) -> Result<(), NotSent> {
        self.cluster().send(to, &message, worth)?;
        self.wake.notify_one();
        Ok(())
    }

    fn refuge(&self) -> Option<(NodeId, Option<String>)> {
        self.cluster().refuge()
    }

    fn drain(&self) {
        self.cluster().set_draining(Instant::now());
        self.wake.notify_one();
    }

    async fn settled(&self) {
        let mut settled = self.settled.subscribe();
        // The sender lives in self, and run() sets it whatever happens.
        let _ = timeout(SETTLED_WITHIN * 2, settled.wait_for(|settled| *settled)).await;
    }

    async fn flushed(&self) {
        loop {
            let acked = self.acked.notified();
            if self.cluster().is_flushed() {
                return;
            }
            self.wake.notify_one();
            acked.await;
        }
    }

    async fn run(&self, listener: Arc<dyn Listener>, stop: CancellationToken) {
        self.carry(&*listener, &stop).await;
    }
}
