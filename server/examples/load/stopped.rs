//! One peer stops reading and is flooded; what do the others notice, and what does it cost?

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use mio::{Events, Interest, Poll, Token};
use serde_json::json;

use crate::{
    args::{Common, StoppedReader},
    crowd::SCRATCH_BYTES,
    paced::Talk,
    process::Process,
    report::Report,
    socket::{CLOSE, Socket, client_frame},
    target::{Target, type_first},
};

const FLOOD_MESSAGE_BYTES: usize = 64 * 1024;
/// Written between two looks at the others, who would otherwise wait for this program and not for the
/// broker.
const FLOOD_PIECE_BYTES: usize = 4 * 1024;
const FLOOD_WITHIN: Duration = Duration::from_mins(1);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// The goodbye to a peer that does not read takes no longer.
const CLOSED_WITHIN: Duration = Duration::from_secs(10);

pub(crate) fn run(common: &Common, args: &StoppedReader) -> Result<Report> {
    let process = common.pid.map(Process);
    // The last room is that of the flood.
    let target = Target::open(common, args.rooms + 1)?;
    let mut poll = Poll::new()?;
    let mut talk = Talk::new(&target, args.rooms, args.rate, &poll)?;
    let enter = |name: &str| {
        let register = target.register(args.rooms, name, None);
        Socket::registered(target.addr, &target.host, &register).map(|(socket, _)| socket)
    };
    // Nobody watches this one.
    let mut stopped = enter("stopped")?;
    let mut flooder = enter("flooder")?;
    let token = Token(talk.sockets());
    let both = Interest::READABLE | Interest::WRITABLE;
    poll.registry().register(&mut flooder.stream, token, both)?;

    let mut events = Events::with_capacity(1024);
    let mut scratch = vec![0; SCRATCH_BYTES];
    let sdp = "x".repeat(FLOOD_MESSAGE_BYTES);
    let message =
        client_frame(&type_first(&json!({ "type": "offer", "target": "stopped", "sdp": sdp })));
    let mut left = args.flood_mib * 1024 * 1024 / FLOOD_MESSAGE_BYTES;

    let begin = Instant::now();
    let flood_at = begin + Duration::from_secs_f64(args.seconds);
    let mut report = Report::default();
    report.put("scenario", "stopped-reader");
    let (mut before, mut most) = (None, 0.0_f64);
    let mut look_at = begin;
    let mut refusals: u64 = 0;
    talk.resume();
    loop {
        talk.send_due()?;
        poll.poll(&mut events, Some(Duration::ZERO))?;
        for event in &events {
            if event.token() != token {
                talk.on_event(event, &mut scratch)?;
                continue;
            }
            flooder.read(&mut scratch, |_, text| {
                refusals += u64::from(text.starts_with(br#"{"type":"error""#));
            })?;
        }
        let now = Instant::now();
        if now >= look_at {
            look_at = now + LOOK_EVERY;
            if let Some(process) = process {
                most = most.max(process.resident_kib()?);
            }
        }
        if before.is_none() && now >= flood_at {
            report.latencies("before_", &talk.latencies);
            before = Some((talk.latencies.value_at_quantile(0.99), most));
            talk.start_over();
        }
        if before.is_some() {
            if flooder.waiting() == 0 && left > 0 {
                left -= 1;
                flooder.queue(&message);
            }
            flooder.flush_some(FLOOD_PIECE_BYTES).context("the flooder's own socket")?;
            if left == 0 && flooder.waiting() == 0 || now > flood_at + FLOOD_WITHIN {
                break;
            }
        }
    }
    talk.check()?;
    let took = flood_at.elapsed().as_secs_f64();
    report.latencies("during_", &talk.latencies);
    if let Some((p99, resident)) = before {
        report.number("p99_ratio", talk.latencies.value_at_quantile(0.99) as f64 / p99 as f64);
        report.maybe("growth_kib", process.map(|_| most - resident));
    }
    report.number("flood_seconds", took);
    report.number(
        "flood_sent_mib",
        args.flood_mib as f64 - (left * FLOOD_MESSAGE_BYTES) as f64 / 1_048_576.0,
    );
    report.put("refusals", refusals);
    report.put("close_code", closed_with(&mut stopped, &mut scratch)?);
    Ok(report)
}

/// Reads a socket to its end: the code of its close frame, if it had one.
fn closed_with(socket: &mut Socket, scratch: &mut [u8]) -> Result<Option<u16>> {
    let deadline = Instant::now() + CLOSED_WITHIN;
    let mut code = None;
    while socket.open && code.is_none() && Instant::now() < deadline {
        socket.read(scratch, |opcode, payload| {
            if opcode == CLOSE {
                code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
            }
        })?;
    }
    Ok(code)
}
