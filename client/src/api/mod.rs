//! The broker's REST side: sign in, make and manage rooms.
//!
//! Every call has a time-out, every answer a size limit, and every refusal arrives as the broker's
//! own code and words. A broker that says when to come back (`Retry-After`) is asked again then, if
//! that is soon. Tokens travel in headers and bodies, never in addresses, and are in no error
//! and no log.

mod error;
mod types;

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use url::Url;

pub use error::{ApiError, LONGEST_WAIT};
pub use types::{
    Health, IceServers, Identity, Revoked, RoomCreated, RoomInfo, RoomOptions, RoomTokens,
    WhomToRevoke,
};

use halyard_protocol::ids::RoomId;

use crate::tls::Trust;

/// Largest answer that is read, in bytes. A room with a hundred peers stays far below.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;

/// How long to wait for the broker's TCP and TLS handshakes.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long one call may take as a whole.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);

/// How long one call may wait, in all, because the broker asked it to; nor longer than the call
/// itself may take.
const RETRY_WITHIN: Duration = Duration::from_secs(10);

/// The shortest wait: a broker that says "now" is not asked in a tight loop.
const SHORTEST_WAIT: Duration = Duration::from_millis(250);

/// How to ask. The default believes the system's authorities and has usual patience.
#[derive(Debug, Clone)]
pub struct ApiOptions {
    /// How long one try may take as a whole.
    pub timeout: Duration,
    /// Which certificates are believed.
    pub trust: Trust,
}

impl Default for ApiOptions {
    fn default() -> Self {
        Self { timeout: CALL_TIMEOUT, trust: Trust::default() }
    }
}

impl From<Trust> for ApiOptions {
    fn from(trust: Trust) -> Self {
        Self { trust, ..Self::default() }
    }
}

/// The broker at one address. Cheap to clone; connections are kept and used again.
#[derive(Debug, Clone)]
pub struct Api {
    http: reqwest::Client,
    server: Url,
    patience: Duration,
}

impl Api {
    /// A client for the broker at `server` (`http` or `https`; a path is kept as a prefix).
    pub fn new(server: Url) -> Result<Self, ApiError> {
        Self::with(server, ApiOptions::default())
    }

    /// The same with wishes.
    pub fn with(mut server: Url, options: impl Into<ApiOptions>) -> Result<Self, ApiError> {
        let ApiOptions { timeout, trust } = options.into();
        if !matches!(server.scheme(), "http" | "https") || server.host().is_none() {
            return Err(ApiError::Address { address: server.to_string() });
        }
        server.set_query(None);
        server.set_fragment(None);
        crate::tls::install_provider();
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT.min(timeout))
            .timeout(timeout)
            // A broker never redirects; following one would carry a secret elsewhere.
            .redirect(reqwest::redirect::Policy::none())
            .tls_certs_merge(trust.certificates())
            .user_agent(concat!("halyard/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|source| ApiError::Setup { source })?;
        Ok(Self { http, server, patience: RETRY_WITHIN.min(timeout) })
    }

    /// The broker's address.
    pub fn server(&self) -> &Url {
        &self.server
    }

    /// `POST /anonymous-signin`: a fresh identity.
    pub async fn sign_in(&self) -> Result<Identity, ApiError> {
        let answer: types::SignedIn =
            self.call(self.request(Method::POST, &["anonymous-signin"])).await?;
        Ok(answer.into_identity(std::time::SystemTime::now()))
    }

    /// The same identity with a fresh proof, or a new one where the broker does not know the old one
    /// any more; the user name tells. A proof that has run out is refused.
    pub async fn sign_in_as(&self, identity: &Identity) -> Result<Identity, ApiError> {
        let answer: types::SignedIn =
            self.call(self.owned(Method::POST, &["anonymous-signin"], identity)).await?;
        Ok(answer.into_identity(std::time::SystemTime::now()))
    }

    /// The same identity with a fresh proof. Fails when the old proof has run out: then whatever it
    /// owned belongs to nobody who can come back. A broker of the original gives a new identity
    /// instead, which is told as a refusal.
    pub async fn renew(&self, identity: &Identity) -> Result<Identity, ApiError> {
        let renewed = self.sign_in_as(identity).await?;
        if renewed.username != identity.username {
            return Err(ApiError::Refused {
                status: StatusCode::UNAUTHORIZED.as_u16(),
                code: "NOT_RENEWED".into(),
                message: "the server gave another identity instead of renewing this one".into(),
                retry_after: None,
            });
        }
        Ok(renewed)
    }

    /// `POST /create-room`: a fresh room, owned by `identity`.
    pub async fn create_room(
        &self,
        identity: &Identity,
        options: &RoomOptions,
    ) -> Result<RoomCreated, ApiError> {
        self.call(self.owned(Method::POST, &["create-room"], identity).json(options)).await
    }

    /// `GET /rooms/{id}`: what the owner may know of a room.
    pub async fn show_room(
        &self,
        identity: &Identity,
        room: &RoomId,
    ) -> Result<RoomInfo, ApiError> {
        self.call(self.owned(Method::GET, &["rooms", room.as_str()], identity)).await
    }

    /// `POST /rooms/{id}/extend`: the room lives `ttl` from now on, or the broker's usual time.
    pub async fn extend_room(
        &self,
        identity: &Identity,
        room: &RoomId,
        ttl: Option<Duration>,
    ) -> Result<RoomInfo, ApiError> {
        let body = ttl.map_or_else(|| json!({}), |ttl| json!({ "ttl_seconds": ttl.as_secs() }));
        self.call(
            self.owned(Method::POST, &["rooms", room.as_str(), "extend"], identity).json(&body),
        )
        .await
    }

    /// `DELETE /rooms/{id}`: everybody in it is sent away.
    pub async fn delete_room(&self, identity: &Identity, room: &RoomId) -> Result<(), ApiError> {
        let _: Value =
            self.call(self.owned(Method::DELETE, &["rooms", room.as_str()], identity)).await?;
        Ok(())
    }

    /// `POST /rooms/{id}/revoke`: ends live sessions and, for a role, makes a new token for it.
    pub async fn revoke(
        &self,
        identity: &Identity,
        room: &RoomId,
        whom: &WhomToRevoke,
    ) -> Result<Revoked, ApiError> {
        self.call(
            self.owned(Method::POST, &["rooms", room.as_str(), "revoke"], identity).json(whom),
        )
        .await
    }

    /// `GET /ice-servers`: a fresh list of STUN and TURN servers.
    pub async fn ice_servers(&self, identity: &Identity) -> Result<IceServers, ApiError> {
        self.call(self.owned(Method::GET, &["ice-servers"], identity)).await
    }

    /// `GET /health`: whether a broker answers there at all.
    pub async fn health(&self) -> Result<Health, ApiError> {
        self.call(self.request(Method::GET, &["health"])).await
    }

    fn owned(&self, method: Method, path: &[&str], identity: &Identity) -> RequestBuilder {
        // `bearer_auth` marks the header as sensitive, so that it does not print.
        self.request(method, path).bearer_auth(identity.id_token.expose())
    }

    fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        let mut url = self.server.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        self.http.request(method, url)
    }

    /// Asks, and again where the broker is busy and says when it will not be.
    async fn call<T: DeserializeOwned>(&self, mut request: RequestBuilder) -> Result<T, ApiError> {
        let mut waited = Duration::ZERO;
        loop {
            let again = request.try_clone();
            let error = match self.call_once(request).await {
                Err(error) if !error.is_refusal() => error,
                other => return other,
            };
            let wait = error.retry_after().map(|wait| wait.max(SHORTEST_WAIT));
            match (wait, again) {
                (Some(wait), Some(again)) if waited + wait <= self.patience => {
                    tracing::debug!(%error, ?wait, "asking again");
                    waited += wait;
                    // Everybody was told the same; they should not come back together.
                    tokio::time::sleep(wait.mul_f64(1.0 + rand::random::<f64>() / 4.0)).await;
                    request = again;
                }
                _ => return Err(error),
            }
        }
    }

    async fn call_once<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ApiError> {
        let failed = |source: reqwest::Error| ApiError::from_http(&self.server, source);
        let mut response = request.send().await.map_err(failed)?;
        let status = response.status();
        let retry_after = retry_after(&response);
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(failed)? {
            if body.len() + piece.len() > MAX_ANSWER_BYTES {
                return Err(ApiError::TooLong { server: self.server.to_string() });
            }
            body.extend_from_slice(&piece);
        }
        if !status.is_success() {
            return Err(ApiError::refused(status.as_u16(), retry_after, &body));
        }
        // "Done" without words is an answer, too.
        if body.is_empty() || status == StatusCode::NO_CONTENT {
            body = b"null".to_vec();
        }
        serde_json::from_slice(&body)
            .map_err(|source| ApiError::Answer { server: self.server.to_string(), source })
    }
}

/// `Retry-After` in seconds. Its other form, a date, is one that brokers do not use.
fn retry_after(response: &Response) -> Option<Duration> {
    let value = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}
