//! Log lines on stderr, for people or one JSON object each; and spans to a collector, where one is
//! named.

mod level;
#[cfg(feature = "otlp")]
mod spans;

use halyard_settings::log::{self, BadFilter};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{FilterExt, LevelFilter},
    layer::SubscriberExt,
    reload,
    util::SubscriberInitExt,
};

pub(crate) use self::level::Level;
#[cfg(feature = "otlp")]
pub(crate) use self::spans::Spans;

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
    let wanted = wanted.unwrap_or("info");
    let (filter, handle) = reload::Layer::<EnvFilter, Registry>::new(log::filter(wanted)?);
    // The spans for a collector say in other words what the lines say, so they are not part of those.
    let never = log::without_payloads().with_target(halyard_server::SPANS, LevelFilter::OFF);
    let mut layers = vec![log::lines(json).with_filter(filter.and(never)).boxed()];
    #[cfg(feature = "otlp")]
    layers.extend(spans.map(Spans::layer));
    #[cfg(not(feature = "otlp"))]
    let _ = spans;
    tracing_subscriber::registry().with(std::mem::take(&mut layers)).init();
    Ok(Level::new(wanted, handle))
}
