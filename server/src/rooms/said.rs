//! What a peer's frame means to a room.
//!
//! Read outside the room's lock. The sender comes from the socket: what a message says of its
//! sender is overwritten before anybody else sees it.

use std::borrow::Cow;

use halyard_protocol::{
    ids::PeerId,
    limits::MAX_GRANTS,
    signal::{Envelope, EnvelopeError, ErrorCode, Filters, Grant, Kind, Metadata},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Refusal, Text, refusal::echo};

/// Tags and properties that one `discover_peers` may look for.
const MAX_FILTER_TERMS: usize = 64;

/// What is said in a room.
#[derive(Debug)]
pub enum Said {
    /// Something for another peer, ready to be forwarded.
    Relay(Relay),
    /// Who is here?
    Discover(Filters),
    /// New metadata.
    Update {
        /// Whose, where it says so.
        of: Option<String>,
        /// What to merge.
        metadata: Metadata,
    },
    /// Do these peers still have their rights?
    ConfirmRights {
        /// Comes back in the answer.
        seq: u64,
        /// As the broker told them.
        grants: Vec<Grant>,
    },
    /// Enter a room, on a socket that may be in one already.
    Register,
    /// Are you there?
    Ping,
    /// I am here.
    Pong,
    /// Goodbye.
    Leave,
}

/// Something for another peer.
#[derive(Debug)]
pub struct Relay {
    /// How an absent target is reported.
    pub(super) manner: Manner,
    /// For whom.
    pub(super) target: String,
    /// What it will read.
    pub(super) text: Text,
}

/// The original reports absent targets in different words for each kind of message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Manner {
    Signal,
    PeerMessage,
    MeshOffer,
    Mesh,
}

impl Said {
    /// Reads a frame of this peer.
    pub fn read(text: &Text, sender: &PeerId) -> Result<Self, Refusal> {
        let envelope = match Envelope::parse(text) {
            Ok(envelope) => envelope,
            Err(error) => return busy(text, sender).ok_or_else(|| unread(&error)),
        };
        Ok(match envelope.kind {
            Kind::Offer | Kind::Answer | Kind::Candidate => {
                let target = named(envelope.target.as_ref(), "target")?;
                Self::Relay(Relay {
                    manner: Manner::Signal,
                    target,
                    text: stamped(&envelope, text, sender),
                })
            }
            Kind::PeerMessage => {
                const FIELDS: &str = "from_peer_id, to_peer_id, payload";
                let fields: Payload<'_> = serde_json::from_str(text).map_err(|_| invalid_json())?;
                fields.payload.ok_or_else(|| Refusal::missing(FIELDS))?;
                let target = named(envelope.target.as_ref(), FIELDS)?;
                Self::Relay(Relay {
                    manner: Manner::PeerMessage,
                    target,
                    text: stamped(&envelope, text, sender),
                })
            }
            Kind::MeshConnect | Kind::MeshAnswer | Kind::IceCandidate => {
                mesh(&envelope, text, sender)?
            }
            Kind::DiscoverPeers => {
                let fields: Discover = parse(text)?;
                Self::Discover(bounded(fields.filters.unwrap_or_default())?)
            }
            Kind::UpdateMetadata => {
                let fields: Update = parse(text)?;
                let metadata =
                    fields.metadata.ok_or_else(|| Refusal::missing("peer_id, metadata"))?;
                Self::Update { of: fields.peer_id, metadata }
            }
            Kind::ConfirmRights => {
                let Confirm { seq, grants } = parse(text)?;
                if grants.len() > MAX_GRANTS {
                    return Err(Refusal::new(
                        ErrorCode::LimitExceeded,
                        format!(
                            "{} grants in one question, at most {MAX_GRANTS} are accepted",
                            grants.len()
                        ),
                    ));
                }
                Self::ConfirmRights { seq, grants }
            }
            Kind::Register => Self::Register,
            Kind::Ping => Self::Ping,
            Kind::Pong => Self::Pong,
            Kind::Leave => Self::Leave,
        })
    }
}

/// What a frame means on a socket that is in no room: only a registration, and small talk.
pub fn unregistered(text: &Text) -> Result<Said, Refusal> {
    let envelope = Envelope::parse(text).map_err(|error| unread(&error))?;
    let nowhere = |words: &str| Err(Refusal::new(ErrorCode::NotInRoom, words));
    match envelope.kind {
        Kind::Register => Ok(Said::Register),
        Kind::Ping => Ok(Said::Ping),
        Kind::Pong => Ok(Said::Pong),
        Kind::Leave => Ok(Said::Leave),
        Kind::DiscoverPeers => nowhere("Peer not registered in any room"),
        Kind::UpdateMetadata => nowhere("Peer not in any room"),
        _ => nowhere("Sender not in any room"),
    }
}

fn unread(error: &EnvelopeError) -> Refusal {
    let code = match error {
        EnvelopeError::Json => ErrorCode::InvalidJson,
        EnvelopeError::UnknownType(_) => ErrorCode::UnknownMessageType,
    };
    Refusal::new(code, error.to_string())
}

fn invalid_json() -> Refusal {
    unread(&EnvelopeError::Json)
}

/// The fields of a message that the broker answers itself.
fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Refusal> {
    // The envelope was read before, so it is JSON; what is wrong is the shape of a field.
    serde_json::from_str(text).map_err(|error| Refusal::invalid_field(&error))
}

/// Filters are compared with everything that everybody says of itself, while the room waits.
fn bounded(filters: Filters) -> Result<Filters, Refusal> {
    let terms = filters.tags.as_ref().map_or(0, Vec::len)
        + filters.properties.as_ref().map_or(0, serde_json::Map::len);
    if terms > MAX_FILTER_TERMS {
        return Err(Refusal::new(
            ErrorCode::LimitExceeded,
            format!(
                "The filters have {terms} tags and properties, at most {MAX_FILTER_TERMS} are \
                 accepted"
            ),
        ));
    }
    Ok(filters)
}

fn named(target: Option<&Cow<'_, str>>, fields: &str) -> Result<String, Refusal> {
    target.map(|target| target.clone().into_owned()).ok_or_else(|| Refusal::missing(fields))
}

fn stamped<'a>(envelope: &Envelope<'a>, text: &'a Text, sender: &PeerId) -> Text {
    match envelope.stamped(text, sender) {
        Cow::Borrowed(_) => text.clone(),
        Cow::Owned(text) => text.into(),
    }
}

#[derive(Deserialize)]
struct Payload<'a> {
    #[serde(borrow, default)]
    payload: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Discover {
    #[serde(default)]
    filters: Option<Filters>,
}

#[derive(Deserialize)]
struct Confirm {
    #[serde(default)]
    seq: u64,
    grants: Vec<Grant>,
}

#[derive(Deserialize)]
struct Update {
    #[serde(default)]
    peer_id: Option<String>,
    #[serde(default)]
    metadata: Option<Metadata>,
}

#[derive(Deserialize)]
struct MeshIn<'a> {
    #[serde(borrow, default)]
    offer: Option<&'a RawValue>,
    #[serde(borrow, default)]
    answer: Option<&'a RawValue>,
    #[serde(borrow, default)]
    candidate: Option<&'a RawValue>,
}

/// The original rebuilds mesh messages: the target's name is taken out.
#[derive(Serialize)]
struct MeshOut<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    from_peer_id: &'a PeerId,
    #[serde(skip_serializing_if = "Option::is_none")]
    offer: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    candidate: Option<&'a RawValue>,
}

fn mesh(envelope: &Envelope<'_>, text: &str, sender: &PeerId) -> Result<Said, Refusal> {
    let fields: MeshIn<'_> = serde_json::from_str(text).map_err(|_| invalid_json())?;
    let mut out = MeshOut {
        kind: "ice_candidate",
        from_peer_id: sender,
        offer: None,
        answer: None,
        candidate: None,
    };
    let (manner, missing, there) = match envelope.kind {
        Kind::MeshConnect => {
            out.kind = "mesh_offer";
            out.offer = fields.offer;
            (Manner::MeshOffer, "from_peer_id, target_peer_id, offer", out.offer.is_some())
        }
        Kind::MeshAnswer => {
            out.kind = "mesh_answer";
            out.answer = fields.answer;
            (Manner::Mesh, "from_peer_id, target_peer_id, answer", out.answer.is_some())
        }
        _ => {
            out.candidate = fields.candidate;
            (Manner::Mesh, "from_peer_id, target_peer_id, candidate", out.candidate.is_some())
        }
    };
    if !there {
        return Err(Refusal::missing(missing));
    }
    let target = named(envelope.target.as_ref(), missing)?;
    let text = serde_json::to_string(&out).map_err(|_| invalid_json())?;
    Ok(Said::Relay(Relay { manner, target, text: text.into() }))
}

/// A busy worker of the original refuses an offer with a message of the type `error`, which its own
/// server never delivered, so that the client waited for ever. It is relayed here.
fn busy(text: &str, sender: &PeerId) -> Option<Said> {
    let mut object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).ok()?;
    if object.get("type")? != "error" {
        return None;
    }
    let target = object.get("target")?.as_str()?.to_owned();
    object.insert("sender".to_owned(), sender.as_str().into());
    // Codes are the broker's own words: a peer must not be able to say that the room expired.
    object.remove("code");
    let text = serde_json::Value::Object(object).to_string().into();
    Some(Said::Relay(Relay { manner: Manner::Signal, target, text }))
}

impl Relay {
    /// There is no such peer.
    pub(super) fn absent(&self) -> Refusal {
        Self::absent_as(self.manner, &self.target)
    }

    /// The same, told by another server than the sender's.
    pub(super) fn absent_as(manner: Manner, target: &str) -> Refusal {
        let name = echo(target);
        match manner {
            Manner::Signal => {
                Refusal::new(ErrorCode::PeerNotFound, format!("Peer {name} not found in room"))
            }
            Manner::PeerMessage => Refusal::new(
                ErrorCode::PeerNotInRoom,
                format!("Target peer {name} not in same room"),
            ),
            Manner::Mesh => {
                Refusal::new(ErrorCode::PeerNotFound, format!("Target peer {name} not found"))
            }
            Manner::MeshOffer => {
                Refusal::new(ErrorCode::PeerNotFound, format!("Target peer {name} not found"))
                    .reason("peer_not_found")
                    .target_peer_id(target)
            }
        }
        .about(target)
    }

    /// It is there, and cannot take any more.
    pub(super) fn undelivered(&self) -> Refusal {
        Self::undelivered_as(self.manner, &self.target)
    }

    /// The same, told by another server than the sender's.
    pub(super) fn undelivered_as(manner: Manner, target: &str) -> Refusal {
        let what = match manner {
            Manner::MeshOffer => "mesh offer",
            _ => "message",
        };
        let name = echo(target);
        Refusal::new(ErrorCode::DeliveryFailed, format!("Failed to deliver {what} to {name}"))
            .about(target)
    }
}
