//! Packets that left lately, for a viewer who misses one.
//!
//! Bounded in number and in age: what comes a second late is of no use to a driver. And bounded in what
//! may be asked for: a packet once in a round trip, and all of them together half of what the path is
//! believed to carry, so that a viewer who asks for everything gets no more than one who does not.
//!
//! Viewers ask as soon as a number is missing. On a path with jitter nine of ten of those packets are only
//! out of order, and to send them again costs a quarter of what the path carries. So where the path is
//! nearly full, a question that comes before the packet must have arrived waits for the viewer's next
//! report of arrivals, which mostly settles it. Where there is room, waiting would save nothing and cost
//! the picture that time.
//!
//! A path that became narrow loses more than can be repaired in time. Then nothing is, and the picture
//! [begins anew](Sent::begin_anew): a key frame for the narrow path is there sooner than all of that.

use std::time::{Duration, Instant};

use rtc::rtp::Packet;

/// Packets that are kept: a second at 10 Mbit/s. A power of two.
const KEPT: usize = 1024;

/// Older ones are not sent again.
const MAX_AGE: Duration = Duration::from_millis(1_500);

/// One packet is sent again no more often than this, whatever the round trip.
const LEAST_SPACING: Duration = Duration::from_millis(10);

/// The share of the path that repairs may take, and for how long it may be saved up.
const SHARE: f64 = 0.5;
const SAVED: Duration = Duration::from_millis(500);

/// What a path is granted at least, in bits: a whole key frame of a slow link.
const LEAST_SAVED: f64 = 200_000.0;

/// Browsers report arrivals this often.
const REPORT: Duration = Duration::from_millis(50);

/// No question waits longer.
const MOST_WAIT: Duration = Duration::from_millis(80);

/// What the path carries in this time is worth a repair, and so are this many bits: key frames are no
/// smaller.
const WORTH: Duration = Duration::from_millis(250);
const WORTH_LEAST: f64 = 100_000.0;

/// What the sender knows of the path.
#[derive(Debug, Clone, Copy)]
pub(super) struct Path {
    /// From a packet to the report about it.
    pub(super) round_trip: Duration,
    /// Bits a second that it carries.
    pub(super) estimate: u32,
    /// How much later than the quickest packets others usually come; `None` where the viewer does not
    /// report arrivals, and so nothing is ever settled by waiting.
    pub(super) jitter: Option<Duration>,
    /// Much less is sent than the path carries.
    pub(super) has_room: bool,
}

/// What left on one stream.
#[derive(Debug)]
pub(super) struct Sent {
    ring: Vec<Option<Kept>>,
    /// Asked for, and when it is to be sent.
    asked: Vec<(Instant, u16)>,
    /// Bits that may be sent again now.
    budget: f64,
    filled: Option<Instant>,
}

#[derive(Debug)]
struct Kept {
    packet: Packet,
    sent: Instant,
    again: Option<Instant>,
    /// It waits for its turn to be sent again.
    is_asked: bool,
    /// The viewer misses it, as far as is known.
    is_missed: bool,
}

impl Kept {
    fn bits(&self) -> f64 {
        self.packet.payload.len() as f64 * 8.0
    }
}

impl Sent {
    pub(super) fn new() -> Self {
        Self { ring: Vec::new(), asked: Vec::new(), budget: LEAST_SAVED, filled: None }
    }

    /// A packet leaves. Its payload is shared, not copied.
    pub(super) fn keep(&mut self, now: Instant, packet: &Packet) {
        if self.ring.is_empty() {
            self.ring.resize_with(KEPT, || None);
        }
        let at = usize::from(packet.header.sequence_number) % KEPT;
        let packet = packet.clone();
        self.ring[at] =
            Some(Kept { packet, sent: now, again: None, is_asked: false, is_missed: false });
    }

    /// The viewer has the packet of this number.
    pub(super) fn arrived(&mut self, sequence: u16) {
        if self.kept(sequence).is_some() {
            self.ring[usize::from(sequence) % KEPT] = None;
        }
    }

    /// The viewer misses the packet of this number.
    pub(super) fn ask(&mut self, now: Instant, sequence: u16, path: Path) {
        let Some(kept) = self.kept(sequence) else { return };
        kept.is_missed = true;
        let spacing = path.round_trip.max(LEAST_SPACING);
        let is_due = kept.again.is_none_or(|again| now.saturating_duration_since(again) >= spacing);
        if kept.is_asked || !is_due || now.saturating_duration_since(kept.sent) > MAX_AGE {
            return;
        }
        kept.is_asked = true;
        let due = now + wait(now.saturating_duration_since(kept.sent), kept.again.is_some(), path);
        self.asked.push((due, sequence));
    }

    /// Whether the viewer misses more than is worth a repair. Never where arrivals are not reported:
    /// what is asked for there may only be late.
    pub(super) fn is_beyond_repair(&self, now: Instant, path: Path) -> bool {
        let Some(jitter) = path.jitter else { return false };
        let late = path.round_trip + jitter * 2 + REPORT;
        let missed = self
            .ring
            .iter()
            .flatten()
            .filter(|kept| kept.is_missed && now.saturating_duration_since(kept.sent) >= late);
        let bits: f64 = missed.map(Kept::bits).sum();
        bits > (f64::from(path.estimate) * WORTH.as_secs_f64()).max(WORTH_LEAST)
    }

    /// Nothing of what left so far is sent again.
    pub(super) fn begin_anew(&mut self) {
        self.ring.clear();
        self.asked.clear();
    }

    /// When [`next`](Self::next) has something, if anything was asked for.
    pub(super) fn due(&self) -> Option<Instant> {
        self.asked.iter().map(|(due, _)| *due).min()
    }

    /// The next packet that is to be sent again now, of those that were asked for and have not arrived.
    pub(super) fn next(&mut self, now: Instant, path: Path) -> Option<&Packet> {
        self.fill(now, path.estimate);
        while let Some(at) = self.asked.iter().position(|(due, _)| *due <= now) {
            let (_, sequence) = self.asked.remove(at);
            let budget = self.budget;
            let Some(kept) = self.kept(sequence) else { continue };
            kept.is_asked = false;
            let bits = kept.bits();
            if bits > budget {
                continue;
            }
            kept.again = Some(now);
            self.budget -= bits;
            return self.kept(sequence).map(|kept| &kept.packet);
        }
        None
    }

    fn kept(&mut self, sequence: u16) -> Option<&mut Kept> {
        let kept = self.ring.get_mut(usize::from(sequence) % KEPT)?.as_mut()?;
        (kept.packet.header.sequence_number == sequence).then_some(kept)
    }

    fn fill(&mut self, now: Instant, estimate: u32) {
        let rate = f64::from(estimate) * SHARE;
        let since = self.filled.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        let most = (rate * SAVED.as_secs_f64()).max(LEAST_SAVED);
        self.budget = (self.budget + rate * since.as_secs_f64()).min(most);
        self.filled = Some(now);
    }
}

/// How long a question waits about a packet that left so long ago.
fn wait(since: Duration, is_repeated: bool, path: Path) -> Duration {
    let Some(jitter) = path.jitter else { return Duration::ZERO };
    // Mean above least: twice that is where the latest ones are.
    let spread = jitter * 2;
    if path.has_room || is_repeated || since >= path.round_trip + spread {
        return Duration::ZERO;
    }
    (spread + REPORT).min(MOST_WAIT)
}

#[cfg(test)]
#[path = "retransmit_tests.rs"]
mod link_tests;

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use rtc::rtp::Header;

    use super::*;

    const FULL: Path = Path {
        round_trip: Duration::from_millis(50),
        estimate: 1_000_000,
        jitter: Some(Duration::from_millis(10)),
        has_room: false,
    };
    const ROOM: Path = Path { has_room: true, ..FULL };

    fn packet(sequence_number: u16) -> Packet {
        Packet {
            header: Header { version: 2, sequence_number, ..Header::default() },
            payload: Bytes::from(vec![7; 1000]),
        }
    }

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    /// Asks for a packet; its number if it is sent again at once.
    fn ask(sent: &mut Sent, now: Instant, sequence: u16, path: Path) -> Option<u16> {
        sent.ask(now, sequence, path);
        sent.next(now, path).map(|packet| packet.header.sequence_number)
    }

    #[test]
    fn a_packet_is_sent_again_once_in_a_round_trip_and_not_when_it_is_old() {
        let (mut sent, start) = (Sent::new(), Instant::now());
        assert_eq!(ask(&mut sent, start, 5, ROOM), None);
        sent.keep(start, &packet(5));
        assert_eq!(ask(&mut sent, start + ms(60), 5, ROOM), Some(5));
        assert_eq!(ask(&mut sent, start + ms(80), 5, ROOM), None);
        assert_eq!(ask(&mut sent, start + ms(110), 5, ROOM), Some(5));
        assert_eq!(ask(&mut sent, start + ms(1_600), 5, ROOM), None);
        // Another packet in the same place of the ring.
        assert_eq!(ask(&mut sent, start + ms(110), 5 + KEPT as u16, ROOM), None);
    }

    #[test]
    fn who_asks_for_everything_gets_half_of_the_path() {
        let (mut sent, start) = (Sent::new(), Instant::now());
        let path = Path { estimate: 2_000_000, round_trip: ms(1), ..ROOM };
        let mut bits = 0;
        for n in 0..4_000u16 {
            let now = start + ms(u64::from(n));
            sent.keep(now, &packet(n));
            for back in 0..200 {
                sent.ask(now, n.wrapping_sub(back), path);
            }
            while let Some(packet) = sent.next(now, path) {
                bits += packet.payload.len() * 8;
            }
            assert!(sent.asked.is_empty());
        }
        // Four seconds at 1 Mbit/s, and what was saved up.
        assert!((4_000_000..4_700_000).contains(&bits), "{bits}");
    }

    #[test]
    fn on_a_full_path_a_question_waits_for_the_report_that_settles_it() {
        let (mut sent, start) = (Sent::new(), Instant::now());
        for n in 0..3 {
            sent.keep(start, &packet(n));
        }
        let asked = start + ms(45);
        assert_eq!(ask(&mut sent, asked, 0, FULL), None);
        assert_eq!(ask(&mut sent, asked, 1, FULL), None);
        assert_eq!(ask(&mut sent, asked + ms(30), 1, FULL), None, "it is asked for already");
        assert_eq!(sent.due(), Some(asked + ms(70)));
        sent.arrived(0);
        let mut due =
            || sent.next(asked + ms(70), FULL).map(|packet| packet.header.sequence_number);
        assert_eq!([due(), due()], [Some(1), None], "what arrived is not sent again");
        assert_eq!(sent.due(), None);
        // Late enough that it must be there, and the second time.
        assert_eq!(ask(&mut sent, start + ms(70), 2, FULL), Some(2));
        assert_eq!(ask(&mut sent, asked + ms(130), 1, FULL), Some(1));
    }

    #[test]
    fn a_path_that_became_narrow_is_not_repaired_but_begun_anew() {
        let (mut sent, start) = (Sent::new(), Instant::now());
        // At 1 Mbit/s a quarter of a second is 31 packets.
        for n in 0..40 {
            sent.keep(start, &packet(n));
            sent.ask(start + ms(60), n, FULL);
        }
        let early = start + ms(50 + 20 + 50 - 1);
        assert!(!sent.is_beyond_repair(early, FULL), "they may only be out of order");
        let late = early + ms(1);
        assert!(sent.is_beyond_repair(late, FULL));
        assert!(!sent.is_beyond_repair(late, Path { estimate: 2_000_000, ..FULL }));
        assert!(!sent.is_beyond_repair(late, Path { jitter: None, ..FULL }), "nobody knows");
        for n in 0..10 {
            sent.arrived(n);
        }
        assert!(!sent.is_beyond_repair(late, FULL), "thirty are worth it");

        sent.begin_anew();
        assert_eq!(sent.due(), None);
        assert_eq!(ask(&mut sent, late, 39, ROOM), None, "what was given up is not sent again");
        sent.keep(late, &packet(40));
        assert_eq!(ask(&mut sent, late + ms(60), 40, ROOM), Some(40), "what comes after is");
    }

    #[test]
    fn nobody_waits_where_waiting_settles_nothing() {
        let (mut sent, start) = (Sent::new(), Instant::now());
        sent.keep(start, &packet(0));
        let silent = Path { jitter: None, ..FULL };
        assert_eq!(ask(&mut sent, start + ms(45), 0, silent), Some(0));
    }
}
