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
        // Fewer than steps: the worker died while it wrote them down, and nobody was answered.
        if known.len() == submit.steps.len() && !known.is_empty() {
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
            if let Some(template) = self.template(&step.template) {
                let filled = template.fill(&field, &step.values, &self.plan.files);
                problems.extend(filled.err().into_iter().flatten());
            } else {
                let names: Vec<_> =
                    self.plan.templates.iter().map(|known| known.name.as_str()).collect();
                let message = format!("there is no such template; there are: {}", names.join(", "));
                let (field, code) = (format!("{field}.template"), JobErrorCode::UnknownTemplate);
                problems.push(JobProblem { field, code, message });
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut jobs = known;
        for step in &submit.steps[jobs.len().min(submit.steps.len())..] {
            let job = self.free_id();
            let spec = Spec {
                number: self.jobs.last_key_value().map_or(1, |(number, _)| number + 1),
                request: submit.id.clone(),
                step: step.clone(),
                by: by.clone(),
                created_ms: now_ms(),
                after: jobs.last().cloned(),
                folder: format!("jobs/{}", jobs.first().unwrap_or(&job)),
                epochs: self.template(&step.template).and_then(|t| t.epochs(&step.values)),
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
    ///
    /// Among those that need graphics cards nobody overtakes: a job that needs several would wait for
    /// ever behind many that need one.
    pub(super) fn next(&mut self) -> Option<u64> {
        let queued = self.jobs.values().filter(|job| job.life.state() == JobState::Queued);
        let queued: Vec<_> = queued.map(|job| (job.spec.number, job.spec.after.clone())).collect();
        let mut may_start = None;
        let mut cards_are_waited_for = false;
        for (number, after) in queued {
            match after.as_ref().and_then(|after| self.state_of(after)) {
                Some(state) if state.is_over() && state != JobState::Succeeded => {
                    let _ = self.take(number, Input::Before(after.unwrap_or_default(), state));
                    continue;
                }
                Some(state) if !state.is_over() => continue,
                // It is first, or what came before is not remembered any more and was over long ago.
                _ => {}
            }
            let needs_cards = self.jobs.get(&number).is_some_and(|job| self.needs(job) > 0);
            if may_start.is_some() || (needs_cards && cards_are_waited_for) {
                continue;
            }
            if self.has_room(number) {
                may_start = Some(number);
            } else {
                cards_are_waited_for |= needs_cards;
            }
        }
        may_start
    }

    /// How a job stands. One that cannot be read is lost.
    fn state_of(&mut self, job: &str) -> Option<JobState> {
        let unreadable = self.unreadable.iter().any(|other| other.job == job);
        self.find(job).map(|job| job.life.state()).or_else(|| unreadable.then_some(JobState::Lost))
    }

    /// How many graphics cards a job needs. One whose template is gone needs none: it cannot start.
    fn needs(&self, job: &Job) -> usize {
        self.template(&job.spec.step.template).map_or(0, |template| template.gpus as usize)
    }

    /// Jobs that run and hold graphics cards: those they were handed, or all of them.
    fn holders(&self) -> impl Iterator<Item = &Job> {
        let runs = |job: &&Job| matches!(job.life.state(), JobState::Running | JobState::Stopping);
        // The owner may have rewritten the templates while the job ran.
        let holds = |job: &&Job| {
            let template = self.template(&job.spec.step.template);
            !job.gpus.is_empty() || template.is_none_or(|template| template.gpus > 0)
        };
        self.jobs.values().filter(runs).filter(holds)
    }

    /// The graphics cards that nobody has. None at all while a job runs that was not told which ones
    /// are its own.
    fn free_cards(&self) -> Vec<String> {
        if self.holders().any(|job| job.gpus.is_empty()) {
            return Vec::new();
        }
        let taken = |card: &&String| !self.holders().any(|job| job.gpus.contains(card));
        self.plan.gpus.iter().filter(taken).cloned().collect()
    }

    /// The graphics cards that a job is handed when it starts now.
    pub(super) fn cards_for(&self, number: u64) -> Vec<String> {
        let needs = self.jobs.get(&number).map_or(0, |job| self.needs(job));
        self.free_cards().into_iter().take(needs).collect()
    }

    fn has_room(&self, number: u64) -> bool {
        let Some(job) = self.jobs.get(&number) else { return false };
        match self.needs(job) {
            0 => {
                let runs =
                    |job: &&Job| matches!(job.life.state(), JobState::Running | JobState::Stopping);
                let holders = self.holders().count();
                self.jobs.values().filter(runs).count() - holders < SIDE_BY_SIDE
            }
            _ if self.plan.gpus.is_empty() => self.holders().next().is_none(),
            // More than there are: it was asked for before the owner took some away.
            cards if cards > self.plan.gpus.len() => true,
            cards => self.free_cards().len() >= cards,
        }
    }

    fn queue(&mut self, spec: Spec) -> io::Result<()> {
        let dir = self.plan.dir.join(&spec.job);
        keeper::make_private(&dir)?;
        let written = || {
            let mut log = EventLog::open(&dir.join(EVENTS))?;
            let queued = state(JobState::Queued, None, None);
            log.append(&mut [(spec.created_ms, queued)].into())?;
            // The last thing: a folder without it is no job.
            keeper::write_json(&dir, SPEC, &spec)?;
            Ok(log)
        };
        // What was never accepted leaves nothing behind, and no disk fuller than it was.
        let log = written().inspect_err(|_: &io::Error| drop(fs::remove_dir_all(&dir)))?;
        self.news.push(spec.job.clone());
        self.jobs.insert(spec.number, Job::new(spec, dir, Life::default(), log));
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
