//! What can go wrong in a call, in the caller's words.

use std::time::Duration;

use serde::Deserialize;
use url::Url;

/// The longest wait that a broker can ask for.
pub const LONGEST_WAIT: Duration = Duration::from_mins(5);

/// A call to the broker failed.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The address cannot be a broker's. Give one that starts with `http://` or `https://`.
    #[error("{address} is not a server address; it looks like http://127.0.0.1:8080")]
    Address {
        /// What was given.
        address: String,
    },
    /// The HTTP client could not be made, usually for want of readable root certificates.
    #[error("cannot set up HTTPS: {}", cause(.source))]
    Setup {
        /// Why.
        source: reqwest::Error,
    },
    /// Nothing answers there. Check the address, and that the server runs.
    #[error("cannot reach the server at {server}: {}", cause(.source))]
    Unreachable {
        /// Where.
        server: String,
        /// Why.
        source: reqwest::Error,
    },
    /// It did not answer in time. Try again later.
    #[error("the server at {server} did not answer in time")]
    TimedOut {
        /// Where.
        server: String,
    },
    /// It said no, and why.
    #[error("{message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// A stable word, for example `ROOM_NOT_FOUND`; `HTTP_502` where none was given.
        code: String,
        /// For people.
        message: String,
        /// When to try again, where the server said so (`Retry-After` in seconds), at most
        /// [`LONGEST_WAIT`].
        retry_after: Option<Duration>,
    },
    /// It answered something that is not an answer to this call: probably not a Halyard server.
    #[error(
        "the server at {server} answered something unexpected ({source}); is it a Halyard server?"
    )]
    Answer {
        /// Where.
        server: String,
        /// What does not fit.
        source: serde_json::Error,
    },
    /// It answered more than any answer has.
    #[error("the server at {server} answered more than 1 MiB; is it a Halyard server?")]
    TooLong {
        /// Where.
        server: String,
    },
}

impl ApiError {
    /// Whether the broker was reached and said no, so that asking again changes nothing.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if *status < 500 && *status != 429)
    }

    /// How long to wait before another try, where the broker said so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// A stable word for programs.
    pub fn code(&self) -> &str {
        match self {
            Self::Address { .. } => "BAD_ADDRESS",
            Self::Setup { .. } => "TLS_SETUP",
            Self::Unreachable { .. } => "SERVER_UNREACHABLE",
            Self::TimedOut { .. } => "SERVER_TIMED_OUT",
            Self::Refused { code, .. } => code,
            Self::Answer { .. } | Self::TooLong { .. } => "UNEXPECTED_ANSWER",
        }
    }

    pub(super) fn from_http(server: &Url, source: reqwest::Error) -> Self {
        let server = server.to_string();
        let source = source.without_url();
        if source.is_timeout() && !source.is_connect() {
            return Self::TimedOut { server };
        }
        Self::Unreachable { server, source }
    }

    /// Reads `{"code","message"}`, and makes the best of anything else.
    pub(super) fn refused(status: u16, retry_after: Option<Duration>, body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Words {
            code: Option<String>,
            message: Option<String>,
            /// The original's word for it.
            detail: Option<serde_json::Value>,
        }
        let words: Option<Words> = serde_json::from_slice(body).ok();
        let (code, message) = match words {
            Some(words) => {
                let detail = words.detail.map(|detail| match detail {
                    serde_json::Value::String(text) => text,
                    other => other.to_string(),
                });
                (words.code, words.message.or(detail))
            }
            None => (None, None),
        };
        let message = match message {
            Some(text) => text.chars().filter(|c| !c.is_control()).take(500).collect(),
            None => format!("the server answered with HTTP status {status}"),
        };
        let code = match code {
            Some(text) => text.chars().filter(char::is_ascii_graphic).take(64).collect(),
            None => format!("HTTP_{status}"),
        };
        let retry_after = retry_after.map(|wait| wait.min(LONGEST_WAIT));
        Self::Refused { status, code, message, retry_after }
    }
}

/// The innermost cause, which is the one that helps ("Connection refused", "unknown issuer").
fn cause(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    crate::tls::explained(inner.to_string())
}
