//! What a peer may do.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The rights that a token or an identity carries, from least to most.
///
/// A token names [`Viewer`](Access::Viewer) or [`Operator`](Access::Operator);
/// [`Admin`](Access::Admin) is the room's owner, known by identity and never by a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Sees and hears: video, telemetry, who is here, the list of files.
    Viewer,
    /// Drives, sends commands, and moves files both ways.
    Operator,
    /// Owns the room.
    Admin,
}

impl Access {
    /// May move the machine, send commands and change files.
    pub fn may_operate(self) -> bool {
        self >= Self::Operator
    }

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which part a peer plays in a room. Existing clients that say nothing are plain peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PeerRole {
    /// The machine that the room is about.
    Worker,
    /// Somebody who came to see or drive it.
    Client,
    /// Said nothing, or a word this version does not know.
    #[default]
    #[serde(other)]
    Peer,
}

impl fmt::Display for PeerRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Worker => "worker",
            Self::Client => "client",
            Self::Peer => "peer",
        })
    }
}
