//! Getting into a room: a given one, a remembered one, or a new one.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use halyard_client::{
    api::{Api, ApiError, Identity, RoomOptions},
    signaling::{SignalConfig, SignalError, SignalEvent, Signaling},
    tls::Trust,
};
use halyard_protocol::{
    access::{Access, PeerRole},
    ids::RoomId,
    link::{JoinLink, LinkError},
    signal::{ErrorCode, Metadata, Registered},
    token::Token,
};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use url::Url;

use crate::report;

/// Which room to get into, and how.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The broker.
    pub server: Url,
    /// A room that others made, and its operator token.
    pub given: Option<(RoomId, Token)>,
    /// Where a room of our own is remembered.
    pub state_file: Option<PathBuf>,
    /// How long a room of our own lives from its last extension.
    pub ttl: Duration,
    /// What others may find this worker by.
    pub metadata: Metadata,
    /// Which certificates of brokers are believed.
    pub trust: Trust,
}

/// Why a worker has no room.
#[derive(Debug, thiserror::Error)]
pub enum RoomError {
    /// Signing in or making the room failed.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The broker does not let the worker in.
    #[error(transparent)]
    Signal(#[from] SignalError),
    /// The broker's answer has no usable link in it.
    #[error("the server's answer has no usable join link: {0}")]
    Link(#[from] LinkError),
    /// The state file is there and cannot be used. Nothing is overwritten.
    #[error("cannot use the state file {path}: {source}; delete it to begin with a new room")]
    State {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// A room, and who we are in it. It serialises with its secrets, for the state file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Held {
    /// The address of the broker it is at.
    pub server: String,
    /// Its public name.
    pub room_id: RoomId,
    /// The operator token.
    pub token: Token,
    /// The viewer token, where we know it.
    pub viewer: Option<Token>,
    /// The operator's link.
    pub join_url: Token,
    /// The viewers' link, where we know the token.
    pub viewer_url: Option<Token>,
    /// Who we are. The room's owner, if it is ours.
    pub identity: Identity,
    /// Whether we made it.
    pub ours: bool,
}

impl Held {
    /// Who we are was proved anew. Somebody else owns no room.
    pub(super) fn proved(&mut self, identity: Identity) {
        self.ours &= identity.username == self.identity.username;
        self.identity = identity;
    }

    /// What to tell the worker's owner.
    pub fn report(&self) -> report::Room {
        report::Room {
            room_id: self.room_id.clone(),
            token: self.token.clone(),
            role: Access::Operator,
            join_url: self.join_url.clone(),
            viewer_url: self.viewer_url.clone(),
            direct: None,
        }
    }
}

/// A room that the worker is in.
pub struct Entered {
    /// Which.
    pub held: Held,
    /// The link to the broker.
    pub signaling: Signaling,
    /// What was said at the door.
    pub registered: Registered,
    /// What happens on the link.
    pub events: mpsc::Receiver<SignalEvent>,
}

impl Plan {
    /// Gets in: the given room, or else the remembered one if it still lives, or else a new one.
    pub async fn enter(&self) -> Result<Entered, RoomError> {
        let api = self.api()?;
        if let Some((room_id, token)) = &self.given {
            let link = JoinLink::new(self.server.clone(), room_id.clone(), Some(token.clone()))?;
            let held = Held {
                server: self.server.to_string(),
                room_id: room_id.clone(),
                token: token.clone(),
                viewer: None,
                join_url: Token::new(link.expose()),
                viewer_url: None,
                identity: api.sign_in().await?,
                ours: false,
            };
            return self.register(held).await;
        }
        if let Some(mut held) = self.remembered()? {
            if !held.identity.is_fresh(SystemTime::now()) {
                // The broker may know us all the same: its clock is what counts. If not, it is still
                // a room that its token opens, though nobody can extend it any more.
                let again = match api.sign_in_as(&held.identity).await {
                    Err(error) if error.is_refusal() => api.sign_in().await?,
                    signed_in => signed_in?,
                };
                held.proved(again);
            }
            match self.register(held).await {
                Err(RoomError::Signal(error)) if is_over(&error) => {
                    tracing::info!(%error, "the remembered room is over, making a new one");
                }
                other => return other,
            }
        }
        let held = self.create(&api).await?;
        self.remember(&held)?;
        self.register(held).await
    }

    /// Calls of the broker.
    pub(super) fn api(&self) -> Result<Api, ApiError> {
        Api::with(self.server.clone(), self.trust.clone())
    }

    async fn create(&self, api: &Api) -> Result<Held, RoomError> {
        let identity = api.sign_in().await?;
        let wishes = RoomOptions { ttl: Some(self.ttl), name: None };
        let created = api.create_room(&identity, &wishes).await?;
        let bare = |token: &Token| {
            JoinLink::new(self.server.clone(), created.room_id.clone(), Some(token.clone()))
        };
        let operator = match created.operator_link(&self.server) {
            Some(link) => link,
            None => bare(&created.token)?,
        };
        Ok(Held {
            server: self.server.to_string(),
            join_url: Token::new(operator.expose()),
            viewer_url: created.viewer_link(&self.server).map(|link| Token::new(link.expose())),
            viewer: created.tokens.as_ref().map(|tokens| tokens.viewer.clone()),
            room_id: created.room_id,
            token: created.token,
            identity,
            ours: true,
        })
    }

    async fn register(&self, held: Held) -> Result<Entered, RoomError> {
        let mut config =
            SignalConfig::new(self.server.clone(), held.room_id.clone(), held.identity.clone());
        config.token = Some(held.token.clone());
        config.owner = held.ours;
        config.role = PeerRole::Worker;
        config.metadata = self.metadata.clone();
        config.trust = self.trust.clone();
        let (signaling, registered, events) = Signaling::connect(config).await?;
        Ok(Entered { held, signaling, registered, events })
    }

    fn remembered(&self) -> Result<Option<Held>, RoomError> {
        let Some(path) = &self.state_file else { return Ok(None) };
        let unusable = |source| RoomError::State { path: path.clone(), source };
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unusable(error)),
        };
        let held: Held = serde_json::from_str(&text).map_err(|error| unusable(error.into()))?;
        // A room of another broker is no use here.
        Ok((held.server == self.server.as_str()).then_some(held))
    }

    /// Writes down a room of our own, where there is a place for that. Blocks on the disk.
    pub(super) fn remember(&self, held: &Held) -> Result<(), RoomError> {
        let Some(path) = &self.state_file else { return Ok(()) };
        write_private(path, held).map_err(|source| RoomError::State { path: path.clone(), source })
    }
}

impl RoomError {
    /// How long to wait before another try, where the broker said so.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Api(error) => error.retry_after(),
            Self::Signal(error) => error.retry_after(),
            Self::Link(_) | Self::State { .. } => None,
        }
    }
}

/// Whether an error says that the room cannot be entered any more, by anybody.
pub(super) fn is_over(error: &SignalError) -> bool {
    match error {
        SignalError::RoomClosed { .. } => true,
        SignalError::Refused { code, .. } => matches!(
            code,
            Some(ErrorCode::RoomNotFound | ErrorCode::RoomExpired | ErrorCode::InvalidToken)
        ),
        _ => false,
    }
}

/// Whether an error says that the room came to its end, so that nobody has rights in it. A broker
/// that merely knows nothing of a room may have forgotten it.
pub(super) fn is_ended(error: &SignalError) -> bool {
    match error {
        SignalError::RoomClosed { .. } => true,
        SignalError::Refused { code, .. } => matches!(code, Some(ErrorCode::RoomExpired)),
        _ => false,
    }
}

/// Readable for its owner alone, and replaced whole: a worker that is killed here leaves the old
/// file or the new one.
fn write_private(path: &Path, held: &Held) -> io::Result<()> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent)?;
    }
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&new)?;
    serde_json::to_writer(&mut file, held)?;
    file.flush()?;
    file.sync_all()?;
    std::fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn held() -> Held {
        serde_json::from_value(json!({
            "server": "http://127.0.0.1:8080/", "room_id": "ab12", "token": "t0", "viewer": "t1",
            "join_url": "http://127.0.0.1:8080/r/ab12#t0", "viewer_url": null, "ours": true,
            "identity": {"username": "me", "id_token": "i0", "expires_at": 1}
        }))
        .expect("a room")
    }

    fn plan(state_file: PathBuf, server: &str) -> Plan {
        Plan {
            server: Url::parse(server).expect("a good address"),
            given: None,
            state_file: Some(state_file),
            ttl: Duration::from_mins(1),
            metadata: Metadata::default(),
            trust: Trust::default(),
        }
    }

    #[test]
    fn a_room_is_remembered_for_its_owner_alone() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("deep/state.json");
        let here = plan(path.clone(), "http://127.0.0.1:8080/");
        assert!(here.remembered().expect("none yet").is_none());
        here.remember(&held()).expect("written");
        let back = here.remembered().expect("readable").expect("a room");
        assert_eq!((back.room_id.as_str(), back.token.expose()), ("ab12", "t0"));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(&path).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let elsewhere = plan(path, "http://127.0.0.1:9090/");
        assert!(elsewhere.remembered().expect("readable").is_none(), "another broker's room");
    }

    #[test]
    fn a_state_file_that_is_something_else_is_not_overwritten() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("state.json");
        std::fs::write(&path, "my diary").expect("written");
        let error = plan(path, "http://h/").remembered().expect_err("no room").to_string();
        assert!(error.contains("delete it to begin with a new room"), "{error}");
    }

    #[test]
    fn a_room_stays_ours_for_as_long_as_we_are_who_made_it() {
        let mut held = held();
        let identity = |name: &str| -> Identity {
            let kept = json!({"username": name, "id_token": "i1", "expires_at": 2});
            serde_json::from_value(kept).expect("an identity")
        };
        held.proved(identity("me"));
        assert!(held.ours && held.identity.id_token.expose() == "i1");
        held.proved(identity("somebody-else"));
        assert!(!held.ours);
        held.proved(identity("me"));
        assert!(!held.ours, "nobody comes back");
    }

    #[test]
    fn a_held_room_does_not_print_its_secrets() {
        let shown = format!("{:?}", held());
        assert!(!shown.contains("t0") && !shown.contains("t1") && !shown.contains("i0"), "{shown}");
    }
}
