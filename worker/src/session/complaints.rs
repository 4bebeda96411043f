//! How often a peer hears the same complaint.
//!
//! Pure logic: time is an argument.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// A peer that keeps saying what cannot be understood hears so once in this long.
pub(super) const OFTEN: Duration = Duration::from_secs(1);

/// What goes on all the time is said so often.
pub(super) const RARELY: Duration = Duration::from_mins(1);

/// When each complaint was made last. Codes are the worker's own words, so there are few.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    made: HashMap<&'static str, Instant>,
}

impl Complaints {
    /// Whether to say this one now. If so it counts as said.
    pub(super) fn is_due(&mut self, code: &'static str, spacing: Duration, now: Instant) -> bool {
        let made = self.made.get(code);
        if made.is_some_and(|made| now.saturating_duration_since(*made) < spacing) {
            return false;
        }
        self.made.insert(code, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_complaint_has_a_distance_of_its_own() {
        let (mut complaints, start) = (Complaints::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        assert!(complaints.is_due("bad_message", OFTEN, at(0)));
        assert!(complaints.is_due("unknown_track", OFTEN, at(10)));
        assert!(!complaints.is_due("bad_message", OFTEN, at(999)));
        assert!(complaints.is_due("bad_message", OFTEN, at(1_000)));
        assert!(!complaints.is_due("bad_message", RARELY, at(60_999)));
    }
}
