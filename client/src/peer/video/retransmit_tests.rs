//! What is sent again over a simulated link with jitter and loss, to a viewer who asks as Chromium does:
//! for every number that is missing, at once, and again after a tenth of a second.

use std::time::{Duration, Instant};

use bytes::Bytes;
use rtc::rtp::{Header, Packet};

use super::{Path, Sent};

/// What Foxglove publishes for 4G: one way, and how much it varies to either side.
const DELAY_MS: f64 = 50.0;
const JITTER_MS: f64 = 15.0;
const LOSS: f64 = 0.03;

/// Pictures of eight packets, thirty a second, each packet 2.5 ms after the one before.
const PICTURES: u64 = 30 * 60;
const PACKETS: u64 = 8;

const REPORT_MS: u64 = 50;
const ASKS_AGAIN_MS: f64 = 100.0;

#[derive(Debug, Default)]
struct Seen {
    lost: usize,
    again: usize,
    /// From the departure of a picture to the arrival of all of it, in ms.
    whole: Vec<f64>,
}

impl Seen {
    fn p95(&self) -> f64 {
        let mut whole = self.whole.clone();
        whole.sort_by(f64::total_cmp);
        whole[whole.len() * 95 / 100]
    }
}

struct Link {
    random: u64,
    /// Arrival, number, and whether it left for the first time.
    flying: Vec<(f64, u16, bool)>,
    /// Numbers that are asked for, and reports of what arrived, on their way back.
    questions: Vec<(f64, u16)>,
    reports: Vec<(f64, Vec<u16>)>,
}

impl Link {
    /// 0 to 1 (xorshift).
    fn random(&mut self) -> f64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) as f64 / (1u64 << 53) as f64
    }

    fn takes(&mut self) -> f64 {
        DELAY_MS + (self.random() * 2.0 - 1.0) * JITTER_MS
    }

    /// Whether it was lost.
    fn carry(&mut self, now: f64, number: u16, is_first: bool) -> bool {
        let is_lost = self.random() < LOSS;
        if !is_lost {
            let arrival = now + self.takes();
            self.flying.push((arrival, number, is_first));
        }
        is_lost
    }
}

/// Plays a minute.
fn play(path: Path) -> Seen {
    let (mut sent, start, mut seen) = (Sent::new(), Instant::now(), Seen::default());
    let mut link =
        Link { random: 88_172_645_463_325_252, flying: vec![], questions: vec![], reports: vec![] };
    // The viewer: what it has, the highest number, what it misses and when it last asked for it.
    let total = (PICTURES * PACKETS) as u16;
    let mut has = vec![false; usize::from(total)];
    let mut missing: Vec<(u16, f64)> = Vec::new();
    let (mut newest, mut unreported) = (None::<u16>, Vec::new());
    let (mut left, mut number) = (vec![0.0; PICTURES as usize], 0u16);
    for now_ms in 0..(PICTURES * 33 + 2_000) {
        let (now, now_f) = (start + Duration::from_millis(now_ms), now_ms as f64);
        if number < total && now_ms >= u64::from(number) / PACKETS * 33 {
            let within = u64::from(number) % PACKETS;
            if now_ms * 2 >= (u64::from(number) / PACKETS * 33) * 2 + within * 5 {
                if within == 0 {
                    left[usize::from(number) / PACKETS as usize] = now_f;
                }
                sent.keep(now, &packet(number));
                seen.lost += usize::from(link.carry(now_f, number, true));
                number += 1;
            }
        }
        let mut arrived: Vec<_> = link.flying.extract_if(.., |(at, ..)| *at <= now_f).collect();
        arrived.sort_by(|a, b| a.0.total_cmp(&b.0));
        for (at, number, is_first) in arrived {
            if is_first {
                unreported.push(number);
            }
            missing.retain(|(other, _)| *other != number);
            if !std::mem::replace(&mut has[usize::from(number)], true) {
                let picture = usize::from(number) / PACKETS as usize;
                let packets = picture * PACKETS as usize..(picture + 1) * PACKETS as usize;
                if has[packets].iter().all(|has| *has) {
                    seen.whole.push(at - left[picture]);
                }
            }
            let next = newest.map_or(0, |newest| newest + 1);
            missing.extend((next..number).filter(|n| !has[usize::from(*n)]).map(|n| (n, -1e9)));
            newest = newest.max(Some(number));
        }
        for (number, asked) in &mut missing {
            if now_f - *asked >= ASKS_AGAIN_MS {
                *asked = now_f;
                if link.random() >= LOSS {
                    let at = now_f + link.takes();
                    link.questions.push((at, *number));
                }
            }
        }
        if now_ms % REPORT_MS == 0 && link.random() >= LOSS {
            let at = now_f + link.takes();
            link.reports.push((at, std::mem::take(&mut unreported)));
        }
        for (_, numbers) in link.reports.extract_if(.., |(at, _)| *at <= now_f) {
            for number in numbers {
                sent.arrived(number);
            }
        }
        for (_, number) in link.questions.extract_if(.., |(at, _)| *at <= now_f) {
            sent.ask(now, number, path);
        }
        while let Some(number) = sent.next(now, path).map(|packet| packet.header.sequence_number) {
            seen.again += 1;
            link.carry(now_f, number, false);
        }
    }
    assert!(seen.whole.len() >= PICTURES as usize * 999 / 1000, "nearly all came: {seen:?}");
    seen
}

fn packet(sequence_number: u16) -> Packet {
    Packet {
        header: Header { version: 2, sequence_number, ..Header::default() },
        payload: Bytes::from_static(&[7; 1200]),
    }
}

#[test]
fn over_a_full_4g_link_hardly_more_is_sent_again_than_was_lost() {
    let full = Path {
        round_trip: Duration::from_millis(105),
        estimate: 10_000_000,
        jitter: Some(Duration::from_millis(13)),
        has_room: false,
    };
    // Each question is answered at once where there is room, which is what was done everywhere before.
    let (before, after) = (play(Path { has_room: true, ..full }), play(full));
    println!(
        "lost {}, sent again at once {} and after waiting {}; whole pictures, p95: {:.0} and {:.0} ms",
        after.lost,
        before.again,
        after.again,
        before.p95(),
        after.p95()
    );
    assert!(before.again > 6 * before.lost, "{} for {}", before.again, before.lost);
    assert!(after.again * 2 < after.lost * 5, "{} for {}", after.again, after.lost);
    assert!(after.p95() < before.p95() + 80.0, "{:.0} and {:.0} ms", before.p95(), after.p95());
}
