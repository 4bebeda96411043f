//! What happens to jobs, in the words of existing clients.
//!
//! * [`submitted`]: a job of a newer client, by `JOB_SUBMIT`.
//! * [`trained`], [`tracked`]: a job of a package.
//! * [`inferred`]: what runs after a training by itself.

use halyard_protocol::channel::{JobEvent, JobHappened, JobState, JobStream, TrainerReport};
use serde_json::{Value, json};

use super::{SPEAKER, follow::End};

/// What happened to a job that a newer client submitted. Its end is [`submitted_end`].
pub(super) fn submitted(event: &JobEvent) -> Vec<String> {
    match &event.what {
        JobHappened::Line { text, progress: true, .. } => vec![format!("CR::{text}")],
        JobHappened::Line { stream: JobStream::Stdout, text, .. } => vec![format!("{text}\n")],
        JobHappened::Line { stream: JobStream::Stderr, text, .. } => {
            vec![format!("[stderr] {text}\n")]
        }
        JobHappened::Progress { report } => {
            let mut lines = vec![format!("PROGRESS_REPORT::{report}")];
            lines.extend(epoch(report).map(|told| format!("JOB_PROGRESS::{told}")));
            lines
        }
        other => for_people(other),
    }
}

/// An epoch's end. Figures that are no numbers are left out: this word is strict JSON.
fn epoch(report: &str) -> Option<Value> {
    let read = TrainerReport::read(report).filter(|read| read.event == "epoch_end")?;
    let mut told = json!({ "epoch": read.epoch });
    for (name, figure) in [("loss", read.loss()), ("val_loss", read.val_loss())] {
        if let Some(figure) = figure.filter(|figure| figure.is_finite()) {
            told[name] = json!(figure);
        }
    }
    Some(told)
}

/// How a job of a newer client ended. Existing clients look for the error of a failed one behind a
/// second `::`, where existing workers put nothing.
pub(super) fn submitted_end(id: &str, kind: &str, end: &End, output: Option<&str>) -> String {
    let took = end.took_ms as f64 / 1000.0;
    let mut told = json!({ "job_id": id, "job_type": kind, "duration_seconds": took });
    if end.state == JobState::Succeeded {
        told["success"] = json!(true);
        told["stopped_early"] = json!(end.reason.is_some());
        if let Some(output) = output {
            told["output_path"] = json!(output);
        }
        return format!("JOB_COMPLETE::{told}");
    }
    if let Some(code) = end.exit_code {
        told["exit_code"] = json!(code);
    }
    told["message"] = json!(why(end));
    format!("JOB_FAILED::{id}::{told}")
}

/// Why a job is over, for people.
pub(super) fn why(end: &End) -> String {
    match &end.reason {
        Some(reason) => format!("{}: {reason}", end.state),
        None => end.state.to_string(),
    }
}

/// What happened to a training of a package. Its end is [`package_end`].
pub(super) fn trained(name: &str, gui: bool, event: &JobEvent) -> Vec<String> {
    match &event.what {
        JobHappened::State { state: JobState::Running, .. } => {
            vec![format!("TRAIN_JOB_START::{name}")]
        }
        JobHappened::Line { text, progress: true, .. } => vec![format!("\r{text}")],
        JobHappened::Line { text, .. } => vec![format!("{text}\n")],
        JobHappened::Progress { report } if gui => vec![format!("PROGRESS_REPORT::{report}")],
        other => for_people(other),
    }
}

/// What happened to a tracking of a package. Its end is [`package_end`].
pub(super) fn tracked(name: &str, event: &JobEvent) -> Vec<String> {
    match &event.what {
        JobHappened::State { state: JobState::Running, .. } => {
            vec![format!("INFERENCE_JOB_START::{name}")]
        }
        JobHappened::Line { text, .. } => vec![format!("TRACK_LOG:{text}")],
        other => for_people(other),
    }
}

/// How a job of a package ended. One that never ran has not begun for the client either.
pub(super) fn package_end(word: &str, name: &str, end: &End) -> Vec<String> {
    if end.state == JobState::Succeeded {
        return vec![format!("{word}_END::{name}")];
    }
    let why = format!("{SPEAKER} {name} {}\n", why(end));
    if !end.ran {
        return vec![why];
    }
    // Ended by a signal, or nobody knows: what Python calls that.
    let code = end.exit_code.unwrap_or(if end.state == JobState::Cancelled { -15 } else { -1 });
    vec![why, format!("{word}_ERROR::{name}::{code}")]
}

/// What happened to the inference after a training. Its end is [`inferred_end`].
pub(super) fn inferred(event: &JobEvent) -> Vec<String> {
    match &event.what {
        JobHappened::Line { progress: true, .. } => Vec::new(),
        JobHappened::Line { text, .. } if text.starts_with('{') => {
            vec![format!("INFERENCE_PROGRESS::{text}")]
        }
        JobHappened::Line { text, .. } => vec![format!("INFERENCE_LOG::{text}")],
        JobHappened::Note { message, .. } => vec![format!("INFERENCE_LOG::{SPEAKER} {message}")],
        _ => Vec::new(),
    }
}

/// How the inference after a training ended.
pub(super) fn inferred_end(end: &End, predictions: Option<&str>) -> String {
    let error = match (end.state, predictions) {
        (JobState::Succeeded, Some(path)) => {
            return format!("INFERENCE_COMPLETE::{}", json!({ "predictions_path": path }));
        }
        (JobState::Succeeded, None) => "no output file".to_owned(),
        (JobState::Cancelled, _) => "cancelled".to_owned(),
        _ => match end.exit_code {
            Some(code) => format!("exit code {code}"),
            None => why(end),
        },
    };
    format!("INFERENCE_FAILED::{}", json!({ "error": error }))
}

fn for_people(what: &JobHappened) -> Vec<String> {
    match what {
        JobHappened::Note { message, .. } => vec![format!("{SPEAKER} {message}\n")],
        JobHappened::Result { path, size } => {
            vec![format!("{SPEAKER} made {path} ({size} bytes)\n")]
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(what: JobHappened) -> JobEvent {
        JobEvent { n: 1, at_ms: 3500, what }
    }

    fn line(stream: JobStream, text: &str, progress: bool) -> JobEvent {
        event(JobHappened::Line { stream, text: text.into(), progress, to: 2 })
    }

    fn end(state: JobState, reason: Option<&str>, exit_code: Option<i32>) -> End {
        let (ran, took_ms, results) = (true, 2500, Vec::new());
        End { state, reason: reason.map(str::to_owned), exit_code, ran, took_ms, results }
    }

    const REPORT: &str =
        r#"{"event":"epoch_end","epoch":2,"logs":{"train/loss":0.5,"val/loss":NaN}}"#;

    fn report() -> JobEvent {
        event(JobHappened::Progress { report: REPORT.into() })
    }

    fn running() -> JobEvent {
        event(JobHappened::State { state: JobState::Running, reason: None, exit_code: None })
    }

    #[test]
    fn a_submitted_job_is_told_in_the_newer_words() {
        let said = |event: &JobEvent| submitted(event);
        assert_eq!(said(&line(JobStream::Stdout, "x", false)), ["x\n"]);
        assert_eq!(said(&line(JobStream::Stdout, "x", true)), ["CR::x"]);
        assert_eq!(said(&line(JobStream::Stderr, "x", false)), ["[stderr] x\n"]);
        let progress = r#"JOB_PROGRESS::{"epoch":2,"loss":0.5}"#.to_owned();
        assert_eq!(said(&report()), [format!("PROGRESS_REPORT::{REPORT}"), progress]);
        assert!(said(&running()).is_empty());
        assert_eq!(
            submitted_end("1a_0", "train", &end(JobState::Succeeded, None, Some(0)), Some("/m")),
            r#"JOB_COMPLETE::{"duration_seconds":2.5,"job_id":"1a_0","job_type":"train","output_path":"/m","stopped_early":false,"success":true}"#
        );
        let stopped = end(JobState::Succeeded, Some("it was asked to stop"), Some(0));
        assert!(submitted_end("1a", "train", &stopped, None).contains(r#""stopped_early":true"#));
        assert_eq!(
            submitted_end("1a", "track", &end(JobState::Failed, Some("code 3"), Some(3)), None),
            r#"JOB_FAILED::1a::{"duration_seconds":2.5,"exit_code":3,"job_id":"1a","job_type":"track","message":"failed: code 3"}"#
        );
    }

    #[test]
    fn a_package_is_told_in_the_older_words() {
        let said = |gui, event: &JobEvent| trained("centroid", gui, event);
        assert_eq!(said(false, &running()), ["TRAIN_JOB_START::centroid"]);
        assert_eq!(said(false, &line(JobStream::Stderr, "x", false)), ["x\n"]);
        assert_eq!(said(false, &line(JobStream::Stdout, "x", true)), ["\rx"]);
        assert!(said(false, &report()).is_empty(), "only windows want reports");
        assert_eq!(said(true, &report()), [format!("PROGRESS_REPORT::{REPORT}")]);
        let ended = |end: &End| package_end("TRAIN_JOB", "centroid", end);
        assert_eq!(ended(&end(JobState::Succeeded, None, Some(0))), ["TRAIN_JOB_END::centroid"]);
        let failed = ended(&end(JobState::Failed, Some("it ended with code 1"), Some(1)));
        let words = "halyard: centroid failed: it ended with code 1\n";
        assert_eq!(failed, [words, "TRAIN_JOB_ERROR::centroid::1"]);
        let cancelled = ended(&end(JobState::Cancelled, None, None));
        assert_eq!(cancelled[1], "TRAIN_JOB_ERROR::centroid::-15");
        let unborn = End { ran: false, ..end(JobState::Cancelled, Some("before it"), None) };
        assert_eq!(ended(&unborn), ["halyard: centroid cancelled: before it\n"]);
    }

    #[test]
    fn tracking_and_inference_have_words_of_their_own() {
        assert_eq!(tracked("inference", &running()), ["INFERENCE_JOB_START::inference"]);
        assert_eq!(tracked("inference", &line(JobStream::Stdout, "x", false)), ["TRACK_LOG:x"]);
        let failed = end(JobState::Failed, None, Some(2));
        assert_eq!(
            package_end("INFERENCE_JOB", "inference", &failed)[1],
            "INFERENCE_JOB_ERROR::inference::2"
        );
        let json = line(JobStream::Stdout, r#"{"n":1}"#, false);
        assert_eq!(inferred(&json), [r#"INFERENCE_PROGRESS::{"n":1}"#]);
        assert_eq!(inferred(&line(JobStream::Stdout, "x", false)), ["INFERENCE_LOG::x"]);
        let done = end(JobState::Succeeded, None, Some(0));
        assert_eq!(
            inferred_end(&done, Some("/vast/a \"b\".slp")),
            r#"INFERENCE_COMPLETE::{"predictions_path":"/vast/a \"b\".slp"}"#
        );
        assert_eq!(inferred_end(&done, None), r#"INFERENCE_FAILED::{"error":"no output file"}"#);
        assert_eq!(inferred_end(&failed, None), r#"INFERENCE_FAILED::{"error":"exit code 2"}"#);
        let cancelled = end(JobState::Cancelled, None, None);
        assert_eq!(inferred_end(&cancelled, None), r#"INFERENCE_FAILED::{"error":"cancelled"}"#);
    }

    #[test]
    fn words_for_people_are_no_words_for_clients() {
        let note = event(JobHappened::Note { code: "late".into(), message: "it was late".into() });
        assert_eq!(submitted(&note), ["halyard: it was late\n"]);
        let made = event(JobHappened::Result { path: "jobs/1/a".into(), size: 3 });
        assert_eq!(trained("x", true, &made), ["halyard: made jobs/1/a (3 bytes)\n"]);
    }
}
