//! How far a file is: a bar on a terminal, lines for programs, and a line when it is done.

use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use super::{
    exit::CliError,
    output::{GOOD, Output, bytes, printable},
    words,
};
use crate::transfer::{Direction, Finished, REPORT_EVERY, Report};

/// Shorter than this, the connection's own latency is most of what was measured.
const MEASURABLE: Duration = Duration::from_millis(50);

/// The progress of files that move at the same time, one under the other.
#[derive(Debug, Clone)]
pub(super) struct Bars {
    output: Output,
    bars: Option<MultiProgress>,
}

/// One file's progress.
pub(super) struct FileProgress {
    output: Output,
    direction: Direction,
    name: String,
    bar: Option<(MultiProgress, ProgressBar)>,
    started: Instant,
    told: Option<Instant>,
    /// Writing the output failed; told when it is over.
    broken: Option<CliError>,
}

impl Bars {
    pub(super) fn new(output: Output) -> Self {
        let drawn = || MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(4));
        Self { output, bars: output.may_draw().then(drawn) }
    }

    pub(super) fn file(&self, direction: Direction, name: &str) -> FileProgress {
        let bar = self.bars.clone().map(|bars| {
            let bar = bars.add(bar(name));
            (bars, bar)
        });
        let started = Instant::now();
        let (output, name) = (self.output, name.to_owned());
        FileProgress { output, direction, name, bar, started, told: None, broken: None }
    }
}

impl FileProgress {
    /// How far it is now.
    pub(super) fn step(&mut self, report: Report) {
        let Report { progress, bytes_per_second, remaining } = report;
        if self.told.is_some_and(|told| told.elapsed() < REPORT_EVERY) {
            return;
        }
        self.told = Some(Instant::now());
        if let Some((_, bar)) = &self.bar {
            bar.set_length(progress.total);
            bar.set_position(progress.moved);
            let left = remaining.map_or_else(|| "-".to_owned(), left);
            bar.set_prefix(format!("{:>11}/s {left:>6}", bytes(bytes_per_second)));
        }
        if self.output.is_json() && self.broken.is_none() {
            let told = self.output.object(&json!({
                "event": "progress",
                "name": self.name,
                "direction": word(self.direction),
                "moved": progress.moved,
                "durable": progress.durable,
                "total": progress.total,
                "bytes_per_second": bytes_per_second,
                "seconds_left": remaining.map(|left| (left.as_secs_f64() * 10.0).round() / 10.0),
            }));
            self.broken = told.err();
        }
    }

    /// It arrived.
    pub(super) fn done(mut self, finished: Finished, at: &str) -> Result<(), CliError> {
        if let Some((bars, bar)) = self.bar.take() {
            bar.finish_and_clear();
            bars.remove(&bar);
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
        if let Some((_, bar)) = self.bar.take() {
            bar.abandon();
        }
    }
}

fn bar(name: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let template = "{msg}  {wide_bar} {binary_bytes:>10}/{binary_total_bytes} {prefix}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_message(printable(name));
    bar
}

/// Hours and minutes, or minutes and seconds, as people read a clock.
fn left(left: Duration) -> String {
    // The last second is worth waiting for: it is said until it is over.
    let seconds = left.as_secs_f64().ceil() as u64;
    match seconds {
        0..3600 => format!("{}:{:02}", seconds / 60, seconds % 60),
        3600..360_000 => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        _ => "days".to_owned(),
    }
}

fn word(direction: Direction) -> &'static str {
    match direction {
        Direction::Outgoing => "outgoing",
        Direction::Incoming => "incoming",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_read_like_a_clock() {
        for (seconds, words) in [
            (0.0, "0:00"),
            (0.2, "0:01"),
            (61.0, "1:01"),
            (3599.5, "1h00m"),
            (9000.0, "2h30m"),
            (1e7, "days"),
        ] {
            assert_eq!(left(Duration::from_secs_f64(seconds)), words);
        }
    }
}
