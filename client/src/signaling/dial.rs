//! One try to get a registered socket.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant, SystemTime},
};

use halyard_protocol::{
    limits::{MAX_SIGNAL_BYTES, RESUME_WINDOW},
    signal::{ErrorCode, Metadata, Register, Registered, ServerMessage},
    token::Token,
};
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio_tungstenite::{
    Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config,
    tungstenite::{self, protocol::WebSocketConfig},
};
use url::Url;

use super::{SignalConfig, SignalError, address, register};
use crate::api::{Api, ApiError, ApiOptions, Identity};

/// A socket to the broker.
pub(super) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// After this many failed tries at an address that a draining broker named, home is tried again.
const TRIES_ABROAD: u32 = 3;

/// A registered socket, and what was said before the registration.
pub(super) struct Connected {
    pub(super) socket: Socket,
    pub(super) registered: Registered,
    pub(super) before: Vec<ServerMessage>,
}

/// Knows where to dial, who is calling, and which place to take up again.
pub(super) struct Dialer {
    pub(super) config: SignalConfig,
    present: Url,
    failed_here: u32,
    resume: Option<Resume>,
    /// The identity is another than whoever made the link knows.
    identity_changed: bool,
    /// Whom TLS believes, once it was needed.
    tls: OnceLock<Arc<ClientConfig>>,
}

struct Resume {
    token: Token,
    lost: Option<Instant>,
}

impl Dialer {
    pub(super) fn new(mut config: SignalConfig) -> Result<Self, SignalError> {
        address::socket_address(&config.server)?;
        config.server.set_query(None);
        config.server.set_fragment(None);
        crate::tls::install_provider();
        Ok(Self {
            present: config.server.clone(),
            config,
            failed_here: 0,
            resume: None,
            identity_changed: false,
            tls: OnceLock::new(),
        })
    }

    /// The socket went away: the clock of the resume window runs.
    pub(super) fn lost(&mut self) {
        if let Some(resume) = &mut self.resume {
            resume.lost.get_or_insert_with(Instant::now);
        }
    }

    /// A draining broker named another address. Says whether it is followed.
    pub(super) fn move_to(&mut self, named: &str) -> bool {
        match address::followed(&self.present, named) {
            Some(url) => {
                self.present = url;
                self.failed_here = 0;
                true
            }
            None => false,
        }
    }

    /// What others find this peer by has changed: a later registration says so from the start.
    pub(super) fn describe(&mut self, update: Metadata) {
        self.config.metadata.merge(update);
    }

    /// Renews the identity where it is time to, so that a later reconnect goes by the same name and
    /// with the same rights.
    pub(super) fn renewing(
        &self,
    ) -> Option<impl Future<Output = Result<Identity, ApiError>> + use<>> {
        if !self.config.identity.is_stale(SystemTime::now()) {
            return None;
        }
        let (api, identity) = (self.api(), self.config.identity.clone());
        Some(async move { api?.renew(&identity).await })
    }

    /// From now on.
    pub(super) fn set_identity(&mut self, identity: Identity) {
        self.config.owner &= identity.username == self.config.identity.username;
        self.config.identity = identity;
        self.identity_changed = true;
    }

    /// The identity, where nobody was told of it yet.
    pub(super) fn take_changed_identity(&mut self) -> Option<Identity> {
        std::mem::take(&mut self.identity_changed).then(|| self.config.identity.clone())
    }

    fn api(&self) -> Result<Api, ApiError> {
        let SignalConfig { timing, trust, .. } = &self.config;
        let options = ApiOptions { timeout: timing.dial, trust: trust.clone() };
        Api::with(self.present.clone(), options)
    }

    /// One try, with everything that belongs to it: signing in where the identity has run out, the
    /// old place where it may still be there.
    pub(super) async fn connect(&mut self) -> Result<Connected, SignalError> {
        let result = self.connect_here().await;
        if let Ok(connected) = &result {
            self.failed_here = 0;
            let token = connected.registered.resume_token.clone();
            self.resume = token.map(|token| Resume { token, lost: None });
        } else {
            self.failed_here += 1;
            if self.failed_here >= TRIES_ABROAD && self.present != self.config.server {
                tracing::info!(server = %self.config.server, "back to the first address");
                self.present = self.config.server.clone();
                self.failed_here = 0;
            }
        }
        result
    }

    async fn connect_here(&mut self) -> Result<Connected, SignalError> {
        if let Some(token) = self.resume_token() {
            match self.register(Some(token)).await {
                // A broker that is busy, or whose store is away, still keeps the place.
                Err(error @ SignalError::Refused { .. }) if error.is_fatal() => {
                    tracing::debug!(%error, "the old place is gone, registering anew");
                    self.resume = None;
                }
                other => return other,
            }
        }
        if !self.config.identity.is_fresh(SystemTime::now()) {
            self.sign_in().await?;
        }
        match self.register(None).await {
            // The broker knows better than our clock, or has new keys.
            Err(SignalError::Refused { code: Some(ErrorCode::InvalidIdentity), .. }) => {
                self.sign_in().await?;
                self.register(None).await
            }
            other => other,
        }
    }

    fn resume_token(&self) -> Option<Token> {
        let resume = self.resume.as_ref()?;
        let away = resume.lost.map_or(Duration::ZERO, |lost| lost.elapsed());
        (away < RESUME_WINDOW).then(|| resume.token.clone())
    }

    /// As the same again where the broker lets us: its clock is what counts, and it believes a
    /// proof for a while longer.
    async fn sign_in(&mut self) -> Result<(), SignalError> {
        let api = self.api()?;
        let identity = match api.sign_in_as(&self.config.identity).await {
            Err(error) if error.is_refusal() => api.sign_in().await?,
            signed_in => signed_in?,
        };
        self.set_identity(identity);
        Ok(())
    }

    async fn register(&self, resume_token: Option<Token>) -> Result<Connected, SignalError> {
        let SignalConfig { room, token, owner, identity, role, is_admin, metadata, timing, .. } =
            &self.config;
        let mut socket = self.dial().await?;
        let words = Register {
            peer_id: identity.username.clone(),
            room_id: room.clone(),
            token: token.clone().filter(|_| !owner),
            id_token: Some(identity.id_token.clone()),
            role: *role,
            metadata: metadata.clone(),
            is_admin: *is_admin,
            resume_token,
        };
        let registered =
            tokio::time::timeout(timing.register, register::register(&mut socket, words)).await;
        match registered {
            Ok(Ok((registered, before))) => Ok(Connected { socket, registered, before }),
            Ok(Err(error)) => {
                // A refusal leaves the socket open; closing it politely must not take long.
                let _ = tokio::time::timeout(super::GOODBYE, socket.close(None)).await;
                Err(error)
            }
            Err(_) => Err(SignalError::TimedOut {
                server: self.present.to_string(),
                what: "registration",
            }),
        }
    }

    async fn dial(&self) -> Result<Socket, SignalError> {
        let url = address::socket_address(&self.present)?;
        let config = WebSocketConfig::default()
            // Signaling is a few small frames: the default of 128 KiB would be most of our memory.
            .read_buffer_size(8 * 1024)
            .write_buffer_size(0)
            .max_write_buffer_size(2 * MAX_SIGNAL_BYTES)
            .max_message_size(Some(MAX_SIGNAL_BYTES))
            .max_frame_size(Some(MAX_SIGNAL_BYTES));
        let tls = (url.scheme() == "wss").then(|| {
            let client = self.tls.get_or_init(|| self.config.trust.client());
            Connector::Rustls(Arc::clone(client))
        });
        let dialed = connect_async_tls_with_config(url.as_str(), Some(config), true, tls);
        match tokio::time::timeout(self.config.timing.dial, dialed).await {
            Ok(Ok((socket, _))) => Ok(socket),
            Ok(Err(error)) => Err(SignalError::Unreachable {
                server: self.present.to_string(),
                reason: crate::tls::explained(reason(&error)),
            }),
            Err(_) => {
                Err(SignalError::TimedOut { server: self.present.to_string(), what: "connection" })
            }
        }
    }
}

/// Why dialing failed, for people.
fn reason(error: &tungstenite::Error) -> String {
    match error {
        tungstenite::Error::Http(response) => format!(
            "it answered with HTTP status {} instead of a WebSocket; is it a Halyard server?",
            response.status().as_u16()
        ),
        tungstenite::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    }
}
