//! What is counted, for Prometheus.
//!
//! One [`Metrics`] per broker, handed around like the rest of it: nothing is global, so two brokers
//! in one process do not count each other's peers. What a relayed message touches is a few relaxed
//! atomics; labels are looked up only where something is refused, asked over HTTP or sent to a
//! backend. Gauges that follow from the rooms are worked out when somebody scrapes.
//!
//! Names begin with `halyard_`, end in their unit, and in `_total` where they only grow. What has a
//! label has few values of it, all from this program: nothing that a peer typed becomes a label.

mod histogram;
mod labels;
mod process;
mod text;

use std::{
    fmt,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use halyard_protocol::signal::{CloseCode, ErrorCode};
use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge, info::Info},
    registry::{Registry, Unit},
};

pub use self::{
    histogram::Histogram,
    labels::{Backend, Interface, PeerKind},
    text::Format,
};
use self::{
    labels::{BackendLabel, Call, Close, HttpCall, LimitLabel, Outcome, PeerLabel, Refused},
    process::Process,
};

/// Between two processes in one datacentre and a backend that struggles, in seconds.
const BACKEND_BUCKETS: [f64; 14] =
    [0.000_1, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
/// A join asks the identity provider and the store, so it takes as long as they do.
const JOIN_BUCKETS: [f64; 14] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0,
];
/// Relaying takes microseconds, and milliseconds where the machine has no core left for it.
const RELAY_BUCKETS: [f64; 14] = [
    0.000_005, 0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.005, 0.01, 0.05,
    0.25, 1.0, 5.0,
];
/// Messages written together.
const BATCH_BUCKETS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 64.0, 256.0, 1024.0, 2048.0, 4096.0];
/// From one node to another.
const BUS_BUCKETS: [f64; 12] =
    [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.1, 0.5, 2.0, 10.0];

/// Everything that is counted.
pub struct Metrics {
    registry: Mutex<Registry>,

    /// WebSocket connections open, registered or not. See [`socket_opened`](Self::socket_opened).
    pub sockets: Gauge,
    /// WebSocket connections opened.
    pub sockets_opened: Counter,
    /// Text frames read from peers.
    pub messages_received: Counter,
    /// Messages found waiting each time a socket's task wrote. The sum is the messages written.
    pub outbox: Histogram,
    /// From a `register` that was read to its answer being written.
    pub joins: Histogram,
    /// From a relayed message being given to its target's outbox to its being handed to the
    /// kernel. One message in [`RELAY_SAMPLE`](crate::rooms::RELAY_SAMPLE) of a socket is timed.
    pub relay: Histogram,
    /// Rooms made.
    pub rooms_created: Counter,
    /// 1 from the moment the broker was asked to stop.
    pub draining: Gauge,

    /// From a heartbeat's publishing to its coming back from the bus, by this node's clock.
    pub bus_lag: Histogram,
    /// Connections to the bus that were made anew after a loss.
    pub bus_reconnects: Counter,
    /// Nodes known on the bus, this one included.
    pub bus_nodes: Gauge,
    /// Messages published to the bus.
    pub bus_sent: Counter,
    /// Messages taken from the bus.
    pub bus_received: Counter,
    /// Messages for another node that were given back, because it is gone or did not take them.
    pub bus_dropped: Counter,

    refusals: Family<Refused, Counter>,
    limited: Family<LimitLabel, Counter>,
    closed: Family<Close, Counter>,
    http: Family<HttpCall, Counter>,
    http_duration: Histogram,
    backend_duration: Family<Call, Histogram, fn() -> Histogram>,
    backend_failures: Family<Call, Counter>,
    backend_up: Family<BackendLabel, Gauge>,
    tls_reloads: Family<Outcome, Counter>,
    /// Not there without TLS: an end that is 0 would be long past.
    tls_ends: OnceLock<Gauge>,
    rooms: Gauge,
    peers: Family<PeerLabel, Gauge>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// Who is in the rooms, counted when somebody scrapes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Census {
    /// Rooms in use on this node.
    pub rooms: usize,
    /// Peers of this node by kind.
    pub peers: Vec<(PeerKind, usize)>,
}

fn backend_histogram() -> Histogram {
    Histogram::new(&BACKEND_BUCKETS)
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Counts from zero.
    pub fn new() -> Self {
        let metrics = Self {
            registry: Mutex::new(Registry::with_prefix("halyard")),
            sockets: Gauge::default(),
            sockets_opened: Counter::default(),
            messages_received: Counter::default(),
            outbox: Histogram::new(&BATCH_BUCKETS),
            joins: Histogram::new(&JOIN_BUCKETS),
            relay: Histogram::new(&RELAY_BUCKETS),
            rooms_created: Counter::default(),
            draining: Gauge::default(),
            bus_lag: Histogram::new(&BUS_BUCKETS),
            bus_reconnects: Counter::default(),
            bus_nodes: Gauge::default(),
            bus_sent: Counter::default(),
            bus_received: Counter::default(),
            bus_dropped: Counter::default(),
            refusals: Family::default(),
            limited: Family::default(),
            closed: Family::default(),
            http: Family::default(),
            http_duration: Histogram::new(&BACKEND_BUCKETS),
            backend_duration: Family::new_with_constructor(backend_histogram),
            backend_failures: Family::default(),
            backend_up: Family::default(),
            tls_reloads: Family::default(),
            tls_ends: OnceLock::new(),
            rooms: Gauge::default(),
            peers: Family::default(),
        };
        metrics.register();
        metrics
    }

    /// Gives every metric its name and its help text.
    fn register(&self) {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let r = &mut *registry;
        let seconds = || Unit::Seconds;
        let build =
            Info::new(vec![("version", env!("CARGO_PKG_VERSION")), ("features", built_with())]);
        r.register("build", "The program that runs", build);
        r.register(
            "sockets",
            "WebSocket connections open, registered or not",
            self.sockets.clone(),
        );
        r.register("sockets_opened", "WebSocket connections opened", self.sockets_opened.clone());
        r.register(
            "sockets_closed",
            "WebSocket connections ended, by close code; 1006 is a connection that broke",
            self.closed.clone(),
        );
        r.register("rooms", "Rooms in use on this node", self.rooms.clone());
        r.register("rooms_created", "Rooms made by this node", self.rooms_created.clone());
        r.register(
            "peers",
            "Peers of this node by role, and whether they are here",
            self.peers.clone(),
        );
        r.register("messages_received", "Messages read from peers", self.messages_received.clone());
        r.register(
            "outbox_messages",
            "Messages that waited each time a socket was written; the sum is the messages written",
            self.outbox.clone(),
        );
        r.register_with_unit(
            "join_duration",
            "From a registration that was read to its answer being written",
            seconds(),
            self.joins.clone(),
        );
        r.register_with_unit(
            "relay_duration",
            "From a message being put into its target's outbox to being written; sampled",
            seconds(),
            self.relay.clone(),
        );
        r.register(
            "refusals",
            "What peers and callers were refused, by code",
            self.refusals.clone(),
        );
        r.register(
            "limited",
            "Refusals because of a limit, by the limit's setting",
            self.limited.clone(),
        );
        r.register("http_requests", "Answers over HTTP by route and status", self.http.clone());
        r.register_with_unit(
            "http_request_duration",
            "From a request's head to its answer, upgrades included",
            seconds(),
            self.http_duration.clone(),
        );
        r.register_with_unit(
            "backend_call_duration",
            "Calls of the store, the identity provider and the bus",
            seconds(),
            self.backend_duration.clone(),
        );
        r.register(
            "backend_failures",
            "Calls that a backend did not carry out; refusals by it are not among them",
            self.backend_failures.clone(),
        );
        r.register("backend_up", "1 while a backend answers", self.backend_up.clone());
        r.register_with_unit(
            "bus_lag",
            "From a heartbeat's publishing to its coming back from the bus",
            seconds(),
            self.bus_lag.clone(),
        );
        r.register(
            "bus_reconnects",
            "Connections to the bus made anew",
            self.bus_reconnects.clone(),
        );
        r.register(
            "bus_nodes",
            "Nodes known on the bus, this one included; 0 without a bus",
            self.bus_nodes.clone(),
        );
        r.register(
            "bus_messages_sent",
            "Packets published to the bus, heartbeats included",
            self.bus_sent.clone(),
        );
        r.register(
            "bus_messages_received",
            "Packets of other nodes taken from the bus, heartbeats included",
            self.bus_received.clone(),
        );
        r.register(
            "bus_messages_dropped",
            "Messages for another node that could not be delivered",
            self.bus_dropped.clone(),
        );
        r.register("tls_reloads", "Certificates read again, by result", self.tls_reloads.clone());
        r.register("draining", "1 once the broker was asked to stop", self.draining.clone());
    }

    /// A WebSocket was opened. It is open until the guard is dropped.
    pub fn socket_opened(&self) -> OpenSocket {
        self.sockets_opened.inc();
        self.sockets.inc();
        OpenSocket(self.sockets.clone())
    }

    /// A message on a socket was answered with an error.
    pub fn refused(&self, code: ErrorCode) {
        self.refused_over(Interface::Socket, labels::error_code(code));
    }

    /// Something was refused with this code, one of a closed set.
    pub fn refused_over(&self, interface: Interface, code: &'static str) {
        self.refusals.get_or_create(&Refused { interface, code }).inc();
    }

    /// A limit was reached. `limit` is the key of the setting (`max_connections`), or a name of the
    /// same kind where the limit is fixed (`max_signal_bytes`).
    pub fn limited(&self, limit: &'static str) {
        self.limited.get_or_create(&LimitLabel { limit }).inc();
    }

    /// A socket ended with this code; `None` where it broke without a goodbye.
    pub fn closed(&self, code: Option<CloseCode>) {
        // RFC 6455 keeps 1006 for what has no close frame.
        self.closed_with(code.map_or(1006, CloseCode::code));
    }

    /// The same for a code that is not one of the broker's own.
    pub fn closed_with(&self, code: u16) {
        self.closed.get_or_create(&Close { code }).inc();
    }

    /// A request over HTTP was answered. `route` is the pattern of the router, never the path.
    pub fn answered(&self, method: &'static str, route: &str, status: u16, took: Duration) {
        let call = HttpCall { method, route: route.to_owned(), status };
        self.http.get_or_create(&call).inc();
        self.http_duration.observe_duration(took);
    }

    /// A backend was called. `failed` is for calls that it did not carry out; an answer that
    /// somebody may not like (no such room) is none.
    pub fn called(&self, backend: Backend, operation: &'static str, took: Duration, failed: bool) {
        let call = Call { backend, operation };
        self.backend_duration.get_or_create(&call).observe_duration(took);
        let failures = self.backend_failures.get_or_create(&call);
        if failed {
            failures.inc();
        }
    }

    /// Whether a backend answers.
    pub fn set_up(&self, backend: Backend, up: bool) {
        self.backend_up.get_or_create(&BackendLabel { backend }).set(up.into());
    }

    /// The certificate was read again, or could not be.
    pub fn tls_reloaded(&self, good: bool) {
        let result = if good { "ok" } else { "failed" };
        self.tls_reloads.get_or_create(&Outcome { result }).inc();
    }

    /// When the certificate ends, in seconds since 1970.
    pub fn tls_ends(&self, at: u64) {
        let gauge = self.tls_ends.get_or_init(|| {
            let gauge = Gauge::default();
            self.registry.lock().unwrap_or_else(PoisonError::into_inner).register_with_unit(
                "tls_certificate_not_after_timestamp",
                "When the broker's own certificate ends, or another in its chain, since 1970",
                Unit::Seconds,
                gauge.clone(),
            );
            gauge
        });
        gauge.set(i64::try_from(at).unwrap_or(i64::MAX));
    }

    /// Everything as text. `census` says who is in the rooms now.
    pub fn render(&self, census: &Census, format: Format) -> String {
        // Held while the gauges are set, too, so that two scrapes at once do not mix.
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        self.rooms.set(signed(census.rooms));
        // Kinds that nobody is of any more are zero, not gone.
        for kind in PeerKind::ALL {
            let count = census.peers.iter().find(|(of, _)| *of == kind).map_or(0, |(_, n)| *n);
            self.peers.get_or_create(&kind.label()).set(signed(count));
        }
        text::render(&registry, &Process::read(), format)
    }
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn built_with() -> &'static str {
    match (cfg!(feature = "aws"), cfg!(feature = "nats"), cfg!(feature = "otlp")) {
        (true, true, true) => "aws,nats,otlp",
        (true, true, false) => "aws,nats",
        (true, false, true) => "aws,otlp",
        (true, false, false) => "aws",
        (false, true, true) => "nats,otlp",
        (false, true, false) => "nats",
        (false, false, true) => "otlp",
        (false, false, false) => "",
    }
}

/// One open WebSocket; dropping it closes the count.
#[derive(Debug)]
pub struct OpenSocket(Gauge);

impl Drop for OpenSocket {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Reads a counter, for tests and for the drain's own words.
pub fn count(counter: &Counter<u64, AtomicU64>) -> u64 {
    counter.inner().load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests;
