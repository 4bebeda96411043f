//! From settings to running parts. The only file that names the concrete ones.

use std::{io, sync::Arc};

use halyard_client::{
    files::{FileRoot, OpenRootError},
    peer::PeerThreads,
};
use halyard_protocol::signal::Metadata;
use serde_json::json;

use crate::{
    config::{DriverSpec, Settings},
    driver::{Driver, none::NoDriver, sim::SimDriver},
    jobs::{self, Jobs, JobsError},
    machine::Machine,
    media::{
        Fanout, SourceError, SourceSpec,
        sim::{Sim, WorldConfig},
    },
    session::{Shared, hello::AGENT},
};

/// Why the worker's own parts did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The folder of `--files` cannot be used.
    #[error(transparent)]
    Files(#[from] OpenRootError),
    /// Jobs cannot be run.
    #[error(transparent)]
    Jobs(#[from] JobsError),
    /// The picture cannot be made.
    #[error(transparent)]
    Video(#[from] SourceError),
    /// The system gives no threads for connections.
    #[error("cannot start the threads for connections: {0}")]
    Threads(io::Error),
}

/// What a worker is made of, before anybody comes.
pub struct Parts {
    shared: Arc<Shared>,
    machine: Machine,
    world: Option<Sim>,
    jobs: Option<Jobs>,
}

impl Parts {
    /// Starts the machine, the picture and the threads for connections.
    pub async fn start(settings: &Settings) -> Result<Self, StartError> {
        let files = match &settings.files {
            Some(path) => Some(FileRoot::open(path).await?),
            None => None,
        };
        let threads = PeerThreads::for_this_machine().map_err(StartError::Threads)?;
        let needs_world = settings.video == SourceSpec::Sim || settings.driver == DriverSpec::Sim;
        let world = needs_world.then(|| Sim::start(WorldConfig::default()));
        let source = match &world {
            Some(world) => settings.video.open(settings.encoder, || world.handle())?,
            None => settings.video.open(settings.encoder, || {
                unreachable!("only the simulated picture needs a world")
            })?,
        };
        let fanout = source.map(Fanout::start).transpose()?;
        if let (Some(fanout), Some(bitrate)) = (&fanout, settings.bitrate) {
            fanout.set_bitrate(bitrate);
        }
        let driver: Box<dyn Driver> = match (&world, settings.driver) {
            (Some(world), DriverSpec::Sim) => Box::new(SimDriver::new(world.handle())),
            _ => Box::new(NoDriver),
        };
        let machine = Machine::start(driver);
        let jobs = start_jobs(settings)?;
        let handle = jobs.as_ref().map(Jobs::handle);
        let shared = Shared { machine: machine.handle(), fanout, files, jobs: handle, threads };
        Ok(Self { shared: Arc::new(shared), machine, world, jobs })
    }

    /// What sessions share.
    pub fn shared(&self) -> Arc<Shared> {
        self.shared.clone()
    }

    /// What others may find this worker by.
    pub fn metadata(&self) -> Metadata {
        let video = self.shared.fanout.as_ref().map(Fanout::info);
        let properties = json!({
            "agent": AGENT,
            "driver": self.shared.machine.facts().driver,
            "video": video.map(|info| info.name),
            "files": self.shared.files.is_some(),
            "status": "available",
        });
        let properties = match properties {
            serde_json::Value::Object(properties) => Some(properties),
            _ => None,
        };
        Metadata {
            tags: Some(vec!["halyard-worker".to_owned()]),
            properties,
            ..Metadata::default()
        }
    }

    /// Stops everything: what could move something first.
    pub async fn stop(self) {
        self.machine.stop().await;
        if let Some(jobs) = self.jobs {
            jobs.stop().await;
        }
        if let Some(fanout) = &self.shared.fanout {
            fanout.stop().await;
        }
        if let Some(world) = self.world {
            world.stop().await;
        }
        self.shared.threads.clone().shutdown().await;
    }
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
        program,
        environment: std::env::vars().collect(),
    })?;
    Ok(Some(jobs))
}
