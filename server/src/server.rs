//! The life of a broker: bind, run, drain.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::Semaphore,
    task::JoinError,
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

#[cfg(feature = "nats")]
use crate::bus::NatsError;
use crate::{
    Settings,
    accept::{Acceptor, TURNED_AWAY_AT_ONCE},
    broker::Broker,
    cue::Cue,
    health,
    http::{self, App, LogLevel},
    identity::{IdentityProvider, KeyFileError},
    metrics::Backend,
    rights::Tokens,
    rooms::Hall,
    store::{OpenError, RoomStore},
    tidy,
    time::Now,
    tls::{self, Certificate, TlsError},
    wiring,
};

/// Connections that may wait to be accepted; the system may allow fewer. The library's own 128 is
/// not enough when a proxy restarts and everybody comes back at once: who does not fit tries again
/// after a second.
const BACKLOG: u32 = 4096;
/// How often rooms are looked at: the grain of expiry and of the resume window.
const TICK: Duration = Duration::from_secs(1);
/// Connections at a time on the second address: a few probes.
const ADMIN_CONNECTIONS: usize = 64;
/// An answer to an operator that is under way when the drain is over may take so long.
const ADMIN_GOODBYE_WITHIN: Duration = Duration::from_secs(1);
/// Rooms that are looked up at a time because they are over.
const ENDED_AT_ONCE: usize = 256;
/// How long a drain waits for peers to come to another server before their places follow them.
const CLAIMED_WITHIN: Duration = Duration::from_secs(3);
/// How long places that are handed over have to arrive, at least.
const SETTLED_WITHIN: Duration = Duration::from_secs(1);
/// How often a drain looks whether it is done.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A broker that holds its port and is about to serve.
pub struct Server {
    broker: Arc<Broker>,
    doors: Doors,
    log_level: Option<Arc<dyn LogLevel>>,
    merged: Router,
}

/// Where it listens, and with which certificate.
struct Doors {
    listener: TcpListener,
    local_addr: SocketAddr,
    rest: Option<(TcpListener, SocketAddr)>,
    admin: Option<(TcpListener, SocketAddr)>,
    tls: Option<(Arc<Certificate>, TlsAcceptor)>,
}

impl Doors {
    async fn take(settings: &Settings) -> Result<Self, BindError> {
        let (listener, local_addr) = listen(settings.listen, "listen")?;
        let rest = match settings.rest_listen {
            Some(addr) => Some(listen(addr, "rest-listen")?),
            None => None,
        };
        let admin = match settings.admin_listen {
            Some(addr) => Some(listen(addr, "admin-listen")?),
            None => None,
        };
        let tls = match settings.tls.clone() {
            Some(files) => {
                let certificate =
                    tokio::task::spawn_blocking(|| Certificate::open(files)).await??;
                let acceptor = certificate.acceptor()?;
                Some((certificate, acceptor))
            }
            None => None,
        };
        Ok(Self { listener, local_addr, rest, admin, tls })
    }
}

/// The broker could not start.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address is taken, or not one of this machine.
    #[error("cannot listen on {addr}: {source}; choose another with --{flag}")]
    Listen {
        /// Which.
        addr: SocketAddr,
        /// The flag that says where.
        flag: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The signing key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The embedded store cannot be used.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// A backend on another machine cannot be used.
    #[error("{0}")]
    Backend(Box<dyn std::error::Error + Send + Sync>),
    /// The bus cannot be used.
    #[cfg(feature = "nats")]
    #[error(transparent)]
    Bus(#[from] NatsError),
    /// The certificate or its key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A setting needs another one.
    #[error("{0}")]
    Settings(String),
    /// Opening the key or the store failed inside.
    #[error("the broker could not be opened: {0}")]
    Task(#[from] JoinError),
}

/// The broker stopped for a reason other than being told to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A task of the broker's own ended without being told to.
    #[error("a task of the broker failed: {0}")]
    Task(#[from] JoinError),
}

impl Server {
    /// Opens the store and the signing key, and takes the port. Nothing is served before
    /// [`run`](Self::run).
    pub async fn bind(settings: Settings) -> Result<Self, BindError> {
        // The port first: a second broker on the same one should not touch the store.
        let doors = Doors::take(&settings).await?;
        let broker = tokio::task::spawn_blocking(|| wiring::open(settings)).await??;
        Ok(Self::over(broker, doors))
    }

    /// The same over backends that are there already, for programs with several brokers in one.
    pub async fn with(
        settings: Settings,
        store: Arc<dyn RoomStore>,
        identity: Arc<dyn IdentityProvider>,
    ) -> Result<Self, BindError> {
        let doors = Doors::take(&settings).await?;
        let broker = wiring::assemble(settings, store, identity)?;
        Ok(Self::over(broker, doors))
    }

    fn over(broker: Broker, doors: Doors) -> Self {
        Self { broker: Arc::new(broker), doors, log_level: None, merged: Router::new() }
    }

    /// The address that was taken, with the real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.doors.local_addr
    }

    /// The address of REST alone, where one was asked for.
    pub fn rest_addr(&self) -> Option<SocketAddr> {
        self.doors.rest.as_ref().map(|(_, addr)| *addr)
    }

    /// The scheme of links to this server: `https` with a certificate of its own.
    pub fn scheme(&self) -> &'static str {
        if self.doors.tls.is_some() { "https" } else { "http" }
    }

    /// The address for operators, where one was asked for.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.doors.admin.as_ref().map(|(_, addr)| *addr)
    }

    /// Lets operators see and change how much is logged, at `/log-level` of the second address.
    #[must_use]
    pub fn log_level(mut self, level: Arc<dyn LogLevel>) -> Self {
        self.log_level = Some(level);
        self
    }

    /// What the tokens of its rooms open.
    pub fn tokens(&self) -> Tokens {
        Tokens::new(Arc::clone(&self.broker.store))
    }

    /// Serves these routes on the same port, for a program that carries its own broker. Paths that
    /// the broker has itself and a fallback must not be in it: axum panics on either.
    #[must_use]
    pub fn merge_routes(mut self, routes: Router) -> Self {
        self.merged = self.merged.merge(routes);
        self
    }

    /// Serves until `stop` fires, then drains: every peer is told `draining` and closed with 1001,
    /// requests under way are finished, and after `timing.drain_within` the rest is cut off.
    pub async fn run(self, stop: CancellationToken) -> Result<(), RunError> {
        // A child, so that a task of ours that fails can stop the others and not the caller.
        let stop = stop.child_token();
        let (closing, kill) = (Cue::default(), Cue::default());
        let tasks = TaskTracker::new();
        let timing = self.broker.settings.timing;
        let app = App {
            broker: Arc::clone(&self.broker),
            local_addr: self.doors.local_addr,
            stop: closing.clone(),
            kill: kill.clone(),
            tasks: tasks.clone(),
        };
        let most = self.broker.settings.limits.max_connections.min(Semaphore::MAX_PERMITS);
        let acceptor = |listener, routes, room: &Arc<Semaphore>, tls| Acceptor {
            listener,
            routes,
            room: Arc::clone(room),
            turned_away: Arc::new(Semaphore::new(TURNED_AWAY_AT_ONCE)),
            broker: Some(Arc::clone(&self.broker)),
            tls,
            rest_alone: false,
            timing,
            stop: stop.clone(),
            kill: kill.clone(),
            tasks: tasks.clone(),
            metrics: Arc::clone(&self.broker.metrics),
        };
        let mut own = tokio::task::JoinSet::new();
        let (certificate, tls) = self.doors.tls.unzip();
        let room = Arc::new(Semaphore::new(most));
        let routes = http::routes(app.clone()).merge(self.merged);
        own.spawn(acceptor(self.doors.listener, routes, &room, tls.clone()).run());
        if let Some((listener, _)) = self.doors.rest {
            let routes = http::rest_routes(app.clone());
            let rest = acceptor(listener, routes, &room, tls);
            own.spawn(Acceptor { rest_alone: true, ..rest }.run());
        }
        if let Some(certificate) = certificate {
            let metrics = Arc::clone(&self.broker.metrics);
            own.spawn(tls::watch(certificate, metrics, timing.reload_every, stop.clone()));
        }
        // Operators look longer than peers: a drain is worth watching.
        let (admin_stop, admin_tasks) = (CancellationToken::new(), TaskTracker::new());
        if let Some((listener, _)) = self.doors.admin {
            let routes = http::admin_routes(app, self.log_level);
            let few = Arc::new(Semaphore::new(ADMIN_CONNECTIONS));
            let (stop, tasks) = (admin_stop.clone(), admin_tasks.clone());
            let admin = acceptor(listener, routes, &few, None);
            own.spawn(Acceptor { broker: None, stop, tasks, ..admin }.run());
        }
        own.spawn(health::watch(Arc::clone(&self.broker), health::Pace::default(), stop.clone()));
        // Until the places of this server are somebody else's, it is one of the servers.
        let gone = CancellationToken::new();
        let (bus, hall) = (Arc::clone(self.broker.hall.bus()), Arc::clone(&self.broker.hall));
        let until = gone.clone();
        own.spawn(async move { bus.run(hall, until).await });
        own.spawn(let_time_pass(Arc::clone(&self.broker), gone.clone()));
        own.spawn(check_rooms(Arc::clone(&self.broker), stop.clone()));
        own.spawn(tidy::sweep(Arc::clone(&self.broker), stop.clone()));
        own.spawn(tidy::see_off(Arc::clone(&self.broker), stop.clone()));

        let failed = tokio::select! {
            () = stop.cancelled() => None,
            // None of them ends by itself, so this is a panic.
            ended = own.join_next() => ended.and_then(Result::err),
        };
        stop.cancel();
        closing.fire();
        self.broker.metrics.draining.set(1);
        self.broker.hall.bus().drain();
        let drained_by = Instant::now() + timing.drain_within;
        tasks.close();
        tracing::info!(connections = tasks.len(), "draining");
        if timeout(timing.drain_within, tasks.wait()).await.is_err() {
            tracing::warn!(connections = tasks.len(), "the drain took too long and is cut short");
            kill.fire();
            tasks.wait().await;
        }
        leave_places(&self.broker.hall, drained_by).await;
        admin_stop.cancel();
        admin_tasks.close();
        if timeout(ADMIN_GOODBYE_WITHIN, admin_tasks.wait()).await.is_err() {
            kill.fire();
            admin_tasks.wait().await;
        }
        gone.cancel();
        while let Some(ended) = own.join_next().await {
            ended?;
        }
        failed.map_or(Ok(()), |error| Err(error.into()))
    }
}

fn listen(addr: SocketAddr, flag: &'static str) -> Result<(TcpListener, SocketAddr), BindError> {
    let failed = |source| BindError::Listen { addr, flag, source };
    let bound = || {
        let socket = if addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // As `TcpListener::bind` does: a broker that restarts finds its port free. On Windows the
        // same option would let another program take it.
        #[cfg(not(windows))]
        socket.set_reuseaddr(true)?;
        socket.bind(addr)?;
        socket.listen(BACKLOG)
    };
    let listener = bound().map_err(failed)?;
    let local = listener.local_addr().map_err(failed)?;
    Ok((listener, local))
}

/// Waits for peers to take their places up on other servers, and hands over those that are left.
async fn leave_places(hall: &Hall, drained_by: Instant) {
    if hall.bus().nodes().is_empty() {
        return;
    }
    let claimed_by = drained_by.min(Instant::now() + CLAIMED_WITHIN);
    while Instant::now() < claimed_by && hall.places() > 0 {
        sleep(LOOK_AGAIN).await;
    }
    let places = hall.hand_over(Now::read());
    tracing::info!(places, "places that nobody came for are handed over");
    let settled = async {
        while !hall.is_settled() {
            sleep(LOOK_AGAIN).await;
        }
        hall.bus().flushed().await;
    };
    // A second at least: what was handed over should arrive even at the end of a long drain.
    if timeout_at(drained_by.max(Instant::now() + SETTLED_WITHIN), settled).await.is_err() {
        tracing::warn!("the other servers did not take over everything in time");
    }
}

/// Looks rooms up whenever orders of their owners may have been missed.
async fn check_rooms(broker: Arc<Broker>, stop: CancellationToken) {
    loop {
        tokio::select! {
            biased;

            () = stop.cancelled() => return,
            () = broker.hall.missed_orders() => {}
        }
        tokio::select! {
            biased;

            () = stop.cancelled() => return,
            () = broker.check_rooms() => {}
        }
    }
}

/// Lets time pass in the rooms.
async fn let_time_pass(broker: Arc<Broker>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // The store has the last word on a room that is over, and must not hold up the others.
    let mut ending = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;

            () = stop.cancelled() => return,
            _ = ticks.tick() => {
                let now = Now::read();
                let over = broker.hall.tick(now);
                if ending.is_empty() {
                    ending.extend(over.into_iter().take(ENDED_AT_ONCE).map(|id| {
                        let broker = Arc::clone(&broker);
                        async move { broker.end_if_over(&id, now).await }
                    }));
                }
                tell_health(&broker);
            }
            Some(()) = ending.next() => {}
        }
    }
}

/// Whether the other servers can be reached.
fn tell_health(broker: &Broker) {
    let bus = broker.hall.bus();
    if !bus.is_shared() {
        return;
    }
    let now = std::time::Instant::now();
    if bus.is_connected() {
        broker.health.answered(Backend::Bus, now);
    } else {
        broker.health.failed(Backend::Bus, now);
    }
}
