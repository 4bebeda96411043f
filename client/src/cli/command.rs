//! `halyard command`: ask the machine to do something once.

use serde_json::{Value, json};

use super::{
    args::SendCommand,
    exit::CliError,
    output::{GOOD, printable},
    session::Context,
};

pub(super) async fn run(context: &Context<'_>, mut args: SendCommand) -> Result<(), CliError> {
    let link = context.link(&mut args.words)?;
    let mut words = std::mem::take(&mut args.words).into_iter();
    let name = words.next().ok_or_else(|| {
        CliError::usage("no command is named; `halyard join LINK` shows what there is")
    })?;
    let arguments = match words.next() {
        Some(text) => serde_json::from_str(&text).map_err(|error| {
            CliError::usage(format!(
                "the arguments are not JSON ({error}); they look like '{{\"speed\": 0.5}}'"
            ))
        })?,
        None => Value::Null,
    };
    Context::nothing_more(&words.collect::<Vec<_>>())?;
    let options = context.options(&link)?;
    let ack = context
        .in_session(link, options, async |session| {
            Ok(session.command(&name, arguments, args.deadline).await?)
        })
        .await?;
    if !ack.ok {
        return Err(CliError::of_ack(ack.error));
    }
    let result = ack.result.unwrap_or(Value::Null);
    context.output.object(&json!({
        "event": "ack", "id": ack.id, "name": name, "ok": true, "result": result,
    }))?;
    let words = match &result {
        Value::Null => String::new(),
        Value::String(text) => format!(": {}", printable(text)),
        other => format!(": {other}"),
    };
    context.output.line(format!("{GOOD}done{GOOD:#}{words}"))
}
