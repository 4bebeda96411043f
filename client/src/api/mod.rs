//! The broker's REST side: sign in, make and manage rooms.
//!
//! Every call has a time-out, every answer a size limit, and every refusal arrives as the broker's
//! own code and words. Tokens travel in headers and bodies, never in addresses, and are in no error
//! and no log.

mod error;
mod types;

use std::time::Duration;

use reqwest::{Method, RequestBuilder, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use url::Url;

pub use error::ApiError;
pub use types::{
    Health, IceServers, Identity, Revoked, RoomCreated, RoomInfo, RoomOptions, RoomTokens,
    WhomToRevoke,
};

use halyard_protocol::ids::RoomId;

/// Largest answer that is read, in bytes. A room with a hundred peers stays far below.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;

/// How long to wait for the broker's TCP and TLS handshakes.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long one call may take as a whole.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);

/// The broker at one address. Cheap to clone; connections are kept and used again.
#[derive(Debug, Clone)]
pub struct Api {
    http: reqwest::Client,
    server: Url,
}

impl Api {
    /// A client for the broker at `server` (`http` or `https`; a path is kept as a prefix).
    pub fn new(server: Url) -> Result<Self, ApiError> {
        Self::with_timeout(server, CALL_TIMEOUT)
    }

    /// The same with another limit for each call as a whole.
    pub fn with_timeout(mut server: Url, timeout: Duration) -> Result<Self, ApiError> {
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
            .user_agent(concat!("halyard/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|source| ApiError::Setup { source })?;
        Ok(Self { http, server })
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

    /// The same identity with a fresh proof. Fails when the old proof has run out: then whatever it
    /// owned belongs to nobody who can come back. A broker of the original gives a new identity
    /// instead, which is told as a refusal.
    pub async fn renew(&self, identity: &Identity) -> Result<Identity, ApiError> {
        let answer: types::SignedIn =
            self.call(self.owned(Method::POST, &["anonymous-signin"], identity)).await?;
        let renewed = answer.into_identity(std::time::SystemTime::now());
        if renewed.username != identity.username {
            return Err(ApiError::Refused {
                status: StatusCode::UNAUTHORIZED.as_u16(),
                code: "NOT_RENEWED".into(),
                message: "the server gave another identity instead of renewing this one".into(),
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

    async fn call<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ApiError> {
        let failed = |source: reqwest::Error| ApiError::from_http(&self.server, source);
        let mut response = request.send().await.map_err(failed)?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(failed)? {
            if body.len() + piece.len() > MAX_ANSWER_BYTES {
                return Err(ApiError::TooLong { server: self.server.to_string() });
            }
            body.extend_from_slice(&piece);
        }
        if !status.is_success() {
            return Err(ApiError::refused(status.as_u16(), &body));
        }
        // "Done" without words is an answer, too.
        if body.is_empty() || status == StatusCode::NO_CONTENT {
            body = b"null".to_vec();
        }
        serde_json::from_slice(&body)
            .map_err(|source| ApiError::Answer { server: self.server.to_string(), source })
    }
}
