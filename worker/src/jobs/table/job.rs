//! One job in memory: what was asked for, its life, its log and its program.

use std::{
    io,
    path::PathBuf,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use halyard_protocol::channel::{JobHappened, JobInfo, JobState};

use crate::{
    bridge::Remark,
    jobs::{
        Act, EventLog, Input, Life, Refused, keeper,
        running::Running,
        spec::{SPEC, Spec},
    },
};

/// The file of a job's events in its folder.
pub(super) const EVENTS: &str = "events.jsonl";

/// One job.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) spec: Spec,
    pub(super) dir: PathBuf,
    pub(super) life: Life,
    pub(super) log: EventLog,
    pub(super) running: Option<Running>,
}

pub(super) fn read_job(dir: PathBuf) -> io::Result<Job> {
    let spec: Spec = keeper::read_json(&dir, SPEC)?;
    let log = EventLog::open(&dir.join(EVENTS))?;
    let life = match &log.told().state {
        Some((state, reason)) => Life::restored(*state, reason.as_deref()),
        None => Life::default(),
    };
    Ok(Job { spec, dir, life, log, running: None })
}

impl Job {
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
            reason: told.state.as_ref().and_then(|(_, reason)| reason.clone()),
            after: self.spec.after.clone(),
            folder: self.spec.folder.clone(),
            events: self.log.last(),
        }
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
        if let Err(error) = self.log.append(now_ms(), what) {
            tracing::error!(%error, job = self.spec.job, "an event of a job cannot be written down");
        }
    }

    pub(super) fn note(&mut self, code: &str, message: String) {
        self.write(JobHappened::Note { code: code.to_owned(), message });
    }

    pub(super) fn remark(&mut self, remark: &Remark) {
        let (code, words) = match remark {
            Remark::Late => {
                ("late", "the trainer was heard late: its first reports are lost".into())
            }
            Remark::Restarted => ("restarted", "the trainer began anew".to_owned()),
            Remark::Silent(since) => {
                ("silent", format!("the trainer has reported nothing for {} s", since.as_secs()))
            }
            Remark::HeardAgain => ("heard_again", "the trainer is heard again".to_owned()),
        };
        self.note(code, words);
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
