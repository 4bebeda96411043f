//! The pool's public keys: fetched, kept, and fetched again when a token names another.
//!
//! Keys that were fetched once serve for as long as nothing newer can be had, so an outage of
//! Cognito stops nobody who has a token. Tokens with made-up key names cannot make the broker ask
//! more often than once in a while.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use jsonwebtoken::{
    DecodingKey,
    jwk::{AlgorithmParameters, Jwk, KeyAlgorithm, PublicKeyUse},
};
use reqwest::{Client, redirect::Policy};
use serde::Deserialize;
use url::{Host, Url};

/// Longest wait for the keys.
const FETCH_WITHIN: Duration = Duration::from_secs(3);
/// Largest answer that is looked at; AWS's has a kilobyte.
const MAX_BYTES: usize = 64 * 1024;
/// Most keys that are kept; AWS has two.
const MAX_KEYS: usize = 32;
/// The keys are not asked for more often than this, whatever tokens say.
const COOL_DOWN: Duration = Duration::from_secs(10);
/// Keys this old are looked at again, so that one that was withdrawn is not believed for ever.
const STALE_AFTER: Duration = Duration::from_hours(1);
/// Names of keys whose private half is public: those of moto and cognito-local, which anybody can
/// sign with.
const STAND_INS: &[&str] = &["dummy", "CognitoLocal"];

/// Why the address of keys is not accepted.
#[derive(Debug, thiserror::Error)]
#[error(
    "cognito_jwks_url is {url}: whoever can change what is fetched there can be anybody, so it must \
     be https; http is accepted for this machine alone, for tests"
)]
pub struct NotSafe {
    /// The address.
    pub url: Url,
}

/// No key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoKey {
    /// There is none of this name.
    Unknown,
    /// Perhaps there is, but the keys cannot be had.
    Unavailable {
        /// When they may.
        retry_after: Duration,
    },
}

/// The keys below one address.
pub(super) struct Keys {
    url: Url,
    /// Whether the address is this machine, where the keys of stand-ins are believed.
    local: bool,
    http: Client,
    known: Mutex<Known>,
    /// One asks, the others wait for what comes of it.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Known {
    keys: HashMap<String, Arc<DecodingKey>>,
    fetched: Option<Instant>,
    tried: Option<Instant>,
    failed: bool,
}

/// What to do about a key that is wanted.
#[derive(Debug, PartialEq, Eq)]
enum Plan<K> {
    Use(K),
    /// It is good enough, and newer ones should be asked for.
    Renew(K),
    Fetch,
    Refuse(NoKey),
}

impl Known {
    fn plan(&self, kid: &str, now: Instant) -> Plan<Arc<DecodingKey>> {
        let since = |when: Option<Instant>| when.map(|when| now.saturating_duration_since(when));
        let wait = since(self.tried).and_then(|tried| COOL_DOWN.checked_sub(tried));
        let wait = wait.filter(|wait| !wait.is_zero());
        match (self.keys.get(kid).cloned(), wait) {
            (Some(key), None) if since(self.fetched).is_none_or(|age| age >= STALE_AFTER) => {
                Plan::Renew(key)
            }
            (Some(key), _) => Plan::Use(key),
            (None, None) => Plan::Fetch,
            (None, Some(retry_after)) if self.failed => {
                Plan::Refuse(NoKey::Unavailable { retry_after })
            }
            // They were looked at a moment ago, and it was not among them.
            (None, Some(_)) => Plan::Refuse(NoKey::Unknown),
        }
    }
}

impl Keys {
    pub(super) fn new(url: Url) -> Result<Self, NotSafe> {
        let local = match url.host() {
            Some(Host::Ipv4(addr)) => addr.is_loopback(),
            Some(Host::Ipv6(addr)) => addr.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost",
            None => false,
        };
        if url.scheme() != "https" && !local {
            return Err(NotSafe { url });
        }
        let http = Client::builder()
            .connect_timeout(FETCH_WITHIN)
            .timeout(FETCH_WITHIN)
            .redirect(Policy::none());
        // Building fails where there is no TLS at all, which is said at the first fetch.
        let http = http.build().unwrap_or_default();
        let (known, fetching) = (Mutex::default(), tokio::sync::Mutex::default());
        Ok(Self { url, local, http, known, fetching })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key of this name.
    pub(super) async fn get(&self, kid: &str) -> Result<Arc<DecodingKey>, NoKey> {
        let plan = self.known().plan(kid, Instant::now());
        let key = match plan {
            Plan::Use(key) => return Ok(key),
            Plan::Refuse(why) => return Err(why),
            Plan::Renew(key) => Some(key),
            Plan::Fetch => None,
        };
        let turn = match (key, self.fetching.try_lock()) {
            // Somebody is at it already; the old key is good until then.
            (Some(key), Err(_)) => return Ok(key),
            (Some(_) | None, Ok(turn)) => turn,
            (None, Err(_)) => self.fetching.lock().await,
        };
        // Somebody may have fetched them while this waited.
        let plan = self.known().plan(kid, Instant::now());
        match plan {
            Plan::Use(key) => return Ok(key),
            Plan::Refuse(why) => return Err(why),
            Plan::Renew(_) | Plan::Fetch => {}
        }
        if let Err(why) = self.fetch().await {
            tracing::warn!(%why, url = %self.url, "the pool's keys cannot be had; the old ones stay");
        }
        drop(turn);
        let plan = self.known().plan(kid, Instant::now());
        match plan {
            Plan::Use(key) | Plan::Renew(key) => Ok(key),
            Plan::Fetch => Err(NoKey::Unknown),
            Plan::Refuse(why) => Err(why),
        }
    }

    /// Asks for the keys now. What it says on failure is for the log.
    pub(super) async fn fetch(&self) -> Result<(), String> {
        {
            let mut known = self.known();
            known.tried = Some(Instant::now());
            // Whoever gives up waiting leaves it like this.
            known.failed = true;
        }
        let keys = self.ask().await?;
        let mut known = self.known();
        known.keys = keys;
        known.fetched = Some(Instant::now());
        known.failed = false;
        Ok(())
    }

    async fn ask(&self) -> Result<HashMap<String, Arc<DecodingKey>>, String> {
        let said = |error: reqwest::Error| {
            use std::error::Error;

            let mut text = error.to_string();
            let mut source = error.source();
            while let Some(cause) = source {
                text = format!("{text}: {cause}");
                source = cause.source();
            }
            text
        };
        let answer = self.http.get(self.url.clone()).send().await.map_err(said)?;
        if !answer.status().is_success() {
            return Err(format!("the answer has status {}", answer.status()));
        }
        let mut answer = answer;
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(said)? {
            if body.len() + chunk.len() > MAX_BYTES {
                return Err(format!("the answer has more than {MAX_BYTES} bytes"));
            }
            body.extend_from_slice(&chunk);
        }
        read(&body, self.local)
    }
}

/// Reads a set of keys. What cannot sign identity tokens is passed over.
fn read(body: &[u8], local: bool) -> Result<HashMap<String, Arc<DecodingKey>>, String> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<serde_json::Value>,
    }

    let set: Set = serde_json::from_slice(body).map_err(|error| format!("no key set: {error}"))?;
    let keys = set.keys.into_iter().take(MAX_KEYS).filter_map(|key| {
        let key: Jwk = serde_json::from_value(key).ok()?;
        let kid = key.common.key_id.clone()?;
        let signs = key.common.public_key_use.as_ref().is_none_or(|what| *what == PublicKeyUse::Signature)
            && key.common.key_algorithm.is_none_or(|what| what == KeyAlgorithm::RS256)
            && matches!(key.algorithm, AlgorithmParameters::RSA(_));
        if !signs {
            return None;
        }
        if STAND_INS.contains(&kid.as_str()) && !local {
            tracing::error!(%kid, "a key of a stand-in, which everybody can sign with, is not believed");
            return None;
        }
        Some((kid, Arc::new(DecodingKey::from_jwk(&key).ok()?)))
    });
    let keys: HashMap<_, _> = keys.collect();
    if keys.is_empty() { Err("there is no RS256 key in it".to_owned()) } else { Ok(keys) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(kids: &[&str]) -> Vec<u8> {
        let keys: Vec<_> = kids
            .iter()
            .map(|kid| {
                serde_json::json!({ "kty": "RSA", "alg": "RS256", "use": "sig", "kid": kid,
                    "n": "sXch", "e": "AQAB" })
            })
            .collect();
        serde_json::json!({ "keys": keys }).to_string().into_bytes()
    }

    fn knows(kids: &[&str], fetched: Instant) -> Known {
        let keys = read(&set(kids), true).expect("keys");
        Known { keys, fetched: Some(fetched), tried: Some(fetched), failed: false }
    }

    fn kind(plan: &Plan<Arc<DecodingKey>>) -> &'static str {
        match plan {
            Plan::Use(_) => "use",
            Plan::Renew(_) => "renew",
            Plan::Fetch => "fetch",
            Plan::Refuse(NoKey::Unknown) => "unknown",
            Plan::Refuse(NoKey::Unavailable { .. }) => "unavailable",
        }
    }

    #[test]
    fn an_unknown_name_makes_it_look_again_but_not_all_the_time() {
        let now = Instant::now();
        assert_eq!(kind(&Known::default().plan("a", now)), "fetch");
        let known = knows(&["a"], now);
        assert_eq!(kind(&known.plan("a", now)), "use");
        assert_eq!(kind(&known.plan("b", now + COOL_DOWN / 2)), "unknown");
        assert_eq!(kind(&known.plan("b", now + COOL_DOWN)), "fetch");
    }

    #[test]
    fn keys_that_cannot_be_renewed_go_on_serving() {
        let now = Instant::now();
        let mut known = knows(&["a"], now);
        let later = now + STALE_AFTER;
        assert_eq!(kind(&known.plan("a", later)), "renew");
        (known.tried, known.failed) = (Some(later), true);
        assert_eq!(kind(&known.plan("a", later)), "use");
        assert_eq!(kind(&known.plan("a", later + COOL_DOWN)), "renew");
        assert_eq!(
            known.plan("b", later).refused(),
            Some(NoKey::Unavailable { retry_after: COOL_DOWN })
        );
    }

    impl Plan<Arc<DecodingKey>> {
        fn refused(&self) -> Option<NoKey> {
            match self {
                Self::Refuse(why) => Some(*why),
                _ => None,
            }
        }
    }

    #[test]
    fn keys_of_stand_ins_are_believed_from_this_machine_alone() {
        let keys = set(&["dummy", "CognitoLocal", "real"]);
        assert_eq!(read(&keys, true).expect("keys").len(), 3);
        let believed = read(&keys, false).expect("keys");
        assert!(believed.len() == 1 && believed.contains_key("real"));
        assert!(read(&set(&["dummy"]), false).is_err());
    }

    #[test]
    fn keys_come_over_https_or_from_this_machine() {
        let url = |text: &str| Url::parse(text).expect("an address");
        for good in [
            "https://pool.example/k",
            "http://127.0.0.1:5000/k",
            "http://[::1]/k",
            "http://localhost/k",
        ] {
            assert!(Keys::new(url(good)).is_ok(), "{good}");
        }
        for bad in ["http://pool.example/k", "http://10.0.0.1/k", "http://localhost.example/k"] {
            assert!(Keys::new(url(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_no_key_for_identity_tokens_is_passed_over() {
        assert!(read(b"<html>", true).is_err());
        assert!(read(br#"{"keys":[]}"#, true).is_err());
        let mixed = br#"{"keys":[1,{"kty":"oct","k":"AAAA","kid":"a"},
            {"kty":"RSA","alg":"RS512","kid":"b","n":"sXch","e":"AQAB"},
            {"kty":"RSA","use":"enc","kid":"c","n":"sXch","e":"AQAB"},
            {"kty":"RSA","kid":"d","n":"sXch","e":"AQAB"}]}"#;
        let keys = read(mixed, true).expect("one");
        assert!(keys.len() == 1 && keys.contains_key("d"));
    }
}
