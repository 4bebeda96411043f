//! The queue: what comes in, whose turn it is, and what is forgotten.

use std::{fs, io};

use halyard_protocol::{
    channel::{JobAccepted, JobErrorCode, JobProblem, JobState, JobSubmit},
    ids::PeerId,
};

use super::{
    Table,
    job::{EVENTS, Job, now_ms, state},
};
use crate::jobs::{
    EventLog, Input, Life, keeper,
    spec::{SPEC, Spec},
};

/// Jobs that may wait for their turn.
const MOST_QUEUED: usize = 100;

/// Steps of one request.
const MOST_STEPS: usize = 16;

/// Jobs without a graphics card that run side by side.
const SIDE_BY_SIDE: usize = 4;

/// Jobs that are over and still remembered.
const REMEMBERED: usize = 200;

impl Table {
    /// Queues what somebody asked for, or says everything that is wrong with it.
    pub(in crate::jobs) fn submit(
        &mut self,
        by: &PeerId,
        submit: &JobSubmit,
    ) -> Result<JobAccepted, Vec<JobProblem>> {
        let problem = |field: &str, code, message: String| {
            vec![JobProblem { field: field.to_owned(), code, message }]
        };
        let known: Vec<_> = self
            .jobs
            .values()
            .filter(|job| !submit.id.is_empty() && job.spec.request == submit.id)
            .filter(|job| job.spec.by == *by)
            .map(|job| job.spec.job.clone())
            .collect();
        if !known.is_empty() {
            return Ok(JobAccepted { id: submit.id.clone(), jobs: known });
        }
        if self.plan.maintenance {
            let words =
                "this worker is in maintenance and takes no new jobs; try later, or another";
            return Err(problem("", JobErrorCode::Disabled, words.to_owned()));
        }
        if submit.steps.is_empty() || submit.steps.len() > MOST_STEPS {
            let words = format!("accepted are 1 to {MOST_STEPS} steps");
            return Err(problem("steps", JobErrorCode::TooMany, words));
        }
        let waiting = self.jobs.values().filter(|job| job.life.state() == JobState::Queued).count();
        if waiting + submit.steps.len() > MOST_QUEUED {
            let words =
                format!("{waiting} jobs wait already, at most {MOST_QUEUED} may; try later");
            return Err(problem("", JobErrorCode::TooMany, words));
        }
        let mut problems = Vec::new();
        for (number, step) in submit.steps.iter().enumerate() {
            let field = format!("steps[{number}]");
            let templates = &self.plan.templates;
            if let Some(template) = templates.iter().find(|known| known.name == step.template) {
                let filled = template.fill(&field, &step.values, &self.plan.files);
                problems.extend(filled.err().into_iter().flatten());
            } else {
                let names: Vec<_> = templates.iter().map(|known| known.name.as_str()).collect();
                let message = format!("there is no such template; there are: {}", names.join(", "));
                let (field, code) = (format!("{field}.template"), JobErrorCode::UnknownTemplate);
                problems.push(JobProblem { field, code, message });
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut jobs: Vec<String> = Vec::new();
        for step in &submit.steps {
            let job = self.free_id();
            let spec = Spec {
                number: self.jobs.last_key_value().map_or(1, |(number, _)| number + 1),
                request: submit.id.clone(),
                step: step.clone(),
                by: by.clone(),
                created_ms: now_ms(),
                after: jobs.last().cloned(),
                folder: format!("jobs/{}", jobs.first().unwrap_or(&job)),
                job: job.clone(),
            };
            match self.queue(spec) {
                Ok(()) => jobs.push(job),
                Err(error) => {
                    tracing::error!(%error, "a job cannot be written down");
                    // Nobody is told of the steps before, so they must not run.
                    for job in &jobs {
                        let _ = self.end(job, true);
                    }
                    let words = format!("the job cannot be written down: {error}");
                    return Err(problem("", JobErrorCode::Failed, words));
                }
            }
        }
        self.forget();
        tracing::info!(%by, ?jobs, "jobs were submitted");
        Ok(JobAccepted { id: submit.id.clone(), jobs })
    }

    /// The next job whose turn it is. Jobs behind one that did not succeed are called off.
    pub(super) fn next(&mut self) -> Option<u64> {
        let queued = self.jobs.values().filter(|job| job.life.state() == JobState::Queued);
        let queued: Vec<_> = queued.map(|job| (job.spec.number, job.spec.after.clone())).collect();
        let mut may_start = None;
        for (number, after) in queued {
            let before = after.as_ref().and_then(|after| self.find(after)).map(|j| j.life.state());
            match (after, before) {
                (Some(after), Some(state)) if state.is_over() && state != JobState::Succeeded => {
                    let _ = self.take(number, Input::Before(after, state));
                }
                (Some(_), Some(state)) if !state.is_over() => {}
                // A job that is not remembered any more was over long ago.
                _ if may_start.is_none() && self.has_room(number) => may_start = Some(number),
                _ => {}
            }
        }
        may_start
    }

    fn has_room(&self, number: u64) -> bool {
        let needs = |job: &Job| {
            let template = self.plan.templates.iter().find(|t| t.name == job.spec.step.template);
            template.is_none_or(|template| template.gpus > 0)
        };
        let Some(job) = self.jobs.get(&number) else { return false };
        let running: Vec<_> = self
            .jobs
            .values()
            .filter(|job| matches!(job.life.state(), JobState::Running | JobState::Stopping))
            .collect();
        if needs(job) {
            !running.iter().any(|job| needs(job))
        } else {
            running.iter().filter(|job| !needs(job)).count() < SIDE_BY_SIDE
        }
    }

    fn queue(&mut self, spec: Spec) -> io::Result<()> {
        let dir = self.plan.dir.join(&spec.job);
        fs::create_dir(&dir)?;
        let mut log = EventLog::open(&dir.join(EVENTS))?;
        log.append(spec.created_ms, state(JobState::Queued, None, None))?;
        // The last thing: a folder without it is no job.
        keeper::write_json(&dir, SPEC, &spec)?;
        self.news.push(spec.job.clone());
        let job = Job { dir, log, life: Life::default(), running: None, spec };
        self.jobs.insert(job.spec.number, job);
        Ok(())
    }

    fn free_id(&self) -> String {
        loop {
            let id = format!("{:08x}", rand::random::<u32>());
            if !self.plan.dir.join(&id).exists() && !self.plan.files.join("jobs").join(&id).exists()
            {
                return id;
            }
        }
    }

    /// Forgets the oldest jobs that are over. Their results stay in the files.
    pub(super) fn forget(&mut self) {
        let over = self.jobs.values().filter(|job| job.life.state().is_over());
        let over: Vec<_> = over.map(|job| job.spec.number).collect();
        for number in &over[..over.len().saturating_sub(REMEMBERED)] {
            if let Some(job) = self.jobs.remove(number)
                && let Err(error) = fs::remove_dir_all(&job.dir)
            {
                tracing::warn!(%error, job = job.spec.job, "an old job cannot be forgotten");
            }
        }
    }
}
