//! Log lines on stderr, for people or one JSON object each; and spans to a collector, where one is
//! named.

mod level;
#[cfg(feature = "otlp")]
mod spans;

use std::io::IsTerminal;

use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{FilterExt, LevelFilter, Targets},
    fmt,
    layer::SubscriberExt,
    reload,
    util::SubscriberInitExt,
};

pub(crate) use self::level::{BadFilter, Level};
#[cfg(feature = "otlp")]
pub(crate) use self::spans::Spans;

/// Libraries whose finest lines have whole messages in them, tokens included. Nobody gets those,
/// whatever was asked for.
const PAYLOADS: [&str; 3] = ["tungstenite", "tokio_tungstenite", "hyper"];

/// Spans on their way to a collector, in a program that was built without them.
#[cfg(not(feature = "otlp"))]
pub(crate) enum Spans {}

#[cfg(not(feature = "otlp"))]
impl Spans {
    /// There are none.
    pub(crate) fn flush(self, _within: std::time::Duration) -> std::future::Ready<()> {
        match self {}
    }
}

/// Starts logging. `wanted` says how much, in the words of `tracing`'s filters; the level that comes
/// back changes it later. `spans` are sent beside it.
pub(crate) fn start(
    json: bool,
    wanted: Option<&str>,
    spans: Option<&Spans>,
) -> Result<Level, BadFilter> {
    let (wanted, filter) = level::read(wanted.unwrap_or("info"))?;
    let (filter, handle) = reload::Layer::<EnvFilter, Registry>::new(filter);
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = lines.with_ansi(std::io::stderr().is_terminal());
    let lines: Box<dyn Layer<Registry> + Send + Sync> = if json {
        lines.json().flatten_event(true).boxed()
    } else {
        lines.with_target(false).boxed()
    };
    let mut layers = vec![lines.with_filter(filter.and(without_payloads())).boxed()];
    #[cfg(feature = "otlp")]
    layers.extend(spans.map(Spans::layer));
    #[cfg(not(feature = "otlp"))]
    let _ = spans;
    tracing_subscriber::registry().with(std::mem::take(&mut layers)).init();
    Ok(Level::new(wanted, handle))
}

/// A filter beside the wanted one and not a part of it: there, a longer target would win. The spans
/// for a collector say in other words what the lines say, so they are not part of those either.
fn without_payloads() -> Targets {
    PAYLOADS
        .iter()
        .fold(Targets::new().with_default(LevelFilter::TRACE), |targets, library| {
            targets.with_target(*library, LevelFilter::INFO)
        })
        .with_target(halyard_server::SPANS, LevelFilter::OFF)
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
