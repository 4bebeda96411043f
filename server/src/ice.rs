//! The STUN and TURN servers that peers are told.

use std::time::Duration;

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::STANDARD};
use halyard_protocol::{signal::IceServer, token::Token};

use crate::{Settings, settings::TurnSettings};

/// Lists are not told oftener than this, however short a credential's life is.
const SOONEST_REFRESH: Duration = Duration::from_secs(1);

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
    /// For connections between workers. The original tells them STUN alone, and so do we unless
    /// asked otherwise: workers send each other whole models, and a relay is paid by the byte.
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
        let mut list =
            IceList { ice_servers: stun.clone(), mesh_ice_servers: stun, expires_at: None };
        if let Some(turn) = &self.turn {
            let expiry = unix.saturating_add(turn.ttl.as_secs().max(1));
            let username = format!("{expiry}:{peer}");
            let server = IceServer {
                urls: turn.urls.clone(),
                credential: Some(credential(&turn.secret, &username)),
                username: Some(username),
            };
            if turn.mesh {
                list.mesh_ice_servers.push(server.clone());
            }
            list.ice_servers.push(server);
            list.expires_at = Some(expiry);
        }
        list
    }

    /// How long after a list was told the next one should be, where one ends at all: at about three
    /// quarters of a credential's life. `chance` is uniform in `0.0..1.0` and spreads peers that
    /// came together over a tenth of it.
    pub fn refresh_after(&self, chance: f64) -> Option<Duration> {
        let ttl = self.turn.as_ref()?.ttl;
        Some(ttl.mul_f64(0.7 + 0.1 * chance.clamp(0.0, 1.0)).max(SOONEST_REFRESH))
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
    use super::*;

    #[test]
    fn each_peer_gets_a_turn_credential_that_ends() {
        let settings = Settings {
            stun_urls: vec!["stun:s:1".into(), "stun:s:2".into()],
            turn: Some(TurnSettings {
                urls: vec!["turn:t:3478".into()],
                secret: Token::new("north"),
                ttl: Duration::from_mins(10),
                mesh: false,
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

    #[test]
    fn the_next_list_comes_at_three_quarters_of_a_credentials_life() {
        let turn = TurnSettings {
            urls: vec!["turn:[2001:db8::1]:3478".into()],
            secret: Token::new("north"),
            ttl: Duration::from_secs(1000),
            mesh: true,
        };
        let settings = Settings { turn: Some(turn), ..Settings::default() };
        let ice = IceConfig::new(&settings);
        for (chance, seconds) in [(0.0, 700), (0.5, 750), (1.0, 800), (7.0, 800)] {
            let wait = ice.refresh_after(chance).expect("it ends");
            assert_eq!(wait.as_secs_f64().round() as u64, seconds);
        }
        let list = ice.list_for("ann", 0);
        assert_eq!(list.mesh_ice_servers.len(), list.ice_servers.len(), "workers are told, too");
        let none = IceConfig::new(&Settings::default());
        assert_eq!(none.refresh_after(0.5), None, "STUN needs no credential");
    }

    const OPENSSL_SAYS: &str = "MfVgnMQbUrd5YsvtMAlKwBwDrm8=";

    #[test]
    fn without_servers_the_list_is_empty() {
        let settings = Settings { stun_urls: vec![], ..Settings::default() };
        let list = IceConfig::new(&settings).list_for("ann", 1_000);
        assert!(list.ice_servers.is_empty() && list.expires_at.is_none());
    }
}
