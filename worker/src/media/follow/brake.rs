//! Holds the encoder while what it made has not left.
//!
//! A key frame on a slow path, or a path that just became slow: another picture would wait behind what
//! waits already, and come old. Not to encode it costs one picture; to encode it and drop it would cost
//! a key frame, the next burst.

use std::time::Duration;

use super::Reading;

/// No picture is encoded from this backlog on,
const CLOSES: Duration = Duration::from_millis(150);

/// until it is this.
const OPENS: Duration = Duration::from_millis(50);

/// Remembers whether it holds.
#[derive(Debug, Default)]
pub struct Brake {
    holds: bool,
}

impl Brake {
    /// Whether to hold now, by those who decide. While one of them has nothing waiting, that one gets
    /// its pictures, and the others are the business of their own connections.
    pub fn holds<'a>(&mut self, leaders: impl Iterator<Item = &'a Reading>) -> bool {
        let least = leaders.map(|viewer| viewer.backlog).min().unwrap_or_default();
        self.holds = least >= if self.holds { OPENS } else { CLOSES };
        self.holds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(backlog: u64) -> Reading {
        Reading {
            bitrate: 1_000_000,
            delivered: None,
            is_measured: true,
            drives: false,
            backlog: Duration::from_millis(backlog),
        }
    }

    #[test]
    fn it_closes_late_and_opens_later() {
        let mut brake = Brake::default();
        let told: Vec<_> = [100, 149, 150, 100, 60, 49, 100]
            .map(|backlog| brake.holds([reading(backlog)].iter()))
            .into();
        assert_eq!(told, [false, false, true, true, true, false, false]);
        assert!(!brake.holds([].iter()), "nobody watches");
    }

    #[test]
    fn one_slow_viewer_does_not_hold_up_the_other() {
        assert!(!Brake::default().holds([reading(400), reading(10)].iter()));
    }
}
