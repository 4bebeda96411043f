//! What can go wrong in a session, in the caller's words.

use std::{sync::Arc, time::Duration};

use halyard_protocol::{
    channel::{JobErrorCode, JobProblem},
    ids::{PeerId, RoomId},
    limits::MAX_WAITING_COMMANDS,
    transfer::Failure,
};

use crate::{api::ApiError, peer::PeerError, signaling::SignalError};

/// A session could not be made, or ended.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SessionError {
    /// No identity was to be had.
    #[error("cannot sign in: {0}")]
    SignIn(Arc<ApiError>),
    /// The broker cannot be reached, or does not let us in.
    #[error("{0}")]
    Signal(Arc<SignalError>),
    /// Nobody in the room calls itself a worker. Start one, or check that the link is the right
    /// one.
    #[error(
        "no worker is in room {room} (waited {} s); start one, or check that this is its room",
        .waited.as_secs()
    )]
    NoWorker {
        /// Which room.
        room: RoomId,
        /// How long.
        waited: Duration,
    },
    /// None of the workers in the room is what was asked for. Ask for less, or wait longer.
    #[error("no worker in room {room} fits (waited {} s): {why}", .waited.as_secs())]
    NoneFits {
        /// Which room.
        room: RoomId,
        /// How long.
        waited: Duration,
        /// What is wanted, and what the workers that are here have instead.
        why: String,
    },
    /// The worker in the room speaks the words of sleap-rtc alone.
    #[error(
        "{worker} is a sleap-rtc worker: it takes training and tracking packages from sleap-rtc's own \
         clients, and no commands, files or jobs of Halyard's; run `sleap-rtc client-train` with this \
         room, or start a halyard-worker with SLEAP's templates, which serves both"
    )]
    ForeignWorker {
        /// Which worker.
        worker: PeerId,
    },
    /// A worker is there, but no peer connection to it comes about.
    #[error(
        "no connection to the worker {worker} within {} s ({last}); a firewall may drop UDP, try `halyard doctor LINK`",
        .waited.as_secs()
    )]
    NoConnection {
        /// Which worker.
        worker: PeerId,
        /// How long it was tried.
        waited: Duration,
        /// How far it came.
        last: String,
    },
    /// The session was closed by this end.
    #[error("the session is closed")]
    Closed,
}

impl From<SignalError> for SessionError {
    fn from(error: SignalError) -> Self {
        Self::Signal(Arc::new(error))
    }
}

impl From<ApiError> for SessionError {
    fn from(error: ApiError) -> Self {
        Self::SignIn(Arc::new(error))
    }
}

impl SessionError {
    /// Whether the broker was reached and said no.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::SignIn(error) => error.is_refusal(),
            Self::Signal(error) => error.is_refusal(),
            _ => false,
        }
    }

    /// A stable word for programs.
    pub fn code(&self) -> String {
        match self {
            Self::SignIn(error) => error.code().to_owned(),
            Self::Signal(error) => error.code(),
            Self::NoWorker { .. } => "NO_WORKER".into(),
            Self::NoneFits { .. } => "NONE_FITS".into(),
            Self::ForeignWorker { .. } => "FOREIGN_WORKER".into(),
            Self::NoConnection { .. } => "NO_CONNECTION".into(),
            Self::Closed => "CLOSED".into(),
        }
    }
}

/// A command was not answered. (One that was refused *was* answered: see its `Ack`.)
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommandError {
    /// The session ended before the answer came.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// No answer came in time. Whether it was done is not known.
    #[error("the worker did not answer `{name}` within {} s; it may still have been done", .waited.as_secs_f32())]
    TimedOut {
        /// Which command.
        name: String,
        /// How long.
        waited: Duration,
    },
    /// It was never said: there was no connection before its deadline.
    #[error("`{name}` was not sent: there was no connection within {} s, and now it is too late", .waited.as_secs_f32())]
    Expired {
        /// Which command.
        name: String,
        /// How long.
        waited: Duration,
    },
    /// Too many commands wait already.
    #[error(
        "`{name}` was not sent: {MAX_WAITING_COMMANDS} commands wait for their answers already"
    )]
    TooMany {
        /// Which command.
        name: String,
    },
    /// The arguments do not fit into one message.
    #[error("the arguments are too large: {0}")]
    TooLarge(Arc<PeerError>),
}

/// The machine cannot be driven by this session now.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DriveError {
    /// The session ended.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// Somebody else drives. Wait until they are done.
    #[error("{holder} is driving; try again when they are done")]
    Taken {
        /// Who.
        holder: PeerId,
    },
    /// The worker does not let this session drive, in its own words.
    #[error("{message}")]
    Refused {
        /// A stable word, for example `forbidden`.
        code: String,
        /// For people.
        message: String,
    },
    /// The worker did not answer.
    #[error("the worker did not say who drives within {} s", .waited.as_secs_f32())]
    TimedOut {
        /// How long.
        waited: Duration,
    },
}

/// Something about files came to nothing.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FilesError {
    /// The session ended. What arrived is kept; the same request goes on from there.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The file on this machine cannot be read.
    #[error("{0}")]
    Local(Failure),
    /// The worker, or the transfer, said no.
    #[error("{0}")]
    Refused(Failure),
}

/// A question about jobs came to nothing.
#[derive(Debug, Clone, thiserror::Error)]
pub enum JobsError {
    /// The session ended before the answer came.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The worker said no, and everything that is wrong.
    #[error("{}", problems(.0))]
    Refused(Vec<JobProblem>),
    /// No answer came in time. Whether it was done is not known.
    #[error("the worker did not answer within {} s; see `halyard jobs` for how things stand", .waited.as_secs())]
    TimedOut {
        /// How long.
        waited: Duration,
    },
    /// The question does not fit into one message.
    #[error("the values are too large: {0}")]
    TooLarge(String),
}

impl JobsError {
    /// The stable word of the first problem, where the worker said no.
    pub fn problem(&self) -> Option<JobErrorCode> {
        match self {
            Self::Refused(problems) => problems.first().map(|problem| problem.code),
            _ => None,
        }
    }
}

fn problems(problems: &[JobProblem]) -> String {
    if problems.is_empty() {
        return "the worker gave an answer that does not fit the question".to_owned();
    }
    let said = problems.iter().map(|problem| match problem.field.as_str() {
        "" => problem.message.clone(),
        field => format!("{field}: {}", problem.message),
    });
    said.collect::<Vec<_>>().join("; ")
}
