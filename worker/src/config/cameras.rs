//! Further pictures: `--camera NAME=SOURCE`, or `[[camera]]` tables of the configuration file.

use std::collections::HashSet;

use halyard_settings::{Raw, SettingError, Values};

use super::ConfigError;
use crate::media::{
    Renditions, SourceSpec,
    gst::{Encoder, encoders},
    rendition::{Rendition, RenditionsError},
};

/// Their name, on the command line and in the file.
const KEY: &str = "camera";

/// Most pictures that one worker has. Each is a camera kept open, and an encoder while watched.
pub const MAX_CAMERAS: usize = 8;

/// Longest name of a picture, in bytes.
pub const MAX_NAME_BYTES: usize = 32;

/// What bit rates are accepted.
pub(super) const BITRATES: std::ops::RangeInclusive<u32> = 100_000..=50_000_000;

/// Why a source has no renditions.
pub(super) const NOT_ENCODED: &str = "what comes in over RTP is encoded already and is passed on as it \
     is, so there are no renditions of it; leave renditions out, or give the worker the camera itself";

/// What a table of a camera says.
const KEYS: [&str; 5] = ["name", "source", "encoder", "bitrate", "renditions"];

/// One picture that has a name of its owner's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CameraSettings {
    /// Unique in the worker.
    pub name: String,
    /// Where it comes from.
    pub source: SourceSpec,
    /// Its encoder, where GStreamer brings it; else the worker's.
    pub encoder: Option<&'static Encoder>,
    /// What its encoder aims at, in bits a second; else the worker's.
    pub bitrate: Option<u32>,
    /// In which renditions it is to be had; else the worker's, where it has no bit rate of its own.
    pub renditions: Option<Renditions>,
}

/// A camera means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{which}: {why}")]
pub struct CameraError {
    /// Which, as far as that is known.
    pub which: String,
    /// What is wrong with it, and what is accepted.
    pub why: String,
}

/// Further pictures: those typed where it counts most.
pub(super) fn read(values: &Values) -> Result<Vec<CameraSettings>, ConfigError> {
    let Some(found) = values.get(KEY) else { return Ok(Vec::new()) };
    match &found.raw {
        Raw::Parts(lines) => from_lines(&lines.join("\n")),
        Raw::Tables(tables) => from_toml(tables),
    }
    .map_err(|source| ConfigError::Camera { source, place: found.place.clone() })
}

/// The worker's own renditions, for those of its pictures that are encoded here.
pub(super) fn read_renditions<'a>(
    values: &Values,
    mut sources: impl Iterator<Item = &'a SourceSpec>,
) -> Result<Option<Renditions>, SettingError> {
    let key = "renditions";
    let Some(found) = values.get(key) else { return Ok(None) };
    let refused = |why| SettingError::Refused { key, place: found.place.clone(), why };
    let all = values.all(key, |word| word.parse::<Rendition>().ok())?.unwrap_or_default();
    let renditions = all.try_into().map_err(|error: RenditionsError| refused(error.to_string()))?;
    if !sources.any(SourceSpec::is_encoded_here) {
        return Err(refused(NOT_ENCODED.to_owned()));
    }
    Ok(Some(renditions))
}

/// Whether all of a worker's pictures can be told apart. `first` is what the one of `--video` is
/// called.
pub(super) fn check(
    values: &Values,
    first: Option<&str>,
    cameras: &[CameraSettings],
) -> Result<(), ConfigError> {
    let Some(found) = values.get(KEY) else { return Ok(()) };
    check_names(first, cameras)
        .map_err(|source| ConfigError::Camera { source, place: found.place.clone() })
}

/// `NAME=SOURCE`, one a line.
fn from_lines(text: &str) -> Result<Vec<CameraSettings>, CameraError> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let (name, source) = line.split_once('=').ok_or_else(|| CameraError {
                // A source may hold a password, so only what cannot be one is repeated.
                which: "a camera".to_owned(),
                why: "it has no name; accepted is NAME=SOURCE, as in rear=v4l2:/dev/video2"
                    .to_owned(),
            })?;
            let name = name.trim();
            Ok(CameraSettings {
                name: named(name)?,
                source: source_of(name, source.trim())?,
                encoder: None,
                bitrate: None,
                renditions: None,
            })
        })
        .collect()
}

/// `[[camera]]` tables.
fn from_toml(value: &toml::Value) -> Result<Vec<CameraSettings>, CameraError> {
    let wrong = |which: String, why: &str| CameraError { which, why: why.to_owned() };
    let tables = value.as_array().ok_or_else(|| {
        wrong("camera".to_owned(), "cameras are tables: [[camera]] with name and source")
    })?;
    let one = |(index, table): (usize, &toml::Value)| {
        let unnamed = format!("[[camera]] number {}", index + 1);
        let table = table.as_table().ok_or_else(|| wrong(unnamed.clone(), "it is no table"))?;
        let name = table
            .get("name")
            .and_then(toml::Value::as_str)
            .ok_or_else(|| wrong(unnamed, "it needs a name, as in name = \"rear\""))?;
        let name = named(name)?;
        let which = || format!("the camera {name:?}");
        if let Some(key) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
            let why = format!("unknown key {key:?}; known are {}", KEYS.join(", "));
            return Err(CameraError { which: which(), why });
        }
        let source = table.get("source").and_then(toml::Value::as_str).ok_or_else(|| {
            wrong(which(), "it needs a source, as in source = \"v4l2:/dev/video2\"")
        })?;
        let encoder = match table.get("encoder") {
            None => None,
            Some(value) => match value.as_str() {
                Some("auto") => None,
                Some(known) if encoders::named(known).is_some() => encoders::named(known),
                _ => return Err(wrong(which(), "its encoder is not known; see --encoder")),
            },
        };
        let bitrate = match table.get("bitrate") {
            None => None,
            Some(value) => {
                let bps = value.as_integer().and_then(|bps| u32::try_from(bps).ok());
                let why = "its bitrate takes bits a second, from 100000 to 50000000";
                Some(bps.filter(|bps| BITRATES.contains(bps)).ok_or_else(|| wrong(which(), why))?)
            }
        };
        let source = source_of(&name, source)?;
        let renditions = table.get("renditions").map(renditions_of).transpose();
        let renditions = renditions.map_err(|why| wrong(which(), &why))?;
        if renditions.is_some() && bitrate.is_some() {
            return Err(wrong(
                which(),
                "it has renditions, each with its own rate: leave bitrate out",
            ));
        }
        if renditions.is_some() && !source.is_encoded_here() {
            return Err(wrong(which(), NOT_ENCODED));
        }
        Ok(CameraSettings { name, source, encoder, bitrate, renditions })
    };
    tables.iter().enumerate().map(one).collect()
}

/// A word with commas, or a list of words.
fn renditions_of(value: &toml::Value) -> Result<Renditions, String> {
    let words = match value {
        toml::Value::String(words) => Some(words.clone()),
        toml::Value::Array(list) => {
            let words: Option<Vec<_>> = list.iter().map(toml::Value::as_str).collect();
            words.map(|words| words.join(","))
        }
        _ => None,
    };
    let words =
        words.ok_or("its renditions are words, as in [\"720p30@2500k\", \"360p15@400k\"]")?;
    words.parse().map_err(|error| format!("its renditions: {error}"))
}

/// All of a worker's pictures: no name twice, and not too many. `first` is the name of `--video`.
fn check_names(first: Option<&str>, cameras: &[CameraSettings]) -> Result<(), CameraError> {
    let mut names: HashSet<&str> = first.into_iter().collect();
    for camera in cameras {
        if !names.insert(&camera.name) {
            let which = format!("the camera {:?}", camera.name);
            let why = match first {
                Some(first) if first == camera.name => "that is what --video is called already",
                _ => "there are two of this name",
            };
            return Err(CameraError { which, why: why.to_owned() });
        }
    }
    if names.len() > MAX_CAMERAS {
        let which = "the cameras".to_owned();
        let why = format!("{} pictures, at most {MAX_CAMERAS} are accepted", names.len());
        return Err(CameraError { which, why });
    }
    Ok(())
}

fn named(name: &str) -> Result<String, CameraError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.chars().all(plain) {
        let shown: String = name.chars().take(2 * MAX_NAME_BYTES).collect();
        return Err(CameraError {
            which: format!("the camera {shown:?}"),
            why: format!("its name takes A-Z, a-z, 0-9, - and _, at most {MAX_NAME_BYTES} of them"),
        });
    }
    Ok(name.to_owned())
}

fn source_of(name: &str, typed: &str) -> Result<SourceSpec, CameraError> {
    let wrong = |why: String| CameraError { which: format!("the camera {name:?}"), why };
    match typed.parse() {
        Ok(SourceSpec::None) => Err(wrong("its source is \"none\"; leave it out".to_owned())),
        Ok(source) => Ok(source),
        Err(error) => Err(wrong(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn toml(text: &str) -> Result<Vec<CameraSettings>, CameraError> {
        let table: toml::Table = text.parse().expect("TOML");
        from_toml(&table["camera"])
    }

    #[test]
    fn lines_and_tables_say_the_same() {
        let lines = from_lines("front=pattern\n\n rear = gst:videotestsrc ! x264enc a=b \n");
        let tables = toml(
            "[[camera]]\nname='front'\nsource='pattern'\n\
             [[camera]]\nname='rear'\nsource='gst:videotestsrc ! x264enc a=b'\n",
        );
        assert_eq!(lines, tables);
        let cameras = lines.expect("understood");
        assert_eq!(cameras[0].source, SourceSpec::Pattern);
        assert_eq!(cameras[1].source.to_string(), "gst:videotestsrc ! x264enc a=b");
    }

    #[test]
    fn a_table_also_says_encoder_and_rate() {
        let cameras =
            toml("[[camera]]\nname='rear'\nsource='pattern'\nencoder='x264enc'\nbitrate=800000\n")
                .expect("understood");
        assert_eq!(cameras[0].encoder.map(|encoder| encoder.name), Some("x264enc"));
        assert_eq!(cameras[0].bitrate, Some(800_000));
    }

    #[test]
    fn a_table_names_renditions_in_a_list_or_in_a_word() {
        let list = "[[camera]]\nname='a'\nsource='sim'\nrenditions=['360p15@400k','720p30@2.5M']";
        let word = "[[camera]]\nname='a'\nsource='sim'\nrenditions='720p30@2500k,360p15@400k'";
        let cameras = toml(list);
        assert_eq!(cameras, toml(word));
        let renditions = cameras.expect("understood").remove(0).renditions.expect("some");
        assert_eq!(renditions.names(), ["720p30", "360p15"]);
    }

    #[test]
    fn what_is_not_understood_is_told_with_its_camera_and_what_is_accepted() {
        for (typed, said) in [
            ("pattern", "accepted is NAME=SOURCE"),
            ("=pattern", "its name takes A-Z"),
            ("a b=pattern", "the camera \"a b\""),
            ("rear=webcam", "the camera \"rear\": unknown video source \"webcam\""),
            ("rear=none", "leave it out"),
        ] {
            let error = from_lines(typed).expect_err(typed).to_string();
            assert!(error.contains(said), "{typed}: {error}");
        }
        for (text, said) in [
            ("camera = 'x'", "[[camera]] with name and source"),
            ("[[camera]]\nsource='sim'", "[[camera]] number 1: it needs a name"),
            ("[[camera]]\nname='a'", "the camera \"a\": it needs a source"),
            ("[[camera]]\nname='a'\nsource='sim'\nsize=3", "unknown key \"size\""),
            ("[[camera]]\nname='a'\nsource='sim'\nbitrate=3", "from 100000"),
            ("[[camera]]\nname='a'\nsource='sim'\nencoder='x'", "its encoder is not known"),
            ("[[camera]]\nname='a'\nsource='sim'\nrenditions=3", "as in [\"720p30@2500k\""),
            ("[[camera]]\nname='a'\nsource='sim'\nrenditions=['x']", "\"x\" is no rendition"),
            (
                "[[camera]]\nname='a'\nsource='sim'\nbitrate=800000\nrenditions=['720p@1M']",
                "leave bitrate out",
            ),
            (
                "[[camera]]\nname='a'\nsource='rtp:5600'\nrenditions=['720p@1M','360p@400k']",
                "the camera \"a\": what comes in over RTP is encoded already",
            ),
        ] {
            let error = toml(text).expect_err(text).to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn names_are_unique_and_there_are_not_too_many() {
        let two = from_lines("a=pattern\na=pattern").expect("understood");
        let error = check_names(None, &two).expect_err("twice").to_string();
        assert!(error.contains("there are two"), "{error}");
        let one = from_lines("sim=pattern").expect("understood");
        let error = check_names(Some("sim"), &one).expect_err("twice").to_string();
        assert!(error.contains("--video"), "{error}");
        let line = |n: usize| format!("c{n}=pattern\n");
        let many = from_lines(&(0..MAX_CAMERAS).map(line).collect::<String>()).expect("understood");
        assert_eq!(check_names(None, &many), Ok(()));
        let error = check_names(Some("sim"), &many).expect_err("too many").to_string();
        assert!(error.contains("at most 8"), "{error}");
    }

    proptest! {
        #[test]
        fn nothing_typed_panics(text in ".{0,80}") {
            let _ = from_lines(&text);
        }
    }
}
