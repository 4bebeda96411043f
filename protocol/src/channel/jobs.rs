//! What is said about jobs, on `control`.
//!
//! A client submits one or several steps; each becomes a job that starts when the one before it
//! succeeded. What happens to a job is a list of numbered events that the worker keeps: a client
//! asks for those from a number on, and is answered when there are some. So a client that was away
//! misses nothing, and one that reads slowly is never flooded.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ids::PeerId;

/// `JOB_SUBMIT::`: please do this. Answered by `JOB_ACCEPTED` or `JOB_REJECTED` with the same id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobSubmit {
    /// Chosen by the asker, unlike any other: said again, it is answered again and not done again.
    pub id: String,
    /// What, in this order; each starts when the one before it succeeded.
    pub steps: Vec<JobStep>,
}

/// One job to do: a template that the worker's owner wrote, and values for its placeholders.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobStep {
    /// The template's name.
    pub template: String,
    /// By the placeholders' names.
    #[serde(default)]
    pub values: BTreeMap<String, Value>,
}

/// `JOB_ACCEPTED::`: the jobs are queued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobAccepted {
    /// The request.
    pub id: String,
    /// One job for every step.
    pub jobs: Vec<String>,
}

/// `JOB_REJECTED::`: a question about jobs was refused; nothing was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRejected {
    /// The request.
    pub id: String,
    /// Everything that is wrong with it.
    pub errors: Vec<JobProblem>,
}

/// One thing that is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobProblem {
    /// Which part of the request, for example `steps[0].epochs`; empty for all of it.
    pub field: String,
    /// What kind.
    pub code: JobErrorCode,
    /// For people: what was wrong and what is accepted.
    pub message: String,
}

/// Why a question about jobs was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobErrorCode {
    /// This worker runs no jobs.
    Disabled,
    /// The peer's rights do not cover it.
    Forbidden,
    /// No template has this name.
    UnknownTemplate,
    /// The template has no such placeholder.
    UnknownValue,
    /// A placeholder needs a value.
    MissingValue,
    /// A value does not fit its placeholder.
    BadValue,
    /// There is no such job.
    UnknownJob,
    /// The job's state does not allow it.
    WrongState,
    /// Too many steps, or too many jobs wait.
    TooMany,
    /// The worker's disk or the system failed.
    Failed,
    /// A word that this version does not know.
    #[serde(other)]
    Other,
}

impl JobErrorCode {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Forbidden => "forbidden",
            Self::UnknownTemplate => "unknown_template",
            Self::UnknownValue => "unknown_value",
            Self::MissingValue => "missing_value",
            Self::BadValue => "bad_value",
            Self::UnknownJob => "unknown_job",
            Self::WrongState => "wrong_state",
            Self::TooMany => "too_many",
            Self::Failed => "failed",
            Self::Other => "other",
        }
    }
}

/// `JOB_LIST::`: which jobs are there, newest first, and what can be asked for?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobList {
    /// Chosen by the asker.
    pub id: String,
    /// How many to skip.
    #[serde(default)]
    pub offset: u64,
}

/// `JOB_ENTRIES::`: these, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobEntries {
    /// The question.
    pub id: String,
    /// As many as fit.
    pub jobs: Vec<JobInfo>,
    /// How many there are in all.
    pub total: u64,
    /// What can be asked for.
    pub templates: Vec<JobTemplateInfo>,
    /// Jobs that the worker found and cannot read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<JobUnreadable>,
}

/// What a worker's owner lets others run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobTemplateInfo {
    /// Its name.
    pub name: String,
    /// One line for people.
    pub help: String,
    /// What it takes, by name: in words, with the range or the choices.
    pub values: BTreeMap<String, String>,
}

/// One job as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobInfo {
    /// Its id.
    pub job: String,
    /// What it runs.
    pub template: String,
    /// How it stands.
    pub state: JobState,
    /// Who asked for it.
    pub by: PeerId,
    /// When it was asked for, in milliseconds since 1970.
    pub created_ms: u64,
    /// When it began to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_ms: Option<u64>,
    /// When it was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<u64>,
    /// Why it stands so, where there is something to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The job it waits for or came behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Where its results are, to be fetched from the worker's files.
    pub folder: String,
    /// The number of its newest event.
    pub events: u64,
    /// Epochs that are done, where its trainer reports them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// Epochs that it was asked to do, where its template has such a value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epochs: Option<u64>,
    /// The graphics cards that it was given, in the words of `CUDA_VISIBLE_DEVICES`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<String>,
}

/// A folder of a job that cannot be read. Nothing in it was touched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobUnreadable {
    /// The job that it was.
    pub job: String,
    /// What is wrong with it.
    pub reason: String,
}

/// How a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// It waits for its turn.
    Queued,
    /// Its program runs.
    Running,
    /// Its program was asked to end, or is made to.
    Stopping,
    /// It ended well, maybe earlier than planned.
    Succeeded,
    /// It ended badly.
    Failed,
    /// Somebody did not want it any more.
    Cancelled,
    /// Nobody knows how it ended: its program was gone when the worker looked.
    Lost,
}

impl JobState {
    /// Nothing more happens to it.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled | Self::Lost)
    }

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Lost => "lost",
        }
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `JOB_EVENTS::`: what happened to this job, from this number on? Answered when there is
/// something, or when the job is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobEventsFrom {
    /// Chosen by the asker.
    pub id: String,
    /// Which job.
    pub job: String,
    /// The first number wanted; the first event is 1.
    #[serde(default)]
    pub from: u64,
}

/// `JOB_EVENT::`: this, as much as fits into one message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobEventPage {
    /// The question.
    pub id: String,
    /// Which job.
    pub job: String,
    /// In order, without gaps.
    pub events: Vec<JobEvent>,
    /// What to ask for next.
    pub next: u64,
    /// The job is over and these were its last events.
    pub over: bool,
}

/// `JOB_STOP::`: finish early, please, and keep what there is. `JOB_CANCEL::`: end it now. Both are
/// answered by an `ACK::` with the same id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobEnd {
    /// Chosen by the asker.
    pub id: String,
    /// Which job.
    pub job: String,
}

/// Something that happened to a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobEvent {
    /// Its number: 1, 2, 3 and so on.
    pub n: u64,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// What.
    #[serde(flatten)]
    pub what: JobHappened,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum JobHappened {
    /// It stands otherwise now.
    State {
        /// How.
        state: JobState,
        /// Why, where there is something to say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// What its program ended with.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit_code: Option<i32>,
    },
    /// Its program wrote a line.
    Line {
        /// Where to.
        stream: JobStream,
        /// The line without its end.
        text: String,
        /// It ended in a carriage return: the next one takes its place.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        progress: bool,
        /// Bytes of the stream up to its end.
        to: u64,
    },
    /// Its program reported progress, in its own words. They may hold bare `NaN` and `Infinity`,
    /// so they are a text: see [`TrainerReport`](super::TrainerReport).
    Progress {
        /// The message as it came.
        report: String,
    },
    /// A file that it made, to be fetched from the worker's files.
    Result {
        /// Where.
        path: String,
        /// Bytes.
        size: u64,
    },
    /// Something people should know.
    Note {
        /// A stable word, for example `silent` or `restarted`.
        code: String,
        /// For people.
        message: String,
    },
}

/// Where a program writes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobStream {
    /// Its standard output.
    Stdout,
    /// Its standard error.
    Stderr,
}
