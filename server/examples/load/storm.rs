//! Every socket drops at once, as when a proxy restarts, and every peer comes back to its place.

use std::time::Instant;

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::{
    args::{Common, Storm},
    joining::{Joining, Then},
    process::Meter,
    report::Report,
    target::Target,
};

pub(crate) fn run(common: &Common, args: &Storm) -> Result<Report> {
    let target = Target::open(common, args.sockets.div_ceil(args.per_room))?;
    let name = |number: usize| format!("peer-{number}");
    let mut first = Joining::new(&target, Then::Stay)?;
    let mut numbers = 0..args.sockets;
    first.run(
        args.at_once,
        || numbers.next().map(|n| target.register(n / args.per_room, &name(n), None)),
        |_| Ok(false),
    )?;
    // Who is who, and the proof of it.
    let mut places: Vec<(usize, Option<String>)> = Vec::with_capacity(args.sockets);
    for (socket, welcome) in &first.stayed {
        let welcome: Value = serde_json::from_str(welcome)?;
        let number = welcome["peer_id"].as_str().and_then(|id| id.strip_prefix("peer-"));
        let number: usize = number.unwrap_or_default().parse()?;
        places.push((number, welcome["resume_token"].as_str().map(str::to_owned)));
        socket.cut();
    }
    let began = Instant::now();
    let meter = Meter::start(common.pid)?;
    let mut back = Joining::new(&target, Then::Stay)?;
    let mut coming = places.iter();
    back.run(
        args.at_once,
        || {
            let (number, resume) = coming.next()?;
            Some(target.register(number / args.per_room, &name(*number), resume.as_deref()))
        },
        |_| Ok(false),
    )?;
    let took = began.elapsed().as_secs_f64();
    let mut resumed = 0;
    for (_, welcome) in &back.stayed {
        let welcome: Value = serde_json::from_str(welcome)?;
        resumed += usize::from(welcome["resumed"] == true);
    }
    ensure!(common.bare || resumed == args.sockets, "only {resumed} came back to their places");
    let mut report = Report::default();
    report.put("scenario", "storm");
    report.put("sockets", args.sockets);
    report.put("resumed", resumed);
    report.number("seconds", took);
    report.number("back_per_second", args.sockets as f64 / took);
    report.maybe("server_cpu_us_each", meter.each(args.sockets as u64)?);
    report.latencies("", &back.latencies);
    Ok(report)
}
