//! Log lines on stderr: for people, or one JSON object each.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, filter::ParseError, fmt};

/// Libraries whose finest lines have whole messages in them, tokens included. Nobody gets those,
/// whatever was asked for.
const PAYLOADS: [&str; 3] = ["tungstenite=info", "tokio_tungstenite=info", "hyper=info"];

/// Starts logging. `HALYARD_LOG` says how much, in the words of `tracing`'s filters.
pub(crate) fn start(json: bool) -> Result<(), ParseError> {
    let filter = match std::env::var("HALYARD_LOG") {
        Ok(words) => EnvFilter::try_new(words)?,
        Err(_) => EnvFilter::new("info"),
    };
    let filter = PAYLOADS.iter().try_fold(filter, |filter, directive| {
        Ok::<_, ParseError>(filter.add_directive(directive.parse()?))
    })?;
    let lines = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let lines = lines.with_ansi(std::io::stderr().is_terminal());
    if json {
        lines.json().flatten_event(true).init();
    } else {
        lines.with_target(false).init();
    }
    Ok(())
}
