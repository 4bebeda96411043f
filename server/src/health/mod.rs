//! Whether what the broker needs of others is there.
//!
//! [`Health`] is told of every call to a backend by [`Measured`], and [`watch()`] asks a backend that
//! nobody called for a while. A backend is down after [`FAILURES`] calls in a row that it did not
//! carry out, and up again with the first one that it did: nobody has to say so.
//!
//! Health decides about readiness and never about liveness. A broker whose backend is away is not
//! helped by being killed: its peers would lose their sockets, too.

mod measured;
mod watch;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::SetOnce;

pub(crate) use self::watch::{Pace, watch};
pub use self::{measured::Measured, watch::PROBE_WITHIN};
use crate::metrics::{Backend, Metrics};

/// Calls in a row that a backend must not carry out to be down. One may be chance.
pub const FAILURES: u32 = 3;

/// What is known of one backend.
#[derive(Debug, Clone, Copy)]
struct Standing {
    up: bool,
    /// Calls in a row that failed.
    failures: u32,
    /// When anything was heard of it, good or bad.
    heard: Option<Instant>,
    /// Something about it was odd, so it should be asked.
    suspect: bool,
}

impl Standing {
    const GOOD: Self = Self { up: true, failures: 0, heard: None, suspect: false };
}

/// What is known of all backends.
pub struct Health {
    metrics: Arc<Metrics>,
    standings: Mutex<Vec<(Backend, Standing)>>,
    /// Every backend was asked at least once.
    settled: SetOnce<()>,
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health").field("backends", &self.backends()).finish_non_exhaustive()
    }
}

/// What a load balancer should know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Everything works.
    Ready,
    /// New peers are served, though not in full: the bus is away, and peers of one room may be on
    /// different nodes.
    Degraded,
    /// New peers would be refused.
    Unready,
}

impl Health {
    /// Knows of the store and the identity provider, and of nothing bad. `others` are asked for,
    /// too, where the broker has them.
    pub fn new(metrics: Arc<Metrics>, others: &[Backend]) -> Self {
        let all = [Backend::Store, Backend::Identity].iter().chain(others);
        let standings: Vec<_> = all.map(|&backend| (backend, Standing::GOOD)).collect();
        for (backend, _) in &standings {
            metrics.set_up(*backend, true);
        }
        Self { metrics, standings: Mutex::new(standings), settled: SetOnce::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Backend, Standing)>> {
        // A list of plain values is whole after every line, whoever panicked.
        self.standings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A backend carried out what it was asked.
    pub fn answered(&self, backend: Backend, now: Instant) {
        self.change(backend, now, |standing| {
            (standing.failures, standing.suspect) = (0, false);
            standing.up = true;
        });
    }

    /// A backend did not carry out what it was asked.
    pub fn failed(&self, backend: Backend, now: Instant) {
        self.change(backend, now, |standing| {
            standing.failures = standing.failures.saturating_add(1);
            standing.up &= standing.failures < FAILURES;
            // Whether it is down, or back, is to be known soon, and not with the next peer.
            standing.suspect = true;
        });
    }

    /// A backend is gone for certain: its connection broke.
    pub fn lost(&self, backend: Backend, now: Instant) {
        self.change(backend, now, |standing| {
            standing.failures = FAILURES;
            standing.up = false;
        });
    }

    /// A call failed for a reason that may be the caller's. The backend is asked soon.
    pub fn suspect(&self, backend: Backend) {
        if let Some((_, standing)) = self.lock().iter_mut().find(|(of, _)| *of == backend) {
            standing.suspect = true;
        }
    }

    fn change(&self, backend: Backend, now: Instant, how: impl FnOnce(&mut Standing)) {
        let mut standings = self.lock();
        let Some((_, standing)) = standings.iter_mut().find(|(of, _)| *of == backend) else {
            return;
        };
        let was_up = standing.up;
        standing.heard = Some(now);
        how(standing);
        let is_up = standing.up;
        if was_up == is_up {
            return;
        }
        // Under the lock, so that the gauge follows the changes in their order.
        self.metrics.set_up(backend, is_up);
        drop(standings);
        let backend = backend.word();
        if is_up {
            tracing::info!(backend, "a backend answers again");
        } else {
            tracing::error!(backend, "a backend does not answer");
        }
    }

    /// The backends that should be asked now: suspects, and those of which nothing was heard for
    /// this long.
    fn due(&self, now: Instant, silent: Duration) -> Vec<Backend> {
        let is_due = |standing: &Standing| {
            let heard = standing.heard;
            standing.suspect
                || heard.is_none_or(|heard| now.saturating_duration_since(heard) >= silent)
        };
        self.lock().iter().filter(|(_, s)| is_due(s)).map(|(backend, _)| *backend).collect()
    }

    /// The backends and whether each is up.
    pub fn backends(&self) -> Vec<(Backend, bool)> {
        self.lock().iter().map(|(backend, standing)| (*backend, standing.up)).collect()
    }

    /// What that means for new peers.
    pub fn verdict(&self) -> Verdict {
        let down: Vec<Backend> =
            self.backends().into_iter().filter(|(_, up)| !up).map(|(backend, _)| backend).collect();
        match down.as_slice() {
            [] => Verdict::Ready,
            // Every node has the same bus: if its loss made them unready, a load balancer would
            // turn everybody away, those included whose room is on one node.
            [Backend::Bus] => Verdict::Degraded,
            _ => Verdict::Unready,
        }
    }

    /// Waits until every backend was asked once.
    pub async fn settled(&self) {
        self.settled.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(others: &[Backend]) -> Health {
        Health::new(Arc::new(Metrics::new()), others)
    }

    #[test]
    fn a_backend_is_down_after_three_failures_in_a_row_and_up_with_one_answer() {
        let (health, now) = (health(&[]), Instant::now());
        health.failed(Backend::Store, now);
        health.failed(Backend::Store, now);
        health.answered(Backend::Store, now);
        health.failed(Backend::Store, now);
        health.failed(Backend::Store, now);
        assert_eq!(health.verdict(), Verdict::Ready);
        health.failed(Backend::Store, now);
        assert_eq!(health.verdict(), Verdict::Unready);
        assert_eq!(health.backends(), [(Backend::Store, false), (Backend::Identity, true)]);
        health.answered(Backend::Store, now);
        assert_eq!(health.verdict(), Verdict::Ready);
    }

    #[test]
    fn a_broker_without_its_bus_still_takes_peers_and_says_so() {
        let (health, now) = (health(&[Backend::Bus]), Instant::now());
        health.lost(Backend::Bus, now);
        assert_eq!(health.verdict(), Verdict::Degraded);
        health.lost(Backend::Identity, now);
        assert_eq!(health.verdict(), Verdict::Unready);
        health.answered(Backend::Identity, now);
        health.answered(Backend::Bus, now);
        assert_eq!(health.verdict(), Verdict::Ready);
    }

    #[test]
    fn a_backend_that_the_broker_does_not_have_is_never_down() {
        let (health, now) = (health(&[]), Instant::now());
        health.lost(Backend::Bus, now);
        assert_eq!(health.verdict(), Verdict::Ready);
    }

    #[test]
    fn who_was_silent_or_odd_is_asked() {
        let (health, start) = (health(&[]), Instant::now());
        let silent = Duration::from_secs(5);
        assert_eq!(health.due(start, silent), [Backend::Store, Backend::Identity]);
        health.answered(Backend::Store, start);
        health.answered(Backend::Identity, start);
        assert!(health.due(start, silent).is_empty());
        health.suspect(Backend::Identity);
        assert_eq!(health.due(start, silent), [Backend::Identity]);
        health.failed(Backend::Store, start);
        assert!(health.due(start, silent).contains(&Backend::Store), "a failure is looked into");
        health.answered(Backend::Store, start);
        health.answered(Backend::Identity, start + silent);
        assert_eq!(health.due(start + silent, silent), [Backend::Store]);
    }
}
