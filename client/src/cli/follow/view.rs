//! What is known of the jobs that are followed: events in, something to show out. No socket, no
//! clock, no terminal.

use std::collections::VecDeque;

use halyard_protocol::channel::{
    JobEvent, JobHappened, JobInfo, JobState, JobStream, TrainerReport,
};

use serde_json::Value;

use super::curve::Curve;
use crate::cli::{computer, output::printable};

/// Lines of output that are kept for the screen.
const MOST_LINES: usize = 500;

/// Everything that is followed.
#[derive(Debug, Clone, Default)]
pub(in crate::cli) struct View {
    /// One job for each step of a request.
    pub(in crate::cli) jobs: Vec<Followed>,
    /// The one that is shown.
    pub(in crate::cli) at: usize,
    /// What is wrong with the connection, while something is.
    pub(in crate::cli) trouble: Option<String>,
    /// Whether the user is being asked if they mean it.
    pub(in crate::cli) asks_to_cancel: bool,
    /// The answer to what the user did last.
    pub(in crate::cli) said: Option<String>,
    /// What the worker's computer does, graphics cards included, where it tells.
    pub(in crate::cli) computer: Option<String>,
}

/// One job and what became of it so far.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Followed {
    pub(in crate::cli) job: String,
    pub(in crate::cli) template: String,
    pub(in crate::cli) state: JobState,
    pub(in crate::cli) reason: Option<String>,
    pub(in crate::cli) exit_code: Option<i32>,
    pub(in crate::cli) started_ms: Option<u64>,
    pub(in crate::cli) ended_ms: Option<u64>,
    /// The number of the newest event.
    pub(in crate::cli) last: u64,
    /// What it made, with its size.
    pub(in crate::cli) results: Vec<(String, u64)>,
    pub(in crate::cli) training: Training,
    pub(in crate::cli) lines: VecDeque<Shown>,
}

/// How a training goes.
#[derive(Debug, Clone, Default)]
pub(in crate::cli) struct Training {
    /// Epochs that there are to be, where that is known.
    pub(in crate::cli) epochs: Option<u64>,
    /// Epochs that are done.
    pub(in crate::cli) done: u64,
    /// Batches of the present epoch that are done.
    pub(in crate::cli) batch: u64,
    /// Batches of an epoch, once one is over.
    pub(in crate::cli) batches: Option<u64>,
    /// The newest loss of a batch.
    pub(in crate::cli) batch_loss: Option<f64>,
    pub(in crate::cli) train: Curve,
    pub(in crate::cli) val: Curve,
    /// When the first epoch that was seen began, and how many were done then.
    began: Option<(u64, u64)>,
    /// When the newest epoch ended.
    ended_ms: Option<u64>,
}

/// A line on the screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct Shown {
    pub(in crate::cli) text: String,
    pub(in crate::cli) kind: Kind,
}

/// What a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Kind {
    Out,
    /// The next line of output takes its place.
    Progress,
    Err,
    Note,
}

/// What a user wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Key {
    Stop,
    Cancel,
    Leave,
    Yes,
    No,
    /// Ctrl-C, which the terminal does not make a signal of meanwhile.
    Interrupt,
    /// The size is another, or a key means nothing: it is drawn again.
    Nothing,
}

impl View {
    /// Follows these, in this order.
    pub(in crate::cli) fn new(jobs: Vec<Followed>) -> Self {
        Self { jobs, ..Self::default() }
    }

    /// What the worker told of itself. Of its computer it tells in some messages only, and what it
    /// said holds until it says something else.
    pub(in crate::cli) fn heard(&mut self, telemetry: &Value) {
        if let Some(host) = telemetry.get("host") {
            self.computer = Some(computer::load(host));
        }
    }

    /// The job that is shown.
    pub(in crate::cli) fn shown(&self) -> Option<&Followed> {
        self.jobs.get(self.at)
    }
}

impl Followed {
    /// Nothing is known but the name.
    pub(in crate::cli) fn new(job: &str) -> Self {
        Self {
            job: job.to_owned(),
            template: String::new(),
            state: JobState::Queued,
            reason: None,
            exit_code: None,
            started_ms: None,
            ended_ms: None,
            last: 0,
            results: Vec::new(),
            training: Training::default(),
            lines: VecDeque::new(),
        }
    }

    /// As the worker listed it. What happened to it comes as events.
    pub(in crate::cli) fn listed(info: &JobInfo) -> Self {
        let mut followed = Self::new(&info.job);
        followed.template = printable(&info.template);
        followed.training.epochs = info.epochs;
        followed
    }

    /// What became of it.
    pub(in crate::cli) fn take(&mut self, event: &JobEvent) {
        self.last = self.last.max(event.n);
        match &event.what {
            JobHappened::State { state, reason, exit_code } => {
                self.state = *state;
                self.reason = reason.as_deref().map(printable);
                self.exit_code = exit_code.or(self.exit_code);
                if *state == JobState::Running {
                    self.started_ms.get_or_insert(event.at_ms);
                }
                if state.is_over() {
                    self.ended_ms = Some(event.at_ms);
                }
            }
            JobHappened::Line { stream, text, progress, .. } => {
                let kind = match (stream, progress) {
                    (_, true) => Kind::Progress,
                    (JobStream::Stdout, false) => Kind::Out,
                    (JobStream::Stderr, false) => Kind::Err,
                };
                self.line(printable(text), kind);
            }
            JobHappened::Progress { report } => {
                if let Some(report) = TrainerReport::read(report) {
                    self.training.take(event.at_ms, &report);
                }
            }
            JobHappened::Result { path, size } => self.results.push((path.clone(), *size)),
            JobHappened::Note { message, .. } => self.line(printable(message), Kind::Note),
        }
    }

    fn line(&mut self, text: String, kind: Kind) {
        // Progress is written over by what comes next.
        if kind != Kind::Note && self.lines.back().is_some_and(|line| line.kind == Kind::Progress) {
            self.lines.pop_back();
        }
        self.lines.push_back(Shown { text, kind });
        if self.lines.len() > MOST_LINES {
            self.lines.pop_front();
        }
    }
}

impl Training {
    fn take(&mut self, at_ms: u64, report: &TrainerReport) {
        let epoch = report.epoch.unwrap_or(self.done);
        match report.event.as_str() {
            // It begins, maybe anew: an old curve would run into the new one.
            "train_begin" => {
                *self = Self { epochs: self.epochs, batches: self.batches, ..Self::default() };
            }
            "epoch_begin" => {
                self.batch = 0;
                self.began.get_or_insert((at_ms, epoch));
            }
            "batch_end" => {
                self.batch = report.batch.unwrap_or(self.batch).saturating_add(1);
                self.batch_loss = report.loss().or(self.batch_loss);
            }
            "epoch_end" => {
                if self.batch > 0 {
                    self.batches = Some(self.batch);
                }
                self.done = epoch.saturating_add(1);
                self.batch = 0;
                self.ended_ms = Some(at_ms);
                for (curve, loss) in
                    [(&mut self.train, report.loss()), (&mut self.val, report.val_loss())]
                {
                    if let Some(loss) = loss {
                        curve.add(self.done, loss);
                    }
                }
            }
            _ => {}
        }
    }

    /// Whether a trainer reported anything.
    pub(in crate::cli) fn is_known(&self) -> bool {
        self.began.is_some() || self.done > 0
    }

    /// How much of the present epoch is done, from 0 to 1, where that is known.
    pub(in crate::cli) fn of_epoch(&self) -> Option<f64> {
        let batches = self.batches.filter(|&batches| batches > 0)?;
        Some((self.batch as f64 / batches as f64).min(1.0))
    }

    /// How much of all is done, from 0 to 1, where that is known.
    pub(in crate::cli) fn of_all(&self) -> Option<f64> {
        let epochs = self.epochs.filter(|&epochs| epochs > 0)?;
        let done = self.done as f64 + self.of_epoch().unwrap_or(0.0);
        Some((done / epochs as f64).min(1.0))
    }

    /// Milliseconds that the rest takes when it goes on like this.
    pub(in crate::cli) fn left_ms(&self, now_ms: u64) -> Option<u64> {
        let (began, before) = self.began?;
        let ended = self.ended_ms?;
        let done = self.done.checked_sub(before).filter(|&done| done > 0)?;
        let left = self.epochs?.checked_sub(self.done)?;
        let each = ended.saturating_sub(began) as f64 / done as f64;
        let left = each * left as f64 - now_ms.saturating_sub(ended) as f64;
        Some(left.max(0.0) as u64)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::cli::follow) fn event(n: u64, what: JobHappened) -> JobEvent {
        JobEvent { n, at_ms: 1_000_000 + n * 1000, what }
    }

    pub(in crate::cli::follow) fn report(text: &str) -> JobHappened {
        JobHappened::Progress { report: text.to_owned() }
    }

    pub(in crate::cli::follow) fn line(text: &str, progress: bool) -> JobHappened {
        JobHappened::Line { stream: JobStream::Stdout, text: text.to_owned(), progress, to: 0 }
    }

    fn followed(story: &[JobHappened]) -> Followed {
        let mut job = Followed::new("1a2b");
        for (what, n) in story.iter().zip(1..) {
            job.take(&event(n, what.clone()));
        }
        job
    }

    #[test]
    fn a_training_is_counted_in_epochs_and_batches() {
        let mut job = followed(&[
            report(r#"{"event":"train_begin","logs":null}"#),
            report(r#"{"event":"epoch_begin","epoch":0,"logs":null}"#),
            report(r#"{"event":"batch_end","epoch":0,"batch":0,"logs":{"loss":0.5}}"#),
        ]);
        job.training.epochs = Some(4);
        assert_eq!(job.training.of_epoch(), None, "nobody knows how many batches there are");
        assert_eq!(job.training.of_all(), Some(0.0));
        for (text, n) in [
            r#"{"event":"batch_end","epoch":0,"batch":1,"logs":{"loss":0.4}}"#,
            r#"{"event":"epoch_end","epoch":0,"logs":{"train/loss":0.45,"val/loss":NaN}}"#,
            r#"{"event":"epoch_begin","epoch":1,"logs":null}"#,
            r#"{"event":"batch_end","epoch":1,"batch":0,"logs":{"loss":0.3}}"#,
        ]
        .into_iter()
        .zip(4..)
        {
            job.take(&event(n, report(text)));
        }
        let training = &job.training;
        assert_eq!((training.done, training.batch, training.batches), (1, 1, Some(2)));
        assert_eq!((training.of_epoch(), training.of_all()), (Some(0.5), Some(0.375)));
        assert!(training.val.last().expect("a point").1.is_nan(), "no number is a result too");
        // Three seconds an epoch, three epochs to go.
        assert_eq!(training.left_ms(1_005_000), Some(9000));
        assert_eq!(training.left_ms(1_007_000), Some(7000));
        assert_eq!(training.left_ms(u64::MAX), Some(0));
    }

    #[test]
    fn what_the_computer_does_stays_on_the_screen_until_something_newer_is_told() {
        let mut view = View::default();
        view.heard(&serde_json::json!({ "host": { "cpu": 0.5 }, "speed": 1 }));
        view.heard(&serde_json::json!({ "speed": 2 }));
        assert_eq!(view.computer.as_deref(), Some("CPU 50 % · no graphics card"));
    }

    #[test]
    fn a_trainer_that_begins_anew_begins_a_new_curve() {
        let end = r#"{"event":"epoch_end","epoch":7,"logs":{"loss":0.5}}"#;
        let job = followed(&[report(end), report(r#"{"event":"train_begin"}"#)]);
        assert_eq!((job.training.done, job.training.train.last()), (0, None));
    }

    #[test]
    fn progress_is_written_over_and_notes_are_not() {
        let note = JobHappened::Note { code: "late".into(), message: "it was late".into() };
        let job = followed(&[
            line(" 10%", true),
            line(" 20%", true),
            note,
            line(" 30%", true),
            line("done\u{1b}[2J", false),
        ]);
        let shown: Vec<_> = job.lines.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(shown, [" 20%", "it was late", "done\u{fffd}[2J"]);
    }

    #[test]
    fn only_the_newest_lines_are_kept() {
        let mut job = Followed::new("1a2b");
        for n in 1..=2000 {
            job.take(&event(n, line(&n.to_string(), false)));
        }
        assert_eq!(job.lines.len(), MOST_LINES);
        assert_eq!(job.lines.back().expect("a line").text, "2000");
    }
}
