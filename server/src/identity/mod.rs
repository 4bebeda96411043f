//! Who somebody is.
//!
//! [`IdentityProvider`] gives out identity tokens and verifies them. An identity says nothing about
//! rights: those come from owning a room or from a room's token.

#[cfg(feature = "aws")]
mod cognito;
mod embedded;
mod journal;
mod key_file;
mod known;

use std::{fmt, time::Duration};

use async_trait::async_trait;
use halyard_protocol::token::Token;
use serde::{Deserialize, Serialize};

#[cfg(feature = "aws")]
pub use self::cognito::{CognitoError, CognitoIdentity, PoolError};
pub use self::{
    embedded::EmbeddedIdentity,
    journal::{Journal, JournalError, MemoryJournal},
    key_file::{KeyFileError, load, load_or_create},
};
use crate::time::Now;

/// Somebody, as the provider knows them: the `sub` of their token.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Subject(String);

impl Subject {
    /// Takes the provider's word.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The word.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a sign-in gives.
#[derive(Debug, Clone)]
pub struct SignedIn {
    /// Who they are now.
    pub subject: Subject,
    /// The proof.
    pub id_token: Token,
    /// How long it is good for.
    pub expires_in: Duration,
}

/// Why an identity token was not believed. The texts never repeat the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// Not three parts with dots between them. (The original's words.)
    #[error("Not enough segments")]
    NotAToken,
    /// Signed by somebody else, or changed.
    #[error("Signature verification failed")]
    Signature,
    /// Its time is over: sign in again.
    #[error("Token expired")]
    Expired,
    /// A claim says that it was made for something else.
    #[error("the claim {0} does not fit this server")]
    Claim(&'static str),
    /// Signed, but not of this shape.
    #[error("Invalid token")]
    Malformed,
    /// The provider does not answer, or not for this token now.
    #[error("the identity provider does not answer")]
    Unavailable {
        /// When it may.
        retry_after: Duration,
    },
}

/// A sign-in did not work.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// The provider failed. What it said is for the log.
    #[error("anonymous sign-in failed: {0}")]
    Provider(String),
    /// The provider does not answer. What is known is for the log.
    #[error("the identity provider does not answer: {why}")]
    Unavailable {
        /// When it may.
        retry_after: Duration,
        /// What happened.
        why: String,
    },
}

/// A user that nobody needs any more could not be deleted. It is tried again.
#[derive(Debug, thiserror::Error)]
#[error("a temporary user could not be deleted: {0}")]
pub struct DeleteUserError(pub String);

/// Gives out identities and verifies them.
///
/// A wrong `Err` from [`verify`](IdentityProvider::verify) is a nuisance; a wrong `Ok` is a
/// security bug.
#[async_trait]
pub trait IdentityProvider: Send + Sync {
    /// A new anonymous identity, or a fresh token for one that is still good.
    async fn sign_in(&self, renew: Option<Subject>, now: Now) -> Result<SignedIn, SignInError>;

    /// Who the bearer of this token is.
    async fn verify(&self, token: &Token, now: Now) -> Result<Subject, VerifyError>;

    /// The public keys that verify its tokens, as a JWK set, where the provider is this broker.
    fn jwks(&self) -> Option<serde_json::Value>;

    /// Whether the provider is there: asked when nobody asked it anything for a while. Nobody is
    /// made by it.
    async fn probe(&self) -> Result<(), SignInError> {
        Ok(())
    }

    /// Whether an identity is something to clean up: then the broker calls the two below.
    fn keeps_users(&self) -> bool {
        false
    }

    /// Somebody left for good and owns nothing. Deleting who is not there is no error.
    async fn delete_user(&self, _subject: &Subject) -> Result<(), DeleteUserError> {
        Ok(())
    }

    /// Deletes users whose tokens are all over, at most `most`, and says how many.
    async fn sweep_users(&self, _now: Now, _most: usize) -> Result<usize, DeleteUserError> {
        Ok(0)
    }
}
