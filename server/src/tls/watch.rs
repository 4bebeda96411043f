//! Looks whether the certificate was renewed, and whether it should be.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{
    Certificate, TlsError,
    validity::{Standing, Told},
};
use crate::{metrics::Metrics, time};

/// Reads the files every so often, and at once on SIGHUP, until `stop` fires. A bad file changes
/// nothing but the log and the metric. A certificate that ends soon is told about once a day.
pub async fn watch(
    certificate: Arc<Certificate>,
    metrics: Arc<Metrics>,
    every: Duration,
    stop: CancellationToken,
) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut asked = Asked::new();
    let mut complained = String::new();
    let mut told = Told::default();
    loop {
        look_at_the_end(&certificate, &metrics, &mut told);
        tokio::select! {
            biased;

            () = stop.cancelled() => return,
            () = asked.wait() => {}
            _ = ticks.tick() => {}
        }
        let looking = Arc::clone(&certificate);
        let looked = tokio::task::spawn_blocking(move || looking.reload()).await;
        match looked.unwrap_or_else(|error| Some(Err(TlsError::Setup(error.to_string())))) {
            None => {}
            Some(Ok(())) => {
                complained.clear();
                metrics.tls_reloaded(true);
                tracing::info!("the certificate was renewed; new connections get the new one");
            }
            Some(Err(error)) => {
                // A file that cannot be read is found so every time, and said once.
                let error = error.to_string();
                if error != complained {
                    metrics.tls_reloaded(false);
                    tracing::error!("the old certificate stays: {error}");
                    complained = error;
                }
            }
        }
    }
}

fn look_at_the_end(certificate: &Certificate, metrics: &Metrics, told: &mut Told) {
    let validity = certificate.validity();
    if let Some(validity) = validity {
        metrics.tls_ends(validity.until);
    }
    let path = certificate.path();
    match told.due(validity, time::unix()) {
        None => {}
        Some(standing @ Standing::Over { .. }) => {
            tracing::error!("the certificate {path} {standing}");
        }
        Some(standing) => tracing::warn!("the certificate {path} {standing}"),
    }
}

/// Somebody who renews certificates asks for them to be read now.
#[cfg(unix)]
struct Asked(Option<tokio::signal::unix::Signal>);

#[cfg(unix)]
impl Asked {
    fn new() -> Self {
        use tokio::signal::unix::{SignalKind, signal};

        Self(signal(SignalKind::hangup()).ok())
    }

    async fn wait(&mut self) {
        match &mut self.0 {
            Some(signal) => {
                signal.recv().await;
            }
            None => std::future::pending().await,
        }
    }
}

#[cfg(not(unix))]
struct Asked;

#[cfg(not(unix))]
impl Asked {
    fn new() -> Self {
        Self
    }

    async fn wait(&mut self) {
        std::future::pending().await
    }
}
