//! All jobs of a worker: what was asked for, how it stands, and what is due.
//!
//! This is the one owner of the folder `jobs_dir`. What is true is on the disk before anybody is
//! told; what is in memory can be made of it again.

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use halyard_protocol::{
    channel::{
        JobAccepted, JobErrorCode, JobEvent, JobHappened, JobInfo, JobProblem, JobState, JobSubmit,
        JobTemplateInfo, TrainerReport,
    },
    ids::PeerId,
};
use tokio::sync::mpsc;

use super::{
    Act, EventLog, Input, JobsError, Life, Load, Plan, Refused, Template,
    keeper::{self, Exit, Fate},
    results,
    running::{Launch, Running},
    spec::{PORTS, SPEC, Spec},
};
use crate::bridge::{Bridge, FromTrainer, Ports, Remark};

/// Jobs that may wait for their turn.
const MOST_QUEUED: usize = 100;

/// Steps of one request.
const MOST_STEPS: usize = 16;

/// Jobs without a graphics card that run side by side.
const SIDE_BY_SIDE: usize = 4;

/// Jobs that are over and still remembered.
const REMEMBERED: usize = 200;

/// Things of a trainer that are no reports and are remarked on.
const REMARKS: u32 = 5;

/// One job.
#[derive(Debug)]
pub(super) struct Job {
    spec: Spec,
    dir: PathBuf,
    life: Life,
    log: EventLog,
    running: Option<Running>,
}

/// All of them, by their place in the queue.
#[derive(Debug)]
pub(super) struct Table {
    plan: Plan,
    jobs: BTreeMap<u64, Job>,
    /// Jobs with news since somebody looked.
    news: Vec<String>,
    started: Instant,
    reports: mpsc::Sender<(String, FromTrainer)>,
    reported: Option<mpsc::Receiver<(String, FromTrainer)>>,
    _lock: File,
}

impl Table {
    /// Reads what the folder knows. Nothing is started or taken up yet.
    pub(super) fn open(plan: Plan) -> Result<Self, JobsError> {
        let failed = |source| JobsError::Folder { path: plan.dir.clone(), source };
        fs::create_dir_all(&plan.dir).map_err(failed)?;
        let lock = File::create(plan.dir.join("lock")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(JobsError::Taken(plan.dir)),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let (reports, reported) = mpsc::channel(256);
        let mut jobs = BTreeMap::new();
        for entry in fs::read_dir(&plan.dir).map_err(failed)? {
            let dir = entry.map_err(failed)?.path();
            if !dir.is_dir() {
                continue;
            }
            match read_job(dir.clone()) {
                Ok(job) => {
                    jobs.insert(job.spec.number, job);
                }
                // It was never accepted, or somebody else's hands were in it.
                Err(error) => tracing::warn!(%error, dir = %dir.display(), "not a job"),
            }
        }
        let mut table = Self {
            plan,
            jobs,
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
    pub(super) fn reported(&mut self) -> Option<mpsc::Receiver<(String, FromTrainer)>> {
        self.reported.take()
    }

    /// Takes up what ran when the last worker ended: a program that lives is watched again, for
    /// any other the truth is found out.
    pub(super) async fn take_up(&mut self) {
        let numbers: Vec<_> = self.jobs.keys().copied().collect();
        for number in numbers {
            let Some(job) = self.jobs.get_mut(&number) else { continue };
            let state = job.life.state();
            if !matches!(state, JobState::Running | JobState::Stopping) {
                continue;
            }
            let template = self.plan.templates.iter().find(|t| t.name == job.spec.step.template);
            let (grace, silent) = template.map_or_else(Default::default, |template| {
                (template.stop_grace, template.silent_after)
            });
            let fate = keeper::fate(&job.dir).unwrap_or_else(|error| {
                tracing::error!(%error, job = job.spec.job, "a job cannot be looked at");
                // Not known is not gone: it is looked at again in the next turn.
                Fate::Kept
            });
            match fate {
                Fate::Kept => {
                    tracing::info!(job = job.spec.job, "a job goes on");
                    let ports: Option<Ports> = keeper::read_json(&job.dir, PORTS).ok();
                    let mut bridge = None;
                    if let Some(ports) = ports {
                        let tag = job.spec.job.clone();
                        match Bridge::start(Some(ports), tag, self.reports.clone()).await {
                            Ok(made) => bridge = Some(made),
                            Err(error) => job.note("no_progress", error.to_string()),
                        }
                    }
                    job.note("taken_up", "the worker was away; the job went on meanwhile".into());
                    let told = job.log.told().clone();
                    job.running =
                        Some(Running::new(&job.dir, None, bridge, &told, (grace, silent)));
                    self.news.push(job.spec.job.clone());
                }
                fate => {
                    let told = job.log.told().clone();
                    job.running = Some(Running::new(&job.dir, None, None, &told, (grace, silent)));
                    self.over(number, fate);
                }
            }
        }
    }

    /// What can be asked for.
    pub(super) fn templates(&self) -> Vec<JobTemplateInfo> {
        self.plan.templates.iter().map(Template::info).collect()
    }

    /// How many there are to do.
    pub(super) fn load(&self) -> Load {
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

    /// All jobs, newest first.
    pub(super) fn list(&self) -> impl ExactSizeIterator<Item = JobInfo> + '_ {
        self.jobs.values().rev().map(Job::info)
    }

    /// One page of a job's events, and whether the job is over. `None` when there is no such job.
    pub(super) fn events(
        &mut self,
        job: &str,
        from: u64,
        most_bytes: usize,
    ) -> Option<io::Result<(Vec<JobEvent>, bool)>> {
        let job = self.find(job)?;
        let over = job.life.state().is_over();
        Some(job.log.page(from, most_bytes).map(|events| {
            let last = events.last().map_or(from.max(1) - 1, |event| event.n);
            (events, over && last >= job.log.last())
        }))
    }

    /// Jobs with news since this was asked last.
    pub(super) fn news(&mut self) -> Vec<String> {
        std::mem::take(&mut self.news)
    }

    /// Queues what somebody asked for, or says everything that is wrong with it.
    pub(super) fn submit(
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

    /// Somebody wants a job to end: now (`cancel`), or early and well.
    pub(super) fn end(&mut self, job: &str, cancel: bool) -> Option<Result<JobState, Refused>> {
        let input = if cancel { Input::Cancel } else { Input::Stop };
        let number = self.find(job)?.spec.number;
        Some(self.take(number, input))
    }

    /// A trainer said something.
    pub(super) fn heard(&mut self, job: &str, said: FromTrainer) {
        let now = self.started.elapsed();
        let Some(job) = self.find(job) else { return };
        let Some(running) = &mut job.running else { return };
        let read = match &said {
            FromTrainer::Report(text) => TrainerReport::read(text).ok_or("no report"),
            FromTrainer::NotUnderstood(why) => Err(*why),
        };
        match (said, read) {
            (FromTrainer::Report(report), Ok(read)) => {
                let remark = running.watch.heard(now, &read);
                if let Some(remark) = remark {
                    job.remark(&remark);
                }
                job.write(JobHappened::Progress { report });
            }
            (_, read) => {
                running.not_understood += 1;
                if running.not_understood <= REMARKS {
                    let why = read.err().unwrap_or("nothing known");
                    job.note("not_understood", format!("the trainer sent {why}"));
                }
            }
        }
        let name = job.spec.job.clone();
        self.news.push(name);
    }

    /// Looks at every program, and starts what may start.
    pub(super) async fn turn(&mut self) {
        let numbers: Vec<_> = self.jobs.keys().copied().collect();
        for number in numbers {
            self.look(number);
        }
        while let Some(number) = self.next() {
            self.launch(number).await;
        }
    }

    /// Whether there is anything to look at.
    pub(super) fn is_idle(&self) -> bool {
        self.jobs.values().all(|job| job.life.state().is_over())
    }

    fn look(&mut self, number: u64) {
        let (clock, now) = (self.started.elapsed(), Instant::now());
        let Some(job) = self.jobs.get_mut(&number) else { return };
        let limit = self.plan.templates.iter().find(|t| t.name == job.spec.step.template);
        let limit = limit.map(|template| template.time_limit);
        let before = job.log.last();
        let Some(running) = &mut job.running else { return };
        let fate = running.fate();
        for what in running.output() {
            job.write(what);
        }
        if fate == Fate::Kept {
            let Some(running) = &mut job.running else { return };
            if let Some(remark) = running.watch.look(clock) {
                job.remark(&remark);
            }
            let started = job.log.told().started_ms.unwrap_or_default();
            let ran = u128::from(now_ms().saturating_sub(started));
            if limit.is_some_and(|limit| ran >= limit.as_millis()) {
                let _ = job.take(Input::TimeUp);
            }
            let wish = job.life.wish();
            if let Some(running) = &mut job.running {
                running.insist(wish, now);
            }
            if job.log.last() != before {
                let name = job.spec.job.clone();
                self.news.push(name);
            }
        } else {
            self.over(number, fate);
        }
    }

    /// A job's program is over: its last words, its results, the verdict.
    fn over(&mut self, number: u64, fate: Fate) {
        let Some(job) = self.jobs.get_mut(&number) else { return };
        let Some(mut running) = job.running.take() else { return };
        for what in running.last_output() {
            job.write(what);
        }
        let input = match fate {
            Fate::Ended(Exit { not_started: Some(reason), .. }) => Input::Broken(reason),
            Fate::Ended(exit) => {
                let (out, err) = exit.left_out;
                if out + err > 0 {
                    job.note(
                        "output_left_out",
                        format!("{} bytes of output were too many", out + err),
                    );
                }
                Input::Exited { code: exit.code, signal: exit.signal }
            }
            Fate::Kept | Fate::Gone => Input::Vanished,
        };
        let template = self.plan.templates.iter().find(|t| t.name == job.spec.step.template);
        if let Some(template) = template {
            match results::find(&self.plan.files.join(&job.spec.folder), &template.results) {
                Ok(found) => {
                    for (name, size) in found {
                        let path = format!("{}/{name}", job.spec.folder);
                        job.write(JobHappened::Result { path, size });
                    }
                }
                Err(error) => job.note("no_results", format!("its folder cannot be read: {error}")),
            }
        }
        let _ = self.take(number, input);
    }

    /// The next job whose turn it is. Jobs behind one that did not succeed are called off.
    fn next(&mut self) -> Option<u64> {
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

    async fn launch(&mut self, number: u64) {
        let Some(job) = self.jobs.get(&number) else { return };
        let (name, dir) = (job.spec.job.clone(), job.dir.clone());
        match self.prepare(&job.spec.clone(), &dir).await {
            Ok((launch, bridge, times)) => {
                // Written down before it begins: a worker that dies in between finds it and says so.
                if self.take(number, Input::Start).is_err() {
                    return;
                }
                match launch() {
                    Ok(child) => {
                        let Some(job) = self.jobs.get_mut(&number) else { return };
                        let told = job.log.told().clone();
                        job.running = Some(Running::new(&dir, Some(child), bridge, &told, times));
                        tracing::info!(job = name, "a job begins");
                    }
                    Err(error) => {
                        let words = format!("its keeper does not start: {error}");
                        let _ = self.take(number, Input::Broken(words));
                    }
                }
            }
            Err(reason) => {
                let _ = self.take(number, Input::Broken(reason));
            }
        }
    }

    async fn prepare(&self, spec: &Spec, dir: &Path) -> Result<Prepared, String> {
        let template = self.plan.templates.iter().find(|t| t.name == spec.step.template);
        let template =
            template.ok_or("its template is not in the worker's configuration any more")?.clone();
        let command = template.fill("values", &spec.step.values, &self.plan.files);
        let command = command.map_err(|problems| {
            let said = |problem: &JobProblem| format!("{}: {}", problem.field, problem.message);
            problems.iter().map(said).collect::<Vec<_>>().join("; ")
        })?;
        let files = std::path::absolute(&self.plan.files).map_err(|error| error.to_string())?;
        let folder = files.join(&spec.folder);
        fs::create_dir_all(&folder)
            .map_err(|error| format!("its folder cannot be made: {error}"))?;
        let bridge = if template.has_bridge() {
            let bridge = Bridge::start(None, spec.job.clone(), self.reports.clone()).await;
            let bridge = bridge.map_err(|error| error.to_string())?;
            keeper::write_json(dir, PORTS, &bridge.ports()).map_err(|error| error.to_string())?;
            Some(bridge)
        } else {
            None
        };
        let env = template.env.iter();
        let env =
            env.filter_map(|name| Some((name.clone(), self.plan.environment.get(name)?.clone())));
        let (env, ports) = (env.collect(), bridge.as_ref().map(Bridge::ports));
        let (program, job, dir) = (self.plan.program.clone(), spec.job.clone(), dir.to_owned());
        let launch = move || {
            Running::launch(Launch {
                dir: &dir,
                keeper: &program,
                command,
                job: &job,
                folder: &folder,
                files: &files,
                env,
                ports,
            })
        };
        Ok((Box::new(launch), bridge, (template.stop_grace, template.silent_after)))
    }

    fn take(&mut self, number: u64, input: Input) -> Result<JobState, Refused> {
        let Some(job) = self.jobs.get_mut(&number) else { return Err(Refused(JobState::Lost)) };
        let result = job.take(input);
        let name = job.spec.job.clone();
        self.news.push(name);
        result
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

    fn find(&mut self, job: &str) -> Option<&mut Job> {
        self.jobs.values_mut().find(|other| other.spec.job == job)
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
    fn forget(&mut self) {
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

type Prepared = (
    Box<dyn FnOnce() -> io::Result<tokio::process::Child> + Send>,
    Option<Bridge>,
    (std::time::Duration, std::time::Duration),
);

/// The file of a job's events in its folder.
const EVENTS: &str = "events.jsonl";

fn read_job(dir: PathBuf) -> io::Result<Job> {
    let spec: Spec = keeper::read_json(&dir, SPEC)?;
    let log = EventLog::open(&dir.join(EVENTS))?;
    let life = match &log.told().state {
        Some((state, reason)) => Life::restored(*state, reason.as_deref()),
        None => Life::default(),
    };
    Ok(Job { spec, dir, life, log, running: None })
}

impl Job {
    fn info(&self) -> JobInfo {
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

    fn take(&mut self, input: Input) -> Result<JobState, Refused> {
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

    fn write(&mut self, what: JobHappened) {
        if let Err(error) = self.log.append(now_ms(), what) {
            tracing::error!(%error, job = self.spec.job, "an event of a job cannot be written down");
        }
    }

    fn note(&mut self, code: &str, message: String) {
        self.write(JobHappened::Note { code: code.to_owned(), message });
    }

    fn remark(&mut self, remark: &Remark) {
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

fn state(state: JobState, reason: Option<String>, exit_code: Option<i32>) -> JobHappened {
    JobHappened::State { state, reason, exit_code }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as u64
}
