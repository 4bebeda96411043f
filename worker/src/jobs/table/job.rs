//! One job in memory: what was asked for, its life, its log and its program.

use std::{
    collections::VecDeque,
    io,
    path::PathBuf,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use halyard_protocol::channel::{JobHappened, JobInfo, JobState};

use crate::{
    bridge::Remark,
    jobs::{
        Act, EventLog, Input, Life, Refused, Weight, keeper,
        running::Running,
        spec::{GPUS, SPEC, Spec},
    },
};

/// The file of a job's events in its folder.
pub(super) const EVENTS: &str = "events.jsonl";

/// Events that wait for a disk with room, at most: those without which the job is not understood.
const MOST_UNWRITTEN: usize = 4096;

/// One job.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) spec: Spec,
    pub(super) dir: PathBuf,
    pub(super) life: Life,
    pub(super) log: EventLog,
    pub(super) running: Option<Running>,
    /// The graphics cards that were handed to it.
    pub(super) gpus: Vec<String>,
    /// What the disk had no room for.
    unwritten: Unwritten,
}

/// Events that could not be written down yet.
#[derive(Debug, Default)]
struct Unwritten {
    events: VecDeque<(u64, JobHappened)>,
    /// How many were given up meanwhile.
    left_out: usize,
    /// What the system said last.
    why: Option<String>,
}

pub(super) fn read_job(dir: PathBuf) -> io::Result<Job> {
    let spec: Spec = keeper::read_json(&dir, SPEC)?;
    let log = EventLog::open(&dir.join(EVENTS))?;
    let life = match &log.told().state {
        // Its log lost that it began. It must not run twice: what became of it is found out.
        Some((JobState::Queued, _)) | None if keeper::began(&dir) => {
            Life::restored(JobState::Running, None)
        }
        Some((state, reason)) => Life::restored(*state, reason.as_deref()),
        None => Life::default(),
    };
    let gpus = keeper::read_json(&dir, GPUS).unwrap_or_default();
    let mut job = Job::new(spec, dir, life, log);
    job.gpus = gpus;
    if let Some(aside) = job.log.damaged() {
        let aside = aside.display();
        tracing::error!(job = job.spec.job, %aside, "the log of a job was damaged; it is kept there");
        let words =
            "the log of events was damaged; what stood behind this place is kept at the worker";
        job.note("damaged", words.to_owned());
    }
    Ok(job)
}

impl Job {
    pub(super) fn new(spec: Spec, dir: PathBuf, life: Life, log: EventLog) -> Self {
        let (running, gpus, unwritten) = (None, Vec::new(), Unwritten::default());
        Self { spec, dir, life, log, running, gpus, unwritten }
    }

    pub(super) fn info(&self) -> JobInfo {
        let told = self.log.told();
        JobInfo {
            job: self.spec.job.clone(),
            template: self.spec.step.template.clone(),
            state: self.life.state(),
            by: self.spec.by.clone(),
            created_ms: self.spec.created_ms,
            started_ms: told.started_ms,
            ended_ms: told.ended_ms,
            reason: match &self.unwritten.why {
                Some(why) => Some(format!("it cannot be written down: {why}")),
                None => told.state.as_ref().and_then(|(_, reason)| reason.clone()),
            },
            after: self.spec.after.clone(),
            folder: self.spec.folder.clone(),
            events: self.log.last(),
            epoch: told.epoch,
            epochs: self.spec.epochs,
            gpus: self.gpus.clone(),
        }
    }

    /// Everything that happened to it is on the disk.
    pub(super) fn is_written(&self) -> bool {
        self.unwritten.events.is_empty()
    }

    /// It is over, and that is on the disk.
    pub(super) fn is_settled(&self) -> bool {
        self.life.state().is_over() && self.is_written()
    }

    pub(super) fn take(&mut self, input: Input) -> Result<JobState, Refused> {
        let exit_code = match &input {
            Input::Exited { code, .. } => *code,
            _ => None,
        };
        let Some(step) = self.life.take(input)? else { return Ok(self.life.state()) };
        tracing::info!(job = self.spec.job, state = %step.state, reason = step.reason, "job");
        self.write(state(step.state, step.reason, exit_code));
        if matches!(step.act, Act::AskToStop | Act::End)
            && let Some(running) = &mut self.running
        {
            running.insist(self.life.wish(), Instant::now());
        }
        Ok(self.life.state())
    }

    pub(super) fn write(&mut self, what: JobHappened) {
        self.write_all([what]);
    }

    /// Writes these down. Where the disk has no room, what matters waits in memory for it; lines and
    /// batches do not.
    pub(super) fn write_all(&mut self, what: impl IntoIterator<Item = JobHappened>) {
        let now = now_ms();
        self.unwritten.events.extend(what.into_iter().map(|what| (now, what)));
        self.write_what_waits();
    }

    /// Tries again to write down what waits.
    pub(super) fn write_what_waits(&mut self) {
        let waiting = &mut self.unwritten;
        if waiting.events.is_empty() {
            return;
        }
        if waiting.left_out > 0 {
            let message =
                format!("the disk was full: {} lines and reports are left out", waiting.left_out);
            let note = JobHappened::Note { code: "disk_full".to_owned(), message };
            waiting.events.push_front((now_ms(), note));
        }
        match self.log.append(&mut waiting.events) {
            Ok(()) => {
                if waiting.why.take().is_some() {
                    tracing::info!(
                        job = self.spec.job,
                        "the events of a job are written down again"
                    );
                }
                waiting.left_out = 0;
            }
            Err(error) => {
                if waiting.left_out > 0 {
                    waiting.events.pop_front();
                }
                let before = waiting.events.len();
                waiting.events.retain(|(_, what)| Weight::of(what) >= Weight::Heavy);
                while waiting.events.len() > MOST_UNWRITTEN {
                    waiting.events.pop_front();
                }
                waiting.left_out += before - waiting.events.len();
                if waiting.why.replace(error.to_string()).is_none() {
                    tracing::error!(%error, job = self.spec.job, "a job cannot be written down");
                }
            }
        }
    }

    pub(super) fn note(&mut self, code: &str, message: String) {
        self.write(JobHappened::Note { code: code.to_owned(), message });
    }

    pub(super) fn remark(&mut self, remark: &Remark) {
        let words = match remark {
            Remark::Late => "the trainer was heard late: its first reports are lost".to_owned(),
            Remark::Restarted => "the trainer began anew".to_owned(),
            Remark::Silent(since) => {
                format!("the trainer has reported nothing for {} s", since.as_secs())
            }
            Remark::HeardAgain => "the trainer is heard again".to_owned(),
        };
        self.note(remark.code(), words);
    }
}

pub(super) fn state(
    state: JobState,
    reason: Option<String>,
    exit_code: Option<i32>,
) -> JobHappened {
    JobHappened::State { state, reason, exit_code }
}

pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as u64
}
