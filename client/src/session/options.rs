//! What a session is asked to be.

use std::time::Duration;

use super::Choice;
use crate::{api::Identity, tls::Trust};

/// Wishes for a session. The default is a program without a picture and with usual patience.
#[derive(Debug, Clone)]
pub struct SessionOptions {
    /// Whether to receive the worker's picture.
    pub video: bool,
    /// Connect over TURN servers alone, never directly.
    pub relay_only: bool,
    /// Program and version, told to the worker in `HELLO`.
    pub name: String,
    /// Which certificates of brokers are believed.
    pub trust: Trust,
    /// Who comes. A fresh anonymous identity if not given.
    pub identity: Option<Identity>,
    /// Which worker to connect to.
    pub choice: Choice,
    /// How long to wait for a worker, at the start and after it left.
    pub worker_wait: Duration,
    /// How long to try to connect to a worker that is there, at the start and after the connection
    /// broke.
    pub connection_wait: Duration,
    /// How long to wait instead of both, once there was a connection. As long as those if not given.
    pub return_wait: Option<Duration>,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            video: false,
            relay_only: false,
            name: concat!("halyard/", env!("CARGO_PKG_VERSION")).to_owned(),
            trust: Trust::default(),
            identity: None,
            choice: Choice::default(),
            worker_wait: Duration::from_secs(20),
            connection_wait: Duration::from_mins(1),
            return_wait: None,
        }
    }
}
