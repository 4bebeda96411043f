//! Log lines on stderr: for people, or one JSON object each.

use tracing_subscriber::{EnvFilter, filter::ParseError, fmt};

/// Starts logging. `HALYARD_LOG` says how much, in the words of `tracing`'s filters.
pub(crate) fn start(json: bool) -> Result<(), ParseError> {
    let filter = match std::env::var("HALYARD_LOG") {
        Ok(words) => EnvFilter::try_new(words)?,
        Err(_) => EnvFilter::new("info"),
    };
    let lines = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if json {
        lines.json().flatten_event(true).init();
    } else {
        lines.with_target(false).init();
    }
    Ok(())
}
