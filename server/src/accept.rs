//! New connections: accepted, counted, and given to hyper.
//!
//! An own loop instead of `axum::serve`, because requests must arrive in time, connections are
//! bounded, and every task has an owner who waits for it.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::ConnectInfo};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;

use crate::{http::Permit, metrics::Metrics};

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

/// One listener's loop.
pub(crate) struct Acceptor {
    pub(crate) listener: TcpListener,
    pub(crate) routes: Router,
    pub(crate) room: Arc<Semaphore>,
    pub(crate) turned_away: Arc<Semaphore>,
    pub(crate) request_within: Duration,
    pub(crate) stop: CancellationToken,
    pub(crate) kill: CancellationToken,
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
        let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() else {
            self.turn_away(stream);
            return;
        };
        // Signaling is small messages that somebody waits for.
        let _ = stream.set_nodelay(true);
        let permit = Permit(Arc::new(permit));
        let routes = self.routes.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(permit.clone());
            request.extensions_mut().insert(ConnectInfo(from));
            routes.clone().oneshot(request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.request_within)
            .max_buf_size(MAX_HEAD_BYTES)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let (stop, kill) = (self.stop.clone(), self.kill.clone());
        self.tasks.spawn(async move {
            let mut connection = std::pin::pin!(connection);
            let mut stopping = false;
            loop {
                tokio::select! {
                    biased;

                    () = kill.cancelled() => return,
                    // The request under way is finished, and no other is taken.
                    () = stop.cancelled(), if !stopping => {
                        stopping = true;
                        connection.as_mut().graceful_shutdown();
                    }
                    // How it ended is between hyper and the peer.
                    _ = &mut connection => return,
                }
            }
        });
    }
}

impl Acceptor {
    /// Says that there is no room, to as many at a time as that costs little for.
    fn turn_away(&self, mut stream: TcpStream) {
        self.metrics.limited("max_connections");
        tracing::warn!("no room for another connection; max_connections says how many");
        let Ok(permit) = Arc::clone(&self.turned_away).try_acquire_owned() else { return };
        let kill = self.kill.clone();
        self.tasks.spawn(async move {
            let said = async {
                // An answer to a request that was not made yet would be an error to the asker.
                let _asked = stream.read(&mut [0; 1024]).await?;
                stream.write_all(FULL).await?;
                stream.shutdown().await?;
                // Closing with the request unread would reset the connection before the answer is
                // read.
                tokio::io::copy(&mut stream.take(MAX_HEAD_BYTES as u64), &mut tokio::io::sink())
                    .await
            };
            tokio::select! {
                _ = timeout(TURNED_AWAY_WITHIN, said) => {}
                () = kill.cancelled() => {}
            }
            drop(permit);
        });
    }
}

/// The peer was gone before it was accepted: nothing is wrong here.
fn is_the_peers(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}
