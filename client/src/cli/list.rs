//! `halyard ls`, `stat` and `rm`: what is in a folder of the worker, what one name is, and away with
//! it.

use std::time::{Duration, UNIX_EPOCH};

use halyard_protocol::{
    channel::{Entry, EntryKind},
    transfer::RelativeName,
};
use serde_json::json;

use super::{
    args::{Ls, PathName, Rm},
    exit::CliError,
    output::{GOOD, Output, STRONG, bytes, printable},
    session::Context,
};

pub(super) async fn run(context: &Context<'_>, mut args: Ls) -> Result<(), CliError> {
    let link = context.link(&mut args.words)?;
    let path = if args.words.is_empty() { String::new() } else { args.words.remove(0) };
    Context::nothing_more(&args.words)?;
    let path = typed(&path);
    let options = context.options(&link)?;
    // Of a pattern the answer has whole paths, of a folder the names in it.
    let is_pattern = path.contains(['*', '?', '[', '{']);
    let entries = context
        .in_session(link, options, async |session| {
            let found =
                if is_pattern { session.glob(&path).await } else { session.list(&path).await };
            Ok(found?)
        })
        .await?;
    let sizes: Vec<_> = entries.iter().map(size).collect();
    let width = sizes.iter().map(String::len).max().unwrap_or(0);
    for (entry, size) in entries.iter().zip(&sizes) {
        let whole = match (&*path, is_pattern) {
            ("", _) | (_, true) => entry.name.clone(),
            (path, false) => format!("{path}/{}", entry.name),
        };
        tell(context.output, entry, &whole)?;
        context.output.line(format!("{size:>width$}  {}", shown(entry)))?;
    }
    Ok(())
}

pub(super) async fn stat(context: &Context<'_>, mut args: PathName) -> Result<(), CliError> {
    let link = context.link(&mut args.words)?;
    let paths = named(&args.words, "look at")?;
    let options = context.options(&link)?;
    context
        .in_session(link, options, async |session| {
            for path in &paths {
                let entry = session.stat(path).await?;
                tell(context.output, &entry, path.as_str())?;
                let whole = Entry { name: path.to_string(), ..entry };
                let changed = UNIX_EPOCH + Duration::from_millis(whole.modified_ms);
                let changed = humantime::format_rfc3339_seconds(changed);
                let exact = match whole.kind {
                    EntryKind::Directory => "folder".to_owned(),
                    EntryKind::File => format!("{} bytes ({})", whole.size, bytes(whole.size)),
                };
                context.output.line(format!("{}  {exact}, changed {changed}", shown(&whole)))?;
            }
            Ok(())
        })
        .await
}

pub(super) async fn remove(context: &Context<'_>, mut args: Rm) -> Result<(), CliError> {
    let link = context.link(&mut args.words)?;
    let paths = named(&args.words, "delete")?;
    let options = context.options(&link)?;
    context
        .in_session(link, options, async |session| {
            for path in &paths {
                session.delete(path, args.recursive).await?;
                context.output.object(&json!({ "event": "deleted", "path": path.as_str() }))?;
                context
                    .output
                    .line(format!("{GOOD}deleted{GOOD:#}  {}", printable(path.as_str())))?;
            }
            Ok(())
        })
        .await
}

/// As people type paths; the wire knows them without.
fn typed(path: &str) -> String {
    let path = path.trim_start_matches("./").trim_matches('/');
    if path == "." { String::new() } else { path.to_owned() }
}

fn named(words: &[String], to: &str) -> Result<Vec<RelativeName>, CliError> {
    if words.is_empty() {
        return Err(CliError::usage(format!("nothing is named; say what to {to} behind the link")));
    }
    let checked = words.iter().map(|word| {
        RelativeName::folder(word.trim_start_matches("./").trim_end_matches('/'))
            .map_err(|error| CliError::usage(format!("cannot {to} {word:?}: {error}")))
    });
    checked.collect()
}

fn tell(output: Output, entry: &Entry, path: &str) -> Result<(), CliError> {
    let last = path.rsplit_once('/').map_or(path, |(_, last)| last);
    output.object(&json!({
        "event": "entry",
        "name": last,
        "path": path,
        "kind": entry.kind,
        "size": entry.size,
        "modified_ms": entry.modified_ms,
    }))
}

fn shown(entry: &Entry) -> String {
    let name = printable(&entry.name);
    match entry.kind {
        EntryKind::Directory => format!("{STRONG}{name}/{STRONG:#}"),
        EntryKind::File => name,
    }
}

fn size(entry: &Entry) -> String {
    match entry.kind {
        EntryKind::Directory => "-".into(),
        EntryKind::File => bytes(entry.size),
    }
}
