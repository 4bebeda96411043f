//! Jobs in the words of existing clients, on their one channel.
//!
//! `JOB_SUBMIT::ID::{"type":"train",…}` names one of the worker's templates by its type; the other
//! fields are the values. What happens is told in lines: `PROGRESS_REPORT::` with every message of
//! the trainer as it came, `JOB_PROGRESS::`, the program's output, `JOB_COMPLETE::` or
//! `JOB_FAILED::`. `JOB_STOP`, `JOB_CANCEL` and the commands of the trainer's window end the job that
//! was submitted last.

use std::{collections::BTreeMap, time::Duration};

use halyard_client::peer::Peer;
use halyard_protocol::channel::{
    JobEnd, JobEvent, JobEventsFrom, JobHappened, JobState, JobStep, JobStream, JobSubmit, Message,
    TrainerReport,
};
use serde_json::{Value, json};
use tokio_util::task::AbortOnDropHandle;

use super::hello::NO_JOBS;
use crate::{jobs::JobsHandle, machine::Asker};

/// What one existing client has to do with jobs.
pub(super) struct LegacyJobs {
    peer: Peer,
    asker: Asker,
    jobs: Option<JobsHandle>,
    /// The job that was submitted last, and the task that tells of it.
    last: Option<(String, AbortOnDropHandle<()>)>,
}

impl LegacyJobs {
    pub(super) fn new(peer: Peer, asker: Asker, jobs: Option<JobsHandle>) -> Self {
        Self { peer, asker, jobs, last: None }
    }

    /// Whether a text is about jobs; then the lines to answer with.
    pub(super) async fn text(&mut self, text: &str) -> Option<Vec<String>> {
        let (word, rest) = text.split_once("::").unwrap_or((text, ""));
        match word {
            "JOB_SUBMIT" => Some(vec![self.submit(rest).await]),
            "JOB_CANCEL" => Some(self.end(true).await),
            "JOB_STOP" => Some(self.end(false).await),
            "CONTROL_COMMAND" | "ZMQ_CTRL" => {
                let command: Option<Value> = serde_json::from_str(rest).ok();
                let command = command.as_ref().and_then(|value| value.get("command")?.as_str());
                (command == Some("stop")).then_some(())?;
                Some(self.end(false).await)
            }
            _ => None,
        }
    }

    async fn submit(&mut self, rest: &str) -> String {
        let (id, spec) = rest.split_once("::").unwrap_or((rest, ""));
        let rejected = |field: &str, code: &str, message: &str| {
            let error = json!({"field": field, "code": code, "message": message, "path": null});
            format!("JOB_REJECTED::{id}::{}", json!({ "errors": [error] }))
        };
        let Some(jobs) = self.jobs.clone() else { return rejected("", "NOT_ALLOWED", NO_JOBS) };
        let Ok(mut values) = serde_json::from_str::<BTreeMap<String, Value>>(spec) else {
            return rejected("", "CONFIG_PARSE_ERROR", "the specification is not a JSON object");
        };
        let Some(Value::String(template)) = values.remove("type") else {
            return rejected("type", "MISSING_CONFIG", "type names what is to be run");
        };
        let (kind, steps) = (template.clone(), vec![JobStep { template, values }]);
        let submit = Message::JobSubmit(JobSubmit { id: id.to_owned(), steps });
        match jobs.ask(self.asker.clone(), submit).await {
            Message::JobAccepted(accepted) => {
                let job = accepted.jobs.into_iter().next().unwrap_or_default();
                let tells = tell(self.peer.clone(), self.asker.clone(), jobs, job.clone(), kind);
                let task = AbortOnDropHandle::new(tokio::spawn(tells));
                self.last = Some((job.clone(), task));
                format!("JOB_ACCEPTED::{job}")
            }
            Message::JobRejected(refused) => {
                let errors = refused.errors.into_iter().map(|error| {
                    let field = error.field.trim_start_matches("steps[0].").to_owned();
                    let code = error.code.as_str().to_uppercase();
                    json!({"field": field, "code": code, "message": error.message, "path": null})
                });
                let errors = json!({ "errors": errors.collect::<Vec<_>>() });
                format!("JOB_REJECTED::{id}::{errors}")
            }
            other => {
                tracing::error!(?other, "an answer that does not fit the question");
                rejected("", "FAILED", "the worker cannot say; ask again")
            }
        }
    }

    async fn end(&self, cancel: bool) -> Vec<String> {
        let (Some(jobs), Some((job, _))) = (&self.jobs, &self.last) else {
            return vec!["halyard: there is no job of yours here\n".to_owned()];
        };
        let end = JobEnd { id: String::new(), job: job.clone() };
        let asked = if cancel { Message::JobCancel(end) } else { Message::JobStop(end) };
        match jobs.ask(self.asker.clone(), asked).await {
            Message::Ack(ack) if !ack.ok => {
                let words = ack.error.map(|error| error.message).unwrap_or_default();
                vec![format!("halyard: {words}\n")]
            }
            _ => Vec::new(),
        }
    }
}

/// Tells an existing client everything that happens to a job. It waits where the client reads
/// slowly: the events are kept.
async fn tell(peer: Peer, asker: Asker, jobs: JobsHandle, job: String, kind: String) {
    let (mut from, mut started_ms) = (1, None);
    loop {
        let asked = JobEventsFrom { id: String::new(), job: job.clone(), from };
        let answer = jobs.ask(asker.clone(), Message::JobEventsFrom(asked)).await;
        let Message::JobEventPage(page) = answer else { return };
        for event in &page.events {
            if let JobHappened::State { state: JobState::Running, .. } = event.what {
                started_ms = Some(event.at_ms);
            }
            for line in lines(&job, &kind, started_ms, event) {
                if peer.send_legacy_text(line).await.is_err() {
                    return;
                }
            }
        }
        if page.over {
            return;
        }
        from = page.next;
    }
}

fn lines(job: &str, kind: &str, started_ms: Option<u64>, event: &JobEvent) -> Vec<String> {
    match &event.what {
        JobHappened::Line { text, progress: true, .. } => vec![format!("CR::{text}")],
        JobHappened::Line { stream: JobStream::Stdout, text, .. } => vec![format!("{text}\n")],
        JobHappened::Line { stream: JobStream::Stderr, text, .. } => {
            vec![format!("[stderr] {text}\n")]
        }
        JobHappened::Progress { report } => {
            let mut lines = vec![format!("PROGRESS_REPORT::{report}")];
            if let Some(read) = TrainerReport::read(report)
                && read.event == "epoch_end"
            {
                // Figures that are no numbers are left out here: this word is strict JSON.
                let figure = |figure: Option<f64>| figure.filter(|figure| figure.is_finite());
                let mut told = json!({ "epoch": read.epoch });
                for (name, figure) in
                    [("loss", figure(read.loss())), ("val_loss", figure(read.val_loss()))]
                {
                    if let Some(figure) = figure {
                        told[name] = json!(figure);
                    }
                }
                lines.push(format!("JOB_PROGRESS::{told}"));
            }
            lines
        }
        JobHappened::Note { message, .. } => vec![format!("halyard: {message}\n")],
        JobHappened::Result { path, size } => {
            vec![format!("halyard: made {path} ({size} bytes)\n")]
        }
        JobHappened::State { state, reason, exit_code } if state.is_over() => {
            let took = event.at_ms.saturating_sub(started_ms.unwrap_or(event.at_ms));
            let took = Duration::from_millis(took).as_secs_f64();
            let mut told = json!({"job_id": job, "job_type": kind, "duration_seconds": took});
            if *state == JobState::Succeeded {
                told["success"] = json!(true);
                told["stopped_early"] = json!(reason.is_some());
                vec![format!("JOB_COMPLETE::{told}")]
            } else {
                let reason = reason.as_deref().unwrap_or_default();
                told["message"] = json!(format!("{state}: {reason}"));
                if let Some(code) = exit_code {
                    told["exit_code"] = json!(code);
                }
                vec![format!("JOB_FAILED::{told}")]
            }
        }
        JobHappened::State { .. } => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(what: JobHappened) -> Vec<String> {
        lines("1a2b", "train", Some(1000), &JobEvent { n: 1, at_ms: 3500, what })
    }

    #[test]
    fn the_words_are_those_that_existing_clients_read() {
        let line =
            |stream, progress| JobHappened::Line { stream, text: "x".into(), progress, to: 2 };
        assert_eq!(said(line(JobStream::Stdout, false)), ["x\n"]);
        assert_eq!(said(line(JobStream::Stdout, true)), ["CR::x"]);
        assert_eq!(said(line(JobStream::Stderr, false)), ["[stderr] x\n"]);
        let report = r#"{"event":"epoch_end","epoch":2,"logs":{"train/loss":0.5,"val/loss":NaN}}"#;
        assert_eq!(
            said(JobHappened::Progress { report: report.into() }),
            [
                format!("PROGRESS_REPORT::{report}"),
                r#"JOB_PROGRESS::{"epoch":2,"loss":0.5}"#.into()
            ]
        );
        let state = |state, reason: Option<&str>, exit_code| JobHappened::State {
            state,
            reason: reason.map(str::to_owned),
            exit_code,
        };
        assert_eq!(
            said(state(JobState::Succeeded, None, Some(0))),
            [
                r#"JOB_COMPLETE::{"duration_seconds":2.5,"job_id":"1a2b","job_type":"train","stopped_early":false,"success":true}"#
            ]
        );
        assert_eq!(
            said(state(JobState::Failed, Some("it ended with code 3"), Some(3))),
            [
                r#"JOB_FAILED::{"duration_seconds":2.5,"exit_code":3,"job_id":"1a2b","job_type":"train","message":"failed: it ended with code 3"}"#
            ]
        );
        assert!(said(state(JobState::Running, None, None)).is_empty());
    }
}
