//! `halyard telemetry`: follow the machine's state.

use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::broadcast::error::RecvError;

use super::{
    args::Telemetry,
    computer,
    exit::{CliError, Exit},
    output::printable,
    session::Context,
};
use crate::session::{Session, SessionEvent};

/// People read two lines a second; programs get all.
const FOR_PEOPLE: Duration = Duration::from_millis(500);

pub(super) async fn run(context: &Context<'_>, mut args: Telemetry) -> Result<(), CliError> {
    let link = context.link(&mut args.words)?;
    Context::nothing_more(&args.words)?;
    let options = context.options(&link)?;
    context
        .in_session(link, options, async |session| {
            let follow = follow(context, session, args.count);
            match args.timeout {
                None => follow.await,
                Some(limit) => match tokio::time::timeout(limit, follow).await {
                    Ok(result) => result,
                    Err(_) if args.count.is_none() => Ok(()),
                    Err(_) => Err(CliError::new(
                        Exit::Failed,
                        "TIMED_OUT",
                        format!(
                            "fewer than {} reports came within {limit:?}",
                            args.count.unwrap_or_default()
                        ),
                    )),
                },
            }
        })
        .await
}

async fn follow(
    context: &Context<'_>,
    session: &Session,
    count: Option<u64>,
) -> Result<(), CliError> {
    let mut events = session.events();
    let mut told = 0;
    let mut last: Option<Instant> = None;
    while count.is_none_or(|count| told < count) {
        let report = match events.recv().await {
            Ok(SessionEvent::Telemetry(report)) => report,
            Ok(_) => continue,
            Err(RecvError::Lagged(missed)) => {
                tracing::warn!(missed, "the output is read too slowly, reports were left out");
                continue;
            }
            Err(RecvError::Closed) => return Err(session.ended().await.into()),
        };
        if context.output.is_json() {
            context.output.raw(&report.json)?;
        } else {
            if let Some(host) = report.value.get("host") {
                context.output.line(computer::load(host))?;
            }
            if last.is_some_and(|last| last.elapsed() < FOR_PEOPLE) {
                continue;
            }
            last = Some(Instant::now());
            context.output.line(line(&report.value))?;
        }
        told += 1;
    }
    Ok(())
}

/// The state on one line, in the order of names, numbers with three digits.
fn line(report: &Value) -> String {
    let mut parts = Vec::new();
    for (name, value) in report.as_object().into_iter().flatten() {
        // Has a line of its own.
        if name != "host" {
            collect(name, value, &mut parts);
        }
    }
    parts.join("  ")
}

fn collect(name: &str, value: &Value, parts: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                collect(&format!("{name}.{field}"), value, parts);
            }
        }
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() => parts.push(format!("{name} {float:>7.3}")),
            _ => parts.push(format!("{name} {number}")),
        },
        Value::Null => parts.push(format!("{name} -")),
        Value::String(text) => parts.push(format!("{name} {}", printable(text))),
        other => parts.push(format!("{name} {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_fits_on_one_line() {
        let report = serde_json::json!({
            "pose": {"x": 1.0, "heading": -0.5}, "seq": 7, "driver": null, "estop": false,
            "host": {"cpu": 0.5},
        });
        assert_eq!(
            line(&report),
            "driver -  estop false  pose.heading  -0.500  pose.x   1.000  seq 7"
        );
    }
}
