//! ICE servers and candidates, in the browsers' own shapes.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::token::Token;

/// One entry of a browser's `RTCConfiguration.iceServers`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct IceServer {
    /// `stun:` and `turn:` addresses.
    pub urls: Vec<String>,
    /// TURN user name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// TURN password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<Token>,
}

/// One ICE candidate, as browsers give and take it (`RTCIceCandidateInit`).
///
/// An empty `candidate` means: there are no more.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    /// The candidate line, without `a=`.
    pub candidate: String,
    /// The media section by name.
    #[serde(default)]
    pub sdp_mid: Option<String>,
    /// The media section by number.
    #[serde(default, rename = "sdpMLineIndex")]
    pub sdp_m_line_index: Option<u16>,
    /// The generation it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username_fragment: Option<String>,
}

/// The length alone: a candidate is somebody's address.
impl fmt::Debug for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Candidate({} bytes)", self.candidate.len())
    }
}
