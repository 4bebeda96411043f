//! What the machine shall do, and how much of it at most.

use std::time::Duration;

use halyard_protocol::limits::DRIVE_WATCHDOG;
use serde::Serialize;

/// The most time that a machine gets faster for in one step. A worker that was held up for longer
/// does not make up for it with a jump; braking is never held back.
const LONGEST_STEP: Duration = Duration::from_millis(100);

/// Where to, how fast.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Velocity {
    /// Metres a second, forwards.
    pub linear: f64,
    /// Radians a second, positive to the left.
    pub angular: f64,
}

impl Velocity {
    /// Standing still.
    pub const ZERO: Self = Self { linear: 0.0, angular: 0.0 };

    /// Neither NaN nor infinite.
    pub fn is_finite(self) -> bool {
        self.linear.is_finite() && self.angular.is_finite()
    }

    /// Exactly standing still.
    pub fn is_zero(self) -> bool {
        self == Self::ZERO
    }
}

/// What the machine can do at most, and how quickly it may change.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Metres a second, forwards.
    pub max_linear: f64,
    /// Metres a second, backwards.
    pub max_reverse: f64,
    /// Radians a second, either way.
    pub max_angular: f64,
    /// Metres a second each second, when it gets faster.
    pub linear_acceleration: f64,
    /// Metres a second each second, when it gets slower. At least the acceleration: stopping is
    /// never slower than starting.
    pub linear_braking: f64,
    /// Radians a second each second, either way.
    pub angular_acceleration: f64,
    /// Without a followed message for this long the machine stops.
    pub watchdog: Duration,
}

impl Default for Limits {
    /// A rover in a yard: walking pace, half a second to reach it, a quarter to stop.
    fn default() -> Self {
        Self {
            max_linear: 1.5,
            max_reverse: 0.8,
            max_angular: 2.0,
            linear_acceleration: 3.0,
            linear_braking: 6.0,
            angular_acceleration: 10.0,
            watchdog: DRIVE_WATCHDOG,
        }
    }
}

impl Limits {
    /// The nearest velocity that the machine can do. `asked` must be finite.
    pub fn clamp(&self, asked: Velocity) -> Velocity {
        Velocity {
            linear: asked.linear.clamp(-self.max_reverse, self.max_linear),
            angular: asked.angular.clamp(-self.max_angular, self.max_angular),
        }
    }

    /// How far towards `target` the machine may get from `now` within `dt`.
    pub fn slew(&self, now: Velocity, target: Velocity, dt: Duration) -> Velocity {
        let turning = self.angular_acceleration;
        Velocity {
            linear: ramp(
                now.linear,
                target.linear,
                dt,
                self.linear_acceleration,
                self.linear_braking,
            ),
            angular: ramp(now.angular, target.angular, dt, turning, turning),
        }
    }

    /// The longest that a stop may take from full speed.
    pub fn stopping_time(&self) -> Duration {
        let linear = self.max_linear.max(self.max_reverse) / self.linear_braking;
        let angular = self.max_angular / self.angular_acceleration;
        Duration::from_secs_f64(linear.max(angular))
    }
}

/// One of the two speeds: getting slower first, also where it turns round.
fn ramp(now: f64, target: f64, dt: Duration, faster: f64, slower: f64) -> f64 {
    let turns_round = target * now < 0.0;
    let dt = dt.as_secs_f64();
    let longest = LONGEST_STEP.as_secs_f64();
    if !turns_round && target.abs() >= now.abs() {
        return towards(now, target, faster * dt.min(longest));
    }
    let stands_after = now.abs() / slower;
    if turns_round && stands_after < dt {
        return towards(0.0, target, faster * (dt - stands_after).min(longest));
    }
    towards(now, if turns_round { 0.0 } else { target }, slower * dt)
}

fn towards(now: f64, target: f64, most: f64) -> f64 {
    now + (target - now).clamp(-most, most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn getting_faster_and_getting_slower_have_their_own_rates() {
        let limits = Limits::default();
        let tenth = Duration::from_millis(100);
        let fast = Velocity { linear: 1.5, angular: 0.0 };
        let after = limits.slew(Velocity::ZERO, fast, tenth);
        assert!((after.linear - 0.3).abs() < 1e-9, "{after:?}");
        let after = limits.slew(fast, Velocity::ZERO, tenth);
        assert!((after.linear - 0.9).abs() < 1e-9, "{after:?}");
        // Turning round brakes first, and gets faster with what is left of the time.
        let back = Velocity { linear: -1.5, angular: 0.0 };
        let after = limits.slew(fast, back, tenth);
        assert!((after.linear - 0.9).abs() < 1e-9, "{after:?}");
        let after = limits.slew(Velocity { linear: 0.3, angular: 0.0 }, back, tenth);
        assert!((after.linear + 0.15).abs() < 1e-9, "{after:?}");
    }

    #[test]
    fn no_time_means_no_change() {
        let fast = Velocity { linear: 1.0, angular: 1.0 };
        assert_eq!(Limits::default().slew(fast, Velocity::ZERO, Duration::ZERO), fast);
    }
}
