//! How the program ends: a documented code, and for people and programs, why.

use std::process::ExitCode;

use halyard_protocol::channel::{AckError, FileErrorCode, JobErrorCode};

use crate::{
    api::ApiError,
    session::{CommandError, DriveError, FilesError, JobsError, SessionError},
    signaling::SignalError,
};

/// The exit codes. They are stable: scripts rely on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: it was done.
    Done,
    /// 2: what was typed or configured cannot be right.
    Usage,
    /// 3: the server cannot be reached.
    Unreachable,
    /// 4: the server or the worker said no (token, role, expired).
    Refused,
    /// 5: no peer connection to a worker.
    NoPeer,
    /// 6: a transfer, a command or a job failed.
    Failed,
    /// 130: interrupted by SIGINT or SIGTERM.
    Interrupted,
}

impl Exit {
    /// The number.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::Refused => 4,
            Self::NoPeer => 5,
            Self::Failed => 6,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// Why a command was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CliError {
    /// How the program ends.
    pub exit: Exit,
    /// A stable word for programs.
    pub code: String,
    /// For people: what was wrong and what to do.
    pub message: String,
}

const CLOSED_PIPE: &str = "CLOSED_PIPE";

impl CliError {
    /// An error with its words.
    pub fn new(exit: Exit, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { exit, code: code.into(), message: message.into() }
    }

    /// What was typed cannot be right.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, "USAGE", message)
    }

    /// The user ended it.
    pub fn interrupted() -> Self {
        Self::new(Exit::Interrupted, "INTERRUPTED", "interrupted")
    }

    fn with_advice(exit: Exit, code: &str, error: &dyn std::error::Error) -> Self {
        let message = match advice(code) {
            Some(advice) => format!("{error}; {advice}"),
            None => error.to_string(),
        };
        Self::new(exit, code, message)
    }

    pub(super) fn closed_pipe() -> Self {
        Self::new(Exit::Done, CLOSED_PIPE, "nobody reads the output any more")
    }

    pub(super) fn is_closed_pipe(&self) -> bool {
        self.code == CLOSED_PIPE
    }

    /// A refusal of the worker, in its own words.
    pub fn of_ack(error: Option<AckError>) -> Self {
        let (code, message) = match error {
            Some(error) => (error.code, error.message),
            None => ("failed".into(), "the worker gave no reason".into()),
        };
        let exit = if code == "forbidden" { Exit::Refused } else { Exit::Failed };
        Self::new(exit, code, message)
    }
}

impl From<ApiError> for CliError {
    fn from(error: ApiError) -> Self {
        let exit = match &error {
            ApiError::Address { .. } => Exit::Usage,
            error if error.is_refusal() => Exit::Refused,
            _ => Exit::Unreachable,
        };
        Self::with_advice(exit, error.code(), &error)
    }
}

impl From<&SignalError> for CliError {
    fn from(error: &SignalError) -> Self {
        let exit = match error {
            SignalError::Address { .. } => Exit::Usage,
            error if error.is_refusal() => Exit::Refused,
            _ => Exit::Unreachable,
        };
        Self::with_advice(exit, &error.code(), error)
    }
}

/// What helps when the broker says no: its own words are few, because existing clients read them.
fn advice(code: &str) -> Option<&'static str> {
    Some(match code {
        "INVALID_TOKEN" => {
            "use the whole link with what stands behind #, or ask the room's owner for a new one"
        }
        "ROOM_NOT_FOUND" => {
            "it was closed, or its time was over, or the link is another server's: ask for a new \
             link"
        }
        "ROOM_EXPIRED" => "its time is over: ask the room's owner for a new link",
        "REPLACED" => "one program at a time can use an identity",
        _ => return None,
    })
}

impl From<SessionError> for CliError {
    fn from(error: SessionError) -> Self {
        let exit = match &error {
            SessionError::Signal(error) => return Self::from(&**error),
            SessionError::SignIn(error) if matches!(**error, ApiError::Address { .. }) => {
                Exit::Usage
            }
            error if error.is_refusal() => Exit::Refused,
            SessionError::SignIn(_) => Exit::Unreachable,
            SessionError::NoWorker { .. }
            | SessionError::NoneFits { .. }
            | SessionError::ForeignWorker { .. }
            | SessionError::NoConnection { .. }
            | SessionError::Closed => Exit::NoPeer,
        };
        Self::new(exit, error.code(), error.to_string())
    }
}

impl From<CommandError> for CliError {
    fn from(error: CommandError) -> Self {
        let code = match error {
            CommandError::Session(error) => return error.into(),
            CommandError::TimedOut { .. } => "TIMED_OUT",
            CommandError::Expired { .. } => "EXPIRED",
            CommandError::TooMany { .. } => "TOO_MANY",
            CommandError::TooLarge(_) => "TOO_LARGE",
        };
        Self::new(Exit::Failed, code, error.to_string())
    }
}

impl From<DriveError> for CliError {
    fn from(error: DriveError) -> Self {
        match error {
            DriveError::Session(error) => error.into(),
            DriveError::Taken { .. } => Self::new(Exit::Refused, "TAKEN", error.to_string()),
            DriveError::Refused { code, message } => Self::new(Exit::Refused, code, message),
            DriveError::TimedOut { .. } => Self::new(Exit::Failed, "TIMED_OUT", error.to_string()),
        }
    }
}

impl From<FilesError> for CliError {
    fn from(error: FilesError) -> Self {
        let (exit, failure) = match error {
            FilesError::Session(error) => return error.into(),
            FilesError::Local(failure) => (Exit::Usage, failure),
            FilesError::Refused(failure) => {
                let refused =
                    matches!(failure.code, FileErrorCode::Forbidden | FileErrorCode::Disabled);
                (if refused { Exit::Refused } else { Exit::Failed }, failure)
            }
        };
        let word = serde_json::to_value(failure.code).ok();
        let word = word.as_ref().and_then(|word| word.as_str()).unwrap_or("other");
        Self::new(exit, word, failure.message)
    }
}

impl From<JobsError> for CliError {
    fn from(error: JobsError) -> Self {
        match &error {
            JobsError::Session(inner) => inner.clone().into(),
            JobsError::Refused(_) => {
                let code = error.problem().unwrap_or(JobErrorCode::Other);
                let exit = match code {
                    JobErrorCode::Forbidden => Exit::Refused,
                    JobErrorCode::UnknownTemplate
                    | JobErrorCode::UnknownValue
                    | JobErrorCode::MissingValue
                    | JobErrorCode::BadValue => Exit::Usage,
                    _ => Exit::Failed,
                };
                Self::new(exit, code.as_str(), error.to_string())
            }
            JobsError::TimedOut { .. } => Self::new(Exit::Failed, "TIMED_OUT", error.to_string()),
            JobsError::TooLarge(_) => Self::new(Exit::Usage, "TOO_LARGE", error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use halyard_protocol::{signal::ErrorCode, transfer::Failure};

    use super::*;

    fn signal(error: SignalError) -> CliError {
        SessionError::from(error).into()
    }

    #[test]
    fn the_codes_are_those_that_are_documented() {
        let codes = [
            Exit::Done,
            Exit::Usage,
            Exit::Unreachable,
            Exit::Refused,
            Exit::NoPeer,
            Exit::Failed,
            Exit::Interrupted,
        ];
        assert_eq!(codes.map(Exit::code), [0, 2, 3, 4, 5, 6, 130]);
    }

    #[test]
    fn no_server_ends_with_3_and_a_wrong_token_with_4() {
        let server = "http://x/".to_owned();
        let gone = signal(SignalError::Unreachable { server, reason: "refused".into() });
        assert_eq!((gone.exit, gone.code.as_str()), (Exit::Unreachable, "SERVER_UNREACHABLE"));
        let wrong = signal(SignalError::Refused {
            code: Some(ErrorCode::InvalidToken),
            message: "Invalid token".into(),
            retry_after: None,
        });
        assert_eq!((wrong.exit, wrong.code.as_str()), (Exit::Refused, "INVALID_TOKEN"));
        assert!(wrong.message.starts_with("Invalid token; use the whole link"), "{wrong}");
        let refused = ApiError::Refused {
            status: 403,
            code: "FORBIDDEN".into(),
            message: "no".into(),
            retry_after: None,
        };
        assert_eq!(CliError::from(SessionError::from(refused)).exit, Exit::Refused);
    }

    #[test]
    fn no_worker_ends_with_5() {
        let error = SessionError::NoWorker {
            room: "ab12".parse().expect("a room"),
            waited: Duration::from_secs(20),
        };
        let error = CliError::from(error);
        assert_eq!((error.exit, error.code.as_str()), (Exit::NoPeer, "NO_WORKER"));
    }

    #[test]
    fn a_viewer_who_asks_for_more_ends_with_4_and_the_workers_words() {
        let words = "viewers may not send commands".to_owned();
        let ack = CliError::of_ack(Some(AckError { code: "forbidden".into(), message: words }));
        assert_eq!(
            (ack.exit, ack.message.as_str()),
            (Exit::Refused, "viewers may not send commands")
        );
        let file = FilesError::Refused(Failure::new(FileErrorCode::Forbidden, "viewers only look"));
        let file = CliError::from(file);
        assert_eq!((file.exit, file.code.as_str()), (Exit::Refused, "forbidden"));
        let failed = FilesError::Refused(Failure::new(FileErrorCode::HashMismatch, "damaged"));
        assert_eq!(CliError::from(failed).exit, Exit::Failed);
    }

    #[test]
    fn an_error_inside_a_session_keeps_its_meaning() {
        let inner = SessionError::Signal(Arc::new(SignalError::Revoked));
        assert_eq!(CliError::from(CommandError::Session(inner)).exit, Exit::Refused);
    }
}
