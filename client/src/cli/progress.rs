//! How far a file is: a bar on a terminal, lines for programs, and a line when it is done.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use super::{
    exit::CliError,
    output::{GOOD, Output, bytes, printable},
    words,
};
use crate::transfer::{Direction, Finished, Progress};

/// Programs hear of progress this often.
const FOR_PROGRAMS: Duration = Duration::from_millis(500);

/// Shorter than this, the connection's own latency is most of what was measured.
const MEASURABLE: Duration = Duration::from_millis(50);

/// One file's progress.
pub(super) struct FileProgress {
    output: Output,
    direction: Direction,
    name: String,
    bar: Option<ProgressBar>,
    started: Instant,
    told: Instant,
    /// Writing the output failed; told when it is over.
    broken: Option<CliError>,
}

impl FileProgress {
    pub(super) fn new(output: Output, direction: Direction, name: &str) -> Self {
        let bar = output.may_draw().then(|| bar(name));
        let started = Instant::now();
        let name = name.to_owned();
        Self { output, direction, name, bar, started, told: started, broken: None }
    }

    /// A step forward.
    pub(super) fn step(&mut self, progress: Progress) {
        if let Some(bar) = &self.bar {
            bar.set_length(progress.total);
            // What was there already did not move: it must not count as speed.
            if bar.position() < progress.resumed_at {
                bar.set_position(progress.resumed_at);
                bar.reset_eta();
            }
            bar.set_position(progress.moved);
        }
        if self.output.is_json() && self.told.elapsed() >= FOR_PROGRAMS && self.broken.is_none() {
            self.told = Instant::now();
            let told = self.output.object(&json!({
                "event": "progress",
                "name": self.name,
                "direction": word(self.direction),
                "moved": progress.moved,
                "durable": progress.durable,
                "total": progress.total,
            }));
            self.broken = told.err();
        }
    }

    /// It arrived.
    pub(super) fn done(mut self, finished: Finished, at: &str) -> Result<(), CliError> {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        if let Some(error) = self.broken.take() {
            return Err(error);
        }
        let took = self.started.elapsed();
        let moved = finished.size - finished.resumed_at.min(finished.size);
        let rate = moved as f64 / took.as_secs_f64().max(1e-3);
        self.output.object(&json!({
            "event": "transfer",
            "name": self.name,
            "direction": word(self.direction),
            "path": at,
            "size": finished.size,
            "resumed_at": finished.resumed_at,
            "seconds": took.as_secs_f64(),
            "bytes_per_second": rate.round(),
        }))?;
        let verb = match self.direction {
            Direction::Outgoing => "sent",
            Direction::Incoming => "got",
        };
        // Of a file that took no time, the speed says nothing.
        let rate =
            if took < MEASURABLE { String::new() } else { format!(" ({}/s)", bytes(rate as u64)) };
        let resumed = if finished.resumed_at > 0 {
            format!(", {} were there already", bytes(finished.resumed_at))
        } else {
            String::new()
        };
        self.output.line(format!(
            "{GOOD}{verb}{GOOD:#}  {}  {} in {}{rate}{resumed}",
            printable(at),
            bytes(finished.size),
            words::short(took),
        ))
    }
}

impl Drop for FileProgress {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.abandon();
        }
    }
}

fn bar(name: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let template = "{msg}  {wide_bar} {binary_bytes:>10}/{binary_total_bytes} \
                    {binary_bytes_per_sec:>11} {eta:>4}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_message(printable(name));
    bar
}

fn word(direction: Direction) -> &'static str {
    match direction {
        Direction::Outgoing => "outgoing",
        Direction::Incoming => "incoming",
    }
}
