//! All jobs of a worker: what was asked for, how it stands, and what is due.
//!
//! This is the one owner of the folder `jobs_dir`. What is true is on the disk before anybody is
//! told; what is in memory can be made of it again.
//!
//! * `job` is one job; `queue` takes jobs in and says whose turn it is; `launch` starts programs and
//!   takes up those that run; `watch` looks after them until they are over.

mod job;
mod launch;
mod queue;
mod watch;

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    io,
    time::Instant,
};

use halyard_protocol::channel::{JobEvent, JobInfo, JobState, JobTemplateInfo, JobUnreadable};
use serde_json::Value;
use tokio::sync::mpsc;

use self::job::{Job, read_job};
use super::{Input, JobsError, Load, Plan, Refused, Template, keeper};
use crate::bridge::FromTrainer;

/// All of them, by their place in the queue.
#[derive(Debug)]
pub(in crate::jobs) struct Table {
    plan: Plan,
    jobs: BTreeMap<u64, Job>,
    unreadable: Vec<JobUnreadable>,
    /// Jobs with news since somebody looked.
    news: Vec<String>,
    started: Instant,
    reports: mpsc::Sender<(String, FromTrainer)>,
    reported: Option<mpsc::Receiver<(String, FromTrainer)>>,
    _lock: File,
}

impl Table {
    /// Reads what the folder knows. Nothing is started or taken up yet.
    pub(in crate::jobs) fn open(plan: Plan) -> Result<Self, JobsError> {
        let failed = |source| JobsError::Folder { path: plan.dir.clone(), source };
        keeper::make_private(&plan.dir).map_err(failed)?;
        let lock = File::create(plan.dir.join("lock")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(JobsError::Taken(plan.dir)),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let (reports, reported) = mpsc::channel(256);
        let (mut jobs, mut unreadable) = (BTreeMap::new(), Vec::new());
        for entry in fs::read_dir(&plan.dir).map_err(failed)? {
            let dir = entry.map_err(failed)?.path();
            if !dir.is_dir() {
                continue;
            }
            match read_job(dir.clone()) {
                Ok(job) => {
                    jobs.insert(job.spec.number, job);
                }
                // It was never accepted: the worker died while it wrote the job down.
                Err(error) if error.kind() == io::ErrorKind::NotFound && !keeper::began(&dir) => {
                    tracing::warn!(%error, dir = %dir.display(), "not a job");
                }
                // Somebody else's hands were in it. What can be read of it is for them to see.
                Err(error) => {
                    let job = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
                    let runs =
                        if keeper::lives(&dir) { ", and its program still runs" } else { "" };
                    let reason = format!("its folder in jobs_dir cannot be read ({error}){runs}");
                    tracing::error!(dir = %dir.display(), reason, "a job is left alone");
                    unreadable.push(JobUnreadable { job, reason });
                }
            }
        }
        let mut table = Self {
            plan,
            jobs,
            unreadable,
            news: Vec::new(),
            started: Instant::now(),
            reports,
            reported: Some(reported),
            _lock: lock,
        };
        table.forget();
        Ok(table)
    }

    /// Where the trainers' reports come out. To be taken once.
    pub(in crate::jobs) fn reported(&mut self) -> Option<mpsc::Receiver<(String, FromTrainer)>> {
        self.reported.take()
    }

    /// What can be asked for.
    pub(in crate::jobs) fn templates(&self) -> Vec<JobTemplateInfo> {
        self.plan.templates.iter().map(Template::info).collect()
    }

    /// How many there are to do.
    pub(in crate::jobs) fn load(&self) -> Load {
        let mut load = Load::default();
        for job in self.jobs.values() {
            match job.life.state() {
                JobState::Queued => load.queued += 1,
                JobState::Running | JobState::Stopping => load.running += 1,
                _ => {}
            }
        }
        load
    }

    /// Every text among the values of the jobs that are not over. Nobody knows them of a job that
    /// cannot be read, whose program may still run.
    pub(in crate::jobs) fn in_use(&self) -> Option<Vec<String>> {
        if !self.unreadable.is_empty() {
            return None;
        }
        let jobs = self.jobs.values().filter(|job| !job.life.state().is_over());
        let mut texts = Vec::new();
        for value in jobs.flat_map(|job| job.spec.step.values.values()) {
            collect_texts(value, &mut texts);
        }
        Some(texts)
    }

    /// Folders of jobs that cannot be read.
    pub(in crate::jobs) fn unreadable(&self) -> &[JobUnreadable] {
        &self.unreadable
    }

    /// All jobs, newest first.
    pub(in crate::jobs) fn list(&self) -> impl ExactSizeIterator<Item = JobInfo> + '_ {
        self.jobs.values().rev().map(Job::info)
    }

    /// One page of a job's events, and whether the job is over. `None` when there is no such job.
    pub(in crate::jobs) fn events(
        &mut self,
        job: &str,
        from: u64,
        most_bytes: usize,
    ) -> Option<io::Result<(Vec<JobEvent>, bool)>> {
        let job = self.find(job)?;
        let over = job.is_settled();
        Some(job.log.page(from, most_bytes).map(|events| {
            let last = events.last().map_or(from.max(1) - 1, |event| event.n);
            (events, over && last >= job.log.last())
        }))
    }

    /// Jobs with news since this was asked last.
    pub(in crate::jobs) fn news(&mut self) -> Vec<String> {
        std::mem::take(&mut self.news)
    }

    /// Whether there is anything to look at.
    pub(in crate::jobs) fn is_idle(&self) -> bool {
        self.jobs.values().all(Job::is_settled)
    }

    /// Somebody wants a job to end: now (`cancel`), or early and well.
    pub(in crate::jobs) fn end(
        &mut self,
        job: &str,
        cancel: bool,
    ) -> Option<Result<JobState, Refused>> {
        let input = if cancel { Input::Cancel } else { Input::Stop };
        let number = self.find(job)?.spec.number;
        Some(self.take(number, input))
    }

    /// Tells a job's trainer another learning rate; or why not.
    pub(in crate::jobs) fn tune(
        &mut self,
        job: &str,
        rate: f64,
        now: Instant,
    ) -> Result<(), &'static str> {
        let running = self.find(job).and_then(|job| job.running.as_mut());
        running.ok_or("this job does not run")?.tune(rate, now)
    }

    fn take(&mut self, number: u64, input: Input) -> Result<JobState, Refused> {
        let Some(job) = self.jobs.get_mut(&number) else { return Err(Refused(JobState::Lost)) };
        let result = job.take(input);
        let name = job.spec.job.clone();
        self.news.push(name);
        result
    }

    fn template(&self, name: &str) -> Option<&Template> {
        self.plan.templates.iter().find(|template| template.name == name)
    }

    fn find(&mut self, job: &str) -> Option<&mut Job> {
        self.jobs.values_mut().find(|other| other.spec.job == job)
    }
}

fn collect_texts(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::String(text) => into.push(text.clone()),
        Value::Array(values) => values.iter().for_each(|value| collect_texts(value, into)),
        Value::Object(values) => values.values().for_each(|value| collect_texts(value, into)),
        _ => {}
    }
}
