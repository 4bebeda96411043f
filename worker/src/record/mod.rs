//! What happened, on disk: the picture as fragmented MP4, telemetry and events as JSON lines.
//!
//! One time base: every line has `t`, the seconds since the recording began, and the pictures' times
//! in the MP4 count from the same moment. A part ends after ten minutes or 64 MiB, and the oldest
//! parts go when the folder holds more than it may. Nothing here is waited for: when the disk is too
//! slow or full, what is lost is lost for the recording alone, and told.
//!
//! * [`mp4`] writes the boxes; [`shelf`] is the folder.

mod mp4;
mod shelf;
mod task;

use std::{io, path::PathBuf, time::SystemTime};

use serde::Serialize;
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{machine::MachineHandle, media::Fanout};

/// Bytes that all parts together may take unless said otherwise.
pub const DEFAULT_MAX: u64 = 4 * 1024 * 1024 * 1024;

/// What is to be recorded, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordPlan {
    /// The folder.
    pub dir: PathBuf,
    /// Bytes that all parts together may take.
    pub max: u64,
}

/// The folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot record to {dir:?} ({source}); --record takes a folder that can be written to")]
pub struct RecordError {
    dir: PathBuf,
    source: io::Error,
}

/// How the recording goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RecordStatus {
    /// The folder.
    pub dir: PathBuf,
    /// The files being written now.
    pub files: Vec<PathBuf>,
    /// Bytes written since the start.
    pub bytes: u64,
    /// Pictures, lines and parts that are missing because the disk did not take them.
    pub lost: u64,
    /// What is wrong at the moment; recording is tried again by itself.
    pub trouble: Option<String>,
}

/// A running recording. It ends when stopped or dropped; only stopping waits until all is written.
#[derive(Debug)]
pub struct Recorder {
    status: watch::Receiver<RecordStatus>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Recorder {
    /// Starts recording.
    pub fn start(
        plan: &RecordPlan,
        fanout: Option<&Fanout>,
        machine: &MachineHandle,
    ) -> Result<Self, RecordError> {
        let now = SystemTime::now();
        let failed = |source| RecordError { dir: plan.dir.clone(), source };
        let shelf = shelf::Shelf::open(&plan.dir, plan.max, now).map_err(failed)?;
        // A folder that takes nothing is better told now than when something has happened.
        let probe = tempfile_in(&plan.dir);
        std::fs::write(&probe, b"").and_then(|()| std::fs::remove_file(&probe)).map_err(failed)?;
        let begin = RecordStatus { dir: plan.dir.clone(), ..RecordStatus::default() };
        let (told, status) = watch::channel(begin);
        let stop = CancellationToken::new();
        let task = task::Task::new(shelf, now, told, machine, fanout.cloned());
        let task = tokio::spawn(task.run(stop.clone()));
        if let Some(codec) =
            fanout.map(|fanout| fanout.info().codec).filter(|codec| codec != "h264")
        {
            tracing::warn!(
                codec,
                "only H.264 is recorded: there will be telemetry and events alone"
            );
        }
        tracing::info!(dir = %plan.dir.display(), max = plan.max, "recording");
        Ok(Self { status, stop, task })
    }

    /// How it goes: latest wins.
    pub fn status(&self) -> watch::Receiver<RecordStatus> {
        self.status.clone()
    }

    /// Ends the recording and waits until it is written.
    pub async fn stop(mut self) {
        self.stop.cancel();
        if let Err(error) = (&mut self.task).await {
            tracing::error!(%error, "the recording ended badly");
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn tempfile_in(dir: &std::path::Path) -> PathBuf {
    dir.join(format!(".halyard-{}.probe", std::process::id()))
}
