//! What a peer is told when it asked for something that it does not get.

use std::time::Duration;

use halyard_protocol::{
    ids::PeerId,
    signal::{ErrorCode, ServerError},
};
use serde::Serialize;

use super::Text;
use crate::{
    limits::{Limit, TooOften},
    time::whole_seconds,
};

/// A refusal with its words: ours (`code`, `message`), and where existing clients read something
/// else, that too.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Refusal(Box<Words>);

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename = "error")]
struct Words {
    #[serde(flatten)]
    said: ServerError,
    /// The original answered a bad identity with this field alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    /// The original's mesh reads the absent peer here.
    #[serde(skip_serializing_if = "Option::is_none")]
    target_peer_id: Option<String>,
    /// Which limit it was, for who counts refusals.
    #[serde(skip)]
    limit: Option<Limit>,
}

/// Longest part of a peer's own words that is repeated to it.
const MAX_ECHO_CHARS: usize = 128;

/// A peer's own words, short enough to repeat.
pub(crate) fn echo(text: &str) -> String {
    text.chars().take(MAX_ECHO_CHARS).collect()
}

impl Refusal {
    /// A refusal in these words.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self(Box::new(Words {
            said: ServerError::new(code, message),
            error: None,
            target_peer_id: None,
            limit: None,
        }))
    }

    /// There is too much of something; says when to try again.
    pub fn too_often(refused: &TooOften) -> Self {
        let mut refusal = Self::over(refused.limit, refused.to_string());
        refusal.0.said.retry_after = Some(refused.seconds());
        refusal
    }

    /// There is too much of something, and waiting alone does not help.
    pub fn over(limit: Limit, message: impl Into<String>) -> Self {
        let mut refusal = Self::new(ErrorCode::LimitExceeded, message);
        refusal.0.limit = Some(limit);
        refusal
    }

    /// Names the peer that could not be reached, where what was asked for can be a name at all.
    pub(super) fn about(mut self, target: &str) -> Self {
        self.0.said.target = PeerId::new(target).ok();
        self
    }

    /// Says how long to wait before trying again, in whole seconds and at least one.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.0.said.retry_after = Some(whole_seconds(wait));
        self
    }

    /// The original's `reason` where it was not the message.
    pub(super) fn reason(mut self, reason: &str) -> Self {
        reason.clone_into(&mut self.0.said.reason);
        self
    }

    pub(super) fn target_peer_id(mut self, target: &str) -> Self {
        self.0.target_peer_id = Some(echo(target));
        self
    }

    /// Who asks was shut out.
    pub fn revoked() -> Self {
        Self::new(ErrorCode::Forbidden, "Access to this room was revoked")
    }

    /// The identity token was not believed.
    pub fn bad_identity(why: &str) -> Self {
        let mut refusal = Self::new(ErrorCode::InvalidIdentity, format!("Invalid token: {why}"));
        refusal.0.error = Some("Invalid token");
        refusal
    }

    /// Fields that the message must have are not there.
    pub(super) fn missing(fields: &str) -> Self {
        Self::new(ErrorCode::InvalidMessage, format!("Missing required fields: {fields}"))
    }

    /// A field has the wrong shape. What the reader says may repeat the sender's words.
    pub fn invalid_field(why: &impl ToString) -> Self {
        let why = echo(&why.to_string());
        Self::new(ErrorCode::InvalidMessage, format!("Invalid field: {why}"))
    }

    /// What kind of refusal it is.
    pub fn code(&self) -> ErrorCode {
        self.0.said.code.unwrap_or(ErrorCode::Other)
    }

    /// The limit that was reached, where it was one.
    pub fn limit(&self) -> Option<Limit> {
        self.0.limit
    }

    /// The words for people.
    pub fn message(&self) -> &str {
        &self.0.said.message
    }

    /// The frame.
    pub fn to_text(&self) -> Text {
        serde_json::to_string(self).expect("plain fields always serialise").into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_has_our_words_and_the_originals() {
        let json = |refusal: &Refusal| -> serde_json::Value {
            serde_json::from_str(&refusal.to_text()).expect("JSON")
        };
        let absent = Refusal::new(ErrorCode::PeerNotFound, "Peer x not found in room").about("x");
        assert_eq!(
            json(&absent),
            serde_json::json!({
                "type": "error", "code": "PEER_NOT_FOUND", "message": "Peer x not found in room",
                "reason": "Peer x not found in room", "target": "x",
            })
        );
        let identity = json(&Refusal::bad_identity("Token expired"));
        assert_eq!(identity["error"], "Invalid token");
        assert_eq!(identity["code"], "INVALID_IDENTITY");
    }
}
