//! Viewers behind simulated paths: who is sent which rendition, and how often that changes.

use proptest::prelude::*;

use super::*;

const CEILINGS: [u32; 3] = [2_500_000, 1_200_000, 400_000];

/// How often they are looked at.
const STEP: Duration = Duration::from_millis(100);

/// A path and what is believed of it: as the estimator does, no more than twice what arrives and a
/// little on top, growing by two fifths a second, and back to most of what it carries when it is full.
struct Path {
    capacity: f64,
    estimate: f64,
    arrives: f64,
    choice: Choice,
    changes: usize,
}

impl Path {
    fn new(capacity: f64) -> Self {
        let choice = Choice::default();
        Self { capacity, estimate: 2_500_000.0, arrives: 0.0, choice, changes: 0 }
    }

    fn reading(&self) -> Reading {
        Reading {
            bitrate: self.estimate as u32,
            delivered: Some(self.arrives as u32),
            is_measured: true,
            drives: false,
            backlog: Duration::ZERO,
        }
    }

    /// A tenth of a second at the rate of its rendition.
    fn send(&mut self, rate: f64) {
        // Half a second's mean, as it is measured.
        self.arrives += (rate.min(self.capacity) - self.arrives) / 5.0;
        if rate > self.capacity {
            self.estimate = self.estimate.min(self.capacity * 0.85);
        } else {
            let most = 2.0 * self.arrives + 150_000.0;
            self.estimate = (self.estimate * 1.034).min(most).clamp(80_000.0, 25e6);
        }
    }
}

/// Plays so many seconds. Each rendition has the rate of the slowest who has it and is not on trial.
fn play(paths: &mut [Path], now: &mut Instant, seconds: u32) {
    for _ in 0..seconds * 10 {
        *now += STEP;
        let readings: Vec<_> = paths.iter().map(Path::reading).collect();
        let needs = needs(&CEILINGS, &readings);
        for (path, reading) in paths.iter_mut().zip(&readings) {
            let before = path.choice.at();
            path.changes += usize::from(path.choice.look(*now, reading, &needs) != before);
        }
        for (number, ceiling) in CEILINGS.into_iter().enumerate() {
            let here = paths.iter().filter(|path| path.choice.at() == number);
            let settled = here.clone().filter(|path| path.choice.is_settled()).count() > 0;
            let slowest = here
                .filter(|path| !settled || path.choice.is_settled())
                .map(|path| path.estimate * SHARE)
                .fold(f64::INFINITY, f64::min);
            let rate = slowest.min(f64::from(ceiling));
            for path in paths.iter_mut().filter(|path| path.choice.at() == number) {
                path.send(rate);
            }
        }
    }
}

fn at(paths: &[Path]) -> Vec<usize> {
    paths.iter().map(|path| path.choice.at()).collect()
}

#[test]
fn each_gets_the_best_that_its_path_carries_and_the_slow_do_not_blur_it_for_the_fast() {
    let mut paths = [Path::new(20e6), Path::new(1.6e6), Path::new(0.5e6)];
    let mut now = Instant::now();
    play(&mut paths, &mut now, 10);
    assert_eq!(at(&paths), [0, 1, 2]);
    assert!(paths[0].arrives > 2_400_000.0, "{}", paths[0].arrives);
}

#[test]
fn alone_a_path_that_carries_most_of_nothing_still_has_the_better_one_at_its_own_rate() {
    let mut paths = [Path::new(2.1e6)];
    let mut now = Instant::now();
    play(&mut paths, &mut now, 20);
    assert_eq!(at(&paths), [0]);
    // Somebody comes who carries all of it: now it is for those who do.
    let mut paths = {
        let [slow] = paths;
        [slow, Path::new(20e6)]
    };
    play(&mut paths, &mut now, 20);
    assert_eq!(at(&paths), [1, 0]);
}

#[test]
fn down_within_a_second_of_a_drop_and_up_again_when_the_path_is_wide_again() {
    let mut paths = [Path::new(20e6), Path::new(20e6)];
    let mut now = Instant::now();
    play(&mut paths, &mut now, 10);
    assert_eq!(at(&paths), [0, 0]);
    paths[1].capacity = 0.5e6;
    play(&mut paths, &mut now, 2);
    assert_eq!(at(&paths), [0, 2]);
    play(&mut paths, &mut now, 30);
    assert_eq!(at(&paths), [0, 2], "it does not carry the next one");
    paths[1].capacity = 20e6;
    play(&mut paths, &mut now, 50);
    assert_eq!(at(&paths), [0, 0]);
}

#[test]
fn trials_on_a_path_that_stays_narrow_become_rare() {
    // Wide enough to make one think of the next rendition, and too narrow for it.
    let mut paths = [Path::new(20e6), Path::new(0.85e6)];
    let mut now = Instant::now();
    play(&mut paths, &mut now, 20);
    let before = paths[1].changes;
    play(&mut paths, &mut now, 300);
    let changes = paths[1].changes - before;
    assert!(changes <= 20, "{changes} changes in five minutes");
}

#[test]
fn a_still_picture_says_nothing_about_a_path_and_moves_nobody_but_who_is_short() {
    let fast = Reading { bitrate: 1_150_000, delivered: Some(500_000), ..Path::new(1e6).reading() };
    let slow = Reading { bitrate: 300_000, delivered: Some(290_000), ..fast };
    let needs = needs(&CEILINGS, &[fast, slow]);
    let (mut first, mut second) = (Choice::default(), Choice::default());
    let start = Instant::now();
    for n in 0..100 {
        assert_eq!(first.look(start + STEP * n, &fast, &needs), 0);
        second.look(start + STEP * n, &slow, &needs);
    }
    assert_eq!(second.at(), 2, "the fast one may carry all of it");
}

#[test]
fn who_was_not_measured_stays_where_it_is() {
    let mut choice = Choice::default();
    let guess = Reading { is_measured: false, ..Path::new(1e5).reading() };
    let needs = needs(&CEILINGS, &[guess]);
    for n in 0..100 {
        assert_eq!(choice.look(Instant::now() + STEP * n, &guess, &needs), 0);
    }
}

proptest! {
    #[test]
    fn a_steady_path_of_any_width_settles(capacity in 100_000f64..30_000_000.0, fast in any::<bool>()) {
        let mut paths = vec![Path::new(capacity)];
        if fast {
            paths.push(Path::new(20e6));
        }
        let mut now = Instant::now();
        play(&mut paths, &mut now, 60);
        let before = paths[0].changes;
        play(&mut paths, &mut now, 60);
        prop_assert!(paths[0].changes - before <= 4, "{} changes", paths[0].changes - before);
        let last = f64::from(*CEILINGS.last().unwrap());
        prop_assert!(paths[0].arrives <= capacity && (capacity < last || paths[0].arrives > 0.6 * last));
    }

    #[test]
    fn whatever_is_reported_changes_upward_keep_their_distance(
        steps in prop::collection::vec((0u32..30_000_000, prop::option::of(0u32..30_000_000)), 1..300),
    ) {
        let (mut choice, mut now) = (Choice::default(), Instant::now());
        let mut rose: Option<Instant> = None;
        for (bitrate, delivered) in steps {
            now += STEP;
            let before = choice.at();
            let reading = Reading { bitrate, delivered, ..Path::new(1e6).reading() };
            let at = choice.look(now, &reading, &needs(&CEILINGS, &[reading]));
            prop_assert!(at < CEILINGS.len());
            if at < before {
                prop_assert_eq!(at, before - 1);
                prop_assert!(rose.is_none_or(|rose| now - rose >= UP_AFTER));
                rose = Some(now);
            }
        }
    }
}
