//! What happens to a job, in lines for people or objects for programs.

use std::fmt::Write as _;

use halyard_protocol::channel::{JobEvent, JobHappened, JobState, JobStream, TrainerReport};
use serde_json::json;

use super::{curve::figure, view::Followed};
use crate::cli::{
    exit::CliError,
    jobs::with_event,
    output::{BAD, FAINT, GOOD, Output, STRONG, bytes, printable},
};

/// Tells one event.
pub(in crate::cli) fn tell(
    output: Output,
    job: &Followed,
    event: &JobEvent,
) -> Result<(), CliError> {
    if output.is_json() {
        let mut object = with_event("job_event", event)?;
        object["job"] = json!(job.job);
        return output.object(&object);
    }
    match &event.what {
        JobHappened::State { state, reason, .. } => {
            let style = match state {
                JobState::Succeeded => GOOD,
                JobState::Failed | JobState::Cancelled | JobState::Lost => BAD,
                _ => STRONG,
            };
            let reason = reason.as_ref().map(|reason| format!(": {}", printable(reason)));
            output.line(format!("{style}{state}{style:#}{}", reason.unwrap_or_default()))
        }
        // The next line takes its place, and here no line can.
        JobHappened::Line { progress: true, .. } => Ok(()),
        JobHappened::Line { stream, text, .. } => {
            let text = printable(text);
            match stream {
                JobStream::Stdout => output.line(text),
                JobStream::Stderr => output.line(format!("{FAINT}{text}{FAINT:#}")),
            }
        }
        JobHappened::Progress { report } => match epoch(report, job.training.epochs) {
            Some(line) => output.line(line),
            None => Ok(()),
        },
        JobHappened::Result { path, size } => {
            output.line(format!("made {} ({})", printable(path), bytes(*size)))
        }
        JobHappened::Note { message, .. } => {
            output.line(format!("{FAINT}{}{FAINT:#}", printable(message)))
        }
    }
}

/// An epoch's line. Batches are too many for people.
fn epoch(report: &str, epochs: Option<u64>) -> Option<String> {
    let report = TrainerReport::read(report)?;
    if report.event != "epoch_end" {
        return None;
    }
    let mut line = format!("epoch {}", report.epoch.map_or(0, |epoch| epoch.saturating_add(1)));
    if let Some(epochs) = epochs {
        let _ = write!(line, " of {epochs}");
    }
    for (name, value) in [("loss", report.loss()), ("val_loss", report.val_loss())] {
        if let Some(value) = value {
            let _ = write!(line, "  {name} {}", figure(value));
        }
    }
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_a_line_and_a_loss_that_is_no_number_shows() {
        let text = r#"{"event":"epoch_end","epoch":4,"logs":{"train/loss":0.5,"val/loss":NaN}}"#;
        assert_eq!(epoch(text, None).as_deref(), Some("epoch 5  loss 0.5000  val_loss NaN"));
        let line = epoch(text, Some(20));
        assert_eq!(line.as_deref(), Some("epoch 5 of 20  loss 0.5000  val_loss NaN"));
        assert_eq!(epoch(r#"{"event":"batch_end","epoch":4,"batch":1}"#, None), None);
        assert_eq!(epoch("what", None), None);
    }
}
