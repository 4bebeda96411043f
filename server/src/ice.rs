//! The STUN and TURN servers that peers are told.

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::STANDARD};
use halyard_protocol::{signal::IceServer, token::Token};

use crate::{Settings, settings::TurnSettings};

/// Which servers there are.
#[derive(Debug, Clone)]
pub struct IceConfig {
    stun_urls: Vec<String>,
    turn: Option<TurnSettings>,
}

/// What one peer is told.
#[derive(Debug, Clone)]
pub struct IceList {
    /// For connections between clients and workers.
    pub ice_servers: Vec<IceServer>,
    /// For connections between workers. The original tells them STUN alone.
    pub mesh_ice_servers: Vec<IceServer>,
    /// When the credentials in it end, in seconds since 1970; without TURN nothing ends.
    pub expires_at: Option<u64>,
}

impl IceConfig {
    /// What the settings say.
    pub fn new(settings: &Settings) -> Self {
        Self { stun_urls: settings.stun_urls.clone(), turn: settings.turn.clone() }
    }

    /// The list for one peer, with a TURN credential of its own. `unix` is the time in seconds
    /// since 1970.
    pub fn list_for(&self, peer: &str, unix: u64) -> IceList {
        let stun: Vec<IceServer> = self
            .stun_urls
            .iter()
            .map(|url| IceServer { urls: vec![url.clone()], username: None, credential: None })
            .collect();
        let mut ice_servers = stun.clone();
        let mut expires_at = None;
        if let Some(turn) = &self.turn {
            let expiry = unix.saturating_add(turn.ttl.as_secs());
            let username = format!("{expiry}:{peer}");
            ice_servers.push(IceServer {
                urls: turn.urls.clone(),
                credential: Some(credential(&turn.secret, &username)),
                username: Some(username),
            });
            expires_at = Some(expiry);
        }
        IceList { ice_servers, mesh_ice_servers: stun, expires_at }
    }
}

/// The password of a time-limited TURN user name, as coturn's `use-auth-secret` checks it:
/// base64(HMAC-SHA1(secret, user name)).
fn credential(secret: &Token, username: &str) -> Token {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.expose().as_bytes());
    Token::new(STANDARD.encode(hmac::sign(&key, username.as_bytes())))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_peer_gets_a_turn_credential_that_ends() {
        let settings = Settings {
            stun_urls: vec!["stun:s:1".into(), "stun:s:2".into()],
            turn: Some(TurnSettings {
                urls: vec!["turn:t:3478".into()],
                secret: Token::new("north"),
                ttl: Duration::from_mins(10),
            }),
            ..Settings::default()
        };
        let list = IceConfig::new(&settings).list_for("ann", 1_000);
        assert_eq!(list.expires_at, Some(1_600));
        assert_eq!(list.mesh_ice_servers.len(), 2);
        let turn = list.ice_servers.last().expect("TURN comes last");
        assert_eq!(turn.username.as_deref(), Some("1600:ann"));
        // printf 1600:ann | openssl dgst -sha1 -hmac north -binary | base64
        let credential = turn.credential.as_ref().expect("a password");
        assert_eq!(credential.expose(), OPENSSL_SAYS);
    }

    const OPENSSL_SAYS: &str = "MfVgnMQbUrd5YsvtMAlKwBwDrm8=";

    #[test]
    fn without_servers_the_list_is_empty() {
        let settings = Settings { stun_urls: vec![], ..Settings::default() };
        let list = IceConfig::new(&settings).list_for("ann", 1_000);
        assert!(list.ice_servers.is_empty() && list.expires_at.is_none());
    }
}
