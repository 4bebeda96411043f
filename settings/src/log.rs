//! The log on standard error: how much of it, and in which form.
//!
//! A program decides what is logged unless it is told otherwise, and where else spans go; what every
//! log of ours has in common is here.

use std::io::IsTerminal;

use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{LevelFilter, Targets},
    fmt,
    registry::LookupSpan,
};

/// The words for levels.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Longest filter. The lines of a program have a few dozen targets.
const MAX_BYTES: usize = 1024;

/// Libraries whose finest lines have whole messages in them, tokens included. Nobody gets those,
/// whatever was asked for.
const PAYLOADS: [&str; 4] = ["tungstenite", "tokio_tungstenite", "hyper", "h2"];

/// A filter that means nothing.
#[derive(Debug, thiserror::Error)]
#[error(
    "{part:?} is no log filter; accepted is a level (off, error, warn, info, debug, trace) or \
     TARGET=LEVEL, like halyard_server=debug, several with commas between them, at most \
     {MAX_BYTES} bytes"
)]
pub struct BadFilter {
    /// The beginning of what is wrong with it.
    pub part: String,
}

/// Reads a filter. A single word must be a level: to the library it would be a target, and a
/// mistyped level would silence everything.
pub fn filter(words: &str) -> Result<EnvFilter, BadFilter> {
    let words = words.trim();
    let bad = |part: &str| BadFilter { part: part.chars().take(64).collect() };
    if words.len() > MAX_BYTES {
        return Err(bad(words));
    }
    for part in words.split(',').map(str::trim) {
        let level = match part.split_once('=') {
            // A target may have a filter for spans behind it, which the library reads.
            Some((target, level)) if !target.is_empty() => level,
            Some(_) => return Err(bad(part)),
            None => part,
        };
        if !LEVELS.contains(&level.to_ascii_lowercase().as_str()) {
            return Err(bad(part));
        }
    }
    EnvFilter::builder().with_regex(false).parse(words).map_err(|_| bad(words))
}

/// Lines on standard error: for people, or one JSON object each.
pub fn lines<S>(json: bool) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
{
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = lines.with_ansi(std::io::stderr().is_terminal());
    if json { lines.json().flatten_event(true).boxed() } else { lines.with_target(false).boxed() }
}

/// What no log has. It stands beside the wanted filter and is not a part of it: there, a longer
/// target would win.
pub fn without_payloads() -> Targets {
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

    use tracing_subscriber::{filter::FilterExt, layer::SubscriberExt};

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
    fn logged(wanted: &str, speak: impl FnOnce()) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let filter = filter(wanted).expect("a filter").and(without_payloads());
        let layer = fmt::layer().with_writer(move || writer.clone()).with_filter(filter);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), speak);
        String::from_utf8(lines.0.lock().unwrap().clone()).expect("text")
    }

    #[test]
    fn whole_messages_are_never_logged_whatever_is_asked_for() {
        for wanted in
            ["trace", "tungstenite=trace", "tungstenite::protocol=trace,hyper::proto=trace,info"]
        {
            let text = logged(wanted, || {
                tracing::trace!(target: "tungstenite::protocol", "received a token");
                tracing::debug!(target: "tokio_tungstenite::compat", "received a token");
                tracing::trace!(target: "hyper::proto::h1::io", "received a token");
                tracing::trace!(target: "hyper_util::client", "received a token");
            });
            assert_eq!(text, "", "{wanted}");
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
    fn a_filter_is_levels_alone_or_of_targets() {
        for good in ["info", "DEBUG", "warn,halyard_server=debug", " off ", "a::b=trace, info"] {
            assert!(filter(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn what_means_nothing_is_refused_with_what_is_accepted() {
        let long = "info,".repeat(300);
        for bad in ["", "debgu", "info,,warn", "=debug", "halyard_server", "a=b", "a=", &long] {
            let said = filter(bad).map(|_| ()).expect_err(bad).to_string();
            assert!(said.contains("halyard_server=debug") && said.len() < 400, "{bad}: {said}");
        }
    }
}
