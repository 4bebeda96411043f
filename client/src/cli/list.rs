//! `halyard ls`: what is in a folder of the worker.

use halyard_protocol::channel::{Entry, EntryKind};
use serde_json::json;

use super::{
    args::Ls,
    exit::CliError,
    output::{STRONG, bytes, printable},
    session::Context,
};

pub(super) async fn run(context: &Context<'_>, mut args: Ls) -> Result<(), CliError> {
    let link = context.link(&mut args.words)?;
    let path = if args.words.is_empty() { String::new() } else { args.words.remove(0) };
    Context::nothing_more(&args.words)?;
    // As people type folders; the wire knows them without.
    let path = path.trim_start_matches("./").trim_matches('/').to_owned();
    let path = if path == "." { String::new() } else { path };
    let options = context.options(&link)?;
    let entries =
        context.in_session(link, options, async |session| Ok(session.list(&path).await?)).await?;
    let sizes: Vec<_> = entries.iter().map(size).collect();
    let width = sizes.iter().map(String::len).max().unwrap_or(0);
    for (entry, size) in entries.iter().zip(&sizes) {
        let whole =
            if path.is_empty() { entry.name.clone() } else { format!("{path}/{}", entry.name) };
        context.output.object(&json!({
            "event": "entry",
            "name": entry.name,
            "path": whole,
            "kind": entry.kind,
            "size": entry.size,
            "modified_ms": entry.modified_ms,
        }))?;
        let name = printable(&entry.name);
        let name = match entry.kind {
            EntryKind::Directory => format!("{STRONG}{name}/{STRONG:#}"),
            EntryKind::File => name,
        };
        context.output.line(format!("{size:>width$}  {name}"))?;
    }
    Ok(())
}

fn size(entry: &Entry) -> String {
    match entry.kind {
        EntryKind::Directory => "-".into(),
        EntryKind::File => bytes(entry.size),
    }
}
