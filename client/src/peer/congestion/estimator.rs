//! From what is known of a path to the bits a second that it is sent.

use std::time::{Duration, Instant};

use super::{
    delay::{Delay, Reading},
    delivered::Delivered,
    history::{Ack, History, Name, Verdict},
    loss::Loss,
};

/// Where an estimate begins: what the picture has without any network in the way. A slow link is
/// noticed within half a second, and a fast one is not kept waiting.
const START: f64 = 2_500_000.0;

/// Below this there is no picture worth having; above, the encoder is the limit.
const BOUNDS: (f64, f64) = (80_000.0, 25_000_000.0);

/// The share of what arrived that is sent when a queue grew (the draft's beta).
const BACK_OFF: f64 = 0.85;

/// And less for a long queue, so that it drains before a driver gives up: this much for each second
/// that stands in it,
const DRAIN: f64 = 0.6;

/// but no less than this share.
const MOST_DRAIN: f64 = 0.5;

/// While much less is sent than may be, and all of it arrives, a queue is not of our making, or it is
/// none: a busy machine at either end looks the same. Much less is below the first share, all is above
/// the second, and a step back is then no deeper than the third.
const IDLE: f64 = 0.6;
const ARRIVES: f64 = 0.8;
const IDLE_BACK_OFF: f64 = 0.85;

/// What is sent of the last known limit once the queue has drained.
const RESUME: f64 = 0.9;

/// Growth in a second near the last known limit right after a step back, how much more it is with each
/// second that all stays well, and the growth away from the limit.
const CAREFUL: f64 = 1.02;
const BOLDER: f64 = 0.012;
const BOLD: f64 = 1.4;

/// "Near" begins at this share of the limit, and ends at that one: then the limit was wrong.
const NEAR: (f64, f64) = (0.85, 1.1);

/// A path is not believed to carry more than this multiple of what was seen to arrive, and this many
/// bits a second on top, which let a small stream grow at all.
const UNPROVEN: f64 = 2.0;
const UNPROVEN_BASE: f64 = 150_000.0;

/// Loss beyond the link's own from which on less is sent, and from which on no more is.
const LOSS_BACK_OFF: f64 = 0.10;
const LOSS_HOLD: f64 = 0.05;

/// Steps back are at least this far apart, besides a round trip: the last one has to be felt first.
const STEP: Duration = Duration::from_millis(150);

/// A queue has to have stood for so long: a receiver that did not come to run for a moment shows one that
/// is gone with the next report.
const PERSISTS: Duration = Duration::from_millis(90);

/// But one that loses so much of what is reported overflows: that is no jitter and no receiver that
/// did not come to run, and each further tenth of a second costs the picture.
const OVERFLOWS: f64 = 0.25;
const LEAST_MISSING: usize = 4;

/// A queue that stays, this long and over this many steps back, is a longer path.
const STUBBORN: Duration = Duration::from_secs(2);
const STUBBORN_STEPS: u32 = 4;

/// Without a report for so long the path is taken for broken; each such time halves what is sent.
const SILENCE: Duration = Duration::from_millis(700);

/// A path that came back is trusted with this share of what it carried before.
const BACK: f64 = 0.75;

/// How the path to a viewer is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// Bits a second that may be sent, everything counted.
    pub bitrate: u32,
    /// Bits a second that left lately.
    pub leaving: Option<u32>,
    /// Bits a second that arrived lately, where the viewer reports it.
    pub delivered: Option<u32>,
    /// How long packets stand in queues on the way, where the viewer reports it.
    pub queue: Option<Duration>,
    /// How much later than the quickest packets the others usually come, where the viewer reports it.
    pub jitter: Option<Duration>,
    /// Lost packets of the last second, 0 to 1, those repaired by sending again included.
    pub loss: Option<f64>,
    /// From a packet to the report about it.
    pub round_trip: Option<Duration>,
    /// Whether the viewer has reported anything yet. Before that the rest is a guess.
    pub is_measured: bool,
}

/// Estimates one path. Time is an argument.
#[derive(Debug)]
pub(in super::super) struct Estimator {
    history: History,
    delay: Delay,
    delivered: Delivered,
    /// What leaves, by the time since the first packet.
    outgoing: Delivered,
    begun: Option<Instant>,
    loss: Loss,
    target: f64,
    /// What the path carried when it was last full.
    limit: Option<f64>,
    /// The queue of the last step back has not gone yet.
    is_draining: bool,
    /// Steps back without the queue having gone, and since when.
    steps: u32,
    over_since: Option<Instant>,
    stepped: Option<Instant>,
    updated: Option<Instant>,
    /// The receiver's own opinion.
    remb: Option<f64>,
    round_trip: Option<Duration>,
    /// The latest report with times of arrival.
    heard: Option<Instant>,
    /// The latest halving while nothing was heard, and the target before the first.
    silence: Option<(Instant, f64)>,
    reported_loss: Option<f64>,
    is_measured: bool,
}

impl Default for Estimate {
    /// What is assumed before anything is known.
    fn default() -> Self {
        Self {
            bitrate: START as u32,
            leaving: None,
            delivered: None,
            queue: None,
            jitter: None,
            loss: None,
            round_trip: None,
            is_measured: false,
        }
    }
}

impl Estimator {
    pub(in super::super) fn new() -> Self {
        Self {
            history: History::default(),
            delay: Delay::default(),
            delivered: Delivered::default(),
            outgoing: Delivered::default(),
            begun: None,
            loss: Loss::default(),
            target: START,
            limit: None,
            is_draining: false,
            steps: 0,
            over_since: None,
            stepped: None,
            updated: None,
            remb: None,
            round_trip: None,
            heard: None,
            silence: None,
            reported_loss: None,
            is_measured: false,
        }
    }

    /// A packet of so many bytes leaves. Gives its transport-wide number.
    pub(in super::super) fn sent(&mut self, now: Instant, bytes: usize, name: Name) -> u16 {
        let begun = *self.begun.get_or_insert(now);
        let at = now.saturating_duration_since(begun);
        self.outgoing.add(at, u32::try_from(bytes).unwrap_or(u32::MAX));
        self.history.sent(now, bytes, name)
    }

    /// The receiver tells when packets arrived. Gives which ones that are new.
    pub(in super::super) fn reported(
        &mut self,
        now: Instant,
        acks: &[Ack],
    ) -> impl Iterator<Item = Name> + use<> {
        let verdict = self.history.reported(now, acks);
        if !verdict.arrived.is_empty() || verdict.lost > 0 {
            self.take(now, &verdict);
        }
        verdict.arrived.into_iter().map(|packet| packet.name)
    }

    fn take(&mut self, now: Instant, verdict: &Verdict) {
        self.is_measured = true;
        self.heard = Some(now);
        if let Some(round_trip) = verdict.round_trip {
            self.round_trip = Some(smooth(self.round_trip, round_trip));
        }
        for packet in &verdict.arrived {
            self.delay.add(packet.sent, packet.arrival);
            self.delivered.add(packet.arrival, packet.bytes);
        }
        if let Some(first) = verdict.arrived.first() {
            self.delivered.add(first.arrival, verdict.unspoken);
        }
        let beyond = self.loss.add(now, verdict.lost, verdict.arrived.len() + verdict.lost);
        if let Some((_, before)) = self.silence.take() {
            self.target = self.target.max(before * BACK);
        }
        match self.delay.burst(&verdict.arrived) {
            Some((queue, carries))
                if queue.is_over() && self.overflows(verdict) && self.may_step(now) =>
            {
                let carries = self.delivered.rate().map_or(carries, |rate| rate.min(carries));
                self.step_back(now, carries, share_of(queue));
                self.updated = Some(now);
            }
            _ => self.update(now, self.delay.reading(), beyond),
        }
    }

    /// The receiver tells its loss since the last time, 0 to 1, and what a round trip took: all that
    /// is known of viewers who do not report arrivals.
    pub(in super::super) fn receiver_report(
        &mut self,
        now: Instant,
        loss: f64,
        round_trip: Option<Duration>,
    ) {
        self.is_measured = true;
        if self.heard.is_some_and(|heard| now.saturating_duration_since(heard) < 4 * SILENCE) {
            return;
        }
        if let Some(round_trip) = round_trip {
            self.round_trip = Some(smooth(self.round_trip, round_trip));
        }
        self.reported_loss = Some(loss);
        if loss > LOSS_BACK_OFF {
            // The draft's rule.
            self.set(self.target * (1.0 - 0.5 * loss));
        } else if loss < LOSS_HOLD {
            self.grow(now, None);
        }
        self.updated = Some(now);
    }

    /// The receiver tells how much it believes in (REMB).
    pub(in super::super) fn receiver_estimate(&mut self, bitrate: f64) {
        if bitrate.is_finite() && bitrate > 0.0 {
            self.is_measured = true;
            self.remb = Some(bitrate);
            self.set(self.target);
        }
    }

    /// Whether anything is on its way.
    pub(in super::super) fn is_waiting(&self, now: Instant) -> bool {
        self.history.is_waiting_since(now)
    }

    /// Looks for silence; to be called a few times a second.
    pub(in super::super) fn tick(&mut self, now: Instant) {
        let Some(heard) = self.heard else { return };
        let patience = SILENCE + self.round_trip.unwrap_or_default();
        let since = self.silence.map_or(heard, |(halved, _)| halved.max(heard));
        let is_silent = now.saturating_duration_since(since) >= patience
            && now.checked_sub(patience).is_some_and(|then| self.history.is_waiting_since(then));
        if is_silent {
            let before = self.silence.map_or(self.target, |(_, before)| before);
            self.silence = Some((now, before));
            self.set(self.target * 0.5);
        }
    }

    pub(in super::super) fn estimate(&self) -> Estimate {
        Estimate {
            bitrate: self.target as u32,
            leaving: self.outgoing.rate().map(|rate| rate as u32),
            delivered: self.delivered.rate().map(|rate| rate as u32),
            queue: self.delay.reading().map(|reading| reading.queue),
            jitter: self.heard.map(|_| self.delay.jitter()),
            loss: self.loss.last().or(self.reported_loss),
            round_trip: self.round_trip,
            is_measured: self.is_measured,
        }
    }

    fn update(&mut self, now: Instant, reading: Option<Reading>, beyond: Option<f64>) {
        // What arrived, and what the link would have lost of anything.
        let delivered = self.delivered.rate().map(|rate| rate / (1.0 - self.loss.own()));
        let may_step = self.may_step(now);
        let mut is_over = reading.is_some_and(Reading::is_over);
        if is_over {
            let since = *self.over_since.get_or_insert(now);
            is_over = now.saturating_duration_since(since) >= PERSISTS;
        } else {
            (self.over_since, self.steps) = (None, 0);
        }
        if let (Some(reading), Some(delivered), true, true) =
            (reading, delivered, is_over, may_step)
        {
            if self.is_stubborn(now) {
                self.delay.accept();
                (self.over_since, self.steps, self.is_draining) = (None, 0, false);
            } else {
                self.step_back(now, delivered, share_of(reading));
            }
        } else if let (Some(delivered), true, true) =
            (delivered, may_step, beyond.is_some_and(|beyond| beyond > LOSS_BACK_OFF))
        {
            // What arrived is what the path takes; the rest was lost on the way.
            self.step_back(now, delivered, RESUME);
        } else if reading.is_none_or(Reading::is_clear)
            && beyond.is_none_or(|beyond| beyond < LOSS_HOLD)
        {
            if std::mem::take(&mut self.is_draining)
                && let Some(limit) = self.limit
            {
                self.set(self.target.max(limit * RESUME));
            }
            self.grow(now, delivered);
        }
        self.updated = Some(now);
    }

    /// Whether much of what must have arrived by now has not.
    fn overflows(&self, verdict: &Verdict) -> bool {
        let Some(newest) = verdict.arrived.last() else { return false };
        let spread = self.delay.jitter() * 2;
        let is_due = |sent: &Instant| newest.sent.saturating_duration_since(*sent) >= spread;
        let missing = verdict.missing.iter().filter(|sent| is_due(sent)).count();
        let arrived = verdict.arrived.iter().filter(|packet| is_due(&packet.sent)).count();
        missing >= LEAST_MISSING && missing as f64 >= (missing + arrived) as f64 * OVERFLOWS
    }

    /// The last step back has been felt by now.
    fn may_step(&self, now: Instant) -> bool {
        self.stepped.is_none_or(|stepped| {
            now.saturating_duration_since(stepped) >= STEP + self.round_trip.unwrap_or_default()
        })
    }

    /// Whether sending less does not help against what looks like a queue.
    fn is_stubborn(&self, now: Instant) -> bool {
        self.steps >= STUBBORN_STEPS
            && self.over_since.is_some_and(|since| now.saturating_duration_since(since) >= STUBBORN)
    }

    fn step_back(&mut self, now: Instant, delivered: f64, share: f64) {
        let outgoing = self.outgoing.rate().unwrap_or(self.target);
        let is_idle = outgoing < self.target * IDLE && delivered > outgoing * ARRIVES;
        if is_idle {
            // It says nothing about the limit.
        } else if !self.is_draining {
            self.limit = Some(delivered);
        } else if let Some(limit) = &mut self.limit {
            // Still full: what comes out now is what it carries.
            *limit = limit.min(delivered / BACK_OFF);
        }
        let least = if is_idle { self.target * IDLE_BACK_OFF } else { 0.0 };
        self.is_draining = true;
        self.steps += 1;
        self.stepped = Some(now);
        self.set(self.target.min((delivered * share).max(least)));
    }

    fn grow(&mut self, now: Instant, delivered: Option<f64>) {
        let since = self.updated.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        let seconds = since.as_secs_f64().min(0.5);
        if self.limit.is_some_and(|limit| self.target > limit * NEAR.1) {
            self.limit = None;
        }
        let is_near = self.limit.is_some_and(|limit| self.target > limit * NEAR.0);
        let well = self.stepped.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        let careful = (CAREFUL + BOLDER * well.as_secs_f64()).min(BOLD);
        let grown = self.target * (if is_near { careful } else { BOLD }).powf(seconds);
        let proven = delivered.map_or(f64::INFINITY, |rate| rate * UNPROVEN + UNPROVEN_BASE);
        // What is not proven does not fall for it: an encoder may have little to say for a while.
        self.set(grown.min(proven).max(self.target));
    }

    fn set(&mut self, target: f64) {
        let most = self.remb.map_or(BOUNDS.1, |remb| remb.clamp(BOUNDS.0, BOUNDS.1));
        self.target = target.clamp(BOUNDS.0, most);
    }
}

/// What is sent of what arrives while such a queue stands.
fn share_of(queue: Reading) -> f64 {
    let beyond = queue.queue.saturating_sub(queue.limit).as_secs_f64();
    (BACK_OFF - DRAIN * beyond).max(MOST_DRAIN)
}

fn smooth(old: Option<Duration>, new: Duration) -> Duration {
    old.map_or(new, |old| old.mul_f64(0.875) + new.mul_f64(0.125))
}
