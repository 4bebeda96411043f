//! Whether the driver sees what the machine sees now.

use std::time::{Duration, Instant};

/// A picture counts as good again at this share of what is allowed, so that one that hovers around
/// the limit does not let the machine go and stop it by turns.
const GOOD_AGAIN_PERCENT: u32 = 67;

/// And it has to be good for this long.
const GOOD_FOR: Duration = Duration::from_millis(300);

/// What the driver has reported of the picture.
#[derive(Debug)]
pub(super) struct Sight {
    /// The oldest that a picture may be; `None` when nobody asks.
    max: Option<Duration>,
    blind: Option<Blind>,
}

#[derive(Debug)]
struct Blind {
    why: String,
    good_since: Option<Instant>,
}

impl Sight {
    pub(super) fn new(max: Option<Duration>) -> Self {
        Self { max, blind: None }
    }

    /// Somebody else drives now, whose picture is another one.
    pub(super) fn forget(&mut self) {
        self.blind = None;
    }

    /// The driver reports how old the picture is, or says nothing of it.
    pub(super) fn report(&mut self, now: Instant, age: Option<Duration>) {
        let Some(max) = self.max else { return };
        let why = match age {
            Some(age) if age <= max => None,
            Some(age) => Some(format!(
                "the picture that the driver sees is {} ms old, at most {} ms are allowed",
                age.as_millis(),
                max.as_millis()
            )),
            None => Some("the driver does not report how old the picture is".to_owned()),
        };
        match (why, &mut self.blind) {
            (Some(why), _) => self.blind = Some(Blind { why, good_since: None }),
            (None, None) => {}
            (None, Some(blind)) => {
                if age.is_none_or(|age| age > max * GOOD_AGAIN_PERCENT / 100) {
                    blind.good_since = None;
                    return;
                }
                let since = *blind.good_since.get_or_insert(now);
                if now.saturating_duration_since(since) >= GOOD_FOR {
                    self.blind = None;
                }
            }
        }
    }

    /// Why the driver must not go on, if so.
    pub(super) fn blind(&self) -> Option<&str> {
        self.blind.as_ref().map(|blind| blind.why.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: Duration = Duration::from_millis(300);

    #[expect(clippy::unnecessary_wraps, reason = "as it is reported")]
    fn ms(ms: u64) -> Option<Duration> {
        Some(Duration::from_millis(ms))
    }

    #[test]
    fn an_old_picture_or_none_at_all_blinds_at_once() {
        let now = Instant::now();
        for age in [ms(301), ms(100_000), None] {
            let mut sight = Sight::new(Some(MAX));
            sight.report(now, ms(300));
            assert_eq!(sight.blind(), None, "300 ms is allowed");
            sight.report(now, age);
            assert!(sight.blind().is_some(), "{age:?}");
        }
    }

    #[test]
    fn it_has_to_be_clearly_better_for_a_while() {
        let mut now = Instant::now();
        let mut sight = Sight::new(Some(MAX));
        sight.report(now, ms(400));
        // Just below the limit is not yet good.
        for _ in 0..20 {
            now += Duration::from_millis(50);
            sight.report(now, ms(280));
        }
        assert!(sight.blind().is_some());
        sight.report(now, ms(100));
        now += Duration::from_millis(200);
        sight.report(now, ms(100));
        assert!(sight.blind().is_some(), "not for long enough");
        sight.report(now, ms(250));
        now += Duration::from_millis(200);
        sight.report(now, ms(100));
        assert!(sight.blind().is_some(), "it was worse in between");
        now += GOOD_FOR;
        sight.report(now, ms(100));
        assert_eq!(sight.blind(), None);
    }

    #[test]
    fn where_nobody_asks_nothing_blinds() {
        let mut sight = Sight::new(None);
        sight.report(Instant::now(), None);
        sight.report(Instant::now(), ms(100_000));
        assert_eq!(sight.blind(), None);
    }
}
