//! The broker's own identities: anonymous user names in ES256 tokens.

use std::time::Duration;

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use halyard_protocol::token::Token;
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode,
    errors::ErrorKind,
    jwk::{Jwk, PublicKeyUse},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    IdentityProvider, KeyFileError, SignInError, SignedIn, Subject, VerifyError, key_file,
    known::{Good, Known},
};
use crate::{
    secret::{TokenHash, new_uuid},
    time::Now,
};

/// Who signs, and for whom.
const ISSUER: &str = "halyard";
const AUDIENCE: &str = "halyard";
/// What the token is for: the word that Cognito uses, too.
const TOKEN_USE: &str = "id";
/// Clocks of one broker before and after a restart, or of a virtual machine that slept, may differ.
const LEEWAY_SECONDS: u64 = 60;
/// Longest identity token that is looked at; ours have some 350 bytes.
const MAX_ID_TOKEN_BYTES: usize = 8 * 1024;

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: String,
    token_use: String,
    iat: u64,
    exp: u64,
}

/// Signs with one ES256 key and publishes its public half.
pub struct EmbeddedIdentity {
    signing: EncodingKey,
    verifying: DecodingKey,
    jwk: Jwk,
    header: Header,
    validation: Validation,
    ttl: Duration,
    known: Known,
}

impl EmbeddedIdentity {
    /// Signs with this P-256 key (PKCS#8), for tokens that are good for `ttl`.
    pub fn new(pkcs8: &[u8], ttl: Duration) -> Result<Self, KeyFileError> {
        let damaged = |_| KeyFileError::Generate;
        let signing = EncodingKey::from_ec_der(pkcs8);
        let mut jwk = Jwk::from_encoding_key(&signing, Algorithm::ES256).map_err(damaged)?;
        let verifying = DecodingKey::from_jwk(&jwk).map_err(damaged)?;
        // The key's name is the hash of its public half: the same key has the same name always.
        let public = serde_json::to_vec(&jwk.algorithm).unwrap_or_default();
        let kid = URL_SAFE_NO_PAD.encode(&Sha256::digest(public)[..12]);
        jwk.common.key_id = Some(kid.clone());
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(kid);
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // The time is an argument here, so it is compared here.
        validation.validate_exp = false;
        Ok(Self { signing, verifying, jwk, header, validation, ttl, known: Known::default() })
    }

    /// Signs with a key that is gone when the broker stops.
    pub fn in_memory(ttl: Duration) -> Result<Self, KeyFileError> {
        Self::new(&key_file::generate()?, ttl)
    }

    fn sign(&self, subject: &Subject, now: Now) -> Result<Token, SignInError> {
        let expires_at = now.unix().saturating_add(self.ttl.as_secs());
        let claims = Claims {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            sub: subject.as_str().to_owned(),
            token_use: TOKEN_USE.to_owned(),
            iat: now.unix(),
            exp: expires_at,
        };
        let token = encode(&self.header, &claims, &self.signing)
            .map(Token::new)
            .map_err(|error| SignInError::Provider(error.to_string()))?;
        self.known.remember(TokenHash::of(&token), Good { subject: subject.clone(), expires_at });
        Ok(token)
    }

    fn check(&self, token: &Token, now: Now) -> Result<Subject, VerifyError> {
        if token.expose().len() > MAX_ID_TOKEN_BYTES {
            return Err(VerifyError::NotAToken);
        }
        let hash = TokenHash::of(token);
        let good = if let Some(good) = self.known.recall(hash) {
            good
        } else {
            let good = self.verified(token.expose())?;
            self.known.remember(hash, good.clone());
            good
        };
        if good.expires_at.saturating_add(LEEWAY_SECONDS) <= now.unix() {
            return Err(VerifyError::Expired);
        }
        Ok(good.subject)
    }

    /// Everything but whether its time is over.
    fn verified(&self, token: &str) -> Result<Good, VerifyError> {
        if token.split('.').count() != 3 {
            return Err(VerifyError::NotAToken);
        }
        let header = decode_header(token).map_err(|_| VerifyError::Malformed)?;
        if header.kid != self.header.kid {
            return Err(VerifyError::Signature);
        }
        let claims = decode::<Claims>(token, &self.verifying, &self.validation)
            .map_err(|error| match error.kind() {
                ErrorKind::InvalidSignature
                | ErrorKind::InvalidAlgorithm
                | ErrorKind::InvalidAlgorithmName => VerifyError::Signature,
                ErrorKind::InvalidIssuer => VerifyError::Claim("iss"),
                ErrorKind::InvalidAudience => VerifyError::Claim("aud"),
                _ => VerifyError::Malformed,
            })?
            .claims;
        if claims.token_use != TOKEN_USE {
            return Err(VerifyError::Claim("token_use"));
        }
        Ok(Good { subject: Subject::new(claims.sub), expires_at: claims.exp })
    }
}

#[async_trait]
impl IdentityProvider for EmbeddedIdentity {
    async fn sign_in(&self, renew: Option<Subject>, now: Now) -> Result<SignedIn, SignInError> {
        let subject = renew.unwrap_or_else(|| Subject::new(new_uuid()));
        let id_token = self.sign(&subject, now)?;
        Ok(SignedIn { subject, id_token, expires_in: self.ttl })
    }

    async fn verify(&self, token: &Token, now: Now) -> Result<Subject, VerifyError> {
        self.check(token, now)
    }

    fn jwks(&self) -> Option<serde_json::Value> {
        Some(serde_json::json!({ "keys": [self.jwk] }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    fn provider() -> EmbeddedIdentity {
        EmbeddedIdentity::in_memory(HOUR).expect("a key")
    }

    fn forged(provider: &EmbeddedIdentity, change: impl FnOnce(&mut Claims)) -> Token {
        let mut claims = Claims {
            iss: ISSUER.into(),
            aud: AUDIENCE.into(),
            sub: "somebody".into(),
            token_use: TOKEN_USE.into(),
            iat: 0,
            exp: u64::MAX / 2,
        };
        change(&mut claims);
        Token::new(encode(&provider.header, &claims, &provider.signing).expect("signed"))
    }

    #[tokio::test]
    async fn who_signed_in_is_recognised_until_the_token_expires() {
        let provider = provider();
        let now = Now::read();
        let signed = provider.sign_in(None, now).await.expect("signed in");
        let known = provider.verify(&signed.id_token, now).await;
        assert_eq!(known, Ok(signed.subject.clone()));
        let late = now.plus(HOUR + Duration::from_secs(LEEWAY_SECONDS + 1));
        assert_eq!(provider.verify(&signed.id_token, late).await, Err(VerifyError::Expired));
        let again = provider.sign_in(Some(signed.subject.clone()), late).await.expect("renewed");
        assert_eq!(provider.verify(&again.id_token, late).await, Ok(signed.subject));
    }

    #[tokio::test]
    async fn a_restart_with_the_same_key_still_knows_everybody() {
        let dir = tempfile::tempdir().expect("a folder");
        let key = key_file::load_or_create(dir.path()).expect("a key");
        let now = Now::read();
        let before = EmbeddedIdentity::new(&key, HOUR).expect("a provider");
        let signed = before.sign_in(None, now).await.expect("signed in");
        let key = key_file::load_or_create(dir.path()).expect("the key");
        let after = EmbeddedIdentity::new(&key, HOUR).expect("a provider");
        assert_eq!(after.verify(&signed.id_token, now).await, Ok(signed.subject));
        assert_eq!(before.jwks(), after.jwks());
    }

    #[tokio::test]
    async fn tokens_of_another_key_another_purpose_or_another_shape_are_refused() {
        let provider = provider();
        let now = Now::read();
        let check = async |token: &Token| provider.verify(token, now).await.expect_err("refused");

        let stranger = EmbeddedIdentity::in_memory(HOUR).expect("a key");
        let theirs = stranger.sign_in(None, now).await.expect("signed in").id_token;
        assert_eq!(check(&theirs).await, VerifyError::Signature);

        let iss = forged(&provider, |claims| claims.iss = "somebody else".into());
        assert_eq!(check(&iss).await, VerifyError::Claim("iss"));
        let aud = forged(&provider, |claims| claims.aud = "another broker".into());
        assert_eq!(check(&aud).await, VerifyError::Claim("aud"));
        let purpose = forged(&provider, |claims| claims.token_use = "access".into());
        assert_eq!(check(&purpose).await, VerifyError::Claim("token_use"));

        assert_eq!(check(&Token::new("x")).await, VerifyError::NotAToken);
        assert_eq!(check(&Token::new("")).await, VerifyError::NotAToken);
        assert_eq!(check(&Token::new("a.b.c")).await, VerifyError::Malformed);
    }

    #[tokio::test]
    async fn a_token_changed_in_any_place_is_refused() {
        let provider = provider();
        let now = Now::read();
        let token = provider.sign_in(None, now).await.expect("signed in").id_token;
        let text = token.expose();
        for at in 0..text.len() {
            let mut bytes = text.as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = Token::new(String::from_utf8(bytes).expect("ASCII"));
            // The last character of a part may have bits that mean nothing, and base64 that has
            // them set is refused as malformed.
            assert!(provider.verify(&changed, now).await.is_err(), "byte {at}");
        }
    }

    #[tokio::test]
    async fn a_token_without_a_signature_or_with_another_algorithm_is_refused() {
        let provider = provider();
        let now = Now::read();
        let claims = forged(&provider, |_| ());
        let payload = claims.expose().split('.').nth(1).expect("three parts").to_owned();
        let kid = provider.header.kid.clone().expect("a name");
        for algorithm in ["none", "HS256", "ES384"] {
            let header = serde_json::json!({ "alg": algorithm, "typ": "JWT", "kid": kid });
            let header = URL_SAFE_NO_PAD.encode(header.to_string());
            for signature in ["", "AAAA"] {
                let token = Token::new(format!("{header}.{payload}.{signature}"));
                assert!(provider.verify(&token, now).await.is_err(), "{algorithm}");
            }
        }
    }

    #[test]
    fn the_published_key_has_no_secret_in_it() {
        let jwks = provider().jwks().expect("published");
        let key = jwks["keys"][0].as_object().expect("one key");
        assert_eq!(key["kty"], "EC");
        assert_eq!(key["crv"], "P-256");
        assert_eq!(key["alg"], "ES256");
        assert!(key.contains_key("kid") && key.contains_key("x") && key.contains_key("y"));
        assert!(!key.contains_key("d"));
    }
}
