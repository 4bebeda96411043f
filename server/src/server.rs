//! The life of a broker: bind, run, drain.

use std::{io, net::SocketAddr};

use axum::Router;
use tokio_util::sync::CancellationToken;

use crate::{Settings, identity::KeyFileError, store::OpenError};

/// A broker that holds its port and is about to serve.
pub struct Server;

/// The broker could not start.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address is taken, or not one of this machine.
    #[error("cannot listen on {addr}: {source}; choose another with --listen")]
    Listen {
        /// Which.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The signing key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The embedded store cannot be used.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// A setting needs another one.
    #[error("{0}")]
    Settings(String),
}

/// The broker stopped for a reason other than being told to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A task of the broker's own ended without being told to.
    #[error("a task of the broker failed: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl Server {
    /// Opens the store and the signing key, and takes the port. Nothing is served before
    /// [`run`](Self::run).
    pub async fn bind(_settings: Settings) -> Result<Self, BindError> {
        std::future::ready(()).await;
        unreachable!("follows")
    }

    /// The address that was taken, with the real port.
    pub fn local_addr(&self) -> SocketAddr {
        unreachable!("follows")
    }

    /// The second address, where one was asked for.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        unreachable!("follows")
    }

    /// Serves these routes on the same port. Paths that the broker has itself must not be in it.
    #[must_use]
    pub fn merge_routes(self, _routes: Router) -> Self {
        self
    }

    /// Serves until `stop` fires, then drains: every peer is told `draining` and closed with 1001,
    /// requests under way are finished, and after `timing.drain_within` the rest is cut off.
    pub async fn run(self, _stop: CancellationToken) -> Result<(), RunError> {
        std::future::ready(()).await;
        Ok(())
    }
}
