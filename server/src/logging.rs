//! Log lines on stderr: for people, or one JSON object each.

use std::io::IsTerminal;

use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{FilterExt, LevelFilter, ParseError, Targets},
    fmt,
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

/// Libraries whose finest lines have whole messages in them, tokens included. Nobody gets those,
/// whatever was asked for.
const PAYLOADS: [&str; 3] = ["tungstenite", "tokio_tungstenite", "hyper"];

/// Starts logging. `HALYARD_LOG` says how much, in the words of `tracing`'s filters.
pub(crate) fn start(json: bool) -> Result<(), ParseError> {
    let wanted = match std::env::var("HALYARD_LOG") {
        Ok(words) => EnvFilter::try_new(words)?,
        Err(_) => EnvFilter::new("info"),
    };
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = lines.with_ansi(std::io::stderr().is_terminal());
    let lines: Box<dyn Layer<Registry> + Send + Sync> = if json {
        lines.json().flatten_event(true).boxed()
    } else {
        lines.with_target(false).boxed()
    };
    tracing_subscriber::registry().with(lines.with_filter(wanted.and(without_payloads()))).init();
    Ok(())
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

    #[test]
    fn whole_frames_are_never_logged_whatever_is_asked_for() {
        let lines = Lines::default();
        let writer = lines.clone();
        let wanted = EnvFilter::try_new("tungstenite::protocol=trace,hyper::proto=trace,info");
        let filter = wanted.expect("a filter").and(without_payloads());
        let layer = fmt::layer().with_writer(move || writer.clone()).with_filter(filter);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::trace!(target: "tungstenite::protocol", "received a token");
            tracing::trace!(target: "hyper::proto::h1::io", "received a token");
            tracing::info!(target: "halyard_server", "a peer registered");
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).expect("text");
        assert!(!text.contains("token") && text.contains("a peer registered"), "{text}");
    }
}
