//! The words that people type: one table for flags, variables and the file.

/// How a key is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One value.
    One,
    /// Several: an array in the file, commas between them elsewhere.
    Many,
    /// Several: the flag is repeated, the variable has one a line, the file has tables.
    Lines,
    /// One value that must not be shown. `HALYARD_…_FILE` names a file that holds it.
    Secret,
    /// Yes or no. On the command line the flag alone means yes.
    Switch,
}

/// Which command a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum For {
    /// Both.
    Both,
    /// `run`: a worker of somebody else's broker.
    Run,
    /// `standalone`: a worker that carries its own.
    Standalone,
}

/// One setting as people type it: `--state-file`, `HALYARD_STATE_FILE` and `state_file` are the
/// same.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// The TOML key. The flag has dashes for underscores, the variable capitals and `HALYARD_`.
    pub name: &'static str,
    /// What it does.
    pub help: &'static str,
    /// What is accepted, as said when something else was typed.
    pub accepted: &'static str,
    /// How it is written.
    pub shape: Shape,
    /// Where it counts. The file and the environment may hold the other command's keys too.
    pub command: For,
}

impl Key {
    /// The flag without its dashes in front.
    pub fn flag(&self) -> String {
        self.name.replace('_', "-")
    }

    /// The variable.
    pub fn variable(&self) -> String {
        format!("HALYARD_{}", self.name.to_ascii_uppercase())
    }

    /// Whether it counts for this command.
    pub fn is_for(&self, command: For) -> bool {
        self.command == For::Both || self.command == command
    }
}

const fn key(
    command: For,
    shape: Shape,
    name: &'static str,
    help: &'static str,
    accepted: &'static str,
) -> Key {
    Key { name, help, accepted, shape, command }
}

const URL: &str = "an http:// or https:// address without ? and #";
const SIZE: &str = "a number of bytes, like 10GB, 512MiB or 1000000";
const COUNT: &str = "a whole number from 1 on";

/// Every key.
pub const KEYS: &[Key] = &[
    key(
        For::Both,
        Shape::One,
        "video",
        "Where the picture comes from [default: sim]",
        crate::media::SourceSpec::ACCEPTED,
    ),
    key(
        For::Both,
        Shape::Lines,
        "camera",
        "One more picture, NAME=SOURCE; may be repeated [default: none]",
        "a name, = and what --video takes, as in rear=v4l2:/dev/video2; in the file [[camera]] tables",
    ),
    key(
        For::Both,
        Shape::One,
        "encoder",
        "What encodes cameras, films and pipelines [default: auto, the best that starts]",
        "auto, nvv4l2h264enc, nvh264enc, vah264enc, vaapih264enc, v4l2h264enc, x264enc or openh264",
    ),
    key(
        For::Both,
        Shape::One,
        "audio",
        "What is heard of the machine [default: none]",
        crate::sound::SoundSpec::ACCEPTED,
    ),
    key(
        For::Both,
        Shape::One,
        "speaker",
        "Where an operator's voice is heard [default: none]",
        crate::sound::SpeakerSpec::ACCEPTED,
    ),
    key(
        For::Both,
        Shape::One,
        "driver",
        "What is driven [default: sim with --video sim, else none]",
        "sim, none, or exec:PROGRAM ARGUMENTS (your own program, see docs/drivers.md)",
    ),
    key(
        For::Both,
        Shape::One,
        "max_command_age",
        "How old the state may be that a driver's command is about [default: 500ms]",
        "a duration from 50ms to 5s",
    ),
    key(
        For::Both,
        Shape::One,
        "max_picture_age",
        "Stops a machine whose driver sees an older picture than this [default: 300ms]",
        "a duration from 50ms to 5s, or off for a machine that is driven without a picture",
    ),
    key(
        For::Both,
        Shape::One,
        "record",
        "Records picture, telemetry and events into this folder [default: nothing is recorded]",
        "a folder; it is made where there is none",
    ),
    key(
        For::Both,
        Shape::One,
        "record_max",
        "What recordings may take; the oldest go first [default: 4GiB]",
        "a size of at least 16MiB, like 500MiB, 20GiB or a number of bytes",
    ),
    key(
        For::Both,
        Shape::One,
        "files",
        "The folder whose files may be listed, fetched and sent [default: none]",
        "a folder that exists",
    ),
    key(
        For::Both,
        Shape::One,
        "quota_per_peer",
        "How much each peer may send there while this worker runs [default: no limit]",
        SIZE,
    ),
    key(
        For::Both,
        Shape::One,
        "keep_free",
        "How much of that folder's disk stays free whatever peers send [default: 0]",
        SIZE,
    ),
    key(
        For::Both,
        Shape::One,
        "jobs_dir",
        "Keeps the truth about jobs here; needed with [[job]] in the configuration file",
        "a folder; it is made where there is none",
    ),
    key(
        For::Both,
        Shape::Many,
        "job_gpus",
        "The graphics cards that jobs share, each card one job's at a time [default: one job with \
         cards at a time, which sees all]",
        "the numbers or UUIDs that CUDA_VISIBLE_DEVICES takes, each once, for example 0,1",
    ),
    key(
        For::Both,
        Shape::One,
        "psk_file",
        "sleap-rtc clients must prove that they have the secret in this file [default: none]",
        "a file that holds 16 to 1024 bytes in base64url",
    ),
    key(
        For::Both,
        Shape::One,
        "bitrate",
        "What the encoder aims at [default: what suits the picture]",
        "bits a second, from 100000 to 50000000",
    ),
    key(
        For::Both,
        Shape::Switch,
        "maintenance",
        "Takes no new jobs, and tells the room so; those that run or wait go on",
        "true or false",
    ),
    key(For::Both, Shape::One, "max_sessions", "Peers served at a time [default: 64]", COUNT),
    key(
        For::Both,
        Shape::One,
        "rights_lease",
        "How long a peer is served while the server cannot confirm its rights [default: 60s]",
        "a duration from 10s to 24h",
    ),
    key(
        For::Both,
        Shape::Switch,
        "relay_only",
        "Connect over TURN servers alone, never directly",
        "true or false",
    ),
    key(
        For::Both,
        Shape::One,
        "webrtc",
        "Whether peers are connected at all; with false the picture is there over HTTP alone, on a \
         standalone worker [default: true]",
        "true or false",
    ),
    key(
        For::Both,
        Shape::One,
        "room_ttl",
        "How long a room lives without its worker; extended while it runs [default: 2h]",
        "a duration of at least a minute, like 30m, 2h or 7d",
    ),
    key(For::Run, Shape::One, "server", "The broker's address", URL),
    key(
        For::Run,
        Shape::One,
        "ca_file",
        "Authorities whose certificates are believed of the broker, beside the system's",
        "a file in PEM with the certificates of authorities",
    ),
    key(
        For::Run,
        Shape::One,
        "room",
        "A room that exists already; needs its token",
        "a room id: A-Z, a-z, 0-9, - and _",
    ),
    key(
        For::Run,
        Shape::Secret,
        "token",
        "The operator token of that room; better from HALYARD_TOKEN or HALYARD_TOKEN_FILE",
        "a text that is not empty",
    ),
    key(
        For::Run,
        Shape::One,
        "state_file",
        "Remembers the room here, so that a restarted worker comes back to it",
        "a path; the file holds secrets and is made readable for its owner alone",
    ),
    key(
        For::Standalone,
        Shape::One,
        "listen",
        "Page, REST and WebSocket [default: 127.0.0.1:8080, or a free port if that is taken]",
        "an address with a port, like 127.0.0.1:8080 or 0.0.0.0:8080",
    ),
    key(
        For::Standalone,
        Shape::One,
        "public_url",
        "The address that links are made with, where peers see another one",
        URL,
    ),
    key(
        For::Standalone,
        Shape::One,
        "data_dir",
        "Keeps keys and rooms here, so that links survive a restart [default: nothing is kept]",
        "a folder",
    ),
    key(
        For::Standalone,
        Shape::Many,
        "stun_urls",
        "STUN servers, for peers beyond the local network [default: none]",
        "addresses like stun:stun.example.org:3478",
    ),
    key(
        For::Standalone,
        Shape::One,
        "mjpeg_fps",
        "Frames a second of GET /mjpeg, at most [default: 15]",
        "a whole number from 1 to 60",
    ),
    key(
        For::Standalone,
        Shape::One,
        "mjpeg_quality",
        "JPEG quality of GET /mjpeg and GET /snapshot.jpg [default: 75]",
        "a whole number from 1 to 100",
    ),
    key(
        For::Standalone,
        Shape::One,
        "mjpeg_viewers",
        "Streams of GET /mjpeg at a time, of each picture [default: 16]",
        "a whole number from 0 to 1024; 0 turns it off",
    ),
    key(
        For::Standalone,
        Shape::Switch,
        "trusted_network",
        "Direct mode (POST /offer, POST /whep, GET /mjpeg, GET /status …) without the token: \
         everybody who reaches the port may watch and drive",
        "true or false",
    ),
];

/// `HALYARD_` words of the other programs, which may stand in the same environment.
pub(super) const VARIABLES_OF_OTHERS: &[&str] =
    &["HALYARD_CONFIG", "HALYARD_LOG", "HALYARD_LOG_FORMAT", "HALYARD_LINK"];
