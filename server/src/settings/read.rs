//! From what was typed to what it means.
//!
//! Flags win over variables, variables over the file. Nothing is guessed: an unknown key and a bad
//! value stop the start, and the message has the key, the value, where it stood and what is
//! accepted.

use std::{
    collections::BTreeMap,
    fmt, fs,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use halyard_protocol::token::Token;
use ipnet::IpNet;
use url::Url;

use super::{
    AllowedOrigins, BusKind, CognitoSettings, IdentityKind, KEYS, Key, Limits, NatsSettings,
    Settings, Shape, StoreKind, Timing, TlsSettings, TurnSettings,
    keys::{VARIABLES_OF_OTHERS, nearest},
};

/// Why the broker does not start.
#[derive(Debug, thiserror::Error)]
pub enum SettingError {
    /// A key that does not exist.
    #[error("{key} in {place} is not a known key{}", meant(.nearest.as_ref()))]
    UnknownKey {
        /// What was typed.
        key: String,
        /// Where.
        place: Place,
        /// What was probably meant.
        nearest: Option<String>,
    },
    /// A value that means nothing.
    #[error("{key} is {value:?} in {place}; accepted is {accepted}")]
    BadValue {
        /// The key.
        key: &'static str,
        /// What was typed; a secret is not repeated.
        value: String,
        /// Where.
        place: Place,
        /// What is accepted.
        accepted: &'static str,
    },
    /// A file that was named cannot be read.
    #[error("cannot read {path}, named by {place}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Who named it.
        place: Place,
        /// What the system said.
        source: std::io::Error,
    },
    /// The configuration file is not TOML.
    #[error("{path} is not TOML: {message}")]
    Toml {
        /// Which.
        path: PathBuf,
        /// Where and why.
        message: String,
    },
    /// A key that makes no sense without another.
    #[error("{key} needs {needs}: {why}")]
    Needs {
        /// The key that is there.
        key: &'static str,
        /// The key that is missing.
        needs: &'static str,
        /// Why.
        why: &'static str,
    },
}

fn meant(nearest: Option<&String>) -> String {
    if let Some(word) = nearest {
        return format!("; did you mean {word:?}?");
    }
    let names: Vec<_> = KEYS.iter().map(|key| key.name).collect();
    format!("; known are {}", names.join(", "))
}

/// Where a value was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// On the command line.
    Flag(String),
    /// In the environment.
    Variable(String),
    /// In the environment, under no name that is known.
    Environment,
    /// In the configuration file.
    File(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "the flag --{flag}"),
            Self::Environment => f.write_str("the environment"),
            Self::Variable(name) => write!(f, "the variable {name}"),
            Self::File(path) => write!(f, "the file {}", path.display()),
        }
    }
}

/// What was typed, in every place.
#[derive(Debug, Default)]
pub struct Typed {
    /// Key to value, from the command line.
    pub flags: BTreeMap<&'static str, String>,
    /// The whole environment.
    pub variables: BTreeMap<String, String>,
    /// The configuration file.
    pub file: Option<PathBuf>,
}

impl Typed {
    /// Takes what `clap` found for [`args`] and the environment given.
    pub fn new(matches: &clap::ArgMatches, variables: BTreeMap<String, String>) -> Self {
        let flags = KEYS
            .iter()
            .filter_map(|key| Some((key.name, matches.get_one::<String>(key.name)?.clone())))
            .collect();
        let file = matches
            .get_one::<PathBuf>("config")
            .cloned()
            .or_else(|| variables.get("HALYARD_CONFIG").map(PathBuf::from));
        Self { flags, variables, file }
    }
}

/// One flag for every key.
pub fn args() -> impl Iterator<Item = clap::Arg> {
    KEYS.iter().map(|key| {
        clap::Arg::new(key.name)
            .long(key.flag())
            .value_name(match key.shape {
                Shape::One => "VALUE",
                Shape::Many => "VALUE,…",
                Shape::Secret => "SECRET",
            })
            .help(format!("{} [env: {}]", key.help, key.variable()))
    })
}

/// The flag that names the configuration file.
pub fn config_arg() -> clap::Arg {
    clap::Arg::new("config")
        .long("config")
        .value_name("FILE")
        .value_parser(clap::value_parser!(PathBuf))
        .help("A TOML file with the same keys [env: HALYARD_CONFIG]")
}

/// One value and where it stood.
#[derive(Debug, Clone)]
struct Value {
    parts: Vec<String>,
    place: Place,
}

/// Makes settings of what was typed.
pub fn read(typed: &Typed) -> Result<Settings, SettingError> {
    read_with_places(typed).map(|(settings, _)| settings)
}

/// Makes settings of what was typed, and says where each key stood that was typed at all.
pub fn read_with_places(
    typed: &Typed,
) -> Result<(Settings, BTreeMap<&'static str, Place>), SettingError> {
    let mut values = from_file(typed.file.as_ref())?;
    values.extend(from_variables(&typed.variables)?);
    for key in KEYS {
        if let Some(text) = typed.flags.get(key.name) {
            values.insert(key.name, value(key, text, Place::Flag(key.flag())));
        }
    }
    let places = values.iter().map(|(name, value)| (*name, value.place.clone())).collect();
    Ok((meaning(&Values(values))?, places))
}

fn value(key: &Key, text: &str, place: Place) -> Value {
    let parts = match key.shape {
        Shape::Many => {
            text.split(',').map(str::trim).filter(|p| !p.is_empty()).map(str::to_owned).collect()
        }
        Shape::One | Shape::Secret => vec![text.to_owned()],
    };
    Value { parts, place }
}

fn from_file(path: Option<&PathBuf>) -> Result<BTreeMap<&'static str, Value>, SettingError> {
    let Some(path) = path else { return Ok(BTreeMap::new()) };
    let place = Place::File(path.clone());
    let text = fs::read_to_string(path).map_err(|source| SettingError::File {
        path: path.clone(),
        place: Place::Flag("config".to_owned()),
        source,
    })?;
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| SettingError::Toml {
        path: path.clone(),
        message: toml_message(&text, &error),
    })?;
    let mut values = BTreeMap::new();
    for (name, found) in table {
        let Some(key) = KEYS.iter().find(|key| key.name == name) else {
            let nearest = nearest(&name, KEYS.iter().map(|key| key.name)).map(str::to_owned);
            return Err(SettingError::UnknownKey { key: name, place, nearest });
        };
        let parts = match (&found, key.shape) {
            (toml::Value::Array(items), Shape::Many) => items.iter().map(scalar).collect(),
            _ => scalar(&found).map(|text| value(key, &text, place.clone()).parts),
        };
        let parts = parts.ok_or_else(|| SettingError::BadValue {
            key: key.name,
            value: shown(key, &found.to_string()),
            place: place.clone(),
            accepted: key.accepted,
        })?;
        values.insert(key.name, Value { parts, place: place.clone() });
    }
    Ok(values)
}

/// Where and why, without the line itself: a secret may stand in it.
fn toml_message(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    match before {
        Some(before) => format!("line {}: {}", before.matches('\n').count() + 1, error.message()),
        None => error.message().to_owned(),
    }
}

/// A single value as text: numbers need no quotes.
fn scalar(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        _ => None,
    }
}

fn from_variables(
    variables: &BTreeMap<String, String>,
) -> Result<BTreeMap<&'static str, Value>, SettingError> {
    let mut values = BTreeMap::new();
    let mut known: Vec<String> = VARIABLES_OF_OTHERS.iter().map(|&name| name.to_owned()).collect();
    for key in KEYS {
        let name = key.variable();
        let file_name = format!("{name}_FILE");
        if key.shape == Shape::Secret
            && let Some(path) = variables.get(&file_name)
        {
            let place = Place::Variable(file_name.clone());
            let text = fs::read_to_string(path).map_err(|source| SettingError::File {
                path: path.into(),
                place: place.clone(),
                source,
            })?;
            values.insert(key.name, value(key, text.trim_end_matches(['\r', '\n']), place));
        }
        if let Some(text) = variables.get(&name) {
            values.insert(key.name, value(key, text, Place::Variable(name.clone())));
        }
        known.extend([name, file_name]);
    }
    // Other programs have variables of their own, so only what looks mistyped stops the start.
    for name in variables.keys().filter(|name| name.starts_with("HALYARD_")) {
        if !known.contains(name)
            && let Some(word) = nearest(name, known.iter().map(String::as_str))
        {
            return Err(SettingError::UnknownKey {
                key: name.clone(),
                place: Place::Environment,
                nearest: Some(word.to_owned()),
            });
        }
    }
    Ok(values)
}

fn shown(key: &Key, text: &str) -> String {
    match key.shape {
        Shape::Secret => "(not shown)".to_owned(),
        Shape::One | Shape::Many => text.to_owned(),
    }
}

/// What was found, by key.
struct Values(BTreeMap<&'static str, Value>);

impl Values {
    /// Every part of a key's value, parsed; `None` when the key was not typed.
    fn all<T>(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<Vec<T>>, SettingError> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        let key = KEYS.iter().find(|key| key.name == name).expect("every name is in the table");
        let parsed = value.parts.iter().map(|part| {
            parse(part).ok_or_else(|| SettingError::BadValue {
                key: name,
                value: shown(key, part),
                place: value.place.clone(),
                accepted: key.accepted,
            })
        });
        parsed.collect::<Result<_, _>>().map(Some)
    }

    fn one<T>(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, SettingError> {
        Ok(self.all(name, parse)?.and_then(|mut parts| parts.pop()))
    }
}

fn meaning(values: &Values) -> Result<Settings, SettingError> {
    let standard = Settings::default();
    let data_dir = values.one("data_dir", path)?;
    let limits = limits(values, standard.limits)?;
    let timing = Timing {
        drain_within: values
            .one("drain_timeout", duration)?
            .unwrap_or(standard.timing.drain_within),
        ..standard.timing
    };
    Ok(Settings {
        listen: values.one("listen", address)?.unwrap_or(standard.listen),
        rest_listen: values.one("rest_listen", address)?,
        admin_listen: values.one("admin_listen", address_or_none)?.and_then(|wanted| wanted.0),
        tls: tls(values)?,
        identity: identity(values)?,
        identity_ttl: values.one("identity_ttl", duration)?.unwrap_or(standard.identity_ttl),
        identity_key: values.one("identity_key", path)?,
        store: store(values, data_dir.is_some())?,
        data_dir,
        bus: bus(values)?,
        node_url: values.one("node_url", web_address)?,
        room_ttl: values.one("room_ttl", duration)?.unwrap_or(standard.room_ttl),
        public_url: values.one("public_url", web_address)?,
        allowed_origins: origins(values)?,
        trusted_proxies: values.all("trusted_proxies", network)?.unwrap_or_default(),
        stun_urls: values
            .all("stun_urls", |t| ice_url(t, &["stun:", "stuns:"]))?
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
        max_room_ttl: values.one("max_room_ttl", duration)?.unwrap_or(standard.max_room_ttl),
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
    let token = values.one("bus_token", |t| (!t.is_empty()).then(|| Token::new(t)))?;
    let servers: Vec<String> =
        servers.unwrap_or_default().into_iter().filter(|server| !server.is_empty()).collect();
    if servers.is_empty() {
        return Ok(BusKind::Local);
    }
    Ok(BusKind::Nats(NatsSettings { servers, credentials, token }))
}

fn path(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| PathBuf::from(text))
}

fn not_empty(text: &str) -> Option<String> {
    (!text.trim().is_empty()).then(|| text.to_owned())
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

/// Longer than anything here runs, and short enough to be added to any clock.
const LONGEST: Duration = Duration::from_hours(3650 * 24);

fn duration(text: &str) -> Option<Duration> {
    let accepted = |duration: &Duration| !duration.is_zero() && *duration <= LONGEST;
    humantime::parse_duration(text).ok().filter(accepted)
}

fn count(text: &str) -> Option<usize> {
    text.parse().ok().filter(|&number| number > 0)
}

fn web_address(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let plain = matches!(url.scheme(), "http" | "https")
        && url.host().is_some()
        && url.query().is_none()
        && url.fragment().is_none();
    plain.then_some(url)
}

fn ice_url(text: &str, schemes: &[&str]) -> Option<String> {
    let known = schemes.iter().any(|scheme| {
        text.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty() && !rest.contains(' '))
    });
    known.then(|| text.to_owned())
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
    let urls = values.all("turn_urls", |t| ice_url(t, &["turn:", "turns:"]))?;
    let secret = values.one("turn_secret", |t| (!t.is_empty()).then(|| Token::new(t)))?;
    let ttl = values.one("turn_ttl", duration)?.unwrap_or(Duration::from_hours(12));
    let mesh = values.one("turn_for_mesh", |t| t.parse().ok())?.unwrap_or_default();
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
    use std::io::Write;

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
