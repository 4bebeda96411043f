//! Whether an ID token of the pool is to be believed, once its key is known.

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header, errors::ErrorKind};
use serde::Deserialize;

use crate::{
    identity::{Subject, VerifyError},
    time::Now,
};

/// Clocks of AWS and of this machine may differ by this much.
const LEEWAY_SECONDS: u64 = 60;
/// Longest token that is looked at; Cognito's have a kilobyte.
const MAX_ID_TOKEN_BYTES: usize = 8 * 1024;
/// What the token must be for. Access tokens of the same pool are signed with the same keys.
const TOKEN_USE: &str = "id";

/// What is read of a token. Its user is known by the name that the broker gave it: names are random
/// and are not used again, as long as nobody but the broker makes users.
#[derive(Debug, Deserialize)]
struct Claims {
    #[serde(rename = "cognito:username")]
    username: String,
    token_use: String,
    iat: u64,
    exp: u64,
}

/// For whom tokens must be.
pub(super) struct Expected {
    validation: Validation,
}

impl Expected {
    pub(super) fn new(issuer: &str, client_id: &str) -> Self {
        let mut validation = Validation::new(Algorithm::RS256);
        validation.set_issuer(&[issuer]);
        validation.set_audience(&[client_id]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // The time is an argument, so it is compared here.
        validation.validate_exp = false;
        Self { validation }
    }

    /// Who the bearer is.
    pub(super) fn check(
        &self,
        token: &str,
        key: &DecodingKey,
        now: Now,
    ) -> Result<Subject, VerifyError> {
        let claims = decode::<Claims>(token, key, &self.validation)
            .map_err(|error| match error.kind() {
                ErrorKind::InvalidSignature
                | ErrorKind::InvalidAlgorithm
                | ErrorKind::InvalidAlgorithmName => VerifyError::Signature,
                ErrorKind::InvalidIssuer => VerifyError::Claim("iss"),
                ErrorKind::InvalidAudience => VerifyError::Claim("aud"),
                ErrorKind::MissingRequiredClaim(name) if name == "aud" => VerifyError::Claim("aud"),
                _ => VerifyError::Malformed,
            })?
            .claims;
        if claims.token_use != TOKEN_USE {
            return Err(VerifyError::Claim("token_use"));
        }
        if claims.iat > now.unix().saturating_add(LEEWAY_SECONDS) {
            return Err(VerifyError::Claim("iat"));
        }
        if claims.exp.saturating_add(LEEWAY_SECONDS) <= now.unix() {
            return Err(VerifyError::Expired);
        }
        if claims.username.is_empty() {
            return Err(VerifyError::Malformed);
        }
        Ok(Subject::new(claims.username))
    }
}

/// The name of the key that a token says it is signed with.
pub(super) fn kid(token: &str) -> Result<String, VerifyError> {
    if token.len() > MAX_ID_TOKEN_BYTES || token.split('.').count() != 3 {
        return Err(VerifyError::NotAToken);
    }
    let header = decode_header(token).map_err(|_| VerifyError::Malformed)?;
    if header.alg != Algorithm::RS256 {
        return Err(VerifyError::Signature);
    }
    header.kid.ok_or(VerifyError::Malformed)
}

#[cfg(test)]
mod tests {
    use std::{sync::OnceLock, time::Duration};

    use aws_lc_rs::{
        encoding::AsDer,
        rsa::{KeyPair, KeySize},
    };
    use base64::{
        Engine,
        engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
    };
    use jsonwebtoken::{EncodingKey, Header, encode, jwk::Jwk};
    use serde_json::{Value, json};

    use super::*;

    const ISSUER: &str = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_Test";
    const CLIENT: &str = "client";
    const MADE: u64 = 1_800_000_000;

    /// A pair of keys. Making one takes a while.
    fn pair() -> &'static (EncodingKey, DecodingKey) {
        static PAIR: OnceLock<(EncodingKey, DecodingKey)> = OnceLock::new();
        PAIR.get_or_init(|| {
            let pair = KeyPair::generate(KeySize::Rsa2048).expect("a pair");
            let der = STANDARD.encode(pair.as_der().expect("PKCS#8").as_ref());
            let pem = format!("-----BEGIN PRIVATE KEY-----\n{der}\n-----END PRIVATE KEY-----\n");
            let signing = EncodingKey::from_rsa_pem(pem.as_bytes()).expect("a key");
            let jwk = Jwk::from_encoding_key(&signing, Algorithm::RS256).expect("public");
            (signing, DecodingKey::from_jwk(&jwk).expect("verifies"))
        })
    }

    fn claims() -> Value {
        json!({ "iss": ISSUER, "aud": CLIENT, "sub": "some-uuid", "cognito:username": "ann",
            "token_use": "id", "iat": MADE, "exp": MADE + 3600 })
    }

    fn checked(change: impl FnOnce(&mut Value), now: u64) -> Result<Subject, VerifyError> {
        let mut claims = claims();
        change(&mut claims);
        let token = encode(&Header::new(Algorithm::RS256), &claims, &pair().0).expect("signed");
        let now = Now { wall: Duration::from_secs(now), ..Now::read() };
        Expected::new(ISSUER, CLIENT).check(&token, &pair().1, now)
    }

    #[test]
    fn a_token_of_the_pool_for_this_client_is_believed() {
        assert_eq!(checked(|_| (), MADE), Ok(Subject::new("ann")));
    }

    #[test]
    fn a_clock_that_is_a_minute_off_does_not_matter_and_one_that_is_more_does() {
        assert!(checked(|_| (), MADE - 60).is_ok());
        assert_eq!(checked(|_| (), MADE - 61), Err(VerifyError::Claim("iat")));
        assert!(checked(|_| (), MADE + 3600 + 59).is_ok());
        assert_eq!(checked(|_| (), MADE + 3600 + 60), Err(VerifyError::Expired));
        assert!(checked(|claims| claims["exp"] = u64::MAX.into(), MADE).is_ok());
    }

    #[test]
    fn a_token_for_something_else_is_refused() {
        let refused = |name: &'static str, value: Value| {
            checked(|claims| claims[name] = value, MADE).expect_err("refused")
        };
        assert_eq!(refused("iss", json!("https://elsewhere.example")), VerifyError::Claim("iss"));
        assert_eq!(refused("aud", json!("another-client")), VerifyError::Claim("aud"));
        assert_eq!(refused("token_use", json!("access")), VerifyError::Claim("token_use"));
        assert_eq!(refused("cognito:username", json!("")), VerifyError::Malformed);
        for name in ["iss", "aud", "sub", "cognito:username", "token_use", "iat", "exp"] {
            let without = |claims: &mut Value| {
                claims.as_object_mut().expect("an object").remove(name);
            };
            assert!(checked(without, MADE).is_err(), "without {name}");
        }
    }

    #[test]
    fn only_the_algorithm_of_the_pool_is_looked_at() {
        for algorithm in ["none", "HS256", "ES256", "RS512"] {
            let header = json!({ "alg": algorithm, "kid": "k" }).to_string();
            let token = format!("{}.e30.AAAA", URL_SAFE_NO_PAD.encode(header));
            assert!(kid(&token).is_err(), "{algorithm}");
        }
        assert_eq!(kid("x"), Err(VerifyError::NotAToken));
        assert_eq!(kid(&format!("a.b.{}", "c".repeat(9000))), Err(VerifyError::NotAToken));
    }
}
