//! What one existing client has to do with jobs: what it submitted, and the tasks that tell of it.

use std::{
    ops::RangeInclusive,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use halyard_client::{
    files::FileRoot,
    peer::{Peer, PeerError},
    transfer::Serving,
};
use halyard_protocol::channel::{
    JobEnd, JobEvent, JobHappened, JobProblem, JobState, JobStep, JobSubmit, Message,
};
use serde_json::{Value, json};
use tokio_util::task::AbortOnDropHandle;

use super::{
    SPEAKER,
    follow::{End, Following},
    place::{Place, or_top},
    spec::{self, Around, Plan, Problem},
    words,
};
use crate::{jobs::JobsHandle, machine::Asker, session::hello::NO_JOBS};

/// Learning rates that are told on to a trainer: those that existing clients submit.
const RATES: RangeInclusive<f64> = 1e-10..=1.0;

/// Submissions of one client that are told of at a time.
const MOST_FOLLOWED: usize = 8;

/// Nobody listens any more.
pub(super) struct Gone;

impl From<PeerError> for Gone {
    fn from(_: PeerError) -> Self {
        Self
    }
}

/// Everything that a task about jobs needs.
#[derive(Clone)]
pub(super) struct Teller {
    pub(super) peer: Peer,
    pub(super) asker: Asker,
    pub(super) jobs: JobsHandle,
    pub(super) root: FileRoot,
    pub(super) place: Place,
    pub(super) serving: Serving,
    /// The job that runs, to be stopped or cancelled.
    current: Arc<Mutex<Option<String>>>,
}

/// The jobs of one client.
pub(super) struct Jobs {
    /// `None` where this worker runs none.
    teller: Option<Teller>,
    followed: Vec<(Teller, AbortOnDropHandle<()>)>,
}

impl Jobs {
    pub(super) fn new(
        peer: &Peer,
        asker: &Asker,
        jobs: Option<JobsHandle>,
        files: Option<(&FileRoot, &Place)>,
        serving: &Serving,
    ) -> Self {
        let teller = jobs.zip(files).map(|(jobs, (root, place))| Teller {
            peer: peer.clone(),
            asker: asker.clone(),
            jobs,
            root: root.clone(),
            place: place.clone(),
            serving: serving.clone(),
            current: Arc::default(),
        });
        Self { teller, followed: Vec::new() }
    }

    /// For a task of its own, or why there is none.
    pub(super) fn teller(&mut self) -> Result<Teller, String> {
        let teller = self.teller.as_ref().ok_or(NO_JOBS)?;
        if !teller.asker.access.may_operate() {
            return Err("jobs need the operator's token".to_owned());
        }
        self.followed.retain(|(_, task)| !task.is_finished());
        if self.followed.len() >= MOST_FOLLOWED {
            return Err(format!("{MOST_FOLLOWED} of your jobs are told of already; wait for one"));
        }
        Ok(Teller { current: Arc::default(), ..teller.clone() })
    }

    /// Runs a task about jobs as long as the client listens. The jobs themselves go on without it.
    pub(super) fn run(
        &mut self,
        teller: Teller,
        task: impl Future<Output = Result<(), Gone>> + Send + 'static,
    ) {
        let peer = teller.asker.peer.clone();
        let task = tokio::spawn(async move {
            if task.await.is_err() {
                tracing::debug!(%peer, "a client that is gone is not told of its jobs");
            }
        });
        self.followed.push((teller, AbortOnDropHandle::new(task)));
    }

    /// `JOB_SUBMIT::id::{…}`.
    pub(super) async fn submit(&mut self, rest: &str) -> Vec<String> {
        let (id, text) = rest.split_once("::").unwrap_or((rest, ""));
        let teller = match self.teller() {
            Ok(teller) => teller,
            Err(why) => {
                let code = Some("NOT_ALLOWED".to_owned());
                let problem = Problem { field: String::new(), message: why, code, path: None };
                return vec![rejected(id, &[problem])];
            }
        };
        match teller.submitted(text.to_owned()).await {
            Ok((plan, jobs)) => {
                let mut lines = vec![format!("JOB_ACCEPTED::{}", jobs[0])];
                lines.extend(plan.remarks.iter().map(|remark| format!("{SPEAKER} {remark}\n")));
                self.run(teller.clone(), teller.tell_submitted(lines, plan, jobs));
                Vec::new()
            }
            Err(problems) => vec![rejected(id, &problems)],
        }
    }

    /// The client wants what it submitted last to end: now, or early and well.
    pub(super) async fn end(&mut self, cancel: bool) -> Vec<String> {
        let (current, teller) = (self.current(), &self.teller);
        let (Some(teller), Some(job)) = (teller, current) else {
            return vec![format!("{SPEAKER} there is no job of yours here\n")];
        };
        let end = JobEnd { id: String::new(), job };
        let asked = if cancel { Message::JobCancel(end) } else { Message::JobStop(end) };
        match teller.jobs.ask(teller.asker.clone(), asked).await {
            Message::Ack(ack) if !ack.ok => {
                let words = ack.error.map(|error| error.message).unwrap_or_default();
                vec![format!("{SPEAKER} {words}\n")]
            }
            _ => Vec::new(),
        }
    }

    /// `CONTROL_COMMAND::{…}` and `ZMQ_CTRL::{…}`: what the trainer's window says.
    pub(super) async fn control(&mut self, rest: &str) -> Vec<String> {
        let command: Option<Value> = serde_json::from_str(rest).ok();
        match command.as_ref().and_then(|value| value.get("command")?.as_str()) {
            Some("stop") => self.end(false).await,
            Some("cancel") => self.end(true).await,
            Some("set_lr") => {
                let rate = command.as_ref().and_then(|command| command.get("lr")?.as_f64());
                self.tune(rate.filter(|rate| RATES.contains(rate))).await
            }
            _ => vec![format!(
                "{SPEAKER} of the trainer's commands stop, cancel and set_lr are done here\n"
            )],
        }
    }

    /// Another learning rate for the trainer of what the client submitted last.
    async fn tune(&mut self, rate: Option<f64>) -> Vec<String> {
        let Some(rate) = rate else {
            let (least, most) = (RATES.start(), RATES.end());
            return vec![format!("{SPEAKER} set_lr needs an lr from {least:e} to {most}\n")];
        };
        let (current, teller) = (self.current(), &self.teller);
        let (Some(teller), Some(job)) = (teller, current) else {
            return vec![format!("{SPEAKER} there is no job of yours here\n")];
        };
        match teller.jobs.tune(job, rate).await {
            Ok(()) => Vec::new(),
            Err(why) => vec![format!("{SPEAKER} the learning rate is not told on: {why}\n")],
        }
    }

    /// The job that runs of what was submitted last.
    fn current(&mut self) -> Option<String> {
        self.followed.retain(|(_, task)| !task.is_finished());
        self.followed.iter().rev().find_map(|(teller, _)| teller.current())
    }
}

fn rejected(id: &str, problems: &[Problem]) -> String {
    let errors: Vec<_> = problems.iter().map(Problem::value).collect();
    format!("JOB_REJECTED::{id}::{}", json!({ "errors": errors }))
}

impl Teller {
    /// Says something, in order.
    pub(super) async fn say(&self, line: String) -> Result<(), Gone> {
        Ok(self.peer.send_legacy_text(line).await?)
    }

    pub(super) async fn say_all(&self, lines: Vec<String>) -> Result<(), Gone> {
        for line in lines {
            self.say(line).await?;
        }
        Ok(())
    }

    fn current(&self) -> Option<String> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Follows one job to its end, and lets it be stopped meanwhile.
    pub(super) async fn follow(
        &self,
        job: &str,
        lines: impl Fn(&JobEvent) -> Vec<String>,
    ) -> Result<End, Gone> {
        let set = |job: Option<String>| {
            *self.current.lock().unwrap_or_else(PoisonError::into_inner) = job;
        };
        set(Some(job.to_owned()));
        let mut following = Following::new(&self.jobs, &self.asker, job);
        while let Some(events) = following.next().await {
            for event in &events {
                self.say_all(lines(event)).await?;
            }
        }
        set(None);
        following.end().ok_or(Gone)
    }

    /// Queues steps.
    pub(super) async fn queue(&self, steps: Vec<JobStep>) -> Result<Vec<String>, Vec<JobProblem>> {
        // Clients count their requests anew in every session, so their ids are not unlike any other.
        let id = format!("existing-{:016x}", rand::random::<u64>());
        let submit = Message::JobSubmit(JobSubmit { id, steps });
        match self.jobs.ask(self.asker.clone(), submit).await {
            Message::JobAccepted(accepted) if !accepted.jobs.is_empty() => Ok(accepted.jobs),
            Message::JobRejected(refused) => Err(refused.errors),
            other => {
                tracing::error!(?other, "an answer that does not fit the question");
                Err(Vec::new())
            }
        }
    }

    async fn submitted(&self, text: String) -> Result<(Plan, Vec<String>), Vec<Problem>> {
        let place = self.place.clone();
        let folder = fresh_folder();
        let stamp = stamp(SystemTime::now());
        let made = folder.clone();
        let planned = tokio::task::spawn_blocking(move || {
            spec::plan(&text, &Around { place: &place, folder: &made, stamp: &stamp })
        });
        let stopping = |_| vec![problem("the worker is stopping")];
        let plan = planned.await.map_err(stopping)??;
        match self.queue(plan.steps.clone()).await {
            Ok(jobs) => Ok((plan, jobs)),
            Err(refused) => {
                // Configurations of a job that there will not be.
                let place = self.place.clone();
                let _ =
                    tokio::task::spawn_blocking(move || place.dir().remove_dir_all(folder)).await;
                Err(spec::problems(refused))
            }
        }
    }

    async fn tell_submitted(
        self,
        first: Vec<String>,
        plan: Plan,
        jobs: Vec<String>,
    ) -> Result<(), Gone> {
        self.say_all(first).await?;
        let several = jobs.len() > 1;
        let mut last = None;
        for (at, job) in jobs.iter().enumerate() {
            let mut begin = Vec::new();
            if several {
                let name = plan.names.get(at).map_or("", String::as_str);
                begin.push(format!("Training model {}/{}: {name}\n", at + 1, jobs.len()));
            }
            if at > 0 {
                begin.extend(plan.model_types.get(at).map(|model| format!("MODEL_TYPE::{model}")));
            }
            let lines = |event: &JobEvent| match event.what {
                JobHappened::State { state: JobState::Running, .. } => begin.clone(),
                _ => words::submitted(event),
            };
            let end = self.follow(job, lines).await?;
            let id = if several { format!("{}_{at}", jobs[0]) } else { jobs[0].clone() };
            let output = self.output(&plan, &jobs[0], at, &end);
            self.say(words::submitted_end(&id, &plan.kind, &end, output.as_deref())).await?;
            let state = end.state;
            last = Some(state);
            if state != JobState::Succeeded {
                break;
            }
        }
        match (plan.kind.as_str(), last) {
            ("train", Some(state)) => self.infer(&plan, &jobs[0], state).await,
            _ => Ok(()),
        }
    }

    /// Where a job's result is: a model's folder, or the only file.
    fn output(&self, plan: &Plan, first: &str, at: usize, end: &End) -> Option<String> {
        let asked = plan.steps.get(at)?.values.get("output_path").and_then(Value::as_str);
        let made = plan.run_names.get(at).map(|run| model(first, run));
        let made = made.filter(|folder| self.is_folder(folder));
        let file = end.results.first().map(|(path, _)| path.clone());
        asked.map(str::to_owned).or(made).or(file).map(|name| self.place.path(&name))
    }

    fn is_folder(&self, name: &str) -> bool {
        self.place.dir().metadata(or_top(name)).is_ok_and(|found| found.is_dir())
    }

    /// What existing workers do when all models are trained: look through the suggested frames of
    /// the labels.
    async fn infer(&self, plan: &Plan, first: &str, state: JobState) -> Result<(), Gone> {
        let models: Vec<_> = plan.run_names.iter().map(|run| model(first, run)).collect();
        let there: Vec<_> = models.iter().filter(|folder| self.is_folder(folder)).collect();
        let skipped = match (&plan.labels, state) {
            (_, JobState::Cancelled) => Some("cancelled"),
            (_, state) if state != JobState::Succeeded => Some("training_failed"),
            (None, _) => Some("no_labels_path"),
            _ if models.is_empty() => Some("no_checkpoint"),
            _ if there.is_empty() => Some("checkpoint_dir_missing"),
            _ => None,
        };
        let labels = match (skipped, &plan.labels) {
            (None, Some(labels)) => labels,
            (reason, _) => {
                let reason = json!({ "reason": reason.unwrap_or("no_labels_path") });
                return self.say(format!("INFERENCE_SKIPPED::{reason}")).await;
            }
        };
        let predictions = predictions(labels);
        let values = json!({
            "data_path": labels, "model_paths": there, "output_path": predictions,
            "only_suggested_frames": true,
        });
        let values = values.as_object().cloned().unwrap_or_default().into_iter().collect();
        let step = JobStep { template: "track".to_owned(), values };
        let job = match self.queue(vec![step]).await {
            Ok(jobs) => jobs.into_iter().next().unwrap_or_default(),
            Err(refused) => {
                let words: Vec<_> = refused.into_iter().map(|problem| problem.message).collect();
                let error = json!({ "error": words.join("; ") });
                return self.say(format!("INFERENCE_FAILED::{error}")).await;
            }
        };
        self.say("INFERENCE_BEGIN::{}".to_owned()).await?;
        let end = self.follow(&job, words::inferred).await?;
        let there = self.place.dir().metadata(&predictions).is_ok_and(|found| found.is_file());
        let path = there.then(|| self.place.path(&predictions));
        self.say(words::inferred_end(&end, path.as_deref())).await
    }
}

/// A model's folder among a job's results, as the templates make it.
fn model(job: &str, run_name: &str) -> String {
    format!("jobs/{job}/models/{run_name}")
}

/// Where the folders are for what comes with requests.
pub(crate) const PACKAGES: &str = "packages";

/// What such a folder's name begins with, so that it is told from those of other people.
const OURS: &str = "client-";

/// A folder for what comes with one request.
pub(super) fn fresh_folder() -> String {
    format!("{PACKAGES}/{OURS}{:08x}", rand::random::<u32>())
}

/// Whether a folder in [`PACKAGES`] was made by [`fresh_folder`].
pub(crate) fn is_fresh_folder(name: &str) -> bool {
    let number = name.strip_prefix(OURS);
    number.is_some_and(|text| text.len() == 8 && text.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Beside the labels, as existing workers put it.
fn predictions(labels: &str) -> String {
    let stem = labels.strip_suffix(".pkg.slp").or_else(|| labels.strip_suffix(".slp"));
    let stem = stem.unwrap_or(labels);
    format!("{stem}.predictions.slp")
}

/// `YYYYmmdd_HHMMSS` in UTC.
fn stamp(time: SystemTime) -> String {
    let text = humantime::format_rfc3339_seconds(time).to_string();
    text.trim_end_matches('Z').replace(['-', ':'], "").replace('T', "_")
}

fn problem(words: &str) -> Problem {
    Problem { field: "internal".to_owned(), message: words.to_owned(), code: None, path: None }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn a_runs_name_says_when_it_began() {
        assert_eq!(stamp(UNIX_EPOCH + Duration::from_secs(1_700_000_000)), "20231114_221320");
    }

    #[test]
    fn predictions_lie_beside_their_labels() {
        assert_eq!(predictions("p/mice.pkg.slp"), "p/mice.predictions.slp");
        assert_eq!(predictions("mice.v2.slp"), "mice.v2.predictions.slp");
        assert_eq!(predictions("p/mice"), "p/mice.predictions.slp");
    }

    #[test]
    fn a_refusal_names_the_request() {
        let problem = Problem { code: Some("X".into()), ..problem("m") };
        let errors = r#"{"errors":[{"code":"X","field":"internal","message":"m"}]}"#;
        assert_eq!(rejected("7", &[problem]), format!("JOB_REJECTED::7::{errors}"));
    }
}
