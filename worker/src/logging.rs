//! The log on standard error: for people, or one JSON object a line.

use std::io::IsTerminal;

use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{FilterExt, LevelFilter, Targets},
    fmt,
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

/// How much is logged unless `HALYARD_LOG` says otherwise.
const QUIET: &str = "warn,webrtc=error,rtc=error";

/// Libraries whose finest lines have whole messages in them, tokens included. Nobody gets those,
/// whatever was asked for.
const PAYLOADS: [&str; 4] = ["tungstenite", "tokio_tungstenite", "hyper", "h2"];

/// `HALYARD_LOG` or `HALYARD_LOG_FORMAT` means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable} is {value:?}{why}; accepted are {accepted}")]
pub struct LogError {
    /// Which.
    variable: &'static str,
    /// What was typed.
    value: String,
    /// What is wrong with it, where that can be said.
    why: String,
    /// What to type.
    accepted: &'static str,
}

/// Starts the log, as `HALYARD_LOG` (levels by target) and `HALYARD_LOG_FORMAT` (`text` or
/// `json`) say. Standard output belongs to the links and the JSON lines.
pub fn start() -> Result<(), LogError> {
    let wanted = wanted(std::env::var("HALYARD_LOG").ok())?;
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = lines.with_ansi(std::io::stderr().is_terminal());
    let lines: Box<dyn Layer<Registry> + Send + Sync> =
        match std::env::var("HALYARD_LOG_FORMAT").as_deref() {
            Ok("json") => lines.json().boxed(),
            Ok("text") | Err(_) => lines.with_target(false).boxed(),
            Ok(other) => {
                return Err(LogError {
                    variable: "HALYARD_LOG_FORMAT",
                    value: other.to_owned(),
                    why: String::new(),
                    accepted: "text and json",
                });
            }
        };
    tracing_subscriber::registry().with(lines.with_filter(wanted.and(without_payloads()))).init();
    Ok(())
}

fn wanted(said: Option<String>) -> Result<EnvFilter, LogError> {
    let Some(said) = said else { return Ok(EnvFilter::new(QUIET)) };
    EnvFilter::try_new(&said).map_err(|error| LogError {
        variable: "HALYARD_LOG",
        value: said,
        why: format!(": {error}"),
        accepted: "levels like info, or halyard_worker=debug,warn",
    })
}

/// A filter beside the wanted one and not a part of it: there, a longer target would win.
fn without_payloads() -> Targets {
    PAYLOADS.iter().fold(Targets::new().with_default(LevelFilter::TRACE), |targets, library| {
        targets.with_target(*library, LevelFilter::INFO)
    })
}

#[cfg(test)]
mod tests {
    use std::{
        io::{self, Write},
        sync::{Arc, Mutex},
    };

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is logged when this is asked for.
    fn logged(said: &str, speak: impl FnOnce()) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let filter = wanted(Some(said.to_owned())).expect("a filter").and(without_payloads());
        let layer = fmt::layer().with_writer(move || writer.clone()).with_filter(filter);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), speak);
        String::from_utf8(lines.0.lock().unwrap().clone()).expect("text")
    }

    #[test]
    fn whole_messages_are_never_logged_whatever_is_asked_for() {
        for said in ["trace", "tungstenite=trace", "tungstenite::protocol=trace,hyper::proto=trace"]
        {
            let text = logged(said, || {
                tracing::trace!(target: "tungstenite::protocol", "received a token");
                tracing::debug!(target: "tokio_tungstenite::compat", "received a token");
                tracing::trace!(target: "hyper::proto::h1::io", "received a token");
                tracing::trace!(target: "hyper_util::client", "received a token");
            });
            assert_eq!(text, "", "{said}");
        }
    }

    #[test]
    fn everything_else_is_logged_as_asked_for() {
        let text = logged("halyard_worker=debug,warn", || {
            tracing::debug!(target: "halyard_worker::agent", "one");
            tracing::warn!(target: "tungstenite", "two");
            tracing::info!(target: "webrtc", "three");
        });
        assert!(text.contains("one") && text.contains("two") && !text.contains("three"), "{text}");
    }

    #[test]
    fn a_filter_that_means_nothing_is_refused_in_words_that_help() {
        let error = wanted(Some("halyard=loud".to_owned())).expect_err("no level").to_string();
        assert!(error.starts_with("HALYARD_LOG is \"halyard=loud\": "), "{error}");
        assert!(error.ends_with("accepted are levels like info, or halyard_worker=debug,warn"));
    }
}
