//! New connections: accepted, counted, and given to hyper.
//!
//! An own loop instead of `axum::serve`, because requests must arrive in time, connections are
//! bounded, and every task has an owner who waits for it.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Router, body::Body, extract::ConnectInfo};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;

use crate::{
    broker::Broker,
    cue::Cue,
    http::Permit,
    limits::{Limit, Open, forwarded::is_trusted},
    metrics::Metrics,
    settings::Timing,
    write_within::WriteWithin,
};

/// What the head of a request may have in bytes. Identity tokens are the longest part of it.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Out of file descriptors or memory, accepting again at once would only burn the processor.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(100);
/// Connections that are told at a time that there is no room; more are dropped.
pub(crate) const TURNED_AWAY_AT_ONCE: usize = 64;
const TURNED_AWAY_WITHIN: Duration = Duration::from_secs(1);
/// Said to who comes when there is no room.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\n\
    Connection: close\r\nContent-Length: 0\r\n\r\n";

/// Said to who has too many already, or came too often.
const TOO_MANY: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 5\r\n\
    Connection: close\r\nContent-Length: 0\r\n\r\n";

/// What one connection holds of the limits.
#[derive(Debug)]
pub(crate) struct Held {
    #[expect(dead_code, reason = "held, not read")]
    permit: OwnedSemaphorePermit,
    #[expect(dead_code, reason = "held, not read")]
    open: Option<Open>,
}

/// How a request came here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    /// The other end of the connection: the caller, or a proxy.
    pub(crate) from: SocketAddr,
    /// Whether the connection is TLS of this server's own.
    pub(crate) tls: bool,
    /// Whether it came to the port that serves REST alone.
    pub(crate) rest_alone: bool,
}

/// One listener's loop.
pub(crate) struct Acceptor {
    pub(crate) listener: TcpListener,
    pub(crate) routes: Router,
    pub(crate) room: Arc<Semaphore>,
    pub(crate) turned_away: Arc<Semaphore>,
    /// Without it nobody is counted by address: operators' probes.
    pub(crate) broker: Option<Arc<Broker>>,
    pub(crate) tls: Option<TlsAcceptor>,
    /// Nothing but REST is served here.
    pub(crate) rest_alone: bool,
    pub(crate) timing: Timing,
    pub(crate) stop: CancellationToken,
    pub(crate) kill: Cue,
    pub(crate) tasks: TaskTracker,
    pub(crate) metrics: Arc<Metrics>,
}

impl Acceptor {
    /// Accepts until `stop` fires. What was accepted is owned by the tracker.
    pub(crate) async fn run(self) {
        loop {
            let accepted = tokio::select! {
                biased;

                () = self.stop.cancelled() => return,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, from)) => self.accepted(stream, from),
                Err(error) if is_the_peers(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(PAUSE_AFTER_ERROR).await;
                }
            }
        }
    }

    fn accepted(&self, stream: TcpStream, from: SocketAddr) {
        let held = match self.held(from.ip()) {
            Ok(held) => held,
            Err(limit) => {
                self.turn_away(stream, limit);
                return;
            }
        };
        // Signaling is small messages that somebody waits for.
        let _ = stream.set_nodelay(true);
        bound_unsent(&stream);
        let serving = Serving {
            permit: Permit(Arc::new(held)),
            routes: self.routes.clone(),
            asked: Asked { from, tls: self.tls.is_some(), rest_alone: self.rest_alone },
            request_within: self.timing.request_within,
            stop: self.stop.clone(),
        };
        let kill = self.kill.clone();
        let (within, metrics) = (self.timing, Arc::clone(&self.metrics));
        let Some(tls) = self.tls.clone() else {
            let stream = WriteWithin::new(stream, within.write_within);
            self.tasks.spawn(until(kill, serving.run(stream)));
            return;
        };
        let stop = self.stop.clone();
        self.tasks.spawn(until(kill, async move {
            // Boxed: what a handshake needs is given back when it is over.
            let handshake = Box::pin(timeout(within.request_within, tls.accept(stream)));
            let stream = tokio::select! {
                () = stop.cancelled() => return,
                shaken = handshake => match shaken {
                    Ok(Ok(stream)) => stream,
                    Ok(Err(error)) => {
                        tracing::debug!(%error, "a TLS handshake failed");
                        return;
                    }
                    Err(_) => {
                        metrics.limited(Limit::Slowness.name());
                        return;
                    }
                },
            };
            serving.run(WriteWithin::new(stream, within.write_within)).await;
        }));
    }

    /// The connection's share of what may be open; or the limit that was reached. Proxies that are
    /// trusted stand for many, whose sockets are counted when they are opened.
    fn held(&self, from: IpAddr) -> Result<Held, Limit> {
        let permit = Arc::clone(&self.room).try_acquire_owned();
        let permit = permit.map_err(|_| Limit::Connections)?;
        let Some(broker) = &self.broker else { return Ok(Held { permit, open: None }) };
        let (limiter, trusted) = (&broker.limiter, &broker.settings.trusted_proxies);
        if is_trusted(from, trusted) {
            return Ok(Held { permit, open: None });
        }
        let open = limiter.open.open(from).ok_or(Limit::ConnectionsPerAddress)?;
        limiter
            .admit(Limit::NewConnections, from, Instant::now())
            .map_err(|refused| refused.limit)?;
        Ok(Held { permit, open: Some(open) })
    }

    /// Says why there is no room, to as many at a time as that costs little for. Without a
    /// handshake there are no words over TLS.
    fn turn_away(&self, mut stream: TcpStream, limit: Limit) {
        self.metrics.limited(limit.name());
        if limit == Limit::Connections {
            tracing::warn!("no room for another connection; max_connections says how many");
        }
        if self.tls.is_some() {
            return;
        }
        let Ok(permit) = Arc::clone(&self.turned_away).try_acquire_owned() else { return };
        let kill = self.kill.clone();
        let answer = if limit == Limit::Connections { FULL } else { TOO_MANY };
        self.tasks.spawn(async move {
            let said = async {
                // An answer to a request that was not made yet would be an error to the asker.
                let _asked = stream.read(&mut [0; 1024]).await?;
                stream.write_all(answer).await?;
                stream.shutdown().await?;
                // Closing with the request unread would reset the connection before the answer is
                // read.
                tokio::io::copy(&mut stream.take(MAX_HEAD_BYTES as u64), &mut tokio::io::sink())
                    .await
            };
            tokio::select! {
                _ = timeout(TURNED_AWAY_WITHIN, said) => {}
                () = kill.fired() => {}
            }
            drop(permit);
        });
    }
}

/// Runs something until `kill` fires.
async fn until(kill: Cue, work: impl Future<Output = ()>) {
    tokio::select! {
        biased;

        () = kill.fired() => {}
        () = work => {}
    }
}

/// One connection that was accepted.
struct Serving {
    permit: Permit,
    routes: Router,
    asked: Asked,
    request_within: Duration,
    stop: CancellationToken,
}

impl Serving {
    /// Serves HTTP until the connection ends or becomes a WebSocket, which then has its own task.
    async fn run<S>(self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self { permit, routes, asked, request_within, stop } = self;
        let service = service_fn(move |request: Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(permit.clone());
            request.extensions_mut().insert(asked);
            request.extensions_mut().insert(ConnectInfo(asked.from));
            routes.clone().oneshot(request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(request_within)
            .max_buf_size(MAX_HEAD_BYTES)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let mut connection = std::pin::pin!(connection);
        let mut stopping = false;
        loop {
            tokio::select! {
                biased;

                // The request under way is finished, and no other is taken.
                () = stop.cancelled(), if !stopping => {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
                // How it ended is between hyper and the peer.
                _ = &mut connection => return,
            }
        }
    }
}

/// Bytes that wait in the kernel for a slow network. More of them, up to megabytes otherwise, would be
/// seconds of old pictures and old messages, which nobody can take back or replace by newer ones; fewer
/// would wake the writer for every packet.
#[cfg(target_os = "linux")]
const UNSENT_BYTES: u32 = 64 * 1024;

#[cfg(target_os = "linux")]
fn bound_unsent(stream: &TcpStream) {
    if let Err(error) = socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT_BYTES) {
        tracing::debug!(%error, "the kernel's queue of a connection is not bounded");
    }
}

#[cfg(not(target_os = "linux"))]
fn bound_unsent(_: &TcpStream) {}

/// The peer was gone before it was accepted: nothing is wrong here.
fn is_the_peers(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}
