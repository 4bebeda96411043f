//! Messages at a fixed rate, whatever the server does.
//!
//! Each message has a time at which it is due, and its latency counts from then: a server that
//! stops for a while delays the messages that would have been sent meanwhile, and they count
//! (coordinated omission is when they do not). The generator does not sleep between messages, so
//! that its own waking up is not measured.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use hdrhistogram::Histogram;
use mio::{Events, Poll, event::Event};

use crate::{
    args::{Common, Paced},
    crowd::{Peer, SCRATCH_BYTES, pairs},
    process::Meter,
    report::{Report, histogram},
    target::Target,
};

const WARM_UP: Duration = Duration::from_secs(1);
const LATE: Duration = Duration::from_secs(10);

/// Pairs that talk at a fixed rate, and how long their messages take.
pub(crate) struct Talk {
    peers: Vec<Peer>,
    /// When the messages on their way to each peer were due.
    under_way: Vec<VecDeque<Instant>>,
    every: Duration,
    due: Instant,
    next: usize,
    pub(crate) latencies: Histogram<u64>,
    pub(crate) heard: u64,
}

impl Talk {
    pub(crate) fn new(target: &Target, rooms: usize, rate: f64, poll: &Poll) -> Result<Self> {
        let peers = pairs(target, rooms, poll)?;
        Ok(Self {
            under_way: peers.iter().map(|_| VecDeque::new()).collect(),
            peers,
            every: Duration::from_secs_f64(1.0 / rate),
            due: Instant::now(),
            next: 0,
            latencies: histogram(),
            heard: 0,
        })
    }

    /// From now on.
    pub(crate) fn start_over(&mut self) {
        self.latencies.reset();
        self.heard = 0;
    }

    /// After a pause in which nothing was sent.
    pub(crate) fn resume(&mut self) {
        self.due = Instant::now();
    }

    /// Sends what is due.
    pub(crate) fn send_due(&mut self) -> Result<()> {
        while self.due <= Instant::now() {
            // Each room once in one direction, then each in the other.
            let rooms = self.peers.len() / 2;
            let from = self.next % rooms * 2 + self.next / rooms % 2;
            self.next += 1;
            self.under_way[from ^ 1].push_back(self.due);
            self.peers[from].say();
            self.peers[from].socket.flush()?;
            self.due += self.every;
        }
        Ok(())
    }

    /// Something happened to one of its sockets.
    pub(crate) fn on_event(&mut self, event: &Event, scratch: &mut [u8]) -> Result<()> {
        let number = event.token().0;
        let peer = &mut self.peers[number];
        if event.is_readable() {
            let heard = peer.hear(scratch)?;
            let now = Instant::now();
            for _ in 0..heard {
                let due = self.under_way[number].pop_front();
                let took = due.map_or(Duration::ZERO, |due| now - due);
                self.latencies.saturating_record(took.as_nanos() as u64);
                self.heard += 1;
            }
        }
        peer.socket.flush()
    }

    /// Nothing is missing for longer than it may.
    pub(crate) fn check(&self) -> Result<()> {
        let oldest = self.under_way.iter().filter_map(VecDeque::front).min();
        ensure!(
            oldest.is_none_or(|due| due.elapsed() < LATE),
            "a message has not arrived within {LATE:?}"
        );
        Ok(())
    }

    /// How many sockets, and so tokens, it has.
    pub(crate) fn sockets(&self) -> usize {
        self.peers.len()
    }
}

pub(crate) fn run(common: &Common, args: &Paced) -> Result<Report> {
    let target = Target::open(common, args.rooms)?;
    let mut poll = Poll::new()?;
    let mut talk = Talk::new(&target, args.rooms, args.rate, &poll)?;
    let mut events = Events::with_capacity(1024);
    let mut scratch = vec![0; SCRATCH_BYTES];
    talk.resume();
    let begin = Instant::now() + WARM_UP;
    let end = begin + Duration::from_secs_f64(args.seconds);
    let mut meter = None;
    while Instant::now() < end {
        talk.send_due()?;
        poll.poll(&mut events, Some(Duration::ZERO))?;
        for event in &events {
            talk.on_event(event, &mut scratch)?;
        }
        if meter.is_none() && Instant::now() >= begin {
            talk.start_over();
            meter = Some(Meter::start(common.pid)?);
        }
    }
    talk.check()?;
    let mut report = Report::default();
    report.put("scenario", "paced");
    report.number("messages_per_second", talk.heard as f64 / args.seconds);
    report.latencies("", &talk.latencies);
    let each = meter.map(|meter| meter.each(talk.heard)).transpose()?.flatten();
    report.maybe("server_cpu_us_per_message", each);
    Ok(report)
}
