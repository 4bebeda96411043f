//! What travels between servers: heartbeats to everybody, data and acknowledgements to one.
//!
//! The head is fixed and binary, because every relayed message has one; what a heartbeat says is
//! JSON, so that a later version may say more.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use super::NodeId;

/// First byte of every packet. Servers that do not understand each other must not be on one bus:
/// another version is ignored.
const VERSION: u8 = 1;

/// What a node says of itself once a second.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct About {
    /// Where it alone is reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) url: Option<String>,
    /// It is about to stop.
    #[serde(default)]
    pub(super) draining: bool,
    /// This is its last heartbeat.
    #[serde(default)]
    pub(super) leaving: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Packet {
    Beat(About),
    /// A piece of a message. Numbers count up from 1 in each `epoch` of the sender's link.
    Data {
        epoch: u64,
        number: u64,
        last: bool,
        piece: Bytes,
    },
    /// Everything before `next` has arrived.
    Ack {
        epoch: u64,
        next: u64,
    },
    /// This epoch's beginning is not known here: start again.
    Unknown {
        epoch: u64,
    },
}

const BEAT: u8 = 0;
const DATA: u8 = 1;
const ACK: u8 = 2;
const UNKNOWN: u8 = 3;

impl Packet {
    pub(super) fn to_bytes(&self, from: NodeId) -> Bytes {
        let mut bytes = BytesMut::with_capacity(match self {
            Self::Data { piece, .. } => 27 + piece.len(),
            _ => 64,
        });
        bytes.put_u8(VERSION);
        let mut head = |kind: u8| {
            bytes.put_u8(kind);
            bytes.put_u64(from.number());
        };
        match self {
            Self::Beat(about) => {
                head(BEAT);
                let json = serde_json::to_vec(about).expect("plain fields always serialise");
                bytes.put_slice(&json);
            }
            Self::Data { epoch, number, last, piece } => {
                head(DATA);
                bytes.put_u64(*epoch);
                bytes.put_u64(*number);
                bytes.put_u8(u8::from(*last));
                bytes.put_slice(piece);
            }
            Self::Ack { epoch, next } => {
                head(ACK);
                bytes.put_u64(*epoch);
                bytes.put_u64(*next);
            }
            Self::Unknown { epoch } => {
                head(UNKNOWN);
                bytes.put_u64(*epoch);
            }
        }
        bytes.freeze()
    }

    /// Whether these are a heartbeat of this node, without reading what it says.
    pub(super) fn is_beat_of(bytes: &[u8], node: NodeId) -> bool {
        let rest = bytes.strip_prefix(&[VERSION, BEAT]);
        rest.is_some_and(|rest| rest.starts_with(&node.number().to_be_bytes()))
    }

    /// Who says what. Nothing when these are not our words.
    pub(super) fn read(mut bytes: Bytes) -> Option<(NodeId, Self)> {
        if bytes.try_get_u8().ok()? != VERSION {
            return None;
        }
        let kind = bytes.try_get_u8().ok()?;
        let from = NodeId::from_number(bytes.try_get_u64().ok()?);
        let packet = match kind {
            BEAT => Self::Beat(serde_json::from_slice(&bytes).ok()?),
            DATA => Self::Data {
                epoch: bytes.try_get_u64().ok()?,
                number: bytes.try_get_u64().ok()?,
                last: bytes.try_get_u8().ok()? != 0,
                piece: bytes,
            },
            ACK => Self::Ack { epoch: bytes.try_get_u64().ok()?, next: bytes.try_get_u64().ok()? },
            UNKNOWN => Self::Unknown { epoch: bytes.try_get_u64().ok()? },
            _ => return None,
        };
        Some((from, packet))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packets() -> impl Strategy<Value = Packet> {
        prop_oneof![
            (any::<Option<String>>(), any::<bool>(), any::<bool>()).prop_map(
                |(url, draining, leaving)| Packet::Beat(About { url, draining, leaving })
            ),
            (any::<u64>(), any::<u64>(), any::<bool>(), any::<Vec<u8>>()).prop_map(
                |(epoch, number, last, piece)| {
                    Packet::Data { epoch, number, last, piece: piece.into() }
                }
            ),
            (any::<u64>(), any::<u64>()).prop_map(|(epoch, next)| Packet::Ack { epoch, next }),
            any::<u64>().prop_map(|epoch| Packet::Unknown { epoch }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(packet in packets(), from in any::<u64>()) {
            let from = NodeId::from_number(from);
            let bytes = packet.to_bytes(from);
            prop_assert_eq!(Packet::read(bytes), Some((from, packet)));
        }

        #[test]
        fn foreign_bytes_are_ignored(bytes in any::<Vec<u8>>(), packet in packets(), cut in 0..12_usize) {
            let _ = Packet::read(bytes.into());
            let whole = packet.to_bytes(NodeId::from_number(7));
            let _ = Packet::read(whole.slice(..cut.min(whole.len())));
        }
    }
}
