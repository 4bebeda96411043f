//! The server that is driven: its address, its rooms, and the words that are sent to it.

use std::net::{SocketAddr, ToSocketAddrs};

use anyhow::{Context, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};

use crate::{args::Common, socket::client_frame};

/// Identities that the rooms are spread over.
const IDENTITIES: usize = 64;
/// An offer and the candidates that follow it, in bytes of what the peer itself chose.
const SDP_BYTES: usize = 2048;
const CANDIDATE_BYTES: usize = 100;
const CANDIDATES: usize = 5;

pub(crate) struct Target {
    pub(crate) addr: SocketAddr,
    pub(crate) host: String,
    rooms: Vec<Room>,
}

struct Room {
    id: String,
    token: Option<String>,
    id_token: Option<String>,
}

impl Target {
    /// Finds the server and makes the rooms.
    pub(crate) fn open(common: &Common, rooms: usize) -> Result<Self> {
        raise_file_limit();
        let name = common.url.host_str().context("--url names no host")?;
        let port = common.url.port_or_known_default().context("--url names no port")?;
        let addr = (name, port).to_socket_addrs()?.next().context("no such host")?;
        let rooms = if common.bare {
            (0..rooms)
                .map(|n| Room { id: format!("room-{n}"), token: None, id_token: None })
                .collect()
        } else {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(make_rooms(common, rooms))?
        };
        Ok(Self { addr, host: format!("{name}:{port}"), rooms })
    }

    /// What a peer of this name says to enter a room.
    pub(crate) fn register(&self, room: usize, peer: &str, resume_token: Option<&str>) -> String {
        let room = &self.rooms[room % self.rooms.len()];
        let mut register = json!({
            "type": "register", "peer_id": peer, "room_id": room.id, "role": "client",
            "metadata": { "tags": ["idle"], "properties": { "platform": "Linux" } },
        });
        for (key, value) in [
            ("token", room.token.as_deref()),
            ("id_token", room.id_token.as_deref()),
            ("resume_token", resume_token),
        ] {
            if let Some(value) = value {
                register[key] = value.into();
            }
        }
        register.to_string()
    }
}

/// The frames that a peer sends in turn: an offer of two kilobytes, then five candidates.
pub(crate) fn conversation(target: &str) -> Vec<Vec<u8>> {
    let offer = json!({ "type": "offer", "target": target, "sdp": "v=0 a ".repeat(SDP_BYTES / 6) });
    let candidate = json!({ "type": "candidate", "target": target, "candidate": {
        "candidate": "c".repeat(CANDIDATE_BYTES), "sdpMid": "0", "sdpMLineIndex": 0,
    } });
    // `type` first, as every client that writes its messages by hand does.
    let (offer, candidate) = (type_first(&offer), type_first(&candidate));
    let mut frames = vec![client_frame(&offer)];
    frames.extend(std::iter::repeat_n(client_frame(&candidate), CANDIDATES));
    frames
}

/// The same object with its type in front; the map of serde_json has its keys in alphabetical order.
pub(crate) fn type_first(message: &Value) -> String {
    let mut object = message.as_object().cloned().unwrap_or_default();
    let kind = object.remove("type").unwrap_or_default();
    let rest = Value::Object(object).to_string();
    format!(r#"{{"type":{kind},{}"#, &rest[1..])
}

async fn make_rooms(common: &Common, count: usize) -> Result<Vec<Room>> {
    let http = reqwest::Client::new();
    let mut rooms = Vec::with_capacity(count);
    let mut identities: Vec<String> = Vec::new();
    for number in 0..count {
        if identities.len() < IDENTITIES {
            let asked = http.post(common.url.join("anonymous-signin")?).send().await?;
            let signed: Value = asked.error_for_status().context("signing in")?.json().await?;
            identities.push(signed["id_token"].as_str().context("no id_token")?.to_owned());
        }
        let id_token = &identities[number % identities.len()];
        let asked = http.post(common.url.join("create-room")?).bearer_auth(id_token).send().await?;
        let room: Value = asked.error_for_status().context("making a room")?.json().await?;
        rooms.push(Room {
            id: room["room_id"].as_str().context("no room_id")?.to_owned(),
            token: room["token"].as_str().map(str::to_owned),
            id_token: Some(id_token.clone()),
        });
    }
    Ok(rooms)
}

/// Each socket is a file.
pub(crate) fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}
