//! Drives a broker the way its peers do, and measures it.
//!
//! ```text
//! cargo run --release -p halyard-server --example load -- --help
//! cargo run --release -p halyard-server --example load -- relay --url http://127.0.0.1:8080 --in-flight 8
//! ```
//!
//! One thread, its own WebSocket framing and frames made beforehand: what is measured should be the
//! broker and not the client library of its language. With `--pid` the broker's processor time and
//! resident memory are read from `/proc`. `floor` serves the same wire with nothing behind it (no
//! identities, no rooms that end, no bounds), for comparison in the same run; `--bare` is for those.
//!
//! `test_files/bench/run broker` runs all of it in turns and makes the tables of
//! `docs/performance.md`.

mod args;
mod crowd;
mod floor;
mod idle;
mod joining;
mod joins;
mod paced;
mod process;
mod raw_floor;
mod relay;
mod report;
mod socket;
mod stopped;
mod storm;
mod target;

use anyhow::Result;
use clap::Parser;

use self::args::{Args, Scenario};

fn main() -> Result<()> {
    let args = Args::parse();
    let result = match &args.scenario {
        Scenario::Floor(floor) => return floor::serve(floor),
        Scenario::Relay(relay) => relay::run(&args.common, relay)?,
        Scenario::Paced(paced) => paced::run(&args.common, paced)?,
        Scenario::Idle(idle) => idle::run(&args.common, idle)?,
        Scenario::Joins(joins) => joins::run(&args.common, joins)?,
        Scenario::StoppedReader(stopped) => stopped::run(&args.common, stopped)?,
        Scenario::Storm(storm) => storm::run(&args.common, storm)?,
    };
    result.print(args.common.json);
    Ok(())
}
