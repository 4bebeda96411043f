//! Random secrets and what is kept of them.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use halyard_protocol::{ids::RoomId, limits::MAX_TOKEN_BYTES, token::Token};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Bits of a token: nobody guesses 128 of them.
const TOKEN_BYTES: usize = 16;

/// A new token: 128 random bits in base64url.
pub fn new_token() -> Token {
    let bytes: [u8; TOKEN_BYTES] = rand::random();
    Token::new(URL_SAFE_NO_PAD.encode(bytes))
}

/// A new room's name: eight hexadecimal digits, as the original's. It is a name, not a secret.
pub fn new_room_id() -> RoomId {
    let number: u32 = rand::random();
    RoomId::new(format!("{number:08x}")).expect("hexadecimal digits are in the alphabet")
}

/// A new random (version 4) UUID, the shape of the original's user names.
pub fn new_uuid() -> String {
    let mut bytes: [u8; 16] = rand::random();
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex = format!("{:032x}", u128::from_be_bytes(bytes));
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// What is kept of a token: its SHA-256. Tokens have 128 random bits, so no salt and no slow hash
/// is needed to keep them from being guessed.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// The hash of a token.
    pub fn of(token: &Token) -> Self {
        Self(Sha256::digest(token.expose().as_bytes()).into())
    }

    /// The hash itself.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The hash, as it was kept.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Whether this is the token's hash, in a time that says nothing about where they differ.
    pub fn opens(&self, token: &Token) -> bool {
        // Anything longer was never given out: it need not be hashed.
        token.expose().len() <= MAX_TOKEN_BYTES && bool::from(self.0.ct_eq(&Self::of(token).0))
    }
}

/// Says nothing: even a hash is nobody's business in a log.
impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(…)")
    }
}

#[cfg(test)]
mod tests {
    use halyard_protocol::ids::PeerId;

    use super::*;

    #[test]
    fn a_new_token_opens_what_its_hash_guards_and_another_does_not() {
        let token = new_token();
        assert_eq!(token.expose().len(), 22);
        let hash = TokenHash::of(&token);
        assert!(hash.opens(&token));
        assert!(!hash.opens(&new_token()));
        assert!(!hash.opens(&Token::new("")));
        assert!(!hash.opens(&Token::new("x".repeat(1_000_000))));
    }

    #[test]
    fn names_have_the_originals_shapes() {
        assert_eq!(new_room_id().as_str().len(), 8);
        let uuid = new_uuid();
        assert_eq!(uuid.len(), 36);
        assert_eq!(uuid.as_bytes()[14], b'4');
        PeerId::new(uuid).expect("a UUID is a peer id");
    }
}
