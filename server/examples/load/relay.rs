//! As many messages as the server relays.
//!
//! In every room some messages are on their way: a peer answers each that it hears with one of its
//! own. The server is never waited for more than that, and never has more than that to do.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use mio::{Events, Poll};

use crate::{
    args::{Common, Relay},
    crowd::{SCRATCH_BYTES, pairs},
    process::Meter,
    report::Report,
    target::Target,
};

const WARM_UP: Duration = Duration::from_secs(1);
const SILENCE: Duration = Duration::from_secs(5);

pub(crate) fn run(common: &Common, args: &Relay) -> Result<Report> {
    let target = Target::open(common, args.rooms)?;
    let mut poll = Poll::new()?;
    let mut peers = pairs(&target, args.rooms, &poll)?;
    let mut events = Events::with_capacity(1024);
    let mut scratch = vec![0; SCRATCH_BYTES];

    for first in peers.iter_mut().step_by(2) {
        for _ in 0..args.in_flight {
            first.say();
        }
        first.socket.flush()?;
    }
    let mut begin = Instant::now() + WARM_UP;
    let mut end = begin + Duration::from_secs_f64(args.seconds);
    let (mut meter, mut own) = (None, None);
    let mut count: u64 = 0;
    loop {
        poll.poll(&mut events, Some(SILENCE))?;
        ensure!(!events.is_empty(), "nothing came for {SILENCE:?}: messages were lost");
        for event in &events {
            let peer = &mut peers[event.token().0];
            if event.is_readable() {
                let heard = peer.hear(&mut scratch)?;
                count += heard as u64;
                for _ in 0..heard {
                    peer.say();
                }
            }
            peer.socket.flush()?;
        }
        let now = Instant::now();
        if meter.is_none() && now >= begin {
            meter = Some(Meter::start(common.pid)?);
            own = Some(Meter::start(Some(std::process::id()))?);
            count = 0;
            end = now + (end - begin);
            begin = now;
        } else if now >= end && meter.is_some() {
            break;
        }
    }
    let seconds = begin.elapsed().as_secs_f64();
    let mut report = Report::default();
    report.put("scenario", "relay");
    report.put("in_flight", args.in_flight);
    report.number("messages_per_second", count as f64 / seconds);
    if let Some(each) = meter.map(|meter| meter.each(count)).transpose()?.flatten() {
        report.number("server_cpu_us_per_message", each);
        report.number("server_cpu_percent", each * count as f64 / seconds / 1e4);
    }
    report.maybe("own_cpu_us_per_message", own.map(|own| own.each(count)).transpose()?.flatten());
    Ok(report)
}
