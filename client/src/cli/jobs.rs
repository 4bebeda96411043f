//! `halyard jobs`, `stop`, `cancel`, `logs` and `attach`.

use std::fmt::Write as _;

use halyard_protocol::channel::{
    JobEvent, JobHappened, JobInfo, JobState, JobStream, TrainerReport,
};
use serde_json::{Value, json};

use super::{
    args::{JobName, Jobs, Logs},
    exit::{CliError, Exit},
    output::{BAD, FAINT, GOOD, Output, STRONG, columns, printable},
    session::Context,
    words::short,
};
use crate::session::Session;

pub(super) async fn list(context: &Context<'_>, mut args: Jobs) -> Result<(), CliError> {
    let link = context.link(&mut args.words)?;
    Context::nothing_more(&args.words)?;
    let options = context.options(&link)?;
    let entries =
        context.in_session(link, options, async |session| Ok(session.list_jobs().await?)).await?;
    let output = context.output;
    for template in &entries.templates {
        output.object(&with_event("template", template)?)?;
    }
    for job in &entries.jobs {
        output.object(&with_event("job", job)?)?;
    }
    if entries.templates.is_empty() {
        output.line("nothing can be run here")?;
    }
    for template in &entries.templates {
        let help = printable(&template.help);
        output.line(format!("{STRONG}{}{STRONG:#}  {help}", printable(&template.name)))?;
        for (name, accepted) in &template.values {
            output.line(format!("  --set {}=…  {}", printable(name), printable(accepted)))?;
        }
    }
    let rows: Vec<_> = entries.jobs.iter().map(row).collect();
    for line in columns(&rows) {
        output.line(line)?;
    }
    Ok(())
}

fn row(job: &JobInfo) -> [String; 5] {
    let took = match (job.started_ms, job.ended_ms) {
        (Some(started), Some(ended)) => {
            short(std::time::Duration::from_millis(ended.saturating_sub(started)))
        }
        _ => String::new(),
    };
    let reason = job.reason.as_deref().unwrap_or_default();
    [&job.job, &job.template, job.state.as_str(), &took, reason].map(printable)
}

pub(super) async fn end(
    context: &Context<'_>,
    mut args: JobName,
    cancel: bool,
) -> Result<(), CliError> {
    let link = context.link(&mut args.words)?;
    let job = job_name(&mut args.words)?;
    let options = context.options(&link)?;
    let ack = context
        .in_session(link, options, async |session| {
            Ok(if cancel {
                session.cancel_job(&job).await?
            } else {
                session.stop_job(&job).await?
            })
        })
        .await?;
    if !ack.ok {
        return Err(CliError::of_ack(ack.error));
    }
    let state = ack.result.as_ref().and_then(|result| result.get("state")).cloned();
    let state = state.unwrap_or(Value::Null);
    context.output.object(&json!({ "event": "ack", "job": job, "state": state }))?;
    let state = state.as_str().unwrap_or("told").to_owned();
    context.output.line(format!("{GOOD}done{GOOD:#}: {job} is {}", printable(&state)))
}

pub(super) async fn logs(context: &Context<'_>, mut args: Logs) -> Result<(), CliError> {
    let link = context.link(&mut args.words)?;
    let job = job_name(&mut args.words)?;
    let options = context.options(&link)?;
    context
        .in_session(link, options, async |session| {
            if args.follow {
                return follow(context.output, session, &job, args.from).await.map(|_| ());
            }
            // What there is now, and no more.
            let entries = session.list_jobs().await?;
            let last = entries.jobs.iter().find(|other| other.job == job).map(|job| job.events);
            let mut from = args.from.max(1);
            while last.is_none_or(|last| from <= last) {
                let page = session.job_events(&job, from).await?;
                for event in &page.events {
                    tell(context.output, &job, event)?;
                }
                from = page.next;
                if page.over {
                    break;
                }
            }
            Ok(())
        })
        .await
}

pub(super) async fn attach(context: &Context<'_>, mut args: JobName) -> Result<(), CliError> {
    let link = context.link(&mut args.words)?;
    let job = job_name(&mut args.words)?;
    let options = context.options(&link)?;
    let end = context
        .in_session(link, options, async |session| follow(context.output, session, &job, 1).await)
        .await?;
    verdict(&job, &end)
}

/// How a job ended.
pub(super) struct End {
    pub(super) state: JobState,
    reason: Option<String>,
    /// What it made, with its size.
    pub(super) results: Vec<(String, u64)>,
}

/// Tells everything that happens to a job until it is over.
pub(super) async fn follow(
    output: Output,
    session: &Session,
    job: &str,
    from: u64,
) -> Result<End, CliError> {
    let mut end = End { state: JobState::Queued, reason: None, results: Vec::new() };
    let mut from = from.max(1);
    loop {
        let page = session.job_events(job, from).await?;
        for event in &page.events {
            tell(output, job, event)?;
            match &event.what {
                JobHappened::State { state, reason, .. } => {
                    (end.state, end.reason) = (*state, reason.clone());
                }
                JobHappened::Result { path, size } => end.results.push((path.clone(), *size)),
                _ => {}
            }
        }
        if page.over {
            return Ok(end);
        }
        from = page.next;
    }
}

/// A job that did not succeed is a failure of the command that followed it.
pub(super) fn verdict(job: &str, end: &End) -> Result<(), CliError> {
    if end.state == JobState::Succeeded {
        return Ok(());
    }
    let reason = end.reason.as_ref().map(|reason| format!(": {}", printable(reason)));
    let words = format!("the job {job} is {}{}", end.state, reason.unwrap_or_default());
    Err(CliError::new(Exit::Failed, format!("JOB_{}", end.state.as_str().to_uppercase()), words))
}

fn job_name(words: &mut Vec<String>) -> Result<String, CliError> {
    if words.is_empty() {
        return Err(CliError::usage("no job is named; `halyard jobs LINK` shows them"));
    }
    let job = words.remove(0);
    Context::nothing_more(words)?;
    Ok(job)
}

fn tell(output: Output, job: &str, event: &JobEvent) -> Result<(), CliError> {
    if output.is_json() {
        let mut object = with_event("job_event", event)?;
        object["job"] = json!(job);
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
        JobHappened::Line { stream, text, .. } => {
            let text = printable(text);
            match stream {
                JobStream::Stdout => output.line(text),
                JobStream::Stderr => output.line(format!("{FAINT}{text}{FAINT:#}")),
            }
        }
        JobHappened::Progress { report } => match progress(report) {
            Some(line) => output.line(line),
            None => Ok(()),
        },
        JobHappened::Result { path, size } => {
            let size = super::output::bytes(*size);
            output.line(format!("made {} ({size})", printable(path)))
        }
        JobHappened::Note { message, .. } => {
            output.line(format!("{FAINT}{}{FAINT:#}", printable(message)))
        }
    }
}

/// An epoch's line. Batches are too many for people.
fn progress(report: &str) -> Option<String> {
    let report = TrainerReport::read(report)?;
    if report.event != "epoch_end" {
        return None;
    }
    let mut line = format!("epoch {}", report.epoch.map_or(0, |epoch| epoch.saturating_add(1)));
    for (name, value) in [("loss", report.loss()), ("val_loss", report.val_loss())] {
        if let Some(value) = value {
            let _ = write!(line, "  {name} {value:.6}");
        }
    }
    Some(line)
}

pub(super) fn with_event(event: &str, value: &impl serde::Serialize) -> Result<Value, CliError> {
    let mut object = serde_json::to_value(value)
        .map_err(|error| CliError::new(Exit::Failed, "OUTPUT", error.to_string()))?;
    object["event"] = json!(event);
    Ok(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_a_line_and_a_loss_that_is_no_number_shows() {
        let line =
            progress(r#"{"event":"epoch_end","epoch":4,"logs":{"train/loss":0.5,"val/loss":NaN}}"#);
        assert_eq!(line.as_deref(), Some("epoch 5  loss 0.500000  val_loss NaN"));
        assert_eq!(progress(r#"{"event":"batch_end","epoch":4,"batch":1}"#), None);
        assert_eq!(progress("what"), None);
    }
}
