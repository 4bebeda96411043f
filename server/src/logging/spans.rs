//! Spans for an OpenTelemetry collector, as OTLP over HTTP.
//!
//! What is ended waits in a queue of [`QUEUE`] spans for a thread of its own, which sends them in
//! batches. A collector that is slow or away costs that much memory and nothing else: when the queue
//! is full, spans are dropped.

use std::{sync::Arc, time::Duration};

use opentelemetry::{KeyValue, trace::TracerProvider};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::{
    Resource,
    error::{OTelSdkError, OTelSdkResult},
    trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider, SpanData},
};
use tokio::runtime::Handle;
use tracing_subscriber::{Layer, Registry, filter::Targets};
use url::Url;

/// Spans that may wait for the collector. Each has a few hundred bytes.
const QUEUE: usize = 2048;
/// Spans sent at a time.
const BATCH: usize = 512;
/// How long an ended span waits for others at most.
const WAIT: Duration = Duration::from_secs(2);
/// A collector that has not answered by then has not.
const EXPORT_WITHIN: Duration = Duration::from_secs(5);

/// Spans on their way to a collector.
pub(crate) struct Spans {
    provider: SdkTracerProvider,
}

impl Spans {
    /// Sends to the collector at this address, whose port for HTTP is 4318. Needs the runtime.
    pub(crate) fn to(collector: &Url) -> Result<Self, opentelemetry_otlp::ExporterBuildError> {
        let address = format!("{}/v1/traces", collector.as_str().trim_end_matches('/'));
        let exporter = SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(address)
            .with_timeout(EXPORT_WITHIN)
            .build()?;
        let exporter = OnRuntime { inner: Arc::new(exporter), runtime: Handle::current() };
        let config = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(WAIT);
        let processor = BatchSpanProcessor::builder(exporter).with_batch_config(config.build());
        let resource = Resource::builder()
            .with_service_name(env!("CARGO_PKG_NAME"))
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
        let provider = SdkTracerProvider::builder()
            .with_span_processor(processor.build())
            .with_resource(resource.build());
        Ok(Self { provider: provider.build() })
    }

    pub(super) fn layer(&self) -> Box<dyn Layer<Registry> + Send + Sync> {
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer("halyard"))
            // Where in the source a span begins says nothing that its name does not.
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_filter(Targets::new().with_target(halyard_server::SPANS, tracing::Level::INFO))
            .boxed()
    }

    /// Sends what waits, and gives up after `within`.
    pub(crate) async fn flush(self, within: Duration) {
        // It blocks, and what it waits for needs this runtime.
        let flushing =
            tokio::task::spawn_blocking(move || self.provider.shutdown_with_timeout(within));
        match tokio::time::timeout(within, flushing).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => tracing::warn!(%error, "the last spans were not sent"),
            Ok(Err(error)) => tracing::warn!(%error, "the last spans were not sent"),
            Err(_) => tracing::warn!("the last spans were not sent in time"),
        }
    }
}

/// Sends on the program's runtime: the thread that batches spans has none.
#[derive(Debug)]
struct OnRuntime {
    inner: Arc<SpanExporter>,
    runtime: Handle,
}

impl opentelemetry_sdk::trace::SpanExporter for OnRuntime {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let inner = Arc::clone(&self.inner);
        let sending = self.runtime.spawn(async move { inner.export(batch).await });
        sending.await.unwrap_or_else(|error| Err(OTelSdkError::InternalFailure(error.to_string())))
    }

    fn set_resource(&mut self, resource: &Resource) {
        // Nothing is sent before this, so there is no other owner.
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            inner.set_resource(resource);
        }
    }
}
