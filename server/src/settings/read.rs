//! From what was typed to what it means.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    time::Duration,
};

use halyard_protocol::token::Token;
use halyard_settings::{
    Place, SettingError, Typed, Values,
    parse::{count, duration, ice_url, not_empty, path, web_address, yes},
};
use ipnet::IpNet;
use url::Url;

use super::{
    AllowedOrigins, BusKind, CognitoSettings, IdentityKind, KEYS, Limits, NatsSettings, Settings,
    StoreKind, Timing, TlsSettings, TurnSettings,
};

/// The longest is longer than anything here runs, and short enough to be added to any clock.
const SPANS: RangeInclusive<Duration> = Duration::from_nanos(1)..=Duration::from_hours(3650 * 24);

/// Makes settings of what was typed.
pub fn read(typed: &Typed) -> Result<Settings, SettingError> {
    read_with_places(typed).map(|(settings, _)| settings)
}

/// Makes settings of what was typed, and says where each key stood that was typed at all.
pub fn read_with_places(
    typed: &Typed,
) -> Result<(Settings, BTreeMap<&'static str, Place>), SettingError> {
    let values = Values::read(KEYS, typed)?;
    Ok((meaning(&values)?, values.places()))
}

fn meaning(values: &Values) -> Result<Settings, SettingError> {
    let standard = Settings::default();
    let data_dir = values.one("data_dir", path)?;
    let limits = limits(values, standard.limits)?;
    let timing = Timing {
        drain_within: values
            .one("drain_timeout", duration(SPANS))?
            .unwrap_or(standard.timing.drain_within),
        ..standard.timing
    };
    Ok(Settings {
        listen: values.one("listen", address)?.unwrap_or(standard.listen),
        rest_listen: values.one("rest_listen", address)?,
        admin_listen: values.one("admin_listen", address_or_none)?.and_then(|wanted| wanted.0),
        tls: tls(values)?,
        identity: identity(values)?,
        identity_ttl: values.one("identity_ttl", duration(SPANS))?.unwrap_or(standard.identity_ttl),
        identity_key: values.one("identity_key", path)?,
        store: store(values, data_dir.is_some())?,
        data_dir,
        bus: bus(values)?,
        node_url: values.one("node_url", web_address)?,
        room_ttl: values.one("room_ttl", duration(SPANS))?.unwrap_or(standard.room_ttl),
        public_url: values.one("public_url", web_address)?,
        allowed_origins: origins(values)?,
        trusted_proxies: values.all("trusted_proxies", network)?.unwrap_or_default(),
        stun_urls: values
            .all("stun_urls", ice_url(&["stun:", "stuns:"]))?
            .unwrap_or(standard.stun_urls),
        turn: turn(values)?,
        otlp_endpoint: values.one("otlp_endpoint", web_address)?,
        limits,
        timing,
    })
}

fn limits(values: &Values, standard: Limits) -> Result<Limits, SettingError> {
    let number = |name, otherwise| Ok(values.one(name, count)?.unwrap_or(otherwise));
    Ok(Limits {
        max_connections: number("max_connections", standard.max_connections)?,
        max_connections_per_address: number(
            "max_connections_per_address",
            standard.max_connections_per_address,
        )?,
        handshakes_per_minute: number("handshakes_per_minute", standard.handshakes_per_minute)?,
        messages_per_second: number("messages_per_second", standard.messages_per_second)?,
        max_rooms: number("max_rooms", standard.max_rooms)?,
        max_rooms_per_identity: number("max_rooms_per_identity", standard.max_rooms_per_identity)?,
        max_peers_per_room: number("max_peers_per_room", standard.max_peers_per_room)?,
        max_room_ttl: values.one("max_room_ttl", duration(SPANS))?.unwrap_or(standard.max_room_ttl),
    })
}

/// Both or none.
fn tls(values: &Values) -> Result<Option<TlsSettings>, SettingError> {
    match (values.one("tls_cert", path)?, values.one("tls_key", path)?) {
        (Some(cert), Some(key)) => Ok(Some(TlsSettings { cert, key })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(SettingError::Needs {
            key: "tls_cert",
            needs: "tls_key",
            why: "a certificate is of no use without its key",
        }),
        (None, Some(_)) => Err(SettingError::Needs {
            key: "tls_key",
            needs: "tls_cert",
            why: "there is no certificate that it belongs to",
        }),
    }
}

fn identity(values: &Values) -> Result<IdentityKind, SettingError> {
    let user_pool_id = values.one("cognito_user_pool_id", not_empty)?;
    let app_client_id = values.one("cognito_app_client_id", not_empty)?;
    let issuer = values.one("cognito_issuer", web_address)?;
    let jwks_url = values.one("cognito_jwks_url", web_address)?;
    let cognito = values.one("identity", |text| match text {
        "embedded" => Some(false),
        "cognito" => Some(true),
        _ => None,
    })?;
    if cognito != Some(true) {
        return Ok(IdentityKind::Embedded);
    }
    let needs = |needs, why| SettingError::Needs { key: "identity = \"cognito\"", needs, why };
    Ok(IdentityKind::Cognito(Box::new(CognitoSettings {
        user_pool_id: user_pool_id
            .ok_or(needs("cognito_user_pool_id", "users are made in a pool"))?,
        app_client_id: app_client_id
            .ok_or(needs("cognito_app_client_id", "users sign in through an app client"))?,
        issuer,
        jwks_url,
    })))
}

fn store(values: &Values, has_data_dir: bool) -> Result<StoreKind, SettingError> {
    let table = values.one("dynamodb_table", table_name)?.unwrap_or_else(|| "rooms".to_owned());
    let store = values.one("store", |text| match text {
        "memory" => Some(StoreKind::Memory),
        "embedded" => Some(StoreKind::Embedded),
        "dynamodb" => Some(StoreKind::DynamoDb { table: table.clone() }),
        _ => None,
    })?;
    match store {
        Some(StoreKind::Embedded) if !has_data_dir => Err(SettingError::Needs {
            key: "store = \"embedded\"",
            needs: "data_dir",
            why: "rooms are kept in a file there",
        }),
        Some(store) => Ok(store),
        None if has_data_dir => Ok(StoreKind::Embedded),
        None => Ok(StoreKind::Memory),
    }
}

fn bus(values: &Values) -> Result<BusKind, SettingError> {
    let servers = values.all("bus", |text| (text == "local").then(String::new).or(nats(text)))?;
    let credentials = values.one("bus_credentials", path)?;
    let token = values.one("bus_token", not_empty)?.map(Token::new);
    let servers: Vec<String> =
        servers.unwrap_or_default().into_iter().filter(|server| !server.is_empty()).collect();
    if servers.is_empty() {
        return Ok(BusKind::Local);
    }
    Ok(BusKind::Nats(NatsSettings { servers, credentials, token }))
}

/// As DynamoDB takes them.
fn table_name(text: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    ((3..=255).contains(&text.len()) && text.chars().all(plain)).then(|| text.to_owned())
}

/// A server of NATS. A password in the address would be shown wherever the address is.
fn nats(text: &str) -> Option<String> {
    let url = Url::parse(text).ok()?;
    let plain = matches!(url.scheme(), "nats" | "tls")
        && url.host().is_some()
        && url.username().is_empty()
        && url.password().is_none();
    plain.then(|| text.to_owned())
}

/// A network, or one address.
fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

/// What `none` turns off, which is on by itself.
struct Wanted(Option<SocketAddr>);

fn address_or_none(text: &str) -> Option<Wanted> {
    if text == "none" { Some(Wanted(None)) } else { address(text).map(|addr| Wanted(Some(addr))) }
}

fn address(text: &str) -> Option<SocketAddr> {
    text.parse().ok()
}

fn origins(values: &Values) -> Result<AllowedOrigins, SettingError> {
    let origin = |text: &str| {
        if text == "*" {
            return Some(text.to_owned());
        }
        // What browsers send has no path, and reading a URL back gives it one.
        let url = web_address(text).filter(|url| url.path() == "/")?;
        Some(url.origin().ascii_serialization())
    };
    let Some(listed) = values.all("allowed_origins", origin)? else {
        return Ok(AllowedOrigins::default());
    };
    let any = listed.iter().any(|text| text == "*");
    Ok(if any { AllowedOrigins::Any } else { AllowedOrigins::Only(listed) })
}

fn turn(values: &Values) -> Result<Option<TurnSettings>, SettingError> {
    let urls = values.all("turn_urls", ice_url(&["turn:", "turns:"]))?;
    let secret = values.one("turn_secret", not_empty)?.map(Token::new);
    let ttl = values.one("turn_ttl", duration(SPANS))?.unwrap_or(Duration::from_hours(12));
    let mesh = values.one("turn_for_mesh", yes)?.unwrap_or_default();
    match (urls.filter(|urls| !urls.is_empty()), secret) {
        (Some(urls), Some(secret)) => Ok(Some(TurnSettings { urls, secret, ttl, mesh })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(SettingError::Needs {
            key: "turn_urls",
            needs: "turn_secret",
            why: "each peer gets a credential made with it",
        }),
        (None, Some(_)) => Err(SettingError::Needs {
            key: "turn_secret",
            needs: "turn_urls",
            why: "there is no server to use it with",
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write, path::PathBuf};

    use super::*;

    fn typed(flags: &[(&'static str, &str)], variables: &[(&str, &str)]) -> Typed {
        Typed {
            flags: flags.iter().map(|&(key, value)| (key, value.to_owned())).collect(),
            variables: variables.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect(),
            file: None,
        }
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(text.as_bytes()).expect("written");
        file
    }

    fn refusal(typed: &Typed) -> String {
        read(typed).expect_err("must be refused").to_string()
    }

    #[test]
    fn nothing_typed_gives_the_defaults() {
        let settings = read(&Typed::default()).expect("defaults");
        assert_eq!(settings.listen.to_string(), "127.0.0.1:8080");
        assert_eq!(settings.store, StoreKind::Memory);
        assert_eq!(settings.room_ttl, Duration::from_hours(2));
        assert_eq!(settings.allowed_origins, AllowedOrigins::Only(vec![]));
    }

    #[test]
    fn flags_win_over_variables_and_variables_over_the_file() {
        let file = file("listen = '127.0.0.1:1'\nroom_ttl = '1h'\nmax_peers_per_room = 3\n");
        let mut typed = typed(
            &[("listen", "127.0.0.1:3")],
            &[("HALYARD_LISTEN", "127.0.0.1:2"), ("HALYARD_ROOM_TTL", "30m")],
        );
        typed.file = Some(file.path().to_owned());
        let settings = read(&typed).expect("good settings");
        assert_eq!(settings.listen.port(), 3);
        assert_eq!(settings.room_ttl, Duration::from_mins(30));
        assert_eq!(settings.limits.max_peers_per_room, 3);
    }

    #[test]
    fn a_bad_value_is_refused_with_key_value_place_and_what_is_accepted() {
        assert_eq!(
            refusal(&typed(&[("room_ttl", "soon")], &[])),
            "room_ttl is \"soon\" in the flag --room-ttl; accepted is a duration above zero and up to \
             3650d, like 90s, 30m, 2h or 7d"
        );
        assert_eq!(
            refusal(&typed(&[], &[("HALYARD_LISTEN", "localhost")])),
            "listen is \"localhost\" in the variable HALYARD_LISTEN; accepted is an address with a \
             port, like 127.0.0.1:8080 or [::]:8080"
        );
        for key in ["room_ttl", "identity_ttl", "turn_ttl", "max_room_ttl", "drain_timeout"] {
            assert!(refusal(&typed(&[(key, "400000000000y")], &[])).contains("up to 3650d"));
            assert!(refusal(&typed(&[(key, "11y")], &[])).contains("up to 3650d"));
        }
        assert!(refusal(&typed(&[("max_connections", "0")], &[])).contains("from 1 on"));
        assert!(refusal(&typed(&[("public_url", "ftp://x")], &[])).contains("http://"));
        assert!(refusal(&typed(&[("allowed_origins", "lab.example")], &[])).contains("https://"));
        assert!(refusal(&typed(&[("stun_urls", "stun.example.org")], &[])).contains("stun:"));
    }

    #[test]
    fn an_unknown_key_in_the_file_is_refused_with_the_nearest_one() {
        let file = file("lisen = '127.0.0.1:1'\n");
        let typed = Typed { file: Some(file.path().to_owned()), ..Typed::default() };
        let text = refusal(&typed);
        assert!(
            text.starts_with("lisen in the file") && text.ends_with("did you mean \"listen\"?"),
            "{text}"
        );
    }

    #[test]
    fn a_mistyped_variable_is_refused_and_one_of_another_program_is_not() {
        let text = refusal(&typed(&[], &[("HALYARD_LISTNE", "127.0.0.1:1")]));
        assert!(text.contains("HALYARD_LISTEN"), "{text}");
        read(&typed(&[], &[("HALYARD_TOKEN", "t"), ("HALYARD_VIDEO", "sim")])).expect("not ours");
    }

    #[test]
    fn a_file_that_is_no_toml_or_not_there_is_named() {
        let broken = file("listen = \n");
        let typed = Typed { file: Some(broken.path().to_owned()), ..Typed::default() };
        assert!(refusal(&typed).contains("is not TOML"));
        let typed = Typed { file: Some("/nowhere/at/all.toml".into()), ..Typed::default() };
        assert!(refusal(&typed).contains("/nowhere/at/all.toml"));
    }

    #[test]
    fn the_turn_secret_comes_from_a_file_and_is_never_shown() {
        let secret = file("s3cret\n");
        let path = secret.path().to_str().expect("a plain path");
        let urls = ("turn_urls", "turn:a:3478,turn:b:3478?transport=tcp");
        let settings = read(&typed(&[urls], &[("HALYARD_TURN_SECRET_FILE", path)]));
        let turn = settings.expect("good settings").turn.expect("TURN");
        assert_eq!(turn.secret.expose(), "s3cret");
        assert_eq!(turn.urls.len(), 2);
        assert!(!format!("{turn:?}").contains("s3cret"));
        assert!(refusal(&typed(&[urls], &[])).contains("turn_secret"));
        let numbers = file("turn_secret = 1.5\n");
        let typed = Typed { file: Some(numbers.path().to_owned()), ..Typed::default() };
        assert!(!refusal(&typed).contains("1.5"));
    }

    #[test]
    fn a_broken_line_is_named_and_not_shown() {
        let broken = file("listen = '127.0.0.1:1'\nturn_secret = \"s3cret\n");
        let typed = Typed { file: Some(broken.path().to_owned()), ..Typed::default() };
        let text = refusal(&typed);
        assert!(text.contains("is not TOML: line 2") && !text.contains("s3cret"), "{text}");
    }

    #[test]
    fn a_data_directory_means_the_embedded_store_unless_said_otherwise() {
        let dir = ("data_dir", "/var/lib/halyard");
        assert_eq!(read(&typed(&[dir], &[])).expect("good").store, StoreKind::Embedded);
        let memory = read(&typed(&[dir, ("store", "memory")], &[])).expect("good");
        assert_eq!(memory.store, StoreKind::Memory);
        assert!(refusal(&typed(&[("store", "embedded")], &[])).contains("data_dir"));
    }

    #[test]
    fn an_empty_list_means_none() {
        assert!(read(&typed(&[("stun_urls", "")], &[])).expect("good").stun_urls.is_empty());
    }

    #[test]
    fn origins_are_kept_as_browsers_spell_them() {
        let listed = read(&typed(&[("allowed_origins", "https://Lab.Example/, http://a:81")], &[]));
        assert_eq!(
            listed.expect("good").allowed_origins,
            AllowedOrigins::Only(vec!["https://lab.example".into(), "http://a:81".into()])
        );
        let any = read(&typed(&[("allowed_origins", "*")], &[])).expect("good");
        assert_eq!(any.allowed_origins, AllowedOrigins::Any);
    }

    #[test]
    fn a_user_pool_and_a_table_are_named() {
        let pool = [
            ("identity", "cognito"),
            ("cognito_user_pool_id", "eu-central-1_AbCdEfGhI"),
            ("cognito_app_client_id", "7abc"),
            ("store", "dynamodb"),
        ];
        let settings = read(&typed(&pool, &[])).expect("good");
        assert_eq!(settings.store, StoreKind::DynamoDb { table: "rooms".into() });
        let IdentityKind::Cognito(cognito) = settings.identity else { panic!("a pool") };
        assert_eq!(cognito.user_pool_id, "eu-central-1_AbCdEfGhI");
        assert!(cognito.issuer.is_none() && cognito.jwks_url.is_none());
        assert!(refusal(&typed(&pool[..2], &[])).contains("cognito_app_client_id"));
        assert!(refusal(&typed(&[("dynamodb_table", "a b")], &[])).contains("3 to 255"));
    }

    #[test]
    fn a_bus_is_local_or_servers_without_a_password_in_their_address() {
        let bus = |text: &str| read(&typed(&[("bus", text)], &[])).map(|settings| settings.bus);
        assert!(matches!(bus("local"), Ok(BusKind::Local)));
        let Ok(BusKind::Nats(nats)) = bus("nats://a:4222, tls://b:4222") else { panic!("NATS") };
        assert_eq!(nats.servers, ["nats://a:4222", "tls://b:4222"]);
        assert!(bus("nats://me:secret@a:4222").is_err());
        assert!(bus("redis://a").is_err());
    }

    #[test]
    fn a_certificate_needs_its_key() {
        let cert = ("tls_cert", "/etc/halyard/cert.pem");
        assert!(refusal(&typed(&[cert], &[])).contains("tls_key"));
        let tls =
            read(&typed(&[cert, ("tls_key", "/etc/halyard/key.pem")], &[])).expect("good").tls;
        assert_eq!(tls.expect("TLS").key, PathBuf::from("/etc/halyard/key.pem"));
    }

    #[test]
    fn proxies_are_addresses_or_networks() {
        let proxies = read(&typed(&[("trusted_proxies", "10.0.0.0/8, ::1")], &[])).expect("good");
        let proxies = proxies.trusted_proxies;
        assert!(proxies[0].contains(&"10.9.8.7".parse::<IpAddr>().expect("an address")));
        assert!(proxies[1].contains(&"::1".parse::<IpAddr>().expect("an address")));
        assert!(refusal(&typed(&[("trusted_proxies", "proxy.lan")], &[])).contains("10.0.0.0/8"));
    }
}
