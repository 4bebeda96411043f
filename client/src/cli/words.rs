//! Times and people in words.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// `in 1h 59m`, or `ended`.
pub(super) fn until(unix_seconds: u64) -> String {
    let at = UNIX_EPOCH + Duration::from_secs(unix_seconds);
    match at.duration_since(SystemTime::now()) {
        Ok(left) => format!("in {}", short(left)),
        Err(_) => "ended".into(),
    }
}

/// The two largest units.
pub(super) fn short(time: Duration) -> String {
    let seconds = time.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) if seconds < 1 => format!("{}ms", time.as_millis()),
        (0, 0, 0) if seconds < 10 => format!("{:.1}s", time.as_secs_f32()),
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, minutes) => format!("{minutes}m {}s", seconds % 60),
        (0, hours, minutes) => format!("{hours}h {minutes}m"),
        (days, hours, _) => format!("{days}d {hours}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_show_their_two_largest_units() {
        let words =
            [0.25, 1.25, 59.0, 61.0, 7260.0, 90_000.0].map(|s| short(Duration::from_secs_f64(s)));
        assert_eq!(words, ["250ms", "1.2s", "59s", "1m 1s", "2h 1m", "1d 1h"]);
    }

    #[test]
    fn what_is_over_has_ended() {
        assert_eq!(until(0), "ended");
    }
}
