//! What was typed, in three places: flags win over variables, variables over the file.

use std::{collections::BTreeMap, fmt, fs, path::PathBuf};

use super::{
    CameraSettings,
    cameras::{self, CameraError},
    keys::{For, KEYS, Key, Shape, VARIABLES_OF_OTHERS},
};
use crate::jobs::{Template, TemplateError, read_templates};

/// Why the worker does not start.
#[derive(Debug, thiserror::Error)]
pub enum SettingError {
    /// A key that does not exist.
    #[error("{place} has the unknown key {key:?}; known are {known}")]
    UnknownKey {
        /// What was typed.
        key: String,
        /// Where.
        place: Place,
        /// What exists.
        known: String,
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
        accepted: String,
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
    /// A template of a job means nothing.
    #[error("{path}: {source}")]
    Job {
        /// The configuration file.
        path: PathBuf,
        /// Which, and why.
        source: TemplateError,
    },
    /// A camera means nothing.
    #[error("{source}, in {place}")]
    Camera {
        /// Which, and why.
        source: CameraError,
        /// Where it was typed.
        place: Place,
    },
    /// A template of a job needs more graphics cards than jobs have.
    #[error(
        "the job {job:?} has gpus = {gpus}, but job_gpus names {cards}; name more there or let \
         the job need fewer"
    )]
    TooFewGpus {
        /// The template.
        job: String,
        /// What it needs.
        gpus: u32,
        /// What there are.
        cards: usize,
    },
    /// A graphics card is named twice.
    #[error("job_gpus names {card:?} twice; each card is named once")]
    GpuTwice {
        /// Which.
        card: String,
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

/// Where a value was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// On the command line.
    Flag(String),
    /// In the environment.
    Variable(String),
    /// In the configuration file.
    File(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "the flag --{flag}"),
            Self::Variable(name) => write!(f, "the variable {name}"),
            Self::File(path) => write!(f, "the file {}", path.display()),
        }
    }
}

/// Everything that was typed.
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
        let mut flags = BTreeMap::new();
        for key in KEYS {
            let value = match key.shape {
                Shape::Switch => matches
                    .try_get_one::<bool>(key.name)
                    .ok()
                    .flatten()
                    .filter(|&&on| on)
                    .map(ToString::to_string),
                Shape::Lines => matches
                    .try_get_many::<String>(key.name)
                    .ok()
                    .flatten()
                    .map(|all| all.cloned().collect::<Vec<_>>().join("\n")),
                _ => matches.try_get_one::<String>(key.name).ok().flatten().cloned(),
            };
            if let Some(value) = value {
                flags.insert(key.name, value);
            }
        }
        let file = matches
            .try_get_one::<PathBuf>("config")
            .ok()
            .flatten()
            .cloned()
            .or_else(|| variables.get("HALYARD_CONFIG").map(PathBuf::from));
        Self { flags, variables, file }
    }
}

/// One flag for every key of a command.
pub fn args(command: For) -> impl Iterator<Item = clap::Arg> {
    KEYS.iter().filter(move |key| key.is_for(command)).map(|key| {
        let arg = clap::Arg::new(key.name).long(key.flag()).help(format!(
            "{} [env: {}]",
            key.help,
            key.variable()
        ));
        match key.shape {
            Shape::Switch => arg.action(clap::ArgAction::SetTrue),
            Shape::One => arg.value_name("VALUE"),
            Shape::Many => arg.value_name("VALUE,…"),
            Shape::Lines => arg.value_name("NAME=VALUE").action(clap::ArgAction::Append),
            Shape::Secret => arg.value_name("SECRET"),
        }
    })
}

/// One value and where it stood.
#[derive(Debug, Clone)]
struct Value {
    parts: Vec<String>,
    place: Place,
}

/// What was found, by key.
#[derive(Debug)]
pub(super) struct Values {
    keys: BTreeMap<&'static str, Value>,
    /// What may be run, of the file alone.
    pub(super) jobs: Vec<Template>,
    /// Cameras of the file, and where they stood.
    cameras: Option<(Vec<CameraSettings>, Place)>,
}

impl Values {
    /// Reads all three places.
    pub(super) fn find(typed: &Typed) -> Result<Self, SettingError> {
        let FromFile { mut values, jobs, cameras } = from_file(typed.file.as_ref())?;
        values.extend(from_variables(&typed.variables)?);
        for key in KEYS {
            if let Some(text) = typed.flags.get(key.name) {
                values.insert(key.name, value(key, text, Place::Flag(key.flag())));
            }
        }
        Ok(Self { keys: values, jobs, cameras })
    }

    /// Further pictures: those typed where it counts most.
    pub(super) fn cameras(&self) -> Result<Vec<CameraSettings>, SettingError> {
        let Some(value) = self.keys.get(CAMERA) else {
            return Ok(self.cameras.as_ref().map(|(all, _)| all.clone()).unwrap_or_default());
        };
        cameras::from_lines(&value.parts.join("\n"))
            .map_err(|source| SettingError::Camera { source, place: value.place.clone() })
    }

    /// Whether all pictures can be told apart. `first` is what the one of `--video` is called.
    pub(super) fn check_cameras(
        &self,
        first: Option<&str>,
        all: &[CameraSettings],
    ) -> Result<(), SettingError> {
        let typed = self.keys.get(CAMERA).map(|value| &value.place);
        let place = typed.or(self.cameras.as_ref().map(|(_, place)| place));
        match (cameras::check(first, all), place) {
            (Err(source), Some(place)) => {
                Err(SettingError::Camera { source, place: place.clone() })
            }
            _ => Ok(()),
        }
    }

    /// Every part of a key's value, parsed; `None` when the key was not typed.
    pub(super) fn all<T>(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<Vec<T>>, SettingError> {
        let Some(value) = self.keys.get(name) else { return Ok(None) };
        let Some(key) = KEYS.iter().find(|key| key.name == name) else { return Ok(None) };
        let parsed = value.parts.iter().map(|part| {
            parse(part).ok_or_else(|| SettingError::BadValue {
                key: name,
                value: shown(key, part),
                place: value.place.clone(),
                accepted: key.accepted.to_owned(),
            })
        });
        parsed.collect::<Result<_, _>>().map(Some)
    }

    /// A key's one value, parsed.
    pub(super) fn one<T>(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, SettingError> {
        Ok(self.all(name, parse)?.and_then(|mut parts| parts.pop()))
    }
}

fn value(key: &Key, text: &str, place: Place) -> Value {
    let parts = match key.shape {
        Shape::Many => {
            text.split(',').map(str::trim).filter(|p| !p.is_empty()).map(str::to_owned).collect()
        }
        Shape::Lines => text.lines().map(str::to_owned).collect(),
        Shape::One | Shape::Secret | Shape::Switch => vec![text.to_owned()],
    };
    Value { parts, place }
}

/// What stands in the file.
#[derive(Default)]
struct FromFile {
    values: BTreeMap<&'static str, Value>,
    jobs: Vec<Template>,
    cameras: Option<(Vec<CameraSettings>, Place)>,
}

/// The name of the templates of jobs in the file. They are tables, so they are typed nowhere else.
const JOB: &str = "job";

/// The name of cameras, which are tables in the file.
const CAMERA: &str = "camera";

fn from_file(path: Option<&PathBuf>) -> Result<FromFile, SettingError> {
    let Some(path) = path else { return Ok(FromFile::default()) };
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
    let mut jobs = Vec::new();
    let mut cameras = None;
    for (name, found) in table {
        if name == JOB {
            jobs = read_templates(&found)
                .map_err(|source| SettingError::Job { path: path.clone(), source })?;
            continue;
        }
        if name == CAMERA {
            let place = place.clone();
            let all = cameras::from_toml(&found)
                .map_err(|source| SettingError::Camera { source, place: place.clone() })?;
            cameras = Some((all, place));
            continue;
        }
        let Some(key) = KEYS.iter().find(|key| key.name == name) else {
            let known = KEYS.iter().map(|key| key.name).chain([JOB]);
            let known = known.collect::<Vec<_>>().join(", ");
            return Err(SettingError::UnknownKey { key: name, place, known });
        };
        let parts = match (&found, key.shape) {
            (toml::Value::Array(items), Shape::Many) => items.iter().map(scalar).collect(),
            _ => scalar(&found).map(|text| value(key, &text, place.clone()).parts),
        };
        let parts = parts.ok_or_else(|| SettingError::BadValue {
            key: key.name,
            value: shown(key, &found.to_string()),
            place: place.clone(),
            accepted: key.accepted.to_owned(),
        })?;
        values.insert(key.name, Value { parts, place: place.clone() });
    }
    Ok(FromFile { values, jobs, cameras })
}

/// Where and why, without the line itself: a secret may stand in it.
fn toml_message(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    match before {
        Some(before) => format!("line {}: {}", before.matches('\n').count() + 1, error.message()),
        None => error.message().to_owned(),
    }
}

/// A single value as text: numbers and yes or no need no quotes.
fn scalar(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(yes) => Some(yes.to_string()),
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
        known.push(name);
        if key.shape == Shape::Secret {
            known.push(file_name);
        }
    }
    // Other programs have variables of their own, so only what looks mistyped stops the start.
    for name in variables.keys().filter(|name| name.starts_with("HALYARD_")) {
        if !known.contains(name)
            && let Some(word) = known.iter().find(|word| looks_like(name, word))
        {
            return Err(SettingError::UnknownKey {
                key: name.clone(),
                place: Place::Variable(name.clone()),
                known: word.clone(),
            });
        }
    }
    Ok(values)
}

/// The same letters in another order, or one letter more or less.
fn looks_like(typed: &str, word: &str) -> bool {
    let sorted = |text: &str| {
        let mut bytes = text.as_bytes().to_vec();
        bytes.sort_unstable();
        bytes
    };
    if typed.len() == word.len() {
        return sorted(typed) == sorted(word);
    }
    let (long, short) = if typed.len() > word.len() { (typed, word) } else { (word, typed) };
    long.len() == short.len() + 1
        && (0..long.len()).any(|at| {
            long.bytes().enumerate().filter(|&(i, _)| i != at).map(|(_, b)| b).eq(short.bytes())
        })
}

fn shown(key: &Key, text: &str) -> String {
    match key.shape {
        Shape::Secret => "(not shown)".to_owned(),
        Shape::One | Shape::Many | Shape::Lines | Shape::Switch => text.to_owned(),
    }
}
