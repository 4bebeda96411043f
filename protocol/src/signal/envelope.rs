//! The little of a message that the broker reads.
//!
//! An offer may carry sixteen kilobytes of session description. The broker needs five short fields
//! of it, borrows them from the text, and forwards the rest as the bytes it came in, so that
//! fields which only the two ends know survive and relaying costs no copy of the payload's
//! structure.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};

use crate::ids::PeerId;

/// What a message is, by its `type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Enter a room.
    Register,
    /// Relayed: an offer.
    Offer,
    /// Relayed: an answer.
    Answer,
    /// Relayed: a candidate.
    Candidate,
    /// Relayed: anything for another peer.
    PeerMessage,
    /// Relayed, the original's worker mesh: becomes `mesh_offer` at its target.
    MeshConnect,
    /// Relayed, the original's worker mesh.
    MeshAnswer,
    /// Relayed, the original's worker mesh.
    IceCandidate,
    /// Who is here?
    DiscoverPeers,
    /// New metadata.
    UpdateMetadata,
    /// Do these peers still have their rights?
    ConfirmRights,
    /// Are you there?
    Ping,
    /// I am here.
    Pong,
    /// Goodbye.
    Leave,
}

impl Kind {
    /// The kind of a `type`, if it is known.
    pub fn from_type(text: &str) -> Option<Self> {
        Some(match text {
            "register" => Self::Register,
            "offer" => Self::Offer,
            "answer" => Self::Answer,
            "candidate" => Self::Candidate,
            "peer_message" => Self::PeerMessage,
            "mesh_connect" => Self::MeshConnect,
            "mesh_answer" => Self::MeshAnswer,
            "ice_candidate" => Self::IceCandidate,
            "discover_peers" => Self::DiscoverPeers,
            "update_metadata" => Self::UpdateMetadata,
            "confirm_rights" => Self::ConfirmRights,
            "ping" => Self::Ping,
            "pong" => Self::Pong,
            "leave" => Self::Leave,
            _ => return None,
        })
    }

    /// The field in which its sender stands, where it is relayed.
    pub fn sender_field(self) -> Option<&'static str> {
        match self {
            Self::Offer | Self::Answer | Self::Candidate => Some("sender"),
            Self::PeerMessage | Self::MeshConnect | Self::MeshAnswer | Self::IceCandidate => {
                Some("from_peer_id")
            }
            _ => None,
        }
    }
}

/// Why a frame has no envelope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Not a JSON object, or one of its short fields appears twice or is not a string.
    #[error("Invalid JSON format")]
    Json,
    /// A `type` that this version does not know; missing reads as `None`, the original's word.
    #[error("Unknown message type: {0}")]
    UnknownType(String),
}

/// The routing fields of a message, borrowed from its text.
///
/// A field that appears twice is an error: two parsers might believe different ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// What it is.
    pub kind: Kind,
    /// Whom it says it is from, in either spelling. Never believed.
    pub sender: Option<Cow<'a, str>>,
    /// Whom it is for, in any spelling.
    pub target: Option<Cow<'a, str>>,
    /// The field of the sender is there, be it `null`.
    has_sender_field: bool,
}

/// A string of the text itself where it has no escapes. (`Option<Cow>` alone always copies.)
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// What a message says of its sender. However the field is spelled: `\u0073ender` is `sender`.
#[derive(Default)]
enum Says<'a> {
    /// The field is not there.
    #[default]
    Nothing,
    /// It is there, and `null`.
    Null,
    Name(Text<'a>),
}

impl<'de: 'a, 'a> Deserialize<'de> for Says<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(from)?.map_or(Self::Null, Self::Name))
    }
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Option<Text<'a>>,
    #[serde(borrow, default)]
    sender: Says<'a>,
    #[serde(borrow, default)]
    from_peer_id: Says<'a>,
    #[serde(borrow, default)]
    target: Option<Text<'a>>,
    #[serde(borrow, default)]
    to_peer_id: Option<Text<'a>>,
    #[serde(borrow, default)]
    target_peer_id: Option<Text<'a>>,
}

impl<'a> Envelope<'a> {
    /// Reads the routing fields and skips the rest.
    pub fn parse(text: &'a str) -> Result<Self, EnvelopeError> {
        // Serde would take an array for a struct, too.
        if !text.trim_start().starts_with('{') {
            return Err(EnvelopeError::Json);
        }
        let fields: Fields<'a> = serde_json::from_str(text).map_err(|_| EnvelopeError::Json)?;
        let word = fields.kind.as_ref().map_or("None", |kind| &kind.0);
        let kind = Kind::from_type(word).ok_or_else(|| {
            // What is echoed is bounded, because the sender chose it.
            EnvelopeError::UnknownType(word.chars().take(64).collect())
        })?;
        let (sender, target) = match kind {
            Kind::PeerMessage => (fields.from_peer_id, fields.to_peer_id),
            Kind::MeshConnect | Kind::MeshAnswer | Kind::IceCandidate => {
                (fields.from_peer_id, fields.target_peer_id)
            }
            _ => (fields.sender, fields.target),
        };
        Ok(Self {
            kind,
            has_sender_field: !matches!(sender, Says::Nothing),
            sender: match sender {
                Says::Name(name) => Some(name.0),
                Says::Nothing | Says::Null => None,
            },
            target: target.map(|t| t.0),
        })
    }

    /// The text to forward: `text` itself when it already names its true sender, and otherwise the
    /// same object with the sender stamped.
    ///
    /// `text` must be what this envelope was parsed from.
    pub fn stamped(&self, text: &'a str, sender: &PeerId) -> Cow<'a, str> {
        let Some(field) = self.kind.sender_field() else {
            return Cow::Borrowed(text);
        };
        match self.sender.as_deref() {
            Some(said) if said == sender.as_str() => Cow::Borrowed(text),
            None => match text.trim_start().strip_prefix('{') {
                // An absent field is put in front; the object has at least a `type`, so a comma
                // follows. A `null` one is there and takes the other way.
                Some(rest) if !self.has_sender_field => {
                    let name = serde_json::Value::from(sender.as_str()).to_string();
                    let mut stamped =
                        String::with_capacity(field.len() + name.len() + rest.len() + 5);
                    for part in ["{\"", field, "\":", &name, ",", rest] {
                        stamped.push_str(part);
                    }
                    Cow::Owned(stamped)
                }
                _ => Cow::Owned(rewritten(text, field, sender)),
            },
            Some(_) => Cow::Owned(rewritten(text, field, sender)),
        }
    }
}

/// The slow way, for messages that lie about their sender.
fn rewritten(text: &str, field: &str, sender: &PeerId) -> String {
    let mut object: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(text).unwrap_or_default();
    object.insert(field.to_owned(), sender.as_str().into());
    serde_json::Value::Object(object).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(name: &str) -> PeerId {
        PeerId::new(name).expect("a good name")
    }

    #[test]
    fn an_honest_message_is_forwarded_byte_for_byte() {
        let text = r#"{ "type":"offer","sender":"a","target":"b","sdp":"x","extra":[1] }"#;
        let envelope = Envelope::parse(text).expect("a good offer");
        assert_eq!(envelope.kind, Kind::Offer);
        assert!(matches!(envelope.target, Some(Cow::Borrowed("b"))));
        assert!(matches!(envelope.stamped(text, &peer("a")), Cow::Borrowed(t) if t == text));
    }

    #[test]
    fn a_spoofed_sender_is_replaced() {
        let text = r#"{"type":"answer","sender":"worker","target":"b","sdp":"x"}"#;
        let envelope = Envelope::parse(text).expect("a good answer");
        let stamped = envelope.stamped(text, &peer("mallory"));
        let value: serde_json::Value = serde_json::from_str(&stamped).expect("still JSON");
        assert_eq!(value["sender"], "mallory");
        assert_eq!(value["sdp"], "x");
    }

    #[test]
    fn a_missing_sender_is_put_in() {
        for text in [
            r#"{"type":"offer","target":"b","sdp":"x"}"#,
            r#" {"type":"offer","target":"b","sdp":"the sender is a word too"}"#,
            r#"{"type":"offer","sender":null,"target":"b","sdp":"x"}"#,
            r#"{"type":"offer","\u0073ender":null,"target":"b","sdp":"x"}"#,
        ] {
            let envelope = Envelope::parse(text).expect("a good offer");
            let stamped = envelope.stamped(text, &peer("a"));
            let again = Envelope::parse(&stamped).expect("still one object");
            assert_eq!(again.sender.as_deref(), Some("a"), "{text}");
            assert_eq!(again.target.as_deref(), Some("b"));
        }
    }

    #[test]
    fn two_senders_in_one_message_are_refused() {
        for text in [
            r#"{"type":"offer","sender":"me","sender":"you","target":"b"}"#,
            r#"{"type":"offer","sender":"me","\u0073ender":"you","target":"b"}"#,
            r#"{"type":"offer","target":"a","target":"b"}"#,
        ] {
            assert_eq!(Envelope::parse(text), Err(EnvelopeError::Json), "{text}");
        }
    }

    #[test]
    fn unknown_types_are_named_in_the_original_words() {
        let quit = Envelope::parse(r#"{"type":"quit"}"#).expect_err("unknown");
        assert_eq!(quit.to_string(), "Unknown message type: quit");
        let none = Envelope::parse("{}").expect_err("missing");
        assert_eq!(none.to_string(), "Unknown message type: None");
        assert_eq!(
            Envelope::parse("{nope").expect_err("no JSON").to_string(),
            "Invalid JSON format"
        );
        assert_eq!(Envelope::parse(r#"["ping"]"#), Err(EnvelopeError::Json));
    }
}
