//! Following jobs to their end: on a screen where there is a terminal, in lines where there is none
//! or lines were asked for, as objects for programs.
//!
//! * [`view`] is what is known, [`draw`] is how it looks, [`keys`] is what keys mean, [`lines`] are
//!   the words where there is no screen.
//! * [`Following`] carries it out. Whatever ends it, the jobs go on; it says how to come back.

mod curve;
mod draw;
mod keys;
mod lines;
mod view;

use std::{
    fmt::Write as _,
    pin::{Pin, pin},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use halyard_protocol::{
    access::PeerRole,
    channel::{Ack, JobEvent, JobInfo, JobState},
    ids::PeerId,
};
use serde_json::{Value, json};

use self::{
    curve::figure,
    view::{Followed, Key, View},
};
use super::{
    exit::{CliError, Exit},
    output::{BAD, FAINT, GOOD, Output, STRONG, printable},
    screen::Screen,
    session::{Context, remark},
    words::short,
};
use crate::session::{JobsError, Session, SessionEvent};

/// On a screen that shows how long it takes.
const SECOND: Duration = Duration::from_secs(1);

/// Jobs that are followed one after another.
pub(super) struct Following {
    view: View,
    plain: bool,
    left: bool,
    /// The worker, where the room has several: the way back must name it.
    worker: Option<PeerId>,
}

/// Where what happens is told.
enum Face {
    Lines(Output),
    Screen(Box<Screen>),
}

type Asked<'a> = Pin<Box<dyn Future<Output = Result<Ack, JobsError>> + 'a>>;

impl Following {
    /// Nothing yet. `plain` asks for lines also where there is a terminal.
    pub(super) fn new(plain: bool) -> Self {
        Self { view: View::default(), plain, left: false, worker: None }
    }

    /// Follows these, in this order, as the worker lists them.
    pub(super) fn these(&mut self, jobs: &[String], listed: &[JobInfo]) {
        let followed = |job: &String| match listed.iter().find(|info| info.job == *job) {
            Some(info) => Followed::listed(info),
            None => Followed::new(job),
        };
        self.view = View::new(jobs.iter().map(followed).collect());
    }

    /// Leaves out what happened to the first one before this number.
    pub(super) fn from(&mut self, number: u64) {
        if let Some(job) = self.view.jobs.first_mut() {
            job.last = number.saturating_sub(1);
        }
    }

    /// Follows until all are over, one did not succeed, or the user leaves.
    pub(super) async fn run(
        &mut self,
        context: &Context<'_>,
        session: &Session,
    ) -> Result<(), CliError> {
        let workers = session.peers().iter().filter(|peer| peer.role == PeerRole::Worker).count();
        self.worker = session.worker().filter(|_| workers > 1);
        let mut face = Face::open(context.output, self.plain)?;
        let _hushed = face.is_screen().then(|| context.hush());
        for at in 0..self.view.jobs.len() {
            self.view.at = at;
            self.one(at, context, session, &mut face).await?;
            if self.left || self.view.jobs[at].state != JobState::Succeeded {
                break;
            }
        }
        Ok(())
    }

    async fn one(
        &mut self,
        at: usize,
        context: &Context<'_>,
        session: &Session,
        face: &mut Face,
    ) -> Result<(), CliError> {
        let mut happens = session.events();
        let mut telemetry = session.telemetry();
        let mut asked: Option<Asked<'_>> = None;
        let job = self.view.jobs[at].job.clone();
        loop {
            let from = self.view.jobs[at].last + 1;
            let mut asking = pin!(session.job_events(&job, from));
            let page = loop {
                let wait = face.show(&self.view)?;
                tokio::select! {
                    // What happened goes before what the user does about it.
                    biased;
                    page = &mut asking => break page?,
                    key = face.key() => match key? {
                        Key::Interrupt => context.stop.cancel(),
                        Key::Leave => {
                            self.left = true;
                            return Ok(());
                        }
                        key => {
                            if let Some(cancel) = self.pressed(key) {
                                let job = job.clone();
                                asked = Some(Box::pin(async move {
                                    if cancel {
                                        session.cancel_job(&job).await
                                    } else {
                                        session.stop_job(&job).await
                                    }
                                }));
                            }
                        }
                    },
                    answer = answer(&mut asked) => {
                        asked = None;
                        self.view.said = Some(answered(answer));
                    }
                    event = happens.recv() => if let Ok(event) = event {
                        self.connection(&event, from, context)?;
                    },
                    Ok(()) = telemetry.changed() => {
                        if let Some(told) = &*telemetry.borrow_and_update() {
                            self.view.heard(&told.value);
                        }
                    }
                    () = tokio::time::sleep(wait) => {}
                }
            };
            for event in &page.events {
                self.view.jobs[at].take(event);
                face.tell(&self.view.jobs[at], event)?;
            }
            if page.over {
                face.show(&self.view)?;
                return Ok(());
            }
        }
    }

    /// What a key asks for: to stop, or to cancel.
    fn pressed(&mut self, key: Key) -> Option<bool> {
        match key {
            Key::Stop if !self.view.asks_to_cancel => {
                self.view.said = Some("asking it to stop".into());
                Some(false)
            }
            Key::Cancel => {
                self.view.asks_to_cancel = true;
                None
            }
            Key::Yes if std::mem::take(&mut self.view.asks_to_cancel) => {
                self.view.said = Some("ending it".into());
                Some(true)
            }
            Key::No => {
                self.view.asks_to_cancel = false;
                None
            }
            _ => None,
        }
    }

    /// The connection comes and goes; the jobs do not, and nothing of them is missed.
    fn connection(
        &mut self,
        event: &SessionEvent,
        from: u64,
        context: &Context<'_>,
    ) -> Result<(), CliError> {
        match event {
            SessionEvent::Connected { again: true, .. } => {
                self.view.trouble = None;
                self.view.said = Some("connected again".into());
                if !context.is_hushed() && !context.output.is_json() {
                    context.output.note(format!("going on from event {from}"));
                }
                context.output.object(&json!({ "event": "connected_again", "from": from }))?;
            }
            SessionEvent::Disconnected { reason } => {
                let reason = printable(reason);
                context.output.object(&json!({ "event": "disconnected", "reason": reason }))?;
                self.view.trouble = remark(event);
            }
            SessionEvent::Heard => self.view.trouble = None,
            SessionEvent::Silent | SessionEvent::Bye { .. } => self.view.trouble = remark(event),
            _ => {}
        }
        Ok(())
    }

    /// Everything that the jobs made, each file once.
    pub(super) fn results(&self) -> Vec<(String, u64)> {
        let mut results: Vec<(String, u64)> = Vec::new();
        for (path, size) in self.view.jobs.iter().flat_map(|job| &job.results) {
            results.retain(|(other, _)| other != path);
            results.push((path.clone(), *size));
        }
        results
    }

    /// The user left before the end.
    pub(super) fn was_left(&self) -> bool {
        self.left
    }

    /// Says how it ended, or how to come back, and what that means for the command.
    pub(super) fn finish(
        &self,
        context: &Context<'_>,
        result: Result<(), CliError>,
    ) -> Result<(), CliError> {
        let output = context.output;
        for job in &self.view.jobs {
            if job.state.is_over() {
                output.object(&summary_for_programs(job))?;
                output.line(summary(job))?;
            }
        }
        let Some(job) = self.view.jobs.iter().find(|job| !job.state.is_over()) else {
            return result.and_then(|()| self.verdict());
        };
        // Jobs behind one that did not succeed are called off by the worker.
        let called_off = self
            .view
            .jobs
            .iter()
            .any(|job| job.state.is_over() && job.state != JobState::Succeeded);
        if !called_off {
            let worker = self.worker.as_ref().map(|worker| format!(" --worker {worker}"));
            output.note(format!(
                "the job goes on; to come back: halyard attach LINK {}{}, with the link of before",
                printable(&job.job),
                worker.unwrap_or_default()
            ));
            output.object(&json!({ "event": "left", "job": job.job, "from": job.last + 1 }))?;
        }
        result.and_then(|()| self.verdict())
    }

    /// A job that did not succeed is a failure of the command that followed it.
    fn verdict(&self) -> Result<(), CliError> {
        let bad = |job: &&Followed| job.state.is_over() && job.state != JobState::Succeeded;
        let Some(job) = self.view.jobs.iter().find(bad) else { return Ok(()) };
        let reason = job.reason.as_ref().map(|reason| format!(": {reason}"));
        let (name, state) = (printable(&job.job), job.state);
        let words = format!("the job {name} is {state}{}", reason.unwrap_or_default());
        Err(CliError::new(Exit::Failed, format!("JOB_{}", state.as_str().to_uppercase()), words))
    }
}

impl Face {
    fn open(output: Output, plain: bool) -> Result<Self, CliError> {
        if !plain && output.may_take_the_screen() {
            return Ok(Self::Screen(Box::new(Screen::take()?)));
        }
        Ok(Self::Lines(output))
    }

    /// Whether it shows what happens beside the jobs, too.
    fn is_screen(&self) -> bool {
        matches!(self, Self::Screen(_))
    }

    /// Shows how it stands, and says when to do so again at the latest.
    fn show(&mut self, view: &View) -> Result<Duration, CliError> {
        match self {
            Self::Lines(_) => Ok(Duration::MAX),
            Self::Screen(screen) => {
                let draw = |frame: &mut ratatui::Frame<'_>| draw::draw(frame, view, now_ms());
                let wait = screen.draw(draw)?;
                Ok(wait.unwrap_or(SECOND))
            }
        }
    }

    /// Tells one event.
    fn tell(&mut self, job: &Followed, event: &JobEvent) -> Result<(), CliError> {
        match self {
            Self::Lines(output) => lines::tell(*output, job, event),
            // It shows with everything else.
            Self::Screen(_) => Ok(()),
        }
    }

    async fn key(&mut self) -> Result<Key, CliError> {
        match self {
            Self::Lines(_) => std::future::pending().await,
            Self::Screen(screen) => screen.event().await.map(|event| keys::meant(&event)),
        }
    }
}

pub(super) use lines::tell as tell_line;

/// A job of which only the events are shown.
pub(super) fn nameless(job: &str) -> Followed {
    Followed::new(job)
}

async fn answer(asked: &mut Option<Asked<'_>>) -> Result<Ack, JobsError> {
    match asked {
        Some(asked) => asked.await,
        None => std::future::pending().await,
    }
}

fn answered(answer: Result<Ack, JobsError>) -> String {
    let ack = match answer {
        Ok(ack) if ack.ok => return "done".to_owned(),
        Ok(ack) => ack,
        Err(error) => return printable(&error.to_string()),
    };
    let words = ack.error.map_or_else(|| "refused".to_owned(), |error| error.message);
    printable(&words)
}

fn took(job: &Followed) -> Option<Duration> {
    Some(Duration::from_millis(job.ended_ms?.saturating_sub(job.started_ms?)))
}

/// How a job ended, on one line.
fn summary(job: &Followed) -> String {
    let style = if job.state == JobState::Succeeded { GOOD } else { BAD };
    let mut line = format!("{STRONG}{}{STRONG:#} {FAINT}{}{FAINT:#}", job.template, job.job);
    let _ = write!(line, " {style}{}{style:#}", job.state);
    if let Some(took) = took(job) {
        let _ = write!(line, " after {}", short(took));
    }
    let mut facts: Vec<String> = Vec::new();
    let training = &job.training;
    if training.done > 0 {
        facts.push(match training.epochs {
            Some(epochs) => format!("{} of {epochs} epochs", training.done),
            None => format!("{} epochs", training.done),
        });
    }
    for (name, curve) in [("loss", &training.train), ("val_loss", &training.val)] {
        if let Some((_, loss)) = curve.last() {
            facts.push(format!("{name} {}", figure(loss)));
        }
    }
    if let Some((epoch, loss)) = training.val.best() {
        facts.push(format!("best {} in epoch {epoch}", figure(loss)));
    }
    if let Some(code) = job.exit_code {
        facts.push(format!("exit code {code}"));
    }
    facts.extend(job.reason.clone());
    if !facts.is_empty() {
        let _ = write!(line, ": {}", facts.join(", "));
    }
    line
}

fn summary_for_programs(job: &Followed) -> Value {
    let last = |curve: &curve::Curve| curve.last().map(|(_, loss)| loss);
    // What is no number is null here; the events have it as the trainer said it.
    json!({
        "event": "summary",
        "job": job.job,
        "state": job.state,
        "reason": job.reason,
        "exit_code": job.exit_code,
        "seconds": took(job).map(|took| took.as_secs_f64()),
        "epochs": job.training.done,
        "loss": last(&job.training.train),
        "val_loss": last(&job.training.val),
        "best_val_loss": job.training.val.best().map(|(_, loss)| loss),
        "results": job.results.iter().map(|(path, _)| path).collect::<Vec<_>>(),
    })
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as u64
}

#[cfg(test)]
mod tests {
    use halyard_protocol::channel::JobHappened;

    use super::{
        view::tests::{event, report},
        *,
    };

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn how_a_job_ended_stands_on_one_line() {
        let mut job = Followed::new("1a2b");
        job.template = "train".into();
        job.training.epochs = Some(2);
        let state = |state, reason: Option<&str>, exit_code| JobHappened::State {
            state,
            reason: reason.map(str::to_owned),
            exit_code,
        };
        for (what, n) in [
            state(JobState::Running, None, None),
            report(r#"{"event":"epoch_end","epoch":0,"logs":{"train/loss":0.5,"val/loss":0.25}}"#),
            report(r#"{"event":"epoch_end","epoch":1,"logs":{"train/loss":NaN,"val/loss":0.5}}"#),
            state(JobState::Failed, Some("it ended with code 3"), Some(3)),
        ]
        .into_iter()
        .zip(1..)
        {
            job.take(&event(n, what));
        }
        assert_eq!(
            plain(&summary(&job)),
            "train 1a2b failed after 3.0s: 2 of 2 epochs, loss NaN, val_loss 0.5000, best 0.2500 in \
             epoch 1, exit code 3, it ended with code 3"
        );
        let told = summary_for_programs(&job);
        assert_eq!((&told["loss"], &told["best_val_loss"]), (&Value::Null, &json!(0.25)));
    }

    #[test]
    fn cancelling_is_asked_once_and_stopping_is_not() {
        let mut following = Following::new(false);
        assert_eq!(following.pressed(Key::Yes), None, "nothing was asked");
        assert_eq!(following.pressed(Key::Cancel), None);
        assert!(following.view.asks_to_cancel);
        assert_eq!(following.pressed(Key::Stop), None, "first the question");
        assert_eq!(following.pressed(Key::No), None);
        assert_eq!(following.pressed(Key::Yes), None);
        following.pressed(Key::Cancel);
        assert_eq!(following.pressed(Key::Yes), Some(true));
        assert_eq!(following.pressed(Key::Stop), Some(false));
    }

    #[test]
    fn a_file_that_two_steps_made_is_one_result() {
        let mut following = Following::new(true);
        following.these(&["a".into(), "b".into()], &[]);
        following.view.jobs[0].results = vec![("jobs/a/m".into(), 1), ("jobs/a/n".into(), 2)];
        following.view.jobs[1].results = vec![("jobs/a/m".into(), 3)];
        assert_eq!(following.results(), [("jobs/a/n".into(), 2), ("jobs/a/m".into(), 3)]);
    }
}
