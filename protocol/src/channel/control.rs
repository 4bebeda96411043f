//! What is said on `control`, `state` and `drive`: greetings, commands, the lease, driving.
//!
//! Units are SI: metres, radians, seconds, unless the name says otherwise.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::files::FilesInfo;
use crate::{access::Access, ids::PeerId};

/// `HELLO::`, first on `control` from both ends: who I am and what I can do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL_VERSION`](crate::PROTOCOL_VERSION).
    pub protocol: u32,
    /// Program and version, for people.
    pub agent: String,
    /// What the speaker calls itself in the room.
    pub peer_id: PeerId,
    /// What the listener may do here. Said by workers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub your_access: Option<Access>,
    /// Words for optional abilities, for example `drive`, `files`, `telemetry`.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// The pictures offered.
    #[serde(default)]
    pub video: Vec<VideoInfo>,
    /// What can be asked of the machine by `COMMAND::`.
    #[serde(default)]
    pub commands: Vec<ActionSpec>,
    /// Limits of driving, where the machine can be driven.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drive: Option<DriveLimits>,
    /// Whether files are served and taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<FilesInfo>,
}

/// One picture that a worker offers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VideoInfo {
    /// Its name, unique in this worker, for example `sim`.
    pub name: String,
    /// `h264` or `vp8`.
    pub codec: String,
    /// Pixels; 0 where not known yet.
    pub width: u32,
    /// Pixels; 0 where not known yet.
    pub height: u32,
    /// Frames a second; 0 where not known yet.
    pub fps: f32,
    /// Whether the [latency strip](crate::strip) is burned into it.
    #[serde(default)]
    pub strip: bool,
    /// In which renditions it is to be had, best first, for example `720p30`; none where there is one
    /// encode that follows all who watch it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub renditions: Vec<String>,
}

/// One command that a worker offers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActionSpec {
    /// The name to send.
    pub name: String,
    /// One line for people.
    pub help: String,
    /// The least access it needs.
    pub access: Access,
}

/// What the machine can do at most (more is clamped), and what it asks of whoever drives it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DriveLimits {
    /// Metres a second, forwards.
    pub max_linear: f64,
    /// Radians a second, either way.
    pub max_angular: f64,
    /// Milliseconds without a `DRIVE::` after which the machine stops by itself.
    pub watchdog_ms: u64,
    /// Metres a second, backwards; as forwards where not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_reverse: Option<f64>,
    /// A `DRIVE::` whose [`echo`](Drive::echo) is older than this is not followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age_ms: Option<u64>,
    /// A driver whose picture is older than this is stopped; where it is not said, nobody asks for
    /// the picture's age.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_picture_age_ms: Option<u64>,
}

/// `COMMAND::`: do something once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// Chosen by the sender; a repeated id is answered again, not done again.
    pub id: String,
    /// Which.
    pub name: String,
    /// With what.
    #[serde(default)]
    pub args: Value,
    /// Not to be started later than this many milliseconds after it arrived; after `echo`, where
    /// that is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
    /// The newest `stamp` heard in `TELEMETRY::` when this was said: the deadline counts from there,
    /// so that the time on the way counts too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub echo: Option<u64>,
}

/// `ACK::`: how a command ended, in the machine's own words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ack {
    /// Which command.
    pub id: String,
    /// Whether it was done.
    pub ok: bool,
    /// What came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<AckError>,
}

/// Why a command was not done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AckError {
    /// A stable word: `forbidden`, `unknown_command`, `bad_arguments`, `late`, `stopped`, `failed`,
    /// `id_reused`.
    pub code: String,
    /// For people.
    pub message: String,
}

impl Ack {
    /// It was done.
    pub fn done(id: impl Into<String>, result: Value) -> Self {
        Self { id: id.into(), ok: true, result: Some(result), error: None }
    }

    /// It was not.
    pub fn failed(id: impl Into<String>, code: &str, message: impl Into<String>) -> Self {
        let error = AckError { code: code.to_owned(), message: message.into() };
        Self { id: id.into(), ok: false, result: None, error: Some(error) }
    }
}

/// `CONTROL_LEASE::` towards the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum LeaseRequest {
    /// Let me drive, if nobody does.
    Request,
    /// I am done.
    Release,
    /// Let me drive, whoever does now. Admins only.
    Take,
}

/// `CONTROL_LEASE::` from the worker, to everybody, whenever it changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseState {
    /// Who drives, if anybody.
    pub holder: Option<PeerId>,
    /// Grows with every change; a `DRIVE::` under an older number is not followed.
    pub number: u64,
    /// Whether that is the listener.
    pub you: bool,
}

/// `ESTOP::` towards the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EstopAction {
    /// Stop now. Anybody in the room may.
    Press,
    /// Let it move again. Operators only.
    Clear,
}

/// `ESTOP::`, both ways.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Estop {
    /// Towards the worker.
    Ask {
        /// What.
        action: EstopAction,
    },
    /// From the worker, to everybody, whenever it changes.
    State {
        /// Nothing moves while this is true.
        latched: bool,
        /// Who pressed or cleared it.
        #[serde(default)]
        by: Option<PeerId>,
    },
}

/// `DRIVE::` on the `drive` lane, twenty times a second while a key is held.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Drive {
    /// The lease number it is said under.
    pub lease: u64,
    /// Grows with every message; older ones are not followed.
    pub seq: u64,
    /// Metres a second, forwards.
    pub linear: f64,
    /// Radians a second, positive to the left (counter-clockwise seen from above).
    pub angular: f64,
    /// The dead-man: a hand is on the controls. Without it the machine stops.
    pub held: bool,
    /// The newest `stamp` that the driver has heard in `TELEMETRY::`. The worker compares it with
    /// its own clock, so nobody's clock is compared with another's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub echo: Option<u64>,
    /// How old the picture is that the driver sees, in milliseconds. Not there without a picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picture_ms: Option<u32>,
}

/// `NOTICE::` from the worker: something people should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// How loud.
    pub severity: Severity,
    /// A stable word, for example `watchdog`, `source_lost`, `forbidden`.
    pub code: String,
    /// For people: what happened and what to do.
    pub message: String,
    /// Which of the worker's tracks it is about, by its name in [`Hello::video`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub track: Option<String>,
}

impl Notice {
    /// About the worker as a whole.
    pub fn new(severity: Severity, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity, code: code.into(), message: message.into(), track: None }
    }
}

/// `WATCH::`, both ways. Towards the worker: show me these. From it, to the one who asked and
/// whenever that changes: these are shown.
///
/// A viewer has as many places for pictures as its offer had sections for video; the first name is
/// for the first place. Who never asks is shown the first picture in the first place.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// Names of [`Hello::video`], one for each place; null and places not named stay empty.
    pub tracks: Vec<Option<String>>,
}

/// `LISTEN::` towards the worker: whether its sound is to be sent. Who never says is sent it, if the
/// offer has a section for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listen {
    /// It is.
    pub on: bool,
}

/// `TALK::`, both ways: who speaks through the machine's speaker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Talk {
    /// Towards the worker: the speaker's sound is for the machine from now on, or not any more.
    Ask {
        /// It is.
        on: bool,
    },
    /// From the worker, to everybody, whenever it changes.
    State {
        /// Who speaks, if anybody.
        talker: Option<PeerId>,
        /// Whether that is the listener.
        you: bool,
    },
}

/// How loud a notice is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Something does not work as asked.
    Warning,
    /// Something stopped.
    Error,
}

/// `BYE::`: the speaker goes now and on purpose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bye {
    /// For people.
    pub reason: String,
}
