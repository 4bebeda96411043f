//! `halyard jobs`, `stop`, `cancel`, `logs` and `attach`.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use halyard_protocol::channel::{JobEntries, JobInfo, JobState};
use serde_json::{Value, json};

use super::{
    args::{Attach, JobName, Jobs, Logs},
    exit::{CliError, Exit},
    follow::{Following, nameless, tell_line},
    output::{BAD, FAINT, GOOD, STRONG, columns, printable},
    results::{self, Place},
    session::Context,
    words::short,
};

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
    for job in &entries.unreadable {
        output.object(&with_event("unreadable", job)?)?;
    }
    for line in table(&entries, SystemTime::now()) {
        output.line(line)?;
    }
    Ok(())
}

/// What is there, for people: jobs first, then what can be asked for.
fn table(entries: &JobEntries, now: SystemTime) -> Vec<String> {
    let mut lines = Vec::new();
    let heading = ["JOB", "TEMPLATE", "STATE", "EPOCH", "ASKED", "TOOK", ""].map(str::to_owned);
    let mut rows = vec![heading];
    rows.extend(entries.jobs.iter().map(|job| row(job, now)));
    if entries.jobs.is_empty() {
        lines.push("no jobs so far".to_owned());
    } else {
        let mut painted = columns(&rows).into_iter();
        lines.extend(painted.next().map(|line| format!("{FAINT}{line}{FAINT:#}")));
        lines.extend(painted.zip(&entries.jobs).map(|(line, job)| paint(&line, job.state)));
    }
    for job in &entries.unreadable {
        let (name, reason) = (printable(&job.job), printable(&job.reason));
        lines.push(format!("{BAD}{name}{BAD:#}  {reason}; look at it on the worker"));
    }
    lines.push(String::new());
    if entries.templates.is_empty() {
        lines.push("nothing can be run here".to_owned());
    }
    for template in &entries.templates {
        let (name, help) = (printable(&template.name), printable(&template.help));
        lines.push(format!("{FAINT}--template{FAINT:#} {STRONG}{name}{STRONG:#}  {help}"));
        let rows = template.values.iter();
        let rows = rows.map(|(name, accepted)| {
            [format!("  --set {}=…", printable(name)), printable(accepted)]
        });
        lines.extend(columns(&rows.collect::<Vec<_>>()));
    }
    lines
}

fn row(job: &JobInfo, now: SystemTime) -> [String; 7] {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
    let between = |from: u64, to: u64| short(Duration::from_millis(to.saturating_sub(from)));
    let took = job.started_ms.map(|started| between(started, job.ended_ms.unwrap_or(now)));
    let epoch = match (job.epoch, job.epochs) {
        (Some(epoch), Some(epochs)) => format!("{epoch}/{epochs}"),
        (Some(epoch), None) => epoch.to_string(),
        (None, _) => String::new(),
    };
    let mut words = job.reason.clone().unwrap_or_default();
    if let (JobState::Queued, Some(after)) = (job.state, &job.after) {
        words = format!("behind {after}");
    }
    if !job.gpus.is_empty() && !job.state.is_over() {
        let gpus = format!("GPU {}", job.gpus.join(","));
        words = if words.is_empty() { gpus } else { format!("{gpus}, {words}") };
    }
    let asked = format!("{} ago", between(job.created_ms, now));
    let state = job.state.as_str().to_owned();
    [job.job.clone(), job.template.clone(), state, epoch, asked, took.unwrap_or_default(), words]
        .map(|cell| printable(&cell))
}

/// The state in its colour, where it stands in the line.
fn paint(line: &str, state: JobState) -> String {
    let style = match state {
        JobState::Succeeded => GOOD,
        JobState::Failed | JobState::Lost => BAD,
        JobState::Cancelled | JobState::Queued => FAINT,
        JobState::Running | JobState::Stopping => STRONG,
    };
    line.replacen(state.as_str(), &format!("{style}{state}{style:#}"), 1)
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
        return Err(not_ended(&job, ack.error.as_ref().map(|error| error.code.as_str()), || {
            CliError::of_ack(ack.error.clone())
        }));
    }
    let state = ack.result.as_ref().and_then(|result| result.get("state")).cloned();
    let state = state.unwrap_or(Value::Null);
    context.output.object(&json!({ "event": "ack", "job": job, "state": state }))?;
    let state = state.as_str().unwrap_or("told").to_owned();
    context.output.line(format!("{GOOD}done{GOOD:#}: {} is {}", printable(&job), printable(&state)))
}

/// What to do when a job cannot be ended.
fn not_ended(job: &str, code: Option<&str>, otherwise: impl Fn() -> CliError) -> CliError {
    let mut error = otherwise();
    match code {
        Some("wrong_state") => error.message += ", so there is nothing to end",
        Some("unknown_job") => {
            error.message = format!(
                "there is no job {:?}; `halyard jobs LINK` shows those that there are",
                printable(job)
            );
        }
        _ => {}
    }
    error
}

pub(super) async fn logs(context: &Context<'_>, mut args: Logs) -> Result<(), CliError> {
    let link = context.link(&mut args.words)?;
    let job = job_name(&mut args.words)?;
    if args.follow {
        let options = context.patient_options(&link)?;
        let mut following = Following::new(true);
        let result = context
            .in_session(link, options, async |session| {
                let listed = session.list_jobs().await?;
                following.these(std::slice::from_ref(&job), &listed.jobs);
                following.from(args.from);
                following.run(context, session).await
            })
            .await;
        // Whoever reads a log is told how the job ended, and does not fail with it.
        let failed = result.is_err();
        let ended = following.finish(context, result);
        return if failed { ended } else { Ok(()) };
    }
    let options = context.options(&link)?;
    context
        .in_session(link, options, async |session| {
            // What there is now, and no more.
            let entries = session.list_jobs().await?;
            let info = entries.jobs.iter().find(|other| other.job == job);
            let last = info.map(|job| job.events);
            let mut from = args.from.max(1);
            while last.is_none_or(|last| from <= last) {
                let page = session.job_events(&job, from).await?;
                for event in &page.events {
                    tell_line(context.output, &nameless(&job), event)?;
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

pub(super) async fn attach(context: &Context<'_>, mut args: Attach) -> Result<(), CliError> {
    let link = context.link(&mut args.words)?;
    let job = job_name(&mut args.words)?;
    let place = args.output.map(Place::new);
    let store = match &place {
        Some(place) => Some(place.open().await?),
        None => None,
    };
    let options = context.patient_options(&link)?;
    let mut following = Following::new(args.plain);
    let result = context
        .in_session(link, options, async |session| {
            let listed = session.list_jobs().await?;
            following.these(&chain(&job, &listed.jobs), &listed.jobs);
            following.run(context, session).await?;
            match &store {
                Some(store) if !following.was_left() => {
                    results::fetch(context, session, &Arc::clone(store), &following.results()).await
                }
                _ => Ok(()),
            }
        })
        .await;
    following.finish(context, result)
}

/// A job and those that come behind it.
fn chain(job: &str, listed: &[JobInfo]) -> Vec<String> {
    let mut chain = vec![job.to_owned()];
    while let Some(next) = listed.iter().find(|info| info.after.as_ref() == chain.last())
        && !chain.contains(&next.job)
    {
        chain.push(next.job.clone());
    }
    chain
}

fn job_name(words: &mut Vec<String>) -> Result<String, CliError> {
    if words.is_empty() {
        return Err(CliError::usage("no job is named; `halyard jobs LINK` shows them"));
    }
    let job = words.remove(0);
    Context::nothing_more(words)?;
    Ok(job)
}

pub(super) fn with_event(event: &str, value: &impl serde::Serialize) -> Result<Value, CliError> {
    let mut object = serde_json::to_value(value)
        .map_err(|error| CliError::new(Exit::Failed, "OUTPUT", error.to_string()))?;
    object["event"] = json!(event);
    Ok(object)
}

#[cfg(test)]
mod tests {
    use halyard_protocol::{
        channel::{JobTemplateInfo, JobUnreadable},
        ids::PeerId,
    };

    use super::*;

    fn info(job: &str, state: JobState, after: Option<&str>) -> JobInfo {
        JobInfo {
            job: job.into(),
            template: "train".into(),
            state,
            by: PeerId::new("ann").expect("a name"),
            created_ms: 1_000,
            started_ms: (state != JobState::Queued).then_some(61_000),
            ended_ms: state.is_over().then_some(121_000),
            reason: None,
            after: after.map(str::to_owned),
            folder: format!("jobs/{job}"),
            events: 1,
            epoch: (state != JobState::Queued).then_some(3),
            epochs: Some(20),
            gpus: if state == JobState::Running { vec!["1".into()] } else { Vec::new() },
        }
    }

    #[test]
    fn jobs_stand_in_a_table_with_what_matters_of_each() {
        let mut failed = info("c", JobState::Failed, None);
        failed.reason = Some("it ended with code 3".into());
        let entries = JobEntries {
            id: String::new(),
            jobs: vec![
                info("b", JobState::Queued, Some("a")),
                info("a", JobState::Running, None),
                failed,
            ],
            total: 3,
            templates: vec![JobTemplateInfo {
                name: "train".into(),
                help: "Trains".into(),
                values: [("epochs".into(), "a whole number".into()), ("x".into(), "a path".into())]
                    .into(),
            }],
            unreadable: vec![JobUnreadable { job: "d".into(), reason: "no JSON".into() }],
        };
        let lines = table(&entries, UNIX_EPOCH + Duration::from_secs(181));
        let lines: Vec<_> =
            lines.iter().map(|line| anstream::adapter::strip_str(line).to_string()).collect();
        assert_eq!(
            lines,
            [
                "JOB  TEMPLATE  STATE    EPOCH  ASKED      TOOK",
                "b    train     queued          3m 0s ago         behind a",
                "a    train     running  3/20   3m 0s ago  2m 0s  GPU 1",
                "c    train     failed   3/20   3m 0s ago  1m 0s  it ended with code 3",
                "d  no JSON; look at it on the worker",
                "",
                "--template train  Trains",
                "  --set epochs=…  a whole number",
                "  --set x=…       a path",
            ]
        );
    }

    #[test]
    fn who_attaches_to_a_job_follows_those_behind_it_too() {
        let listed = [
            info("c", JobState::Queued, Some("b")),
            info("x", JobState::Queued, None),
            info("b", JobState::Queued, Some("a")),
            info("a", JobState::Running, None),
        ];
        assert_eq!(chain("a", &listed), ["a", "b", "c"]);
        assert_eq!(chain("b", &listed), ["b", "c"]);
        assert_eq!(chain("gone", &listed), ["gone"]);
    }
}
