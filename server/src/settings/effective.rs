//! What every key means in the end, for people, without secrets.

use std::{fmt::Display, time::Duration};

use url::Url;

use super::{AllowedOrigins, BusKind, IdentityKind, KEYS, Settings, StoreKind};

/// What is shown of a secret.
const HIDDEN: &str = "(set, not shown)";

impl Settings {
    /// Every key and its value; `None` where there is none.
    pub fn effective(&self) -> impl Iterator<Item = (&'static str, Option<String>)> {
        KEYS.iter().map(|key| (key.name, self.shown(key.name)))
    }

    fn shown(&self, key: &str) -> Option<String> {
        let limits = &self.limits;
        match key {
            "listen" => text(self.listen),
            "rest_listen" => self.rest_listen.and_then(text),
            "admin_listen" => self.admin_listen.and_then(text),
            "tls_cert" => self.tls.as_ref().and_then(|tls| text(tls.cert.display())),
            "tls_key" => self.tls.as_ref().and_then(|tls| text(tls.key.display())),
            "identity" => text(match self.identity {
                IdentityKind::Embedded => "embedded",
                IdentityKind::Cognito(_) => "cognito",
            }),
            "identity_ttl" => span(self.identity_ttl),
            "identity_key" => self.identity_key.as_ref().and_then(|path| text(path.display())),
            "store" => text(match self.store {
                StoreKind::Memory => "memory",
                StoreKind::Embedded => "embedded",
                StoreKind::DynamoDb { .. } => "dynamodb",
            }),
            "dynamodb_table" => match &self.store {
                StoreKind::DynamoDb { table } => text(table),
                StoreKind::Memory | StoreKind::Embedded => None,
            },
            "bus" | "bus_credentials" | "bus_token" => self.shown_of_bus(key),
            "node_url" => self.node_url.as_ref().and_then(address),
            "data_dir" => self.data_dir.as_ref().and_then(|path| text(path.display())),
            "room_ttl" => span(self.room_ttl),
            "public_url" => self.public_url.as_ref().and_then(address),
            "allowed_origins" => match &self.allowed_origins {
                AllowedOrigins::Any => text("*"),
                AllowedOrigins::Only(listed) => list(listed),
            },
            "trusted_proxies" => list(&self.trusted_proxies),
            "stun_urls" => list(&self.stun_urls),
            "turn_urls" => self.turn.as_ref().and_then(|turn| list(&turn.urls)),
            "turn_secret" => self.turn.as_ref().and_then(|_| text(HIDDEN)),
            "turn_for_mesh" => self.turn.as_ref().and_then(|turn| text(turn.mesh)),
            "turn_ttl" => self.turn.as_ref().and_then(|turn| span(turn.ttl)),
            "max_connections" => text(limits.max_connections),
            "max_connections_per_address" => text(limits.max_connections_per_address),
            "handshakes_per_minute" => text(limits.handshakes_per_minute),
            "messages_per_second" => text(limits.messages_per_second),
            "max_rooms" => text(limits.max_rooms),
            "max_rooms_per_identity" => text(limits.max_rooms_per_identity),
            "max_peers_per_room" => text(limits.max_peers_per_room),
            "max_room_ttl" => span(limits.max_room_ttl),
            "otlp_endpoint" => self.otlp_endpoint.as_ref().and_then(address),
            "drain_timeout" => span(self.timing.drain_within),
            cognito => self.shown_of_cognito(cognito),
        }
    }

    fn shown_of_bus(&self, key: &str) -> Option<String> {
        match (&self.bus, key) {
            (BusKind::Local, "bus") => text("local"),
            (BusKind::Local, _) => None,
            (BusKind::Nats(nats), "bus") => list(&nats.servers),
            (BusKind::Nats(nats), "bus_token") => nats.token.as_ref().and_then(|_| text(HIDDEN)),
            (BusKind::Nats(nats), _) => {
                nats.credentials.as_ref().and_then(|path| text(path.display()))
            }
        }
    }

    fn shown_of_cognito(&self, key: &str) -> Option<String> {
        let IdentityKind::Cognito(pool) = &self.identity else { return None };
        match key {
            "cognito_user_pool_id" => text(&pool.user_pool_id),
            "cognito_app_client_id" => text(&pool.app_client_id),
            "cognito_issuer" => pool.issuer.as_ref().and_then(address),
            "cognito_jwks_url" => pool.jwks_url.as_ref().and_then(address),
            _ => None,
        }
    }
}

#[expect(clippy::unnecessary_wraps, reason = "every arm above may also have nothing")]
fn text(value: impl Display) -> Option<String> {
    Some(value.to_string())
}

fn span(value: Duration) -> Option<String> {
    text(humantime::format_duration(value))
}

fn list<T: Display>(values: &[T]) -> Option<String> {
    let shown: Vec<String> = values.iter().map(T::to_string).collect();
    (!shown.is_empty()).then(|| shown.join(", "))
}

/// An address without the name and password that may stand in it.
fn address(url: &Url) -> Option<String> {
    let mut url = url.clone();
    // These fail for addresses that cannot have either.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    text(url)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use halyard_settings::Typed;

    use super::*;
    use crate::settings::read;

    #[test]
    fn every_key_that_is_typed_is_shown_and_no_secret_is() {
        let typed: BTreeMap<&'static str, String> = KEYS
            .iter()
            .map(|key| {
                let value = match key.name {
                    "listen" | "rest_listen" | "admin_listen" => "127.0.0.1:1",
                    "identity" => "cognito",
                    "store" => "dynamodb",
                    "dynamodb_table" => "halls",
                    "bus" => "nats://10.0.0.5:4222",
                    "stun_urls" => "stun:stun.example.org:3478",
                    "turn_urls" => "turn:turn.example.org:3478",
                    "trusted_proxies" => "10.0.0.0/8",
                    "allowed_origins" => "https://lab.example",
                    "bus_token" | "turn_secret" => "not-to-be-shown",
                    name if name.ends_with("_url") => "https://halyard.example/",
                    "cognito_issuer" | "otlp_endpoint" => "https://halyard.example/",
                    name if name.ends_with("_ttl") || name == "drain_timeout" => "1h",
                    name if name.starts_with("max_") || name.ends_with("_per_minute") => "7",
                    "messages_per_second" => "7",
                    "turn_for_mesh" => "true",
                    _ => "something",
                };
                (key.name, value.to_owned())
            })
            // NATS takes one way to show who asks.
            .filter(|(name, _)| *name != "bus_credentials")
            .collect();
        let settings = read(&Typed { flags: typed, ..Typed::default() }).expect("good");
        for (key, shown) in settings.effective().filter(|(key, _)| *key != "bus_credentials") {
            let shown = shown.unwrap_or_else(|| panic!("{key} was typed and is not shown"));
            assert!(!shown.contains("not-to-be-shown"), "{key}");
        }
    }
}
