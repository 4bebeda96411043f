//! Joins a second: each a connection, an upgrade, a registration, a welcome and a goodbye.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::{
    args::{Common, Joins},
    joining::{Joining, Then},
    process::Meter,
    report::Report,
    target::Target,
};

const WARM_UP: Duration = Duration::from_secs(1);

pub(crate) fn run(common: &Common, args: &Joins) -> Result<Report> {
    let target = Target::open(common, args.rooms)?;
    let mut joining = Joining::new(&target, Then::Leave)?;
    let begin = Instant::now() + WARM_UP;
    let mut end = begin + Duration::from_secs_f64(args.seconds);
    let mut started = None;
    let mut number = 0;
    let mut figures = None;
    joining.run(
        args.at_once,
        || {
            number += 1;
            Some(target.register(number, &format!("peer-{number}"), None))
        },
        |joining| {
            let now = Instant::now();
            if started.is_none() && now >= begin {
                joining.latencies.reset();
                joining.joined = 0;
                end = now + (end - begin);
                started = Some((now, Meter::start(common.pid)?));
            }
            if now >= end
                && figures.is_none()
                && let Some((began, meter)) = &started
            {
                figures = Some((joining.joined, now - *began, meter.each(joining.joined)?));
            }
            Ok(figures.is_some())
        },
    )?;
    let mut report = Report::default();
    report.put("scenario", "joins");
    if let Some((joined, took, cpu)) = figures {
        report.number("joins_per_second", joined as f64 / took.as_secs_f64());
        report.maybe("server_cpu_us_per_join", cpu);
    }
    report.latencies("", &joining.latencies);
    Ok(report)
}
