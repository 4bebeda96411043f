//! Names of rooms and peers.
//!
//! Both travel through URLs, logs and file names, so their alphabet is checked where they enter.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::limits::{MAX_PEER_ID_BYTES, MAX_ROOM_ID_BYTES};

/// A string is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Nothing was given.
    #[error("{what} is empty")]
    Empty {
        /// Which id.
        what: &'static str,
    },
    /// Longer than the limit.
    #[error("{what} has {bytes} bytes, at most {most} are accepted")]
    TooLong {
        /// Which id.
        what: &'static str,
        /// How long it was.
        bytes: usize,
        /// The limit.
        most: usize,
    },
    /// A character outside the alphabet.
    #[error("{what} has the character {found:?} at byte {at}, accepted are {accepted}")]
    BadCharacter {
        /// Which id.
        what: &'static str,
        /// The character.
        found: char,
        /// Where it stands.
        at: usize,
        /// The alphabet in words.
        accepted: &'static str,
    },
}

/// A room's public name: 1 to 64 of `A-Z a-z 0-9 - _`. The broker makes eight hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RoomId(String);

/// A peer's name inside one room: 1 to 128 visible ASCII characters.
///
/// Existing clients use the user name of their sign-in (a UUID) or names like `worker-ab12-host-01`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PeerId(String);

fn check(
    what: &'static str,
    text: &str,
    most: usize,
    accepted: &'static str,
    ok: impl Fn(char) -> bool,
) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty { what });
    }
    if text.len() > most {
        return Err(IdError::TooLong { what, bytes: text.len(), most });
    }
    match text.char_indices().find(|&(_, c)| !ok(c)) {
        None => Ok(()),
        Some((at, found)) => Err(IdError::BadCharacter { what, found, at, accepted }),
    }
}

impl RoomId {
    /// Checks the alphabet and the length.
    pub fn new(text: impl Into<String>) -> Result<Self, IdError> {
        let text = text.into();
        check("the room id", &text, MAX_ROOM_ID_BYTES, "A-Z, a-z, 0-9, - and _", |c| {
            c.is_ascii_alphanumeric() || c == '-' || c == '_'
        })?;
        Ok(Self(text))
    }
}

impl PeerId {
    /// Checks the alphabet and the length.
    pub fn new(text: impl Into<String>) -> Result<Self, IdError> {
        let text = text.into();
        check("the peer id", &text, MAX_PEER_ID_BYTES, "visible ASCII characters", |c| {
            c.is_ascii_graphic()
        })?;
        Ok(Self(text))
    }
}

macro_rules! text_id {
    ($name:ident) => {
        impl $name {
            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

text_id!(RoomId);
text_id!(PeerId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_id_of_the_original_is_accepted() {
        assert_eq!(RoomId::new("4d7f5fe9").expect("eight hex digits").as_str(), "4d7f5fe9");
    }

    #[test]
    fn an_id_that_could_leave_its_place_is_refused_with_the_place() {
        assert_eq!(
            RoomId::new("ab/../c").expect_err("a slash").to_string(),
            "the room id has the character '/' at byte 2, accepted are A-Z, a-z, 0-9, - and _"
        );
        assert!(PeerId::new("a b").is_err());
        assert!(PeerId::new("").is_err());
        assert!(PeerId::new("x".repeat(129)).is_err());
    }
}
