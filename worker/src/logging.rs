//! The log on standard error: for people, or one JSON object a line.

use halyard_settings::log;
use tracing_subscriber::{
    EnvFilter, Layer, filter::FilterExt, layer::SubscriberExt, util::SubscriberInitExt,
};

/// How much is logged unless `HALYARD_LOG` says otherwise.
const QUIET: &str = "warn,webrtc=error,rtc=error";

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
    let json = match std::env::var("HALYARD_LOG_FORMAT").as_deref() {
        Ok("json") => true,
        Ok("text") | Err(_) => false,
        Ok(other) => {
            return Err(LogError {
                variable: "HALYARD_LOG_FORMAT",
                value: other.to_owned(),
                why: String::new(),
                accepted: "text and json",
            });
        }
    };
    let lines = log::lines(json).with_filter(wanted.and(log::without_payloads()));
    tracing_subscriber::registry().with(lines).init();
    Ok(())
}

fn wanted(said: Option<String>) -> Result<EnvFilter, LogError> {
    let Some(said) = said else { return Ok(EnvFilter::new(QUIET)) };
    log::filter(&said).map_err(|error| LogError {
        variable: "HALYARD_LOG",
        value: said,
        why: format!(": {:?} is no log filter", error.part),
        accepted: "levels like info, or halyard_worker=debug,warn",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_means_nothing_is_refused_in_words_that_help() {
        let error = wanted(Some("halyard=loud".to_owned())).expect_err("no level").to_string();
        assert!(error.starts_with("HALYARD_LOG is \"halyard=loud\": "), "{error}");
        assert!(error.ends_with("accepted are levels like info, or halyard_worker=debug,warn"));
    }
}
