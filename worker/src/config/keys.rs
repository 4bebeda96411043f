//! The words that people type: one table for flags, variables and the file.

use halyard_settings::{
    Key, Keys, Shape,
    parse::{COUNT, WEB_ADDRESS, YES_OR_NO},
};

use crate::{
    media::SourceSpec,
    sound::{SoundSpec, SpeakerSpec},
};

const SIZE: &str = "a number of bytes, like 10GB, 512MiB or 1000000";

/// Every key. The file and the environment may hold those of the other command too.
pub const KEYS: Keys = Keys(&[SHARED, RUN, STANDALONE]);

/// Those of both commands.
pub const SHARED: &[Key] = &[
    Key::one("video", "Where the picture comes from [default: sim]", SourceSpec::ACCEPTED),
    Key::new(
        Shape::Lines,
        "camera",
        "One more picture, NAME=SOURCE; may be repeated [default: none]",
        "a name, = and what --video takes, as in rear=v4l2:/dev/video2; in the file [[camera]] tables",
    ),
    Key::one(
        "encoder",
        "What encodes cameras, films and pipelines [default: auto, the best that starts]",
        "auto, nvv4l2h264enc, nvh264enc, vah264enc, vaapih264enc, v4l2h264enc, x264enc or openh264",
    ),
    Key::one("audio", "What is heard of the machine [default: none]", SoundSpec::ACCEPTED),
    Key::one(
        "speaker",
        "Where an operator's voice is heard [default: none]",
        SpeakerSpec::ACCEPTED,
    ),
    Key::one(
        "driver",
        "What is driven [default: sim with --video sim, else none]",
        "sim, none, or exec:PROGRAM ARGUMENTS (your own program, see docs/drivers.md)",
    ),
    Key::one(
        "max_command_age",
        "How old the state may be that a driver's command is about [default: 500ms]",
        "a duration from 50ms to 5s",
    ),
    Key::one(
        "max_picture_age",
        "Stops a machine whose driver sees an older picture than this [default: 300ms]",
        "a duration from 50ms to 5s, or off for a machine that is driven without a picture",
    ),
    Key::one(
        "record",
        "Records picture, telemetry and events into this folder [default: nothing is recorded]",
        "a folder; it is made where there is none",
    ),
    Key::one(
        "record_max",
        "What recordings may take; the oldest go first [default: 4GiB]",
        "a size of at least 16MiB, like 500MiB, 20GiB or a number of bytes",
    ),
    Key::one(
        "files",
        "The folder whose files may be listed, fetched and sent [default: none]",
        "a folder that exists",
    ),
    Key::one(
        "quota_per_peer",
        "How much each peer may send there while this worker runs [default: no limit]",
        SIZE,
    ),
    Key::one(
        "keep_free",
        "How much of that folder's disk stays free whatever peers send [default: 0]",
        SIZE,
    ),
    Key::one(
        "keep_unfinished",
        "How long an unfinished file or folder waits there for its sender to come back before it is \
         removed [default: 7d]",
        "a duration from 1m to 365d, or off to keep them for good",
    ),
    Key::new(
        Shape::Tables,
        "job",
        "What may be run as a job",
        "[[job]] tables, as docs/running.md says",
    ),
    Key::one(
        "jobs_dir",
        "Keeps the truth about jobs here; needed with [[job]] in the configuration file",
        "a folder; it is made where there is none",
    ),
    Key::many(
        "job_gpus",
        "The graphics cards that jobs share, each card one job's at a time [default: one job with \
         cards at a time, which sees all]",
        "the numbers or UUIDs that CUDA_VISIBLE_DEVICES takes, each once, for example 0,1",
    ),
    Key::one(
        "psk_file",
        "sleap-rtc clients must prove that they have the secret in this file [default: none]",
        "a file that holds 16 to 1024 bytes in base64url",
    ),
    Key::one(
        "bitrate",
        "What the encoder aims at [default: what suits the picture]",
        "bits a second, from 100000 to 50000000",
    ),
    Key::many(
        "renditions",
        "Pictures in 1 to 3 renditions, of which each viewer gets what its path carries [default: one]",
        "1 to 3 of HEIGHTp[FPS]@BITRATE with commas between them, as in 720p30@2500k,360p15@400k",
    ),
    Key::new(
        Shape::Switch,
        "maintenance",
        "Takes no new jobs, and tells the room so; those that run or wait go on",
        YES_OR_NO,
    ),
    Key::one("max_sessions", "Peers served at a time [default: 64]", COUNT),
    Key::one(
        "rights_lease",
        "How long a peer is served while the server cannot confirm its rights [default: 60s]",
        "a duration from 10s to 24h",
    ),
    Key::new(
        Shape::Switch,
        "relay_only",
        "Connect over TURN servers alone, never directly",
        YES_OR_NO,
    ),
    Key::one(
        "webrtc",
        "Whether peers are connected at all; with false the picture is there over HTTP alone, on a \
         standalone worker [default: true]",
        YES_OR_NO,
    ),
    Key::one(
        "room_ttl",
        "How long a room lives without its worker; extended while it runs [default: 2h]",
        "a duration of at least a minute, like 30m, 2h or 7d",
    ),
];

/// Those of `run`: a worker of somebody else's broker.
pub const RUN: &[Key] = &[
    Key::one("server", "The broker's address", WEB_ADDRESS),
    Key::one(
        "ca_file",
        "Authorities whose certificates are believed of the broker, beside the system's",
        "a file in PEM with the certificates of authorities",
    ),
    Key::one(
        "room",
        "A room that exists already; needs its token",
        "a room id: A-Z, a-z, 0-9, - and _",
    ),
    Key::new(
        Shape::Secret,
        "token",
        "The operator token of that room; better from HALYARD_TOKEN or HALYARD_TOKEN_FILE",
        "a text that is not empty",
    ),
    Key::one(
        "state_file",
        "Remembers the room here, so that a restarted worker comes back to it",
        "a path; the file holds secrets and is made readable for its owner alone",
    ),
];

/// Those of `standalone`: a worker that carries its own.
pub const STANDALONE: &[Key] = &[
    Key::one(
        "listen",
        "Page, REST and WebSocket [default: 127.0.0.1:8080, or a free port if that is taken]",
        "an address with a port, like 127.0.0.1:8080 or 0.0.0.0:8080",
    ),
    Key::one(
        "public_url",
        "The address that links are made with, where peers see another one",
        WEB_ADDRESS,
    ),
    Key::one(
        "data_dir",
        "Keeps keys and rooms here, so that links survive a restart [default: nothing is kept]",
        "a folder",
    ),
    Key::many(
        "stun_urls",
        "STUN servers, for peers beyond the local network [default: none]",
        "addresses like stun:stun.example.org:3478",
    ),
    Key::one(
        "mjpeg_fps",
        "Frames a second of GET /mjpeg, at most [default: 15]",
        "a whole number from 1 to 60",
    ),
    Key::one(
        "mjpeg_quality",
        "JPEG quality of GET /mjpeg and GET /snapshot.jpg [default: 75]",
        "a whole number from 1 to 100",
    ),
    Key::one(
        "mjpeg_viewers",
        "Streams of GET /mjpeg at a time, of each picture [default: 16]",
        "a whole number from 0 to 1024; 0 turns it off",
    ),
    Key::new(
        Shape::Switch,
        "trusted_network",
        "Direct mode (POST /offer, POST /whep, GET /mjpeg, GET /status …) without the token: \
         everybody who reaches the port may watch and drive",
        YES_OR_NO,
    ),
];

#[cfg(all(test, feature = "standalone"))]
mod tests {
    use std::collections::BTreeMap;

    use halyard_settings::{SettingError, Typed, Values};

    use super::*;

    #[test]
    fn no_variable_of_one_program_is_a_misspelling_to_another() {
        let server = halyard_server::settings::KEYS;
        for (program, other) in [(KEYS, server), (server, KEYS)] {
            for key in other.iter().filter(|key| program.find(key.name).is_none()) {
                let variables = BTreeMap::from([(key.variable(), "x".to_owned())]);
                let read = Values::read(program, &Typed { variables, ..Typed::default() });
                assert!(!matches!(read, Err(SettingError::UnknownVariable { .. })), "{}", key.name);
            }
        }
    }
}
