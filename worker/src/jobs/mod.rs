//! Jobs: what the worker's owner lets others run here, one after another, and the truth about them.
//!
//! * [`Template`] is what may be run: a command line with typed holes. No shell reads it.
//! * [`Life`] is one job's state machine; [`EventLog`] is what happened to it, numbered, on disk.
//! * [`keeper`] is the process beside a job's program, which lives on when the worker dies.
//! * [`Jobs`] owns the queue and all of it; [`JobsHandle`] asks.
//!
//! The folder `jobs_dir` holds one folder for each job: what was asked for, its events, its output,
//! how it ended. What a job works on and makes is in `jobs/ID` of the worker's files, where it can
//! be fetched. Stopping the worker does not stop its jobs: they go on, and the next worker takes
//! them up again.

pub mod keeper;
mod life;
mod lines;
mod log;
mod results;
mod running;
mod spec;
mod table;
mod task;
mod template;

use std::{io, path::PathBuf};

use halyard_protocol::channel::{Ack, JobErrorCode, JobProblem, JobRejected, Message};
pub use life::{Act, Input, Life, Patience, Refused, Step, Wish};
pub use lines::{Line, Lines};
pub use log::{EventLog, Told, Weight};
pub use template::{
    CommandLine, Filled, Group, Hole, HoleError, Kind, Own, Part, Template, TemplateError,
    read_templates,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::machine::Asker;

/// Questions that wait.
const ASKS: usize = 64;

/// What the jobs need.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What may be run.
    pub templates: Vec<Template>,
    /// Where the truth is kept.
    pub dir: PathBuf,
    /// The folder of files: packages come from there, results go there.
    pub files: PathBuf,
    /// The graphics cards that jobs share, as `CUDA_VISIBLE_DEVICES` names them; each is one job's
    /// at a time. None: of the jobs that need any, one runs at a time and sees all.
    pub gpus: Vec<String>,
    /// The program that keeps jobs: this one.
    pub program: PathBuf,
    /// What of the worker's environment templates may hand on.
    pub environment: std::collections::BTreeMap<String, String>,
    /// Whether new jobs are refused. Those that run or wait go on.
    pub maintenance: bool,
}

/// Why jobs cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum JobsError {
    /// The folder cannot be used.
    #[error("the folder {path:?} for jobs cannot be used: {source}")]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another worker has it.
    #[error("the folder {0:?} for jobs is another worker's; give each worker one of its own")]
    Taken(PathBuf),
    /// There is no thread to be had.
    #[error("cannot start the thread for jobs: {0}")]
    Thread(io::Error),
}

/// The jobs of a worker. Dropping them lets the running ones go on without a worker.
#[derive(Debug)]
pub struct Jobs {
    handle: JobsHandle,
    stop: CancellationToken,
    thread: std::thread::JoinHandle<()>,
}

/// Asks about jobs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct JobsHandle {
    asks: mpsc::Sender<Ask>,
    load: watch::Receiver<Load>,
    own: mpsc::Sender<Inner>,
}

/// How many jobs there are to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    /// Programs that run, also those that were asked to stop.
    pub running: usize,
    /// Jobs that wait for their turn.
    pub queued: usize,
}

/// What the worker itself asks, which has no word on the wire.
#[derive(Debug)]
enum Inner {
    /// What jobs use.
    InUse(oneshot::Sender<Option<Vec<String>>>),
    /// Another learning rate for a job's trainer.
    Tune { job: String, rate: f64, reply: oneshot::Sender<Result<(), &'static str>> },
}

/// A question on its way.
#[derive(Debug)]
struct Ask {
    asker: Asker,
    message: Message,
    reply: oneshot::Sender<Message>,
}

impl Jobs {
    /// Takes up the jobs of the folder and begins. They have a thread of their own: they wait for
    /// the disk, and nothing that moves a machine may wait for that.
    pub fn start(plan: Plan) -> Result<Self, JobsError> {
        let table = table::Table::open(plan)?;
        let (asks, asked) = mpsc::channel(ASKS);
        let (own, asked_by_us) = mpsc::channel(ASKS);
        let (tell, load) = watch::channel(table.load());
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(JobsError::Thread)?;
        let thread = std::thread::Builder::new()
            .name("jobs".to_owned())
            .spawn(move || runtime.block_on(task::run(table, asked, asked_by_us, tell, stopped)))
            .map_err(JobsError::Thread)?;
        Ok(Self { handle: JobsHandle { asks, load, own }, stop, thread })
    }

    /// A way to ask.
    pub fn handle(&self) -> JobsHandle {
        self.handle.clone()
    }

    /// Ends the supervision. Jobs that run go on; the next worker takes them up.
    pub async fn stop(self) {
        self.stop.cancel();
        let joined = tokio::task::spawn_blocking(move || self.thread.join()).await;
        if !matches!(joined, Ok(Ok(()))) {
            tracing::error!("the thread of the jobs ended badly");
        }
    }
}

impl JobsHandle {
    /// How many jobs there are to do, now and from now on.
    pub fn load(&self) -> watch::Receiver<Load> {
        self.load.clone()
    }

    /// Every text among the values of the jobs that are not over: what they use is one of these, or
    /// below one. `None` where that is not known.
    pub async fn in_use(&self) -> Option<Vec<String>> {
        let (reply, answer) = oneshot::channel();
        self.own.send(Inner::InUse(reply)).await.ok()?;
        answer.await.ok()?
    }

    /// Tells a job's trainer another learning rate, for somebody who may operate; or why not.
    pub async fn tune(&self, job: String, rate: f64) -> Result<(), &'static str> {
        let (reply, answer) = oneshot::channel();
        let stopping = "the worker is stopping";
        self.own.send(Inner::Tune { job, rate, reply }).await.map_err(|_| stopping)?;
        answer.await.unwrap_or(Err(stopping))
    }

    /// Asks, and waits for the answer: for events that may take as long as the job is silent.
    pub async fn ask(&self, asker: Asker, message: Message) -> Message {
        let lost = refused(
            &message,
            JobErrorCode::Failed,
            "the worker is stopping or has too much to do; ask again",
        );
        let (reply, answer) = oneshot::channel();
        if self.asks.send(Ask { asker, message, reply }).await.is_err() {
            return lost;
        }
        answer.await.unwrap_or(lost)
    }
}

/// The words for a question that is not answered.
pub fn refused(message: &Message, code: JobErrorCode, words: &str) -> Message {
    let id = match message {
        Message::JobStop(end) | Message::JobCancel(end) => {
            return Message::Ack(Ack::failed(end.id.clone(), code.as_str(), words));
        }
        Message::JobSubmit(submit) => submit.id.clone(),
        Message::JobList(list) => list.id.clone(),
        Message::JobEventsFrom(from) => from.id.clone(),
        _ => String::new(),
    };
    let error = JobProblem { field: String::new(), code, message: words.to_owned() };
    Message::JobRejected(JobRejected { id, errors: vec![error] })
}
