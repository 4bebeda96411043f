//! Loss beyond the usual.
//!
//! A radio link loses a few per cent whatever is sent, and sending less does not help. So the least
//! loss of the last seconds is taken for the link's own, and only what comes on top counts.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Loss is counted over at least this long,
const WINDOW: Duration = Duration::from_secs(1);

/// and over at least so many packets: at 8 % of 60 it is known within 3.5 points.
const MIN_PACKETS: usize = 60;

/// How many windows the link's own loss is the least of.
const KEPT: usize = 15;

/// No link is granted more of its own than this.
const MOST_OWN: f64 = 0.12;

/// Collects losses.
#[derive(Debug, Default)]
pub(super) struct Loss {
    begun: Option<Instant>,
    lost: usize,
    total: usize,
    windows: VecDeque<f64>,
}

impl Loss {
    /// So many of so many were lost. Says how much beyond the usual, 0 to 1, when a window ends.
    pub(super) fn add(&mut self, now: Instant, lost: usize, total: usize) -> Option<f64> {
        let begun = *self.begun.get_or_insert(now);
        self.lost += lost;
        self.total += total;
        if now.saturating_duration_since(begun) < WINDOW || self.total < MIN_PACKETS {
            return None;
        }
        let loss = self.lost as f64 / self.total as f64;
        (self.begun, self.lost, self.total) = (Some(now), 0, 0);
        if self.windows.len() >= KEPT {
            self.windows.pop_front();
        }
        self.windows.push_back(loss);
        Some((loss - self.own()).max(0.0))
    }

    /// What the link loses anyway, 0 to 1.
    pub(super) fn own(&self) -> f64 {
        // With one window there is nothing to compare with.
        if self.windows.len() < 2 {
            return 0.0;
        }
        self.windows.iter().copied().fold(MOST_OWN, f64::min)
    }

    /// The loss of the last whole window, 0 to 1.
    pub(super) fn last(&self) -> Option<f64> {
        self.windows.back().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(loss: &mut Loss, start: Instant, shares: &[usize]) -> Vec<f64> {
        let step = |(n, lost): (usize, &usize)| {
            loss.add(start + Duration::from_millis(100) * n as u32, *lost, 20)
        };
        shares.iter().enumerate().filter_map(step).collect()
    }

    #[test]
    fn what_a_link_always_loses_is_its_own() {
        let (mut loss, start) = (Loss::default(), Instant::now());
        let beyond = run(&mut loss, start, &[2; 60]);
        assert!(beyond.len() >= 4 && beyond[1..].iter().all(|beyond| *beyond < 0.01), "{beyond:?}");
        assert!((loss.own() - 0.1).abs() < 0.01);
    }

    #[test]
    fn what_comes_on_top_counts_and_no_link_may_lose_a_quarter() {
        let (mut loss, start) = (Loss::default(), Instant::now());
        run(&mut loss, start, &[1; 40]);
        let beyond = run(&mut loss, start + Duration::from_secs(5), &[8; 24]);
        assert!(*beyond.last().unwrap() > 0.3, "{beyond:?}");
        let (mut loss, start) = (Loss::default(), Instant::now());
        let beyond = run(&mut loss, start, &[5; 200]);
        assert!(*beyond.last().unwrap() > 0.12, "{beyond:?}");
    }
}
