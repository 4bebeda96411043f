//! Everything that happens to a job, in order, for somebody who may read slowly.

use halyard_protocol::channel::{JobEvent, JobEventsFrom, JobHappened, JobState, Message};

use crate::{jobs::JobsHandle, machine::Asker};

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct End {
    /// Its last state.
    pub(super) state: JobState,
    /// Why, where there is something to say.
    pub(super) reason: Option<String>,
    /// What its program ended with.
    pub(super) exit_code: Option<i32>,
    /// It began to run.
    pub(super) ran: bool,
    /// Milliseconds from its begin to its end.
    pub(super) took_ms: u64,
    /// The files that it made, in the worker's files, with their sizes.
    pub(super) results: Vec<(String, u64)>,
}

/// The events of one job from the first to the last, page by page. They are kept for whoever reads
/// slowly.
pub(super) struct Following<'a> {
    jobs: &'a JobsHandle,
    asker: &'a Asker,
    job: &'a str,
    from: u64,
    started_ms: Option<u64>,
    is_over: bool,
    end: End,
}

impl<'a> Following<'a> {
    pub(super) fn new(jobs: &'a JobsHandle, asker: &'a Asker, job: &'a str) -> Self {
        let end = End {
            state: JobState::Queued,
            reason: None,
            exit_code: None,
            ran: false,
            took_ms: 0,
            results: Vec::new(),
        };
        Self { jobs, asker, job, from: 1, started_ms: None, is_over: false, end }
    }

    /// The next events. `None` when these were all, or the job is not known any more.
    pub(super) async fn next(&mut self) -> Option<Vec<JobEvent>> {
        if self.is_over {
            return None;
        }
        let (job, from) = (self.job.to_owned(), self.from);
        let asked = Message::JobEventsFrom(JobEventsFrom { id: String::new(), job, from });
        let answer = self.jobs.ask(self.asker.clone(), asked).await;
        let Message::JobEventPage(page) = answer else { return None };
        page.events.iter().for_each(|event| self.take(event));
        self.from = page.next;
        self.is_over = page.over;
        Some(page.events)
    }

    fn take(&mut self, event: &JobEvent) {
        match &event.what {
            JobHappened::State { state, reason, exit_code } => {
                if *state == JobState::Running {
                    self.end.ran = true;
                    self.started_ms.get_or_insert(event.at_ms);
                }
                self.end.state = *state;
                self.end.reason.clone_from(reason);
                self.end.exit_code = *exit_code;
                let started_ms = self.started_ms.unwrap_or(event.at_ms);
                self.end.took_ms = event.at_ms.saturating_sub(started_ms);
            }
            JobHappened::Result { path, size } => self.end.results.push((path.clone(), *size)),
            _ => {}
        }
    }

    /// How it ended. `None` where that is not known.
    pub(super) fn end(self) -> Option<End> {
        self.is_over.then_some(self.end)
    }
}
