//! What was typed becomes what it means: flags win over variables, variables over the file.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use halyard_protocol::{ids::RoomId, link::JoinLink, token::Token};
use halyard_settings::{Key, Keys, SettingError, Shape, Typed, Values, parse::not_empty};
use url::Url;

use super::{
    args::{Global, server_address},
    exit::CliError,
};
use crate::{session::Choice, tls::Trust};

/// What may be typed in all three places. The flags themselves are in [`Global`].
const KEYS: Keys = Keys(&[&[
    Key::one("server", "The server's address", "an address like http://127.0.0.1:8080"),
    Key::one("room", "The room's id", "a room id: A-Z, a-z, 0-9, - and _"),
    Key::new(Shape::Secret, "token", "The room's token", "a text that is not empty"),
    Key::one("ca_file", "Authorities beside the system's", "a file in PEM"),
]]);

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

/// The process's variables, as a value, so that tests need no process. An empty one is none.
#[derive(Default)]
pub(super) struct Environment(BTreeMap<String, String>);

impl Environment {
    pub(super) fn of_this_process() -> Self {
        let mut variables = Typed::environment();
        variables.retain(|_, value| !value.is_empty());
        Self(variables)
    }

    #[cfg(test)]
    pub(super) fn of<const N: usize>(variables: [(&str, &str); N]) -> Self {
        Self(variables.map(|(name, value)| (name.into(), value.into())).into())
    }

    /// Where programs keep what they remember, as the desktop says.
    fn state_home(&self) -> Option<PathBuf> {
        let set = self.0.get("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        set.or_else(|| Some(Path::new(self.0.get("HOME")?).join(".local/state")))
    }
}

impl From<SettingError> for CliError {
    fn from(error: SettingError) -> Self {
        Self::usage(error.to_string())
    }
}

impl Settings {
    pub(super) fn resolve(flags: &Global, environment: &Environment) -> Result<Self, CliError> {
        let typed = [("server", &flags.server), ("room", &flags.room), ("ca_file", &flags.ca_file)];
        let typed = typed.into_iter().filter_map(|(key, text)| Some((key, text.clone()?)));
        let values = Values::read(
            KEYS,
            &Typed {
                flags: typed.collect(),
                variables: environment.0.clone(),
                file: flags.config.clone(),
            },
        )?;
        Ok(Self {
            server: values.checked("server", server_address)?,
            room: values.checked("room", str::parse)?,
            typed_token: flags.token.as_deref().map(Token::new),
            token: values.one("token", not_empty)?.map(|token| Token::new(token.trim())),
            wait: flags.wait,
            choice: Choice {
                worker: flags.worker.clone(),
                conditions: flags.conditions.clone(),
                least_busy: false,
            },
            relay_only: flags.relay_only,
            trust: values
                .checked("ca_file", |path| Trust::and_file(Path::new(path)))?
                .unwrap_or_default(),
            state_dir: environment.state_home().map(|home| home.join("halyard")),
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
