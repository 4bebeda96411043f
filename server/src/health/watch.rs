//! Asks backends that nobody called for a while.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::{broker::Broker, metrics::Backend, time::Now};

/// A backend that does not answer by then does not answer.
pub const PROBE_WITHIN: Duration = Duration::from_secs(5);

/// When backends are asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// How often it is looked whether one should be asked.
    look_every: Duration,
    /// One of which nothing was heard for this long is asked. Where there is traffic, the traffic is
    /// the answer.
    silent: Duration,
    probe_within: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            look_every: Duration::from_secs(1),
            silent: Duration::from_secs(5),
            probe_within: PROBE_WITHIN,
        }
    }
}

/// Asks until `stop` fires.
pub(crate) async fn watch(broker: Arc<Broker>, pace: Pace, stop: CancellationToken) {
    let mut ticks = interval(pace.look_every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;

            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let due = broker.health.due(Instant::now(), pace.silent);
        let asking = async {
            // One slow backend should not hide what is wrong with another.
            let (store, identity) = (Backend::Store, Backend::Identity);
            tokio::join!(
                async {
                    if due.contains(&store) {
                        probe(&broker, store, pace).await;
                    }
                },
                async {
                    if due.contains(&identity) {
                        probe(&broker, identity, pace).await;
                    }
                },
            );
        };
        tokio::select! {
            biased;

            () = stop.cancelled() => return,
            () = asking => {}
        }
        // Not an error: it is set the first time alone.
        let _ = broker.health.settled.set(());
    }
}

/// What comes of it is told to the health by [`Measured`](super::Measured); a call that hangs is
/// told here.
async fn probe(broker: &Broker, backend: Backend, pace: Pace) {
    let asking = async {
        match backend {
            Backend::Store => {
                if let Err(error) = broker.store.probe(Now::read().unix()).await {
                    tracing::warn!(%error, "the room store was asked whether it is there");
                }
            }
            Backend::Identity => {
                if let Err(error) = broker.identity.probe().await {
                    tracing::warn!(%error, "the identity provider was asked whether it is there");
                }
            }
            // Its connection says by itself when it breaks.
            Backend::Bus => {}
        }
    };
    if timeout(pace.probe_within, asking).await.is_err() {
        broker.health.failed(backend, Instant::now());
        tracing::warn!(backend = backend.word(), "a backend was asked and did not answer in time");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Settings,
        health::{Health, Measured, Verdict},
        metrics::Metrics,
        store::SlowStore,
        wiring,
    };

    /// Waits for a verdict, at most a minute.
    async fn verdict(health: &Health, wanted: Verdict) {
        let becoming = async {
            while health.verdict() != wanted {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let became = timeout(Duration::from_mins(1), becoming).await;
        became.unwrap_or_else(|_| panic!("{wanted:?} never came: {health:?}"));
    }

    #[tokio::test]
    async fn a_store_that_hangs_makes_the_broker_unready_and_one_that_is_back_ready_again() {
        let slow = Arc::new(SlowStore::default());
        let metrics = Arc::new(Metrics::new());
        let health = Arc::new(Health::new(metrics.clone(), &[]));
        let store = Measured::store(slow.clone(), &metrics, &health);
        let broker = wiring::open(Settings::default()).expect("a broker");
        let broker = Arc::new(Broker { store, health: health.clone(), metrics, ..broker });
        let stop = CancellationToken::new();
        let pace = Pace {
            look_every: Duration::from_millis(10),
            silent: Duration::from_secs(5),
            probe_within: Duration::from_millis(100),
        };
        let watching = tokio::spawn(watch(broker, pace, stop.clone()));

        verdict(&health, Verdict::Unready).await;
        assert_eq!(health.backends(), [(Backend::Store, false), (Backend::Identity, true)]);
        slow.answer(1);
        verdict(&health, Verdict::Ready).await;
        stop.cancel();
        watching.await.expect("no panic");
    }
}
