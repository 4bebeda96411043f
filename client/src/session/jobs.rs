//! Jobs of the worker: submit, list, follow, stop, cancel.
//!
//! A question that a broken connection left unanswered is asked again on the next one. A submission
//! carries an id of its own, so asking again does not run anything twice; following goes on from the
//! number that comes next, so nothing is missed.

use std::time::Duration;

use halyard_protocol::channel::{
    Ack, JobAccepted, JobEnd, JobEntries, JobEventPage, JobEventsFrom, JobList, JobProblem,
    JobStep, JobSubmit, Lane, Message,
};

use super::{JobsError, Session, SessionError};
use crate::peer::PeerError;

/// How long a worker may take to answer, unless it waits for something to happen itself.
const PATIENCE: Duration = Duration::from_secs(30);

/// Jobs that are listed at most: a bound on memory.
const MOST_LISTED: usize = 10_000;

impl Session {
    /// Asks the worker to run these steps one after another. Gives back one job for each.
    pub async fn submit_jobs(&self, steps: Vec<JobStep>) -> Result<JobAccepted, JobsError> {
        let id = new_id();
        let question = Message::JobSubmit(JobSubmit { id: id.clone(), steps });
        match self.ask_jobs(&id, &question, Some(PATIENCE)).await? {
            Message::JobAccepted(accepted) => Ok(accepted),
            other => Err(refusal(other)),
        }
    }

    /// All jobs that the worker remembers, newest first, and what can be asked for.
    pub async fn list_jobs(&self) -> Result<JobEntries, JobsError> {
        let mut all: Option<JobEntries> = None;
        loop {
            let id = new_id();
            let offset = all.as_ref().map_or(0, |all| all.jobs.len() as u64);
            let question = Message::JobList(JobList { id: id.clone(), offset });
            let page = match self.ask_jobs(&id, &question, Some(PATIENCE)).await? {
                Message::JobEntries(page) => page,
                other => return Err(refusal(other)),
            };
            let (empty, total) = (page.jobs.is_empty(), page.total);
            let entries = match all.take() {
                Some(mut entries) => {
                    entries.jobs.extend(page.jobs);
                    entries
                }
                None => page,
            };
            let listed = entries.jobs.len();
            if empty || listed as u64 >= total || listed >= MOST_LISTED {
                return Ok(entries);
            }
            all = Some(entries);
        }
    }

    /// What happened to a job from this number on. Waits until something has; `over` says that
    /// nothing more will.
    pub async fn job_events(&self, job: &str, from: u64) -> Result<JobEventPage, JobsError> {
        let id = new_id();
        let asked = JobEventsFrom { id: id.clone(), job: job.to_owned(), from };
        match self.ask_jobs(&id, &Message::JobEventsFrom(asked), None).await? {
            Message::JobEventPage(page) => Ok(page),
            other => Err(refusal(other)),
        }
    }

    /// Asks a job to finish early and keep what there is.
    pub async fn stop_job(&self, job: &str) -> Result<Ack, JobsError> {
        let id = new_id();
        let question = Message::JobStop(JobEnd { id: id.clone(), job: job.to_owned() });
        self.end_job(&id, &question).await
    }

    /// Ends a job now.
    pub async fn cancel_job(&self, job: &str) -> Result<Ack, JobsError> {
        let id = new_id();
        let question = Message::JobCancel(JobEnd { id: id.clone(), job: job.to_owned() });
        self.end_job(&id, &question).await
    }

    async fn end_job(&self, id: &str, question: &Message) -> Result<Ack, JobsError> {
        match self.ask_jobs(id, question, Some(PATIENCE)).await? {
            Message::Ack(ack) => Ok(ack),
            other => Err(refusal(other)),
        }
    }

    async fn ask_jobs(
        &self,
        id: &str,
        question: &Message,
        patience: Option<Duration>,
    ) -> Result<Message, JobsError> {
        let mut pending = self.shared.expect_job(id);
        let asked = async {
            loop {
                let link = self.shared.linked().await?;
                // Any other error is a connection that broke: it is asked again on the next one.
                if let Err(error @ PeerError::TooLarge { .. }) =
                    link.peer.send(Lane::Control, question).await
                {
                    return Err(JobsError::TooLarge(error.to_string()));
                }
                tokio::select! {
                    biased;
                    answer = &mut pending.told => {
                        return answer.map_err(|_| SessionError::Closed.into());
                    }
                    () = self.shared.unlinked(link.generation) => {}
                }
            }
        };
        match patience {
            None => asked.await,
            Some(patience) => match tokio::time::timeout(patience, asked).await {
                Ok(result) => result,
                Err(_) => Err(JobsError::TimedOut { waited: patience }),
            },
        }
    }
}

fn new_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}

fn refusal(message: Message) -> JobsError {
    let errors: Vec<JobProblem> = match message {
        Message::JobRejected(rejected) => rejected.errors,
        _ => Vec::new(),
    };
    JobsError::Refused(errors)
}
