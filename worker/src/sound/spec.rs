//! What a user types after `--audio` and `--speaker`, and what it means.

use std::{fmt, path::PathBuf, str::FromStr};

/// Where sound comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum SoundSpec {
    /// `none`: there is no sound.
    #[default]
    None,
    /// `tone`: 440 Hz, to try whether sound arrives.
    Tone,
    /// `file:PATH`: a recording, again and again.
    File(PathBuf),
    /// `device` or `device:NAME`: a microphone of this machine.
    Device(Option<Device>),
    /// `gst:PIPELINE`: any GStreamer pipeline that ends in raw sound.
    Pipeline(String),
}

/// Where the operator's voice goes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum SpeakerSpec {
    /// `none`: nowhere.
    #[default]
    None,
    /// `file:PATH`: into a WAV file.
    File(PathBuf),
    /// `device` or `device:NAME`: a speaker of this machine.
    Device(Option<Device>),
    /// `gst:PIPELINE`: any GStreamer pipeline that takes raw sound.
    Pipeline(String),
}

/// A sound device by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Device {
    /// As ALSA calls it: `hw:1,0`, `plughw:0`, `default`.
    Alsa(String),
    /// As PulseAudio or PipeWire calls it, where it has a name.
    Pulse(Option<String>),
}

/// Why it is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SoundSpecError {
    /// No such kind.
    #[error("unknown sound {typed:?}; accepted: {accepted}")]
    Unknown {
        /// What was typed.
        typed: String,
        /// What is accepted.
        accepted: &'static str,
    },
    /// There is nothing behind the colon.
    #[error("there is nothing after {0}")]
    Empty(&'static str),
}

impl SoundSpec {
    /// What is accepted, for error messages and help texts.
    pub const ACCEPTED: &str = "tone, file:PATH, device, device:ALSA-NAME (as in device:hw:1,0), \
         device:pulse, device:pulse:NAME, gst:PIPELINE, or none";

    /// What it is, for people who read why it failed.
    pub fn words(&self) -> String {
        match self {
            Self::None => "no sound".to_owned(),
            Self::Tone => "the tone".to_owned(),
            Self::File(path) => format!("the recording {}", path.display()),
            Self::Device(None) => "the microphone".to_owned(),
            Self::Device(Some(device)) => format!("the microphone {device}"),
            Self::Pipeline(_) => "the pipeline of --audio".to_owned(),
        }
    }
}

impl SpeakerSpec {
    /// What is accepted, for error messages and help texts.
    pub const ACCEPTED: &str = "device, device:ALSA-NAME (as in device:hw:1,0), device:pulse, \
         device:pulse:NAME, file:PATH (a WAV file), gst:PIPELINE, or none";

    /// What it is, for people who read why it failed.
    pub fn words(&self) -> String {
        match self {
            Self::None => "no speaker".to_owned(),
            Self::File(path) => format!("the file {}", path.display()),
            Self::Device(None) => "the speaker".to_owned(),
            Self::Device(Some(device)) => format!("the speaker {device}"),
            Self::Pipeline(_) => "the pipeline of --speaker".to_owned(),
        }
    }
}

impl FromStr for SoundSpec {
    type Err = SoundSpecError;

    fn from_str(typed: &str) -> Result<Self, SoundSpecError> {
        match typed {
            "none" => return Ok(Self::None),
            "tone" => return Ok(Self::Tone),
            _ => {}
        }
        Ok(match Common::parse(typed, Self::ACCEPTED)? {
            Common::File(path) => Self::File(path),
            Common::Device(device) => Self::Device(device),
            Common::Pipeline(pipeline) => Self::Pipeline(pipeline),
        })
    }
}

impl FromStr for SpeakerSpec {
    type Err = SoundSpecError;

    fn from_str(typed: &str) -> Result<Self, SoundSpecError> {
        if typed == "none" {
            return Ok(Self::None);
        }
        Ok(match Common::parse(typed, Self::ACCEPTED)? {
            Common::File(path) => Self::File(path),
            Common::Device(device) => Self::Device(device),
            Common::Pipeline(pipeline) => Self::Pipeline(pipeline),
        })
    }
}

/// What both understand.
enum Common {
    File(PathBuf),
    Device(Option<Device>),
    Pipeline(String),
}

impl Common {
    fn parse(typed: &str, accepted: &'static str) -> Result<Self, SoundSpecError> {
        let filled = |rest: &str, word| {
            let rest = rest.trim();
            if rest.is_empty() { Err(SoundSpecError::Empty(word)) } else { Ok(rest.to_owned()) }
        };
        if typed == "device" {
            return Ok(Self::Device(None));
        }
        if let Some(path) = typed.strip_prefix("file:") {
            return Ok(Self::File(filled(path, "file:")?.into()));
        }
        if let Some(pipeline) = typed.strip_prefix("gst:") {
            return Ok(Self::Pipeline(filled(pipeline, "gst:")?));
        }
        if let Some(name) = typed.strip_prefix("device:") {
            let name = filled(name, "device:")?;
            let device = match name.strip_prefix("pulse") {
                Some("") => Device::Pulse(None),
                Some(rest) if rest.starts_with(':') => {
                    Device::Pulse(Some(filled(&rest[1..], "device:pulse:")?))
                }
                _ => Device::Alsa(name),
            };
            return Ok(Self::Device(Some(device)));
        }
        Err(SoundSpecError::Unknown { typed: typed.to_owned(), accepted })
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alsa(name) => f.write_str(name),
            Self::Pulse(None) => f.write_str("pulse"),
            Self::Pulse(Some(name)) => write!(f, "pulse:{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_accepted_form_is_understood() {
        let alsa = |name: &str| Some(Device::Alsa(name.to_owned()));
        for (typed, meant) in [
            ("none", SoundSpec::None),
            ("tone", SoundSpec::Tone),
            ("file:/srv/a b.ogg", SoundSpec::File("/srv/a b.ogg".into())),
            ("device", SoundSpec::Device(None)),
            ("device:hw:1,0", SoundSpec::Device(alsa("hw:1,0"))),
            ("device:pulse", SoundSpec::Device(Some(Device::Pulse(None)))),
            ("device:pulseaudio", SoundSpec::Device(alsa("pulseaudio"))),
            ("device:pulse:mic", SoundSpec::Device(Some(Device::Pulse(Some("mic".to_owned()))))),
            ("gst:audiotestsrc", SoundSpec::Pipeline("audiotestsrc".to_owned())),
        ] {
            assert_eq!(typed.parse(), Ok(meant), "{typed}");
        }
        assert_eq!("file:/tmp/a.wav".parse(), Ok(SpeakerSpec::File("/tmp/a.wav".into())));
        assert_eq!("device:hw:0".parse(), Ok(SpeakerSpec::Device(alsa("hw:0"))));
    }

    #[test]
    fn what_is_not_understood_is_told_with_what_is_accepted() {
        for (typed, said) in [
            ("", "accepted: tone"),
            ("mic", "unknown sound \"mic\""),
            ("file:", "nothing after file:"),
            ("device: ", "nothing after device:"),
            ("device:pulse:", "nothing after device:pulse:"),
        ] {
            let error = typed.parse::<SoundSpec>().expect_err(typed).to_string();
            assert!(error.contains(said), "{typed}: {error}");
        }
        let error = "tone".parse::<SpeakerSpec>().expect_err("no speaker").to_string();
        assert!(error.contains("accepted: device"), "{error}");
    }

    proptest! {
        #[test]
        fn nothing_typed_panics(typed in "(device:|file:|gst:|)(pulse|)[ :a-zé]{0,8}") {
            let _ = typed.parse::<SoundSpec>();
            let _ = typed.parse::<SpeakerSpec>();
        }
    }
}
