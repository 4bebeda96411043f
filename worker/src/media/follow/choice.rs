//! Which rendition a viewer is sent: the best one that its path carries.
//!
//! * A rendition that somebody carries whole is for those who carry most of it. One that nobody carries
//!   whole goes down to the rate of who has most, as a picture without renditions does; so it
//!   is for whoever carries more than the next one needs.
//! * **Down** it goes soon: what a path does not carry is old or lost.
//! * **Up** when the path has carried enough for a while. An estimate grows only with what is sent, so
//!   on a small rendition it says little about a large one. Who is sent much less than its path is
//!   believed to carry is given the next one on *trial*; a trial that fails makes the next one wait twice as long.
//!
//! Pure logic: time is an argument.

use std::time::{Duration, Instant};

use super::{Reading, policy::SHARE};

/// Who carries this share of a rendition's rate carries most of it.
const MOST: f64 = 0.75;

/// Who carries this much more than the next rendition needs is better off with this one.
const ABOVE_NEXT: f64 = 1.15;

/// A better one is taken when the path carries this much more than it needs.
const MARGIN: f64 = 1.1;

/// Too little for so long is too little.
const DOWN_AFTER: Duration = Duration::from_millis(300);

/// Enough for so long is enough; after a trial that failed twice as long, up to the most.
const UP_AFTER: Duration = Duration::from_secs(4);
const UP_AFTER_MOST: Duration = Duration::from_secs(32);

/// A path that is believed to carry this multiple of what arrives was not tried.
const UNTRIED: f64 = 1.6;

/// A trial takes no longer, and has failed when the path is believed to carry less than this share of
/// what it was at the beginning.
const TRIAL: Duration = Duration::from_secs(6);
const FAILED: f64 = 0.85;

/// Who falls back within this long had not enough after all.
const PASSED_AFTER: Duration = Duration::from_secs(12);

/// What one must carry for each rendition, in bits a second. `ceilings` are their rates, best first.
pub fn needs(ceilings: &[u32], viewers: &[Reading]) -> Vec<f64> {
    // Who is sent less than the path carries, because the picture needs no more, may carry anything.
    let most = |viewer: &Reading| if is_untried(viewer) { f64::INFINITY } else { carries(viewer) };
    let best = viewers.iter().filter(|viewer| viewer.is_measured).map(most).fold(0.0, f64::max);
    let need = |(number, ceiling): (usize, &u32)| {
        let most = f64::from(*ceiling) * MOST;
        match ceilings.get(number + 1) {
            // Who has less gets the last one as well.
            None => 0.0,
            Some(_) if best >= most => most,
            Some(next) => (f64::from(*next) * ABOVE_NEXT).min(most),
        }
    };
    ceilings.iter().enumerate().map(need).collect()
}

fn carries(viewer: &Reading) -> f64 {
    f64::from(viewer.bitrate) * SHARE
}

fn is_untried(viewer: &Reading) -> bool {
    let arrives = viewer.delivered.map_or(f64::INFINITY, f64::from);
    f64::from(viewer.bitrate) >= arrives * UNTRIED
}

/// Remembers one viewer's rendition.
#[derive(Debug)]
pub struct Choice {
    at: usize,
    short_since: Option<Instant>,
    enough_since: Option<Instant>,
    up_after: Duration,
    rose: Option<Instant>,
    trial: Option<Trial>,
}

#[derive(Debug, Clone, Copy)]
struct Trial {
    since: Instant,
    carried: f64,
}

impl Default for Choice {
    /// The best, until something is known.
    fn default() -> Self {
        Self {
            at: 0,
            short_since: None,
            enough_since: None,
            up_after: UP_AFTER,
            rose: None,
            trial: None,
        }
    }
}

impl Choice {
    /// Which it is, counted from the best.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Whether it is to stay. Who has a rendition on trial, or is about to leave it, should not make it
    /// worse for others.
    pub fn is_settled(&self) -> bool {
        self.trial.is_none() && self.short_since.is_none()
    }

    /// The viewer is like this now, and renditions [need](needs) so much.
    pub fn look(&mut self, now: Instant, viewer: &Reading, needs: &[f64]) -> usize {
        self.at = self.at.min(needs.len().saturating_sub(1));
        if !viewer.is_measured || needs.len() < 2 {
            return self.at;
        }
        let has = carries(viewer);
        let is_short = has < needs[self.at] && !is_untried(viewer);
        if let Some(trial) = self.trial {
            let is_over = now.saturating_duration_since(trial.since) >= TRIAL;
            let has_failed = has < trial.carried * FAILED;
            if has >= needs[self.at] {
                self.trial = None;
            } else if !is_over && !has_failed {
                return self.at;
            }
        }
        if is_short {
            let since = *self.short_since.get_or_insert(now);
            if now.saturating_duration_since(since) >= DOWN_AFTER {
                self.fall(has, needs);
            }
        } else {
            self.short_since = None;
            if self.rose.is_some_and(|rose| now.saturating_duration_since(rose) >= PASSED_AFTER) {
                (self.rose, self.up_after) = (None, UP_AFTER);
            }
            self.rise(now, viewer, needs);
        }
        self.at
    }

    fn fall(&mut self, has: f64, needs: &[f64]) {
        let lower = (self.at + 1..needs.len()).find(|lower| has >= needs[*lower]);
        self.at = lower.unwrap_or(needs.len() - 1);
        if self.rose.take().is_some() {
            self.up_after = (self.up_after * 2).min(UP_AFTER_MOST);
        }
        (self.trial, self.short_since, self.enough_since) = (None, None, None);
    }

    fn rise(&mut self, now: Instant, viewer: &Reading, needs: &[f64]) {
        let Some(better) = self.at.checked_sub(1) else { return };
        let is_enough = carries(viewer) >= needs[better] * MARGIN;
        if !is_enough && !is_untried(viewer) {
            self.enough_since = None;
            return;
        }
        let since = *self.enough_since.get_or_insert(now);
        if now.saturating_duration_since(since) >= self.up_after {
            self.at = better;
            self.rose = Some(now);
            self.trial = (!is_enough).then(|| Trial { since: now, carried: carries(viewer) });
            self.enough_since = None;
        }
    }
}

#[cfg(test)]
#[path = "choice_tests.rs"]
mod tests;
