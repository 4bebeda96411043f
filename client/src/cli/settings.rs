//! What was typed becomes what it means: flags win over variables, variables over the file.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    time::Duration,
};

use halyard_protocol::{ids::RoomId, link::JoinLink, token::Token};
use serde::Deserialize;
use url::Url;

use super::{
    args::{Global, server_address},
    exit::CliError,
};
use crate::{session::Choice, tls::Trust};

/// A file with settings or a secret is a few lines; more is some other file.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// Where to go and how patiently.
#[derive(Debug, Clone, Default)]
pub(super) struct Settings {
    pub(super) server: Option<Url>,
    pub(super) room: Option<RoomId>,
    /// `--token`: wins over the link's.
    pub(super) typed_token: Option<Token>,
    /// From variables or the file: for a link that carries none.
    pub(super) token: Option<Token>,
    pub(super) wait: Option<Duration>,
    /// Which of the room's workers is meant.
    pub(super) choice: Choice,
    pub(super) relay_only: bool,
    /// Whom TLS believes.
    pub(super) trust: Trust,
    /// Where identities are kept; `None` without a home.
    pub(super) state_dir: Option<PathBuf>,
}

/// The process's variables, as a value, so that tests need no process.
#[derive(Default)]
pub(super) struct Environment(HashMap<String, String>);

impl Environment {
    pub(super) fn of_this_process() -> Self {
        let known =
            |name: &str| name.starts_with("HALYARD_") || matches!(name, "XDG_STATE_HOME" | "HOME");
        let text = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        Self(text.filter(|(name, _)| known(name)).collect())
    }

    #[cfg(test)]
    pub(super) fn of<const N: usize>(variables: [(&str, &str); N]) -> Self {
        Self(variables.map(|(name, value)| (name.into(), value.into())).into())
    }

    /// A variable; an empty one is none.
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

/// The file's keys. Another key stops the start.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "these are the keys that users type")]
struct File {
    server: Option<String>,
    room: Option<String>,
    token: Option<Token>,
    token_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
}

impl Settings {
    pub(super) fn resolve(flags: &Global, environment: &Environment) -> Result<Self, CliError> {
        let path =
            flags.config.clone().or_else(|| environment.get("HALYARD_CONFIG").map(Into::into));
        let file = path.as_deref().map(read_file).transpose()?.unwrap_or_default();
        let server = pick([
            ("--server", flags.server.as_deref()),
            ("HALYARD_SERVER", environment.get("HALYARD_SERVER")),
            ("server in the file", file.server.as_deref()),
        ])
        .map(|(from, text)| {
            server_address(text).map_err(|error| CliError::usage(format!("{from}: {error}")))
        })
        .transpose()?;
        let room = pick([
            ("--room", flags.room.as_deref()),
            ("HALYARD_ROOM", environment.get("HALYARD_ROOM")),
            ("room in the file", file.room.as_deref()),
        ])
        .map(|(from, text)| {
            RoomId::new(text).map_err(|error| CliError::usage(format!("{from}: {error}")))
        })
        .transpose()?;
        let trust = pick([
            ("--ca-file", flags.ca_file.as_deref()),
            ("HALYARD_CA_FILE", environment.get("HALYARD_CA_FILE").map(Path::new)),
            ("ca_file in the file", file.ca_file.as_deref()),
        ])
        .map(|(from, path)| {
            Trust::and_file(path).map_err(|error| CliError::usage(format!("{from}: {error}")))
        })
        .transpose()?;
        let state_home = environment
            .get("XDG_STATE_HOME")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
            .or_else(|| Some(Path::new(environment.get("HOME")?).join(".local/state")));
        Ok(Self {
            server,
            room,
            typed_token: flags.token.as_deref().map(Token::new),
            token: token(environment, file)?,
            wait: flags.wait,
            choice: Choice {
                worker: flags.worker.clone(),
                conditions: flags.conditions.clone(),
                least_busy: false,
            },
            relay_only: flags.relay_only,
            trust: trust.unwrap_or_default(),
            state_dir: state_home.map(|home| home.join("halyard")),
        })
    }

    /// Takes the join link off the front of what was typed, or makes one from the settings.
    pub(super) fn take_link(&self, words: &mut Vec<String>) -> Result<JoinLink, CliError> {
        let typed = words.first().filter(|word| word.contains("://"));
        let link = match (typed, &self.server, &self.room) {
            (Some(word), ..) => {
                let link = JoinLink::parse(word).map_err(|e| CliError::usage(e.to_string()))?;
                words.remove(0);
                link
            }
            (None, Some(server), Some(room)) => JoinLink::new(server.clone(), room.clone(), None)
                .map_err(|e| CliError::usage(e.to_string()))?,
            (None, None, Some(_)) => {
                return Err(CliError::usage(
                    "the room is named, but not its server: add --server URL or HALYARD_SERVER",
                ));
            }
            (None, ..) => {
                return Err(CliError::usage(
                    "no room is named: give its link (https://host/r/ROOM_ID#TOKEN) first, or \
                     --server and --room",
                ));
            }
        };
        // What was typed wins over what was set once, and `--token` is the more deliberate of both.
        let from_link = link.token().cloned();
        let token = self.typed_token.clone().or(from_link).or_else(|| self.token.clone());
        Ok(match token {
            Some(token) => link.with_token(token),
            None => link,
        })
    }
}

fn pick<T, const N: usize>(sources: [(&'static str, Option<T>); N]) -> Option<(&'static str, T)> {
    sources.into_iter().find_map(|(from, value)| Some((from, value?)))
}

fn token(environment: &Environment, file: File) -> Result<Option<Token>, CliError> {
    match (environment.get("HALYARD_TOKEN"), environment.get("HALYARD_TOKEN_FILE")) {
        (Some(_), Some(_)) => {
            return Err(CliError::usage(
                "HALYARD_TOKEN and HALYARD_TOKEN_FILE are both set; set one of them",
            ));
        }
        (Some(token), None) => return Ok(Some(Token::new(token))),
        (None, Some(path)) => return secret(Path::new(path)).map(Some),
        (None, None) => {}
    }
    match (file.token, file.token_file) {
        (Some(_), Some(_)) => Err(CliError::usage(
            "token and token_file are both in the settings file; keep one of them",
        )),
        (Some(token), None) => Ok(Some(token)),
        (None, Some(path)) => secret(&path).map(Some),
        (None, None) => Ok(None),
    }
}

fn secret(path: &Path) -> Result<Token, CliError> {
    let text = read(path, "the token file")?;
    let text = text.trim();
    if text.is_empty() {
        return Err(CliError::usage(format!("the token file {} is empty", path.display())));
    }
    Ok(Token::new(text))
}

fn read_file(path: &Path) -> Result<File, CliError> {
    let text = read(path, "the settings file")?;
    toml::from_str(&text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = text[..start].matches('\n').count();
        // A value of the wrong shape is told, unless it may be the secret.
        let secret =
            text.lines().nth(line).is_some_and(|line| line.trim_start().starts_with("token"));
        let why = if secret { "this is no key with a text in quotes" } else { error.message() };
        CliError::usage(format!("the settings file {} (line {}): {why}", path.display(), line + 1))
    })
}

fn read(path: &Path, what: &str) -> Result<String, CliError> {
    let failed = |error: std::io::Error| {
        CliError::usage(format!("{what} {} cannot be read: {error}", path.display()))
    };
    let mut text = String::new();
    let mut file = std::fs::File::open(path).map_err(failed)?;
    let read = std::io::Read::take(&mut file, MAX_FILE_BYTES + 1);
    std::io::Read::read_to_string(&mut { read }, &mut text).map_err(failed)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(CliError::usage(format!("{what} {} is larger than 64 KiB", path.display())));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn flags() -> Global {
        Global::default()
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(text.as_bytes()).expect("written");
        file
    }

    fn token_of(settings: &Settings) -> &str {
        settings.token.as_ref().map_or("none", |token| token.expose())
    }

    #[test]
    fn flags_win_over_variables_and_variables_over_the_file() {
        let config = file("server = 'http://c'\nroom = 'c'\ntoken = 'c'\n");
        let path = config.path().to_str().expect("text");
        let environment = Environment::of([
            ("HALYARD_CONFIG", path),
            ("HALYARD_ROOM", "b"),
            ("HALYARD_TOKEN", "b"),
        ]);
        let typed = Global { token: Some("a".into()), ..flags() };
        let settings = Settings::resolve(&typed, &environment).expect("fine");
        assert_eq!(settings.server.as_ref().map(Url::as_str), Some("http://c/"));
        assert_eq!(settings.room.as_ref().map(RoomId::as_str), Some("b"));
        assert_eq!(token_of(&settings), "b");
        assert_eq!(settings.typed_token.as_ref().map(Token::expose), Some("a"));
    }

    #[test]
    fn an_unknown_key_stops_the_start_and_no_secret_is_told() {
        let config = file("server = 'http://c'\ntoken = 's3cret'\nroomm = 'x'\n");
        let typed = Global { config: Some(config.path().into()), ..flags() };
        let error = Settings::resolve(&typed, &Environment::default()).expect_err("a typo");
        assert!(error.message.contains("roomm") && error.message.contains("line 3"), "{error}");
        let broken = file("room = 'x'\ntoken = s3cret\n");
        let typed = Global { config: Some(broken.path().into()), ..flags() };
        let second = Settings::resolve(&typed, &Environment::default()).expect_err("no TOML");
        for error in [error, second] {
            assert!(!error.message.contains("s3cret"), "{error}");
            assert_eq!(error.exit, super::super::exit::Exit::Usage);
        }
    }

    #[test]
    fn a_token_may_come_from_a_file_of_its_own() {
        let secret = file(" tok \n");
        let path = secret.path().to_str().expect("text");
        let environment = Environment::of([("HALYARD_TOKEN_FILE", path)]);
        let settings = Settings::resolve(&flags(), &environment).expect("fine");
        assert_eq!(token_of(&settings), "tok");
        let both = Environment::of([("HALYARD_TOKEN_FILE", path), ("HALYARD_TOKEN", "x")]);
        assert!(Settings::resolve(&flags(), &both).is_err(), "which one is meant?");
    }

    #[test]
    fn a_bad_value_says_where_it_came_from() {
        let environment = Environment::of([("HALYARD_ROOM", "a/b")]);
        let error = Settings::resolve(&flags(), &environment).expect_err("a slash");
        assert!(error.message.starts_with("HALYARD_ROOM: "), "{error}");
    }

    #[test]
    fn the_link_is_the_first_word_or_comes_from_the_settings() {
        let settings = Settings::default();
        let mut words = vec!["http://h/r/ab#t".to_owned(), "file".to_owned()];
        let link = settings.take_link(&mut words).expect("a link");
        assert_eq!((link.expose().as_str(), words.len()), ("http://h/r/ab#t", 1));

        let settings = Settings {
            server: Some(Url::parse("http://h").expect("a URL")),
            room: Some("cd".parse().expect("a room")),
            token: Some(Token::new("k")),
            ..Settings::default()
        };
        let mut words = vec!["file".to_owned()];
        let link = settings.take_link(&mut words).expect("a link");
        assert_eq!((link.expose().as_str(), words.len()), ("http://h/r/cd#k", 1));
        let link = |settings: &Settings| {
            let mut words = vec!["http://h/r/ab#t".to_owned()];
            settings.take_link(&mut words).expect("a link").expose()
        };
        assert_eq!(link(&settings), "http://h/r/ab#t", "the link was typed, the variable was not");
        let settings = Settings { typed_token: Some(Token::new("a")), ..settings };
        assert_eq!(link(&settings), "http://h/r/ab#a", "--token was typed on purpose");
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = Settings::default().take_link(&mut vec!["file".into()]).expect_err("no room");
        assert!(error.message.contains("/r/ROOM_ID#TOKEN"), "{error}");
        let settings =
            Settings { room: Some("cd".parse().expect("a room")), ..Settings::default() };
        let error = settings.take_link(&mut Vec::new()).expect_err("no server");
        assert!(error.message.contains("--server"), "{error}");
    }

    #[test]
    fn identities_are_kept_where_the_desktop_says() {
        let state = |environment| {
            Settings::resolve(&flags(), &environment).expect("fine").state_dir.expect("a home")
        };
        let home = Environment::of([("HOME", "/home/u")]);
        assert_eq!(state(home), Path::new("/home/u/.local/state/halyard"));
        let xdg = Environment::of([("HOME", "/home/u"), ("XDG_STATE_HOME", "/s")]);
        assert_eq!(state(xdg), Path::new("/s/halyard"));
    }
}
