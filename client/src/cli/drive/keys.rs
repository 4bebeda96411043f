//! The dead-man's switch of a terminal.
//!
//! A terminal says when a key goes down, and again and again while it stays there, but as a rule not when
//! it comes up. So a key counts as held for a moment after each time it is heard: a longer one after the
//! first, because terminals wait before they repeat, and a short one after that. Terminals that do tell
//! of a key that comes up (kitty's keyboard protocol) are believed at once; there, whatever is down stays
//! down while any key is heard, since only the last one is repeated.
//!
//! Pure logic: time is an argument.

use std::time::{Duration, Instant};

/// From a key's first word to its first repetition takes half a second on most systems.
pub(super) const FIRST: Duration = Duration::from_millis(600);

/// Repetitions come ten to forty times a second; a network in between may hold up a few.
pub(super) const REPEATED: Duration = Duration::from_millis(250);

/// Where to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Forward,
    Back,
    Left,
    Right,
}

impl Way {
    fn opposite(self) -> Self {
        match self {
            Self::Forward => Self::Back,
            Self::Back => Self::Forward,
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }
}

/// The keys that steer.
#[derive(Debug, Default)]
pub(super) struct Keys {
    down: [Option<Down>; 4],
    /// The key that was heard last, until when it counts.
    until: Option<Instant>,
    /// The terminal tells when keys come up.
    tells_up: bool,
}

#[derive(Debug, Clone, Copy)]
struct Down {
    until: Instant,
}

impl Keys {
    /// A key was heard: it went down, or is down still.
    pub(super) fn heard(&mut self, now: Instant, way: Way) {
        self.expire(now);
        let is_repeated = self.down[way as usize].is_some();
        let until = now + if is_repeated { REPEATED } else { FIRST };
        // A repetition right behind the first word does not make it shorter.
        let until = self.down[way as usize].map_or(until, |before| before.until.max(until));
        self.down[way as usize] = Some(Down { until });
        self.down[way.opposite() as usize] = None;
        self.until = Some(until);
    }

    /// A key came up.
    pub(super) fn up(&mut self, way: Way) {
        self.tells_up = true;
        self.down[way as usize] = None;
    }

    /// Hands off.
    pub(super) fn let_go(&mut self) {
        self.down = [None; 4];
    }

    /// How far to go forwards and to the left, -1 to 1; nothing while no key is held.
    pub(super) fn stick(&mut self, now: Instant) -> Option<(f64, f64)> {
        self.expire(now);
        let is_down = |way: Way| self.down[way as usize].is_some();
        let axis = |plus, minus| f64::from(i8::from(is_down(plus)) - i8::from(is_down(minus)));
        self.down
            .iter()
            .any(Option::is_some)
            .then(|| (axis(Way::Forward, Way::Back), axis(Way::Left, Way::Right)))
    }

    fn expire(&mut self, now: Instant) {
        let all_end = self.until.is_none_or(|until| until <= now);
        for down in &mut self.down {
            let ends =
                if self.tells_up { all_end } else { down.is_some_and(|key| key.until <= now) };
            if ends {
                *down = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn a_key_is_held_while_it_repeats_and_let_go_soon_after() {
        let (mut keys, start) = (Keys::default(), Instant::now());
        assert_eq!(keys.stick(start), None);
        keys.heard(start, Way::Forward);
        assert_eq!(keys.stick(start + ms(499)), Some((1.0, 0.0)), "the terminal waits");
        for n in 0..20 {
            keys.heard(start + ms(500 + n * 40), Way::Forward);
        }
        let last = start + ms(500 + 19 * 40);
        assert_eq!(keys.stick(last + ms(249)), Some((1.0, 0.0)));
        assert_eq!(keys.stick(last + ms(250)), None);
    }

    #[test]
    fn a_tap_ends_by_itself_and_hands_off_at_once() {
        let (mut keys, start) = (Keys::default(), Instant::now());
        keys.heard(start, Way::Left);
        assert_eq!(keys.stick(start + ms(600)), None);
        keys.heard(start + ms(700), Way::Right);
        assert_eq!(keys.stick(start + ms(700)), Some((0.0, -1.0)));
        keys.let_go();
        assert_eq!(keys.stick(start + ms(700)), None);
    }

    #[test]
    fn the_other_way_takes_the_place_of_the_one() {
        let (mut keys, start) = (Keys::default(), Instant::now());
        keys.heard(start, Way::Forward);
        keys.heard(start + ms(10), Way::Back);
        assert_eq!(keys.stick(start + ms(10)), Some((-1.0, 0.0)));
        keys.heard(start + ms(20), Way::Left);
        assert_eq!(keys.stick(start + ms(20)), Some((-1.0, 1.0)));
    }

    #[test]
    fn a_terminal_that_tells_of_keys_that_come_up_is_believed() {
        let (mut keys, start) = (Keys::default(), Instant::now());
        keys.heard(start, Way::Forward);
        keys.up(Way::Forward);
        assert_eq!(keys.stick(start), None);
        // Both are down, and the terminal repeats only the last one.
        keys.heard(start, Way::Forward);
        keys.heard(start + ms(100), Way::Left);
        for n in 0..20 {
            keys.heard(start + ms(600 + n * 40), Way::Left);
        }
        let last = start + ms(600 + 19 * 40);
        assert_eq!(keys.stick(last), Some((1.0, 1.0)));
        keys.up(Way::Left);
        assert_eq!(keys.stick(last), Some((1.0, 0.0)));
        assert_eq!(keys.stick(last + REPEATED), None, "and silence is still the end");
    }

    proptest! {
        #[test]
        fn nothing_moves_longer_than_promised_after_the_last_word(
            words in prop::collection::vec((0usize..4, 0u64..900, any::<bool>()), 1..60),
            quiet in 0u64..2_000,
        ) {
            let ways = [Way::Forward, Way::Back, Way::Left, Way::Right];
            let (mut keys, mut now) = (Keys::default(), Instant::now());
            for (way, later, is_up) in words {
                now += ms(later);
                if is_up { keys.up(ways[way]) } else { keys.heard(now, ways[way]) }
            }
            let stick = keys.stick(now + ms(quiet));
            prop_assert!(stick.is_none() || ms(quiet) < FIRST);
            if let Some((forward, left)) = stick {
                prop_assert!(forward.abs() <= 1.0 && left.abs() <= 1.0);
            }
        }
    }
}
