//! `halyard send`: files to the worker.

use std::path::{Path, PathBuf};

use halyard_protocol::transfer::RelativeName;

use super::{args::Send, exit::CliError, progress::FileProgress, session::Context};
use crate::transfer::Direction;

pub(super) async fn run(context: &Context<'_>, mut args: Send) -> Result<(), CliError> {
    let link = context.link(&mut args.words)?;
    if args.words.is_empty() {
        return Err(CliError::usage("no file is named; say which to send behind the link"));
    }
    // Before anybody is called: a typo should not cost a connection.
    let files: Vec<_> =
        args.words.iter().map(|path| plan(Path::new(path), &args.to)).collect::<Result<_, _>>()?;
    let options = context.options(&link)?;
    context
        .in_session(link, options, async |session| {
            for (path, name) in &files {
                let mut progress =
                    FileProgress::new(context.output, Direction::Outgoing, name.file_name());
                let finished = session.send_file(path, name, |step| progress.step(step)).await?;
                progress.done(finished, name.as_str())?;
            }
            Ok(())
        })
        .await
}

/// Checks a file and names it at the worker.
fn plan(path: &Path, folder: &str) -> Result<(PathBuf, RelativeName), CliError> {
    let wrong = |why: String| CliError::usage(format!("cannot send {}: {why}", path.display()));
    let metadata = std::fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => wrong("it does not exist".into()),
        _ => wrong(error.to_string()),
    })?;
    if metadata.is_dir() {
        return Err(wrong("it is a folder, and files are sent one by one".into()));
    }
    let name = path.file_name().ok_or_else(|| wrong("it has no name".into()))?;
    let name = name.to_str().ok_or_else(|| wrong("its name is not Unicode".into()))?;
    let folder = folder.trim_matches('/');
    let name = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
    let name = RelativeName::new(name).map_err(|error| wrong(error.to_string()))?;
    Ok((path.to_owned(), name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_keeps_its_last_name_in_the_folder_asked_for() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("a b.bin");
        std::fs::write(&file, "x").expect("written");
        assert_eq!(plan(&file, "").expect("fine").1.as_str(), "a b.bin");
        assert_eq!(plan(&file, "in/box/").expect("fine").1.as_str(), "in/box/a b.bin");
        assert!(plan(&file, "../up").is_err());
    }

    #[test]
    fn what_cannot_be_sent_says_why() {
        let dir = tempfile::tempdir().expect("a folder");
        let missing = plan(&dir.path().join("no"), "").expect_err("missing");
        assert!(missing.message.contains("does not exist"), "{missing}");
        let folder = plan(dir.path(), "").expect_err("a folder");
        assert!(folder.message.contains("folder"), "{folder}");
    }
}
