//! What a registered socket costs that says nothing.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::{
    args::{Common, Idle},
    process::Process,
    report::Report,
    socket::Socket,
    target::Target,
};

/// What was sent while others joined is written by then, and nothing waits in an outbox.
const SETTLE: Duration = Duration::from_secs(2);

pub(crate) fn run(common: &Common, args: &Idle) -> Result<Report> {
    let process = Process(common.pid.context("the memory of which process? --pid says")?);
    let target = Target::open(common, args.sockets.div_ceil(args.per_room))?;
    let before = process.resident_kib()?;
    let mut sockets = Vec::with_capacity(args.sockets);
    for number in 0..args.sockets {
        let register = target.register(number / args.per_room, &format!("peer-{number}"), None);
        sockets.push(Socket::registered(target.addr, &target.host, &register)?);
    }
    std::thread::sleep(SETTLE);
    let after = process.resident_kib()?;
    let mut report = Report::default();
    report.put("scenario", "idle");
    report.put("sockets", args.sockets);
    report.number("before_kib", before);
    report.number("after_kib", after);
    report.number("kib_per_socket", (after - before) / args.sockets as f64);
    Ok(report)
}
