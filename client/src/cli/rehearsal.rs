//! Whether a worker would run what is asked for, found out before a package is on its way to it.
//!
//! The worker alone knows what fits into its templates. So it is asked with a package that fits
//! nowhere: it says everything else that is wrong, and has nothing that it could begin with.

use halyard_protocol::channel::{JobErrorCode, JobProblem, JobStep};
use serde_json::{Value, json};

use super::{exit::CliError, train::PACKAGE};
use crate::session::{JobsError, Session};

/// No value of any template has a control character.
const FITS_NOWHERE: &str = "\0";

/// Fails in the worker's words where these steps would be refused once `package` is there.
pub(super) async fn rehearse(
    session: &Session,
    steps: &[JobStep],
    package: &str,
) -> Result<(), CliError> {
    match session.submit_jobs(without_package(steps)).await {
        Err(JobsError::Refused(problems)) => {
            let wrong = |problem: &JobProblem| stays_wrong(problem, steps, package);
            let problems: Vec<_> = problems.into_iter().filter(wrong).collect();
            if problems.is_empty() { Ok(()) } else { Err(JobsError::Refused(problems).into()) }
        }
        Err(error) => Err(error.into()),
        // A worker that runs that is none of ours; what it accepted is not what was meant.
        Ok(accepted) => {
            for job in &accepted.jobs {
                session.cancel_job(job).await?;
            }
            Ok(())
        }
    }
}

fn without_package(steps: &[JobStep]) -> Vec<JobStep> {
    let mut steps = steps.to_vec();
    for value in steps.iter_mut().filter_map(|step| step.values.get_mut(PACKAGE)) {
        *value = json!(FITS_NOWHERE);
    }
    steps
}

/// Whether this is as wrong when the package is there. A worker that has no room for another job now
/// may have it by then.
fn stays_wrong(problem: &JobProblem, steps: &[JobStep], package: &str) -> bool {
    let is_of_package = value(steps, &problem.field).and_then(Value::as_str).is_some_and(|text| {
        text.strip_prefix(package).is_some_and(|below| below.is_empty() || below.starts_with('/'))
    });
    !is_of_package && problem.code != JobErrorCode::TooMany
}

/// What was said for a field that is called like `steps[0].epochs`.
fn value<'a>(steps: &'a [JobStep], field: &str) -> Option<&'a Value> {
    let (number, name) = field.strip_prefix("steps[")?.split_once("].")?;
    steps.get(number.parse::<usize>().ok()?)?.values.get(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_only_not_there_yet_is_not_wrong() {
        let step = |values: Value| JobStep {
            template: "train".to_owned(),
            values: serde_json::from_value(values).expect("values"),
        };
        let steps = [
            step(json!({ "package": "packages/flies", "epochs": "0" })),
            step(json!({ "package": "packages/flies", "labels": "packages/flies/a.slp",
                         "other": "packages/flies2" })),
        ];
        let asked = without_package(&steps);
        assert!(asked.iter().all(|step| step.values[PACKAGE] == json!("\0")));
        assert_eq!(asked[0].values["epochs"], json!("0"));

        let wrong = |field: &str, code| {
            let problem = JobProblem { field: field.to_owned(), code, message: String::new() };
            stays_wrong(&problem, &steps, "packages/flies")
        };
        for field in ["steps[0].package", "steps[1].package", "steps[1].labels"] {
            assert!(!wrong(field, JobErrorCode::BadValue), "{field}");
        }
        for field in ["steps[0].epochs", "steps[1].other", "steps[0].speed", "steps[9].package", ""]
        {
            assert!(wrong(field, JobErrorCode::BadValue), "{field}");
        }
        assert!(wrong("", JobErrorCode::Disabled) && !wrong("", JobErrorCode::TooMany));
    }
}
