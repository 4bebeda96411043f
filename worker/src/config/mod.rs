//! What the worker is told before it starts.
//!
//! [`Settings`] is what was typed once it *means* something: addresses, durations, opened folders.
//! [`KEYS`] are the words that people type for it; [`Settings::read`] refuses what it does not
//! understand, with the key, the value, where it stood and what is accepted. Nothing degrades
//! quietly.

pub mod cameras;
mod error;
mod keys;
mod read;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use halyard_client::tls::Trust;
use halyard_protocol::{
    ids::RoomId,
    limits::{DEFAULT_ROOM_TTL, DRIVE_MAX_AGE, DRIVE_MAX_PICTURE_AGE, RIGHTS_LEASE},
    token::Token,
};
use url::Url;

pub use cameras::CameraSettings;
pub use error::ConfigError;
pub use keys::{KEYS, RUN, SHARED, STANDALONE};

use crate::{
    existing::Secret,
    jobs::Template,
    media::{Renditions, SourceSpec, gst::Encoder, stills},
    record::RecordPlan,
    sound::{SoundSpec, SpeakerSpec},
};

/// Peers served at a time unless said otherwise: at 720p some two cores of this decade.
const DEFAULT_MAX_SESSIONS: usize = 64;

/// How long somebody who was cut off in the middle of a file may take to come back.
const KEEP_UNFINISHED: Duration = Duration::from_hours(7 * 24);

/// Everything the worker is told before it starts.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the picture comes from.
    pub video: SourceSpec,
    /// Further pictures, each with a name.
    pub cameras: Vec<CameraSettings>,
    /// The encoder for pictures that GStreamer brings; the best that starts where not said.
    pub encoder: Option<&'static Encoder>,
    /// What is heard of the machine.
    pub audio: SoundSpec,
    /// Where an operator's voice is heard.
    pub speaker: SpeakerSpec,
    /// What is driven.
    pub driver: DriverSpec,
    /// What a driver says has to be about a state of the machine no older than this.
    pub max_command_age: Duration,
    /// What a driver sees has to be no older than this; `None` for machines that are driven without
    /// a picture, which is what counts where there is none.
    pub max_picture_age: Option<Duration>,
    /// What is recorded, and where.
    pub record: Option<RecordPlan>,
    /// The folder whose files peers may reach; without it files are refused.
    pub files: Option<PathBuf>,
    /// Bytes that each peer may leave there.
    pub quota_per_peer: Option<u64>,
    /// Bytes of its disk that stay free, whatever peers send.
    pub keep_free: u64,
    /// How long something unfinished stays there untouched; `None` is for good.
    pub keep_unfinished: Option<Duration>,
    /// What may be run as jobs.
    pub jobs: Vec<Template>,
    /// Where the truth about jobs is kept. There whenever there are [`jobs`](Self::jobs).
    pub jobs_dir: Option<PathBuf>,
    /// The graphics cards that jobs share, as `CUDA_VISIBLE_DEVICES` names them. None: a job that
    /// needs any has all of them to itself.
    pub job_gpus: Vec<String>,
    /// The program that keeps jobs, where it is not this one.
    pub job_keeper: Option<PathBuf>,
    /// What existing clients must prove to know before anything of them is heard.
    pub psk: Option<Secret>,
    /// What the encoder aims at, in bits a second.
    pub bitrate: Option<u32>,
    /// In which renditions pictures are to be had, where a camera says nothing else.
    pub renditions: Option<Renditions>,
    /// Whether new jobs are refused, and the room told so.
    pub maintenance: bool,
    /// Peers served at a time.
    pub max_sessions: usize,
    /// How long a peer is served without the broker confirming its rights.
    pub rights_lease: Duration,
    /// Connections over TURN alone.
    pub relay_only: bool,
    /// Whether peers are connected at all.
    pub webrtc: bool,
    /// How long the room lives from its last extension.
    pub room_ttl: Duration,
    /// `run`: the broker.
    pub server: Option<Url>,
    /// `run`: which certificates of brokers are believed.
    pub trust: Trust,
    /// `run`: a room that exists already, and what opens it.
    pub room: Option<(RoomId, Token)>,
    /// `run`: where the room is remembered.
    pub state_file: Option<PathBuf>,
    /// `standalone`: where to listen. `None` takes 8080, or a free port where that is taken.
    pub listen: Option<SocketAddr>,
    /// `standalone`: the address that links are made with.
    pub public_url: Option<Url>,
    /// `standalone`: where keys and rooms are kept.
    pub data_dir: Option<PathBuf>,
    /// `standalone`: STUN servers told to peers.
    pub stun_urls: Vec<String>,
    /// `standalone`: the picture over plain HTTP.
    pub stills: stills::Plan,
    /// `standalone`: direct mode without the token.
    pub trusted_network: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            video: SourceSpec::Sim,
            cameras: Vec::new(),
            encoder: None,
            audio: SoundSpec::None,
            speaker: SpeakerSpec::None,
            driver: DriverSpec::Sim,
            max_command_age: DRIVE_MAX_AGE,
            max_picture_age: Some(DRIVE_MAX_PICTURE_AGE),
            record: None,
            files: None,
            quota_per_peer: None,
            keep_free: 0,
            keep_unfinished: Some(KEEP_UNFINISHED),
            jobs: Vec::new(),
            jobs_dir: None,
            job_gpus: Vec::new(),
            job_keeper: None,
            psk: None,
            bitrate: None,
            renditions: None,
            maintenance: false,
            max_sessions: DEFAULT_MAX_SESSIONS,
            rights_lease: RIGHTS_LEASE,
            relay_only: false,
            webrtc: true,
            room_ttl: DEFAULT_ROOM_TTL,
            server: None,
            trust: Trust::default(),
            room: None,
            state_file: None,
            listen: None,
            public_url: None,
            data_dir: None,
            stun_urls: Vec::new(),
            stills: stills::Plan::default(),
            trusted_network: false,
        }
    }
}

/// What is driven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DriverSpec {
    /// The rover of the simulated world.
    Sim,
    /// A program of the owner's and its arguments, spoken to in lines of JSON.
    Exec(Vec<String>),
    /// Nothing.
    None,
}
