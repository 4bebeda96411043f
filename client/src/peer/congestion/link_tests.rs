//! The estimator on simulated links: the profiles that Foxglove publishes for its remote access, a
//! drop and a recovery, a longer path, a link without a queue, a silence.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use proptest::prelude::*;

use super::{Ack, Estimator, Name, Pacer};

/// The share of the estimate that leaves: what the worker gives its encoder (0.88), and headers.
const LEAVES: f64 = 0.9;

/// One direction of a path.
#[derive(Debug, Clone, Copy)]
struct Link {
    /// Bits a second.
    capacity: f64,
    /// One way, and how much it varies to either side.
    delay_ms: f64,
    jitter_ms: f64,
    /// 0 to 1.
    loss: f64,
    /// What the queue holds, as time at the capacity.
    queue_ms: f64,
}

const STARLINK: Link =
    Link { capacity: 15e6, delay_ms: 30.0, jitter_ms: 10.0, loss: 0.02, queue_ms: 200.0 };
const MOBILE_4G: Link =
    Link { capacity: 10e6, delay_ms: 50.0, jitter_ms: 15.0, loss: 0.03, queue_ms: 200.0 };
const WALL_WIFI: Link =
    Link { capacity: 2e6, delay_ms: 15.0, jitter_ms: 10.0, loss: 0.08, queue_ms: 200.0 };
const SEVERE: Link =
    Link { capacity: 2e6, delay_ms: 100.0, jitter_ms: 30.0, loss: 0.05, queue_ms: 200.0 };
const CABLE: Link =
    Link { capacity: 5e6, delay_ms: 10.0, jitter_ms: 1.0, loss: 0.0, queue_ms: 300.0 };

/// A sender of pictures behind a pacer, a link, and a receiver who reports every tenth of a second.
struct Run {
    estimator: Estimator,
    pacer: Pacer,
    start: Instant,
    now_ms: u64,
    random: u64,
    /// Encoded bits a second at most; the estimate otherwise.
    most: f64,
    waiting: VecDeque<usize>,
    /// The queue of the link is empty again then.
    free_ms: f64,
    /// Packets on their way: arrival and number.
    flying: Vec<(f64, u16)>,
    reports: VecDeque<(u64, Vec<Ack>)>,
    /// Everything before it was spoken of.
    reported: u16,
    /// Whether the receiver now and then does not come to run, and from when to when it last did not.
    stalls: bool,
    stalled: (f64, f64),
    seen: Seen,
}

/// What happened lately.
#[derive(Default, Clone)]
struct Seen {
    estimates: Vec<f64>,
    queues_ms: Vec<f64>,
    delivered_bits: f64,
}

impl Seen {
    fn mean(&self) -> f64 {
        self.estimates.iter().sum::<f64>() / self.estimates.len() as f64
    }

    fn least(&self) -> f64 {
        self.estimates.iter().copied().fold(f64::INFINITY, f64::min)
    }

    fn p95_queue(&self) -> f64 {
        let mut queues = self.queues_ms.clone();
        queues.sort_by(f64::total_cmp);
        queues[queues.len() * 95 / 100]
    }
}

impl Run {
    fn new(seed: u64) -> Self {
        Self {
            estimator: Estimator::new(),
            pacer: Pacer::default(),
            start: Instant::now(),
            now_ms: 0,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            most: 20e6,
            waiting: VecDeque::new(),
            free_ms: 0.0,
            flying: Vec::new(),
            reports: VecDeque::new(),
            reported: 0,
            stalls: false,
            stalled: (0.0, 0.0),
            seen: Seen::default(),
        }
    }

    fn at(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }

    /// 0 to 1 (xorshift).
    fn random(&mut self) -> f64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Plays so many seconds and tells what happened in them.
    fn play(&mut self, link: Link, seconds: f64) -> Seen {
        self.seen = Seen::default();
        let end = self.now_ms + (seconds * 1e3) as u64;
        while self.now_ms < end {
            if self.now_ms.is_multiple_of(33) {
                self.paint();
            }
            self.send(link);
            let now_ms = self.now_ms as f64;
            if self.stalls && now_ms > self.stalled.1 && self.random() < 1.0 / 800.0 {
                self.stalled = (now_ms, now_ms + 150.0 + 200.0 * self.random());
            }
            if self.now_ms.is_multiple_of(100) {
                self.report(link);
            }
            let now = self.at(self.now_ms);
            while self.reports.front().is_some_and(|(at, _)| *at <= self.now_ms) {
                let (_, acks) = self.reports.pop_front().unwrap();
                let _ = self.estimator.reported(now, &acks);
            }
            if self.now_ms.is_multiple_of(200) {
                self.estimator.tick(now);
                self.seen.estimates.push(f64::from(self.estimator.estimate().bitrate));
            }
            self.now_ms += 1;
        }
        self.seen.clone()
    }

    fn estimate(&self) -> f64 {
        f64::from(self.estimator.estimate().bitrate)
    }

    /// One picture; one in ninety is a key frame of six times the size. Sizes vary by a third.
    fn paint(&mut self) {
        let rate = (self.estimate() * LEAVES).min(self.most);
        let key = if self.now_ms.is_multiple_of(33 * 90) { 6.0 } else { 1.0 };
        let mut bytes = (rate / 30.0 / 8.0 * key * (0.67 + 0.66 * self.random())) as usize;
        while bytes > 0 {
            let part = bytes.min(1200);
            self.waiting.push_back(part);
            bytes -= part;
        }
        let estimate = self.estimator.estimate().bitrate;
        self.pacer.begin(self.waiting.iter().sum(), estimate);
    }

    fn send(&mut self, link: Link) {
        let now = self.at(self.now_ms);
        while self.pacer.due(now) <= now
            && let Some(bytes) = self.waiting.pop_front()
        {
            self.pacer.sent(now, bytes);
            let number = self.estimator.sent(now, bytes, Name::default());
            let now_ms = self.now_ms as f64;
            let queue = (self.free_ms - now_ms).max(0.0);
            let takes = bytes as f64 * 8.0 / link.capacity * 1e3;
            if queue + takes > link.queue_ms {
                continue;
            }
            self.free_ms = now_ms + queue + takes;
            if self.random() < link.loss {
                continue;
            }
            self.seen.queues_ms.push(queue);
            self.seen.delivered_bits += bytes as f64 * 8.0;
            let jitter = (self.random() * 2.0 - 1.0) * link.jitter_ms;
            self.flying.push((self.free_ms + link.delay_ms + jitter, number));
        }
    }

    fn report(&mut self, link: Link) {
        let now = self.now_ms as f64;
        let (from, to) = self.stalled;
        if now < to {
            return;
        }
        let mut acks: Vec<_> = Vec::new();
        self.flying.retain(|(arrival, number)| {
            let is_here = *arrival <= now;
            if is_here {
                let arrival = if *arrival >= from { arrival.max(to) } else { *arrival };
                // Another clock, in steps of a quarter of a millisecond.
                let arrival = Duration::from_micros((arrival * 4.0) as u64 * 250 + 77_000_000);
                acks.push(Ack { number: *number, arrival: Some(arrival) });
            }
            !is_here
        });
        let ahead = |ack: &Ack| ack.number.wrapping_sub(self.reported).cast_signed();
        acks.sort_by_key(ahead);
        if let Some(last) = acks.last().filter(|ack| ahead(ack) >= 0).map(|ack| ack.number) {
            let known: std::collections::HashSet<_> = acks.iter().map(|ack| ack.number).collect();
            let mut number = self.reported;
            while number != last {
                if !known.contains(&number) {
                    acks.push(Ack { number, arrival: None });
                }
                number = number.wrapping_add(1);
            }
            self.reported = last.wrapping_add(1);
        }
        if !acks.is_empty() && self.random() >= link.loss {
            self.reports.push_back((self.now_ms + link.delay_ms as u64, acks));
        }
    }
}

#[test]
fn each_profile_is_used_well_and_its_random_loss_does_not_collapse_it() {
    for (name, link) in [
        ("starlink", STARLINK),
        ("4g", MOBILE_4G),
        ("wall wifi", WALL_WIFI),
        ("severe", SEVERE),
        ("cable", CABLE),
    ] {
        for seed in 1..6 {
            let mut run = Run::new(seed);
            run.play(link, 15.0);
            let seen = run.play(link, 45.0);
            let (mean, least) = (seen.mean() / link.capacity, seen.least() / link.capacity);
            assert!((0.65..1.25).contains(&mean), "{name} {seed}: mean {mean:.2}");
            assert!(least > 0.3, "{name} {seed}: least {least:.2}");
            assert!(seen.p95_queue() < 150.0, "{name} {seed}: queue {:.0} ms", seen.p95_queue());
        }
    }
}

#[test]
fn a_drop_from_5_to_1_is_followed_within_seconds_and_so_is_the_way_back() {
    for seed in 1..9 {
        let mut run = Run::new(seed);
        run.play(CABLE, 20.0);
        let low = Link { capacity: 1e6, ..CABLE };
        run.play(low, 3.0);
        let seen = run.play(low, 17.0);
        let share = seen.mean() / 1e6;
        assert!((0.7..1.1).contains(&share), "{seed}: {share:.2} of 1 Mbit/s");
        assert!(seen.p95_queue() < 150.0, "{seed}: queue {:.0} ms", seen.p95_queue());
        run.play(CABLE, 8.0);
        let seen = run.play(CABLE, 10.0);
        assert!(seen.mean() > 3.5e6, "{seed}: {:.2} Mbit/s of 5 again", seen.mean() / 1e6);
    }
}

#[test]
fn a_queue_that_overflows_is_followed_before_half_a_second_is_over() {
    let mut all = Vec::new();
    for seed in 1..33 {
        let mut run = Run::new(seed);
        run.play(CABLE, 20.0);
        let low = Link { capacity: 1e6, queue_ms: 200.0, ..CABLE };
        let begun = run.now_ms;
        while run.estimate() > 1.3e6 {
            run.play(low, 0.01);
        }
        all.push(run.now_ms - begun);
    }
    all.sort_unstable();
    assert!(all.iter().all(|took| *took <= 450), "{all:?}");
}

#[test]
fn ten_seconds_after_a_drop_from_5_to_1_what_arrives_is_within_30_percent_of_it() {
    for (stalls, seeds) in [(false, 1..33), (true, 1..17)] {
        for seed in seeds {
            let mut run = Run::new(seed);
            run.stalls = stalls;
            run.play(CABLE, 20.0);
            let low = Link { capacity: 1e6, ..CABLE };
            run.play(low, 10.0);
            let shares: Vec<_> =
                (0..5).map(|_| run.play(low, 2.0).delivered_bits / 2.0 / 1e6).collect();
            let mean = shares.iter().sum::<f64>() / shares.len() as f64;
            let what = format!("stalls {stalls}, {seed}: {mean:.2}, in steps of 2 s {shares:.2?}");
            println!("{what}");
            assert!((0.75..1.1).contains(&mean), "{what}");
            assert!(shares.iter().all(|share| (0.7..1.3).contains(share)), "{what}");
        }
    }
}

#[test]
fn a_longer_path_is_not_taken_for_a_queue_for_long() {
    let mut run = Run::new(3);
    run.play(CABLE, 15.0);
    let far = Link { delay_ms: CABLE.delay_ms + 80.0, ..CABLE };
    run.play(far, 15.0);
    let seen = run.play(far, 15.0);
    assert!(seen.mean() > 3.5e6, "{:.2} Mbit/s", seen.mean() / 1e6);
}

#[test]
fn a_link_that_drops_instead_of_queueing_is_followed_by_its_loss() {
    for seed in 1..5 {
        let mut run = Run::new(seed);
        let policer = Link { capacity: 1.5e6, queue_ms: 25.0, ..CABLE };
        run.play(policer, 20.0);
        let seen = run.play(policer, 20.0);
        let share = seen.mean() / 1.5e6;
        assert!((0.5..1.3).contains(&share), "{seed}: {share:.2}");
    }
}

#[test]
fn silence_halves_the_rate_and_its_end_restores_it() {
    let mut run = Run::new(5);
    run.play(CABLE, 15.0);
    let before = run.estimate();
    run.play(Link { loss: 1.0, ..CABLE }, 5.0);
    assert!(run.estimate() < before / 10.0, "{} of {before}", run.estimate());
    run.play(CABLE, 3.0);
    assert!(run.estimate() > before * 0.6, "{} of {before}", run.estimate());
}

#[test]
fn a_still_picture_does_not_make_the_path_look_wide_or_narrow() {
    let mut run = Run::new(4);
    run.play(CABLE, 15.0);
    run.most = 200_000.0;
    let seen = run.play(CABLE, 60.0);
    assert!(seen.least() > 1e6, "{:.2}", seen.least() / 1e6);
    // Everything at once again: 5 Mbit/s, not the 20 that nobody tried.
    run.most = 20e6;
    let seen = run.play(CABLE, 10.0);
    assert!(seen.p95_queue() < 250.0, "{:.0} ms", seen.p95_queue());
}

#[test]
fn a_receiver_that_stalls_now_and_then_does_not_collapse_it() {
    for seed in 1..9 {
        let mut run = Run::new(seed);
        run.stalls = true;
        run.most = 400_000.0;
        run.play(CABLE, 10.0);
        let seen = run.play(CABLE, 60.0);
        assert!(seen.least() > 400_000.0, "little to say, {seed}: {}", seen.least());
        run.most = 20e6;
        run.play(CABLE, 15.0);
        let seen = run.play(CABLE, 30.0);
        assert!(seen.mean() > 2.5e6, "{seed}: {:.2} Mbit/s of 5", seen.mean() / 1e6);
    }
}

#[test]
fn a_viewer_who_only_reports_loss_is_followed_by_it() {
    let (mut estimator, start) = (Estimator::new(), Instant::now());
    for second in 0..20 {
        estimator.receiver_report(start + Duration::from_secs(second), 0.3, None);
    }
    assert!(estimator.estimate().bitrate < 200_000);
    for second in 20..80 {
        estimator.receiver_report(start + Duration::from_secs(second), 0.01, None);
    }
    assert!(estimator.estimate().bitrate > 2_000_000);
    estimator.receiver_estimate(700_000.0);
    assert_eq!(estimator.estimate().bitrate, 700_000);
    estimator.receiver_estimate(f64::NAN);
    assert_eq!(estimator.estimate().bitrate, 700_000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn on_any_link_the_estimate_settles_near_what_it_carries_without_swinging(
        seed in 1u64..1_000_000,
        capacity in 4e5..12e6f64,
        delay_ms in 5.0..120.0f64,
        jitter_share in 0.0..0.4f64,
        loss in 0.0..0.06f64,
        queue_ms in 100.0..500.0f64,
    ) {
        let link = Link { capacity, delay_ms, jitter_ms: delay_ms * jitter_share, loss, queue_ms };
        let mut run = Run::new(seed);
        run.play(link, 20.0);
        let seen = run.play(link, 30.0);
        prop_assert!((0.55..1.35).contains(&(seen.mean() / capacity)), "{}", seen.mean() / capacity);
        prop_assert!(seen.least() > 0.2 * capacity, "{}", seen.least() / capacity);
    }
}
