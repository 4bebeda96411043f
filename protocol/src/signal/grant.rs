//! By what right a peer is in a room, in a form that others can ask about.
//!
//! The broker tells a grant with every peer. Whoever serves that peer without the broker (a worker
//! over its peer connection) shows it again from time to time, with `confirm_rights`, and hears
//! whether it still holds. To everybody but the broker it is opaque.

use std::fmt::{self, Write};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{access::Access, limits::MAX_GRANT_BYTES, token::Token};

/// Bytes of a token's fingerprint in a grant. It only has to tell the present token of a room from
/// the ones before it, and says nothing about either: it is a hash of a hash of 128 random bits.
const FINGERPRINT_BYTES: usize = 6;

/// By what right somebody is in a room: `ACCESS.FINGERPRINT.SUBJECT`.
///
/// The fingerprint is the beginning of SHA-256 over what the broker keeps of the room token, which
/// is its SHA-256, in hexadecimal. The owner's rights come from no token: it is empty there. The
/// subject is who the identity provider says that it is, and empty for a token alone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Grant(Box<str>);

/// A text is too long for a grant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a grant has {bytes} bytes, at most {MAX_GRANT_BYTES} are accepted")]
pub struct GrantTooLong {
    /// How long it was.
    bytes: usize,
}

/// What a grant says, for the one who judges it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GrantParts<'a> {
    /// The rights.
    pub access: Access,
    /// Of the token that they came with.
    pub fingerprint: &'a str,
    /// Whose they are.
    pub subject: &'a str,
}

impl Grant {
    /// The grant of somebody who showed the token of which the broker keeps this SHA-256; of the
    /// owner, who needs none. `None` when the subject is longer than any provider's.
    pub fn new(access: Access, token_hash: Option<&[u8; 32]>, subject: &str) -> Option<Self> {
        let fingerprint = token_hash.map(fingerprint).unwrap_or_default();
        Self::try_from(format!("{access}.{fingerprint}.{subject}")).ok()
    }

    /// The grant of a token alone, whoever shows it.
    pub fn of_token(access: Access, token: &Token) -> Self {
        let hash = Sha256::digest(token.expose().as_bytes()).into();
        Self(format!("{access}.{}.", fingerprint(&hash)).into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What it says, where it is one of ours.
    pub fn parts(&self) -> Option<GrantParts<'_>> {
        let (access, rest) = self.0.split_once('.')?;
        let (fingerprint, subject) = rest.split_once('.')?;
        let access = match access {
            "viewer" => Access::Viewer,
            "operator" => Access::Operator,
            "admin" => Access::Admin,
            _ => return None,
        };
        Some(GrantParts { access, fingerprint, subject })
    }

    /// Whose it is, for counting what they do: the subject, whatever it calls itself in a room. Of a
    /// token alone nobody knows who shows it, so everybody who does counts as one.
    pub fn holder(&self) -> &str {
        match self.parts() {
            Some(GrantParts { subject, .. }) if !subject.is_empty() => subject,
            _ => &self.0,
        }
    }
}

impl GrantParts<'_> {
    /// Whether it came with the token of which the broker keeps this SHA-256.
    pub fn is_of(&self, token_hash: &[u8; 32]) -> bool {
        self.fingerprint == fingerprint(token_hash)
    }
}

fn fingerprint(token_hash: &[u8; 32]) -> String {
    let digest = Sha256::digest(token_hash);
    let mut hex = String::with_capacity(2 * FINGERPRINT_BYTES);
    for byte in digest.iter().take(FINGERPRINT_BYTES) {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Grant {
    type Error = GrantTooLong;

    fn try_from(text: String) -> Result<Self, GrantTooLong> {
        let bytes = text.len();
        if bytes > MAX_GRANT_BYTES { Err(GrantTooLong { bytes }) } else { Ok(Self(text.into())) }
    }
}

impl From<Grant> for String {
    fn from(grant: Grant) -> Self {
        grant.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(token: &str) -> [u8; 32] {
        Sha256::digest(token.as_bytes()).into()
    }

    #[test]
    fn a_grant_says_rights_token_and_subject() {
        let grant = Grant::new(Access::Operator, Some(&hash("t0")), "a.b").expect("short");
        // printf t0 | sha256sum | xxd -r -p | sha256sum | cut -c 1-12
        assert_eq!(grant.as_str(), "operator.1f851316123d.a.b");
        let parts = grant.parts().expect("ours");
        assert_eq!((parts.access, parts.subject), (Access::Operator, "a.b"));
        assert!(parts.is_of(&hash("t0")) && !parts.is_of(&hash("t1")));
        assert_eq!(grant.holder(), "a.b");
    }

    #[test]
    fn the_owners_grant_is_of_no_token() {
        let grant = Grant::new(Access::Admin, None, "ann").expect("short");
        assert_eq!(grant.as_str(), "admin..ann");
        assert!(!grant.parts().expect("ours").is_of(&hash("")));
    }

    #[test]
    fn a_token_alone_is_of_nobody() {
        let grant = Grant::of_token(Access::Viewer, &Token::new("t0"));
        let parts = grant.parts().expect("ours");
        assert!(parts.is_of(&hash("t0")));
        assert_eq!(parts.subject, "");
        assert_eq!(grant.holder(), grant.as_str());
    }

    #[test]
    fn what_is_no_grant_has_no_parts_and_what_is_too_long_is_none() {
        for text in ["", "operator", "operator.x", "root.x.y", "Admin..x"] {
            assert_eq!(Grant::try_from(text.to_owned()).expect("short").parts(), None, "{text}");
        }
        assert!(Grant::try_from("x".repeat(MAX_GRANT_BYTES + 1)).is_err());
        assert!(Grant::new(Access::Viewer, None, &"x".repeat(MAX_GRANT_BYTES)).is_none());
    }
}
