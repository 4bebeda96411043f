//! Identities that are temporary users of an AWS Cognito user pool.
//!
//! A sign-in writes the user down in the [`Journal`], makes it with a random name and password,
//! signs it in and hands out its ID token; nobody learns the password, which is replaced whenever a
//! still valid identity asks for a fresh token. Tokens are verified here against the pool's public
//! keys, so an outage of Cognito stops sign-ins and nothing else.
//!
//! A user goes when its peer has left for good and owns no room, and at the latest when its last
//! token is over: from then on nobody can prove to be it.

mod keys;
mod pool;
mod token;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use aws_config::SdkConfig;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use halyard_protocol::token::Token;
use tokio::time::timeout;
use url::Url;

pub use self::pool::PoolError;
use self::{
    keys::{Keys, NoKey, NotSafe},
    pool::{CallError, Pool, Proof},
    token::{Expected, kid},
};
use super::{
    DeleteUserError, IdentityProvider, Journal, JournalError, SignInError, SignedIn, Subject,
    VerifyError,
};
use crate::{secret::new_uuid, settings::CognitoSettings, time::Now};

/// Longest that a sign-in may take, with all its calls.
const SIGN_IN_WITHIN: Duration = Duration::from_secs(12);
/// When a sign-in that took too long may be tried again.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// A user that was written down and not signed in by then never will be.
const MADE_WITHIN_SECONDS: u64 = 10 * 60;
/// How long a user is kept after its last token: the clocks of brokers differ, and each believes a
/// token a minute longer.
const KEPT_AFTER_SECONDS: u64 = 5 * 60;
/// Bytes of a password.
const PASSWORD_BYTES: usize = 24;
/// Times that somebody else may set a password between setting one and signing in with it.
const TURNS: usize = 3;

/// Why the provider cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CognitoError {
    /// The pool.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// Where its keys are.
    #[error(transparent)]
    Keys(#[from] NotSafe),
    /// They cannot be had.
    #[error(
        "the keys of the user pool cannot be had at {url}: {why}; check cognito_user_pool_id and \
         cognito_jwks_url, and that this machine reaches it"
    )]
    NoKeys {
        /// Where they should be.
        url: Url,
        /// What happened.
        why: String,
    },
    /// The pool's name says no region, and no issuer is set.
    #[error(
        "cognito_user_pool_id is {pool:?}: accepted is REGION_NAME like eu-central-1_AbCdEfGhI, or \
         any other together with cognito_issuer"
    )]
    PoolName {
        /// The name.
        pool: String,
    },
}

/// One user pool.
pub struct CognitoIdentity {
    pool: Pool,
    keys: Keys,
    expected: Expected,
    journal: Arc<dyn Journal>,
}

impl CognitoIdentity {
    /// Uses a pool that is there, after looking that it is fit and that its keys can be had.
    pub async fn open(
        config: &SdkConfig,
        settings: &CognitoSettings,
        journal: Arc<dyn Journal>,
    ) -> Result<Self, CognitoError> {
        let (issuer, jwks_url) = addresses(settings)?;
        let keys = Keys::new(jwks_url.clone())?;
        let pool = Pool::open(config, settings).await?;
        keys.fetch().await.map_err(|why| CognitoError::NoKeys { url: jwks_url, why })?;
        let expected = Expected::new(&issuer, &settings.app_client_id);
        Ok(Self { pool, keys, expected, journal })
    }

    /// Signs in somebody new.
    async fn make(&self, now: Now) -> Result<SignedIn, SignInError> {
        let subject = Subject::new(new_uuid());
        let password = new_password();
        // First of all: what is made and not written down would never be deleted.
        self.journal.put(&subject, now.unix().saturating_add(MADE_WITHIN_SECONDS)).await?;
        self.pool.make(&subject, &password).await?;
        let proof = self.pool.prove(&subject, &password).await?;
        self.hand_out(subject, proof, now).await
    }

    /// A fresh token for somebody who is known. `Ok(None)` if the user is not one of ours, or gone.
    async fn renew(&self, subject: &Subject, now: Now) -> Result<Option<SignedIn>, SignInError> {
        // Somebody else's user of the same pool must not get another password from us.
        if !self.journal.has(subject).await? {
            return Ok(None);
        }
        for _ in 0..TURNS {
            let password = new_password();
            match self.pool.set_password(subject, &password).await {
                Ok(()) => {}
                Err(CallError::NoUser) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
            match self.pool.prove(subject, &password).await {
                Ok(proof) => return self.hand_out(subject.clone(), proof, now).await.map(Some),
                // The same identity signs in elsewhere at this moment.
                Err(CallError::OtherPassword) => {}
                Err(CallError::NoUser) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
        Err(SignInError::Unavailable {
            retry_after: RETRY_AFTER,
            why: "several sign-ins of one identity at once".to_owned(),
        })
    }

    async fn hand_out(
        &self,
        subject: Subject,
        proof: Proof,
        now: Now,
    ) -> Result<SignedIn, SignInError> {
        let Proof { id_token, expires_in } = proof;
        // A token that this broker itself would refuse is a wrong setting, and better said here.
        match self.verify(&id_token, now).await {
            Ok(who) if who == subject => {}
            Ok(_) => return Err(SignInError::Provider("a token for another user".to_owned())),
            Err(VerifyError::Unavailable { retry_after }) => {
                let why = "the key of a new token cannot be had".to_owned();
                return Err(SignInError::Unavailable { retry_after, why });
            }
            Err(error) => {
                return Err(SignInError::Provider(format!(
                    "the pool's own token is refused ({error}); check cognito_issuer and \
                     cognito_app_client_id"
                )));
            }
        }
        let until = now.unix().saturating_add(expires_in.as_secs());
        self.journal.put(&subject, until.saturating_add(KEPT_AFTER_SECONDS)).await?;
        Ok(SignedIn { subject, id_token, expires_in })
    }
}

/// Issuer and address of the keys.
fn addresses(settings: &CognitoSettings) -> Result<(String, Url), CognitoError> {
    let pool = &settings.user_pool_id;
    let wrong = || CognitoError::PoolName { pool: pool.clone() };
    let issuer = if let Some(issuer) = &settings.issuer {
        issuer.as_str().trim_end_matches('/').to_owned()
    } else {
        let (region, _) = pool.split_once('_').ok_or_else(wrong)?;
        format!("https://cognito-idp.{region}.amazonaws.com/{pool}")
    };
    let jwks_url = match &settings.jwks_url {
        Some(url) => url.clone(),
        None => Url::parse(&format!("{issuer}/.well-known/jwks.json")).map_err(|_| wrong())?,
    };
    Ok((issuer, jwks_url))
}

/// A password that nobody learns. What is in front satisfies every policy that a pool can have.
fn new_password() -> Token {
    let bytes: [u8; PASSWORD_BYTES] = rand::random();
    Token::new(format!("aA1-{}", URL_SAFE_NO_PAD.encode(bytes)))
}

impl From<JournalError> for SignInError {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::Failed(why) => Self::Provider(why),
            JournalError::Unavailable { retry_after, why } => {
                let why = format!("the journal of users: {why}");
                Self::Unavailable { retry_after, why }
            }
        }
    }
}

impl From<CallError> for SignInError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::NoUser => Self::Provider("a user vanished during its sign-in".to_owned()),
            CallError::OtherPassword => Self::Provider("a new password is refused".to_owned()),
            CallError::Failed(why) => Self::Provider(why),
            CallError::Unavailable { retry_after, why } => Self::Unavailable { retry_after, why },
        }
    }
}

#[async_trait]
impl IdentityProvider for CognitoIdentity {
    async fn sign_in(&self, renew: Option<Subject>, now: Now) -> Result<SignedIn, SignInError> {
        let signing_in = async {
            if let Some(subject) = renew
                && let Some(signed) = self.renew(&subject, now).await?
            {
                return Ok(signed);
            }
            self.make(now).await
        };
        timeout(SIGN_IN_WITHIN, signing_in).await.unwrap_or_else(|_| {
            let why = format!("a sign-in took more than {SIGN_IN_WITHIN:?}");
            Err(SignInError::Unavailable { retry_after: RETRY_AFTER, why })
        })
    }

    async fn verify(&self, token: &Token, now: Now) -> Result<Subject, VerifyError> {
        let token = token.expose();
        let key = self.keys.get(&kid(token)?).await.map_err(|error| match error {
            NoKey::Unknown => VerifyError::Signature,
            NoKey::Unavailable { retry_after } => VerifyError::Unavailable { retry_after },
        })?;
        self.expected.check(token, &key, now)
    }

    fn jwks(&self) -> Option<serde_json::Value> {
        None
    }

    async fn probe(&self) -> Result<(), SignInError> {
        Ok(self.pool.probe().await?)
    }

    fn keeps_users(&self) -> bool {
        true
    }

    async fn delete_user(&self, subject: &Subject) -> Result<(), DeleteUserError> {
        let failed = |error: SignInError| DeleteUserError(error.to_string());
        // Only what the broker made itself.
        if !self.journal.has(subject).await.map_err(|error| failed(error.into()))? {
            return Ok(());
        }
        self.pool.delete(subject).await.map_err(|error| failed(error.into()))?;
        self.journal.remove(subject).await.map_err(|error| failed(error.into()))
    }

    async fn sweep_users(&self, now: Now, most: usize) -> Result<usize, DeleteUserError> {
        let due = self.journal.due(now.unix(), most).await;
        let due = due.map_err(|error| DeleteUserError(error.to_string()))?;
        let mut failed = None;
        for user in &due {
            // One that cannot be deleted should not keep the others.
            if let Err(error) = self.delete_user(user).await {
                failed = Some(error);
            }
        }
        failed.map_or(Ok(due.len()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pool: &str) -> CognitoSettings {
        CognitoSettings {
            user_pool_id: pool.into(),
            app_client_id: "client".into(),
            issuer: None,
            jwks_url: None,
        }
    }

    #[test]
    fn the_issuer_and_its_keys_are_where_aws_has_them_unless_said_otherwise() {
        let (issuer, keys) = addresses(&settings("eu-central-1_AbC")).expect("addresses");
        assert_eq!(issuer, "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbC");
        assert_eq!(keys.as_str(), format!("{issuer}/.well-known/jwks.json"));
        assert!(matches!(addresses(&settings("pool")), Err(CognitoError::PoolName { .. })));
        let url = |text: &str| Some(Url::parse(text).expect("an address"));
        let said = CognitoSettings { issuer: url("https://id.example/"), ..settings("pool") };
        let (issuer, keys) = addresses(&said).expect("addresses");
        assert_eq!(issuer, "https://id.example");
        assert_eq!(keys.as_str(), "https://id.example/.well-known/jwks.json");
    }

    #[test]
    fn no_two_passwords_are_alike_and_each_has_every_kind_of_character() {
        let (one, other) = (new_password(), new_password());
        assert_ne!(one.expose(), other.expose());
        let has = |kind: fn(char) -> bool| one.expose().chars().any(kind);
        assert!(has(|c| c.is_ascii_lowercase()) && has(|c| c.is_ascii_uppercase()));
        assert!(has(|c| c.is_ascii_digit()) && has(|c| c == '-'));
    }
}
