//! From settings to running parts. The only file that names the concrete ones.

use std::{io, sync::Arc};

use halyard_client::{
    files::{FileRoot, OpenRootError, Quota},
    peer::PeerThreads,
};
use halyard_protocol::signal::{EXISTING_TAG, Metadata, WORKER_TAG};
use serde_json::{Map, Value, json};
use tokio::sync::{broadcast::error::RecvError, watch};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    config::{CameraSettings, DriverSpec, Settings},
    drive::Rules,
    driver::{
        Driver,
        exec::{ExecDriver, ExecError},
        none::NoDriver,
        sim::SimDriver,
    },
    existing::{Common, requests::Offer},
    host::{Announcer, Host},
    jobs::{self, Jobs, JobsError, JobsHandle},
    machine::{Machine, MachineHandle},
    media::{
        Fanout, Renditions, SourceError, SourceSpec, Track, Tracks,
        encoder::DEFAULT_BITRATE,
        sim::{Sim, WorldConfig},
    },
    record::{RecordError, Recorder},
    session::{Shared, hello::AGENT},
    sound::{Sound, SoundError, Speaker},
    tidy::Tidier,
};

/// Why the worker's own parts did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The folder of `--files` cannot be used.
    #[error(transparent)]
    Files(#[from] OpenRootError),
    /// The folder of `--record` cannot be used.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Jobs cannot be run.
    #[error(transparent)]
    Jobs(#[from] JobsError),
    /// The owner's driver program does not start.
    #[error(transparent)]
    Driver(#[from] ExecError),
    /// The picture cannot be made.
    #[error("the picture {track:?}: {source}")]
    Video {
        /// Which.
        track: String,
        /// Why.
        source: SourceError,
    },
    /// The system gives no thread to look at the computer.
    #[error("cannot start the thread that looks at the computer: {0}")]
    Host(io::Error),
    /// The folder of files cannot be looked at.
    #[error("the folder of files cannot be looked at: {0}")]
    Place(io::Error),
    /// There can be no sound.
    #[error(transparent)]
    Sound(#[from] SoundError),
    /// The system gives no threads for connections.
    #[error("cannot start the threads for connections: {0}")]
    Threads(io::Error),
}

/// What a worker is made of, before anybody comes.
pub struct Parts {
    shared: Arc<Shared>,
    machine: Machine,
    world: Option<Sim>,
    speaker: Option<Speaker>,
    jobs: Option<Jobs>,
    host: Host,
    metadata: Metadata,
    presence: watch::Receiver<Metadata>,
    _announcer: AbortOnDropHandle<()>,
    recorder: Option<Recorder>,
    tidier: Option<Tidier>,
    _sight: Option<AbortOnDropHandle<()>>,
}

impl Parts {
    /// Starts the machine, the picture and the threads for connections.
    pub async fn start(settings: &Settings) -> Result<Self, StartError> {
        let files = match &settings.files {
            Some(path) => {
                let quota = settings.quota_per_peer.map(Quota::of).unwrap_or_default();
                let root = FileRoot::open(path).await?;
                Some(root.keeping_free(settings.keep_free).limited(quota))
            }
            None => None,
        };
        let threads = PeerThreads::for_this_machine().map_err(StartError::Threads)?;
        let cameras = cameras(settings);
        let needs_world = settings.driver == DriverSpec::Sim
            || cameras.iter().any(|camera| camera.source == SourceSpec::Sim);
        let world = needs_world.then(|| Sim::start(WorldConfig::default()));
        let mut tracks = Vec::new();
        for camera in &cameras {
            let track = start_track(camera, world.as_ref()).map_err(|source| {
                let track = camera.name.clone();
                StartError::Video { track, source }
            })?;
            tracks.extend(track);
        }
        let tracks = Tracks::new(tracks);
        let sound = Sound::start(&settings.audio)?;
        let speaker = Speaker::start(&settings.speaker)?;
        // Who drives looks at the first picture, unless they choose another.
        let first = tracks.first().map(|track| track.fanout().clone());
        let driver: Box<dyn Driver> = match (&world, &settings.driver) {
            (Some(world), DriverSpec::Sim) => Box::new(SimDriver::new(world.handle())),
            (_, DriverSpec::Exec(command)) => Box::new(ExecDriver::start(command.clone()).await?),
            _ => Box::new(NoDriver),
        };
        let rules = Rules {
            limits: driver.limits().unwrap_or_default(),
            max_age: settings.max_command_age,
            // Where there is no picture, nobody can be asked how old theirs is.
            max_picture_age: settings.max_picture_age.filter(|_| first.is_some()),
        };
        let machine = Machine::start(driver, rules);
        let sight = first.clone().map(|fanout| {
            AbortOnDropHandle::new(tokio::spawn(watch_picture(fanout, machine.handle())))
        });
        let jobs = start_jobs(settings)?;
        let handle = jobs.as_ref().map(Jobs::handle);
        let has = |name: &str| jobs.is_some() && settings.jobs.iter().any(|job| job.name == name);
        let offer = Offer { trains: has("train"), tracks: has("track"), is_busy: false };
        let existing = Common::open(settings.files.as_deref(), settings.psk.clone(), offer);
        let existing = existing.map_err(StartError::Place)?;
        let recorder = match &settings.record {
            Some(plan) => Some(Recorder::start(plan, first.as_ref(), &machine.handle())?),
            None => None,
        };
        if recorder.is_some() && tracks.len() > 1 {
            let names: Vec<_> = tracks.iter().map(Track::name).collect();
            tracing::warn!(
                recorded = names[0],
                others = names[1..].join(", "),
                "of several pictures the first is recorded"
            );
        }
        let recording = recorder.as_ref().map(Recorder::status);
        let tidier = files
            .clone()
            .zip(settings.keep_unfinished)
            .map(|(files, untouched)| Tidier::start(files, untouched, handle.clone()));
        let host = Host::start().map_err(StartError::Host)?;
        let announcer = Announcer {
            host: host.handle(),
            jobs: handle.as_ref().map(JobsHandle::load),
            standing: machine.handle().standing(),
            maintenance: settings.maintenance,
        };
        let shared = Shared {
            machine: machine.handle(),
            tracks,
            sound,
            speaker: speaker.as_ref().map(Speaker::handle),
            files,
            jobs: handle,
            existing,
            host: host.handle(),
            recording,
            threads,
        };
        let told = announcer.properties();
        let metadata = metadata(&shared, told.clone());
        let (tell, presence) = watch::channel(metadata.clone());
        let announcer = AbortOnDropHandle::new(tokio::spawn(announcer.run(told, tell)));
        Ok(Self {
            shared: Arc::new(shared),
            machine,
            world,
            speaker,
            jobs,
            host,
            metadata,
            presence,
            recorder,
            tidier,
            _sight: sight,
            _announcer: announcer,
        })
    }

    /// What sessions share.
    pub fn shared(&self) -> Arc<Shared> {
        self.shared.clone()
    }

    /// What others may find this worker by, at the door.
    pub fn metadata(&self) -> Metadata {
        self.metadata.clone()
    }

    /// What of it changes later.
    pub fn presence(&self) -> watch::Receiver<Metadata> {
        self.presence.clone()
    }

    /// Stops everything: what could move something first.
    pub async fn stop(self) {
        self.machine.stop().await;
        // The machine's last words are recorded too.
        if let Some(recorder) = self.recorder {
            recorder.stop().await;
        }
        if let Some(jobs) = self.jobs {
            jobs.stop().await;
        }
        if let Some(tidier) = self.tidier {
            tidier.stop().await;
        }
        self.shared.tracks.stop().await;
        if let Some(sound) = &self.shared.sound {
            sound.stop().await;
        }
        if let Some(speaker) = self.speaker {
            speaker.stop().await;
        }
        if let Some(world) = self.world {
            world.stop().await;
        }
        self.host.stop().await;
        self.shared.threads.clone().shutdown().await;
    }
}

/// Tells the machine whenever what is shown is a slate, and when it is a picture again.
async fn watch_picture(fanout: Fanout, machine: MachineHandle) {
    let mut events = fanout.events();
    loop {
        machine.picture(fanout.trouble()).await;
        // Who missed some looks at how it is now.
        if let Err(RecvError::Closed) = events.recv().await {
            return;
        }
    }
}

/// What others may find this worker by: what it offers, and what its computer is and does.
fn metadata(shared: &Shared, computer: Map<String, Value>) -> Metadata {
    let tracks: Vec<_> = shared.tracks.iter().map(Track::name).collect();
    let mut properties = computer;
    properties.insert("agent".to_owned(), json!(AGENT));
    properties.insert("driver".to_owned(), json!(shared.machine.facts().driver));
    properties.insert("video".to_owned(), json!(tracks.first()));
    properties.insert("tracks".to_owned(), json!(tracks));
    properties.insert("sound".to_owned(), json!(shared.sound.is_some()));
    properties.insert("speaker".to_owned(), json!(shared.speaker.is_some()));
    properties.insert("files".to_owned(), json!(shared.files.is_some()));
    let mut tags = vec![WORKER_TAG.to_owned()];
    // Existing clients look for a worker by these.
    let types: Vec<_> = shared.existing.offer().job_types().collect();
    if !types.is_empty() {
        tags.push(EXISTING_TAG.to_owned());
        tags.extend(types.iter().map(|(tag, _)| (*tag).to_owned()));
        let types: Vec<_> = types.iter().map(|(_, job_type)| job_type).collect();
        properties.insert("supported_job_types".to_owned(), json!(types));
        properties.insert("max_concurrent_jobs".to_owned(), json!(1));
    }
    Metadata { tags: Some(tags), properties: Some(properties), ..Metadata::default() }
}

/// Every picture that is to be had, the one of `--video` first.
fn cameras(settings: &Settings) -> Vec<CameraSettings> {
    let first = settings.video.track_name().map(|name| CameraSettings {
        name: name.to_owned(),
        source: settings.video.clone(),
        encoder: None,
        bitrate: None,
        renditions: None,
    });
    let all = first.into_iter().chain(settings.cameras.iter().cloned());
    all.map(|camera| {
        // Who gives a camera a rate of its own wants one encode of that rate.
        let worker_wide = || settings.renditions.clone().filter(|_| camera.bitrate.is_none());
        let renditions = camera.renditions.clone().or_else(worker_wide);
        CameraSettings {
            encoder: camera.encoder.or(settings.encoder),
            bitrate: camera.bitrate.or(settings.bitrate),
            renditions: renditions.filter(|_| camera.source.is_encoded_here()),
            ..camera
        }
    })
    .collect()
}

fn start_track(camera: &CameraSettings, world: Option<&Sim>) -> Result<Option<Track>, SourceError> {
    let handle = || world.expect("the simulated picture has its world").handle();
    let plain = || Renditions::plain(camera.bitrate.unwrap_or(DEFAULT_BITRATE));
    let renditions = camera.renditions.clone().unwrap_or_else(plain);
    let source = camera.source.open(camera.encoder, &renditions, handle)?;
    let Some(source) = source else { return Ok(None) };
    Ok(Some(Track::new(&camera.name, Fanout::start_in(source, renditions)?)))
}

/// Jobs, where the owner configured some.
fn start_jobs(settings: &Settings) -> Result<Option<Jobs>, JobsError> {
    let (Some(dir), Some(files)) = (&settings.jobs_dir, &settings.files) else { return Ok(None) };
    if settings.jobs.is_empty() {
        return Ok(None);
    }
    let program = match &settings.job_keeper {
        Some(program) => program.clone(),
        None => std::env::current_exe().map_err(JobsError::Thread)?,
    };
    let jobs = Jobs::start(jobs::Plan {
        templates: settings.jobs.clone(),
        dir: dir.clone(),
        files: files.clone(),
        gpus: settings.job_gpus.clone(),
        program,
        environment: std::env::vars().collect(),
        maintenance: settings.maintenance,
    })?;
    Ok(Some(jobs))
}
