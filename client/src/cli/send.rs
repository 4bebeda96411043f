//! `halyard send`: files and folders to the worker.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use futures_util::{StreamExt, TryStreamExt, stream};
use halyard_protocol::{channel::FileErrorCode, transfer::RelativeName};
use serde_json::json;

use super::{
    args::Send,
    exit::CliError,
    output::{FAINT, GOOD, Output, bytes, printable},
    progress::Bars,
    session::Context,
};
use crate::{
    files::{FolderSource, Skipped},
    session::{FilesError, Session},
    transfer::{Direction, Finished},
};

/// Files that move at the same time. They share the way in turns, so more would not be faster; fewer
/// would wait for each other's answers.
pub(super) const AT_ONCE: usize = 4;

/// A sender that was killed keeps its file at the worker until it was silent for ten seconds; whoever
/// starts it again should not have to know.
const MAKES_WAY: Duration = Duration::from_secs(15);

/// Between two tries meanwhile.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Names that are shown to people of what is left out.
const SHOW_SKIPPED: usize = 10;

pub(super) async fn run(context: &Context<'_>, mut args: Send) -> Result<(), CliError> {
    let link = context.link(&mut args.words)?;
    if args.words.is_empty() {
        return Err(CliError::usage("no file is named; say which to send behind the link"));
    }
    // Before anybody is called: a typo should not cost a connection.
    let sent: Vec<_> = args
        .words
        .iter()
        .map(|path| Outgoing::plan(Path::new(path), &args.to))
        .collect::<Result<_, _>>()?;
    for outgoing in &sent {
        if args.unpack {
            outgoing.may_be_unpacked()?;
        }
        outgoing.tell_skipped(context.output)?;
    }
    let options = context.options(&link)?;
    context
        .in_session(link, options, async |session| {
            let bars = Bars::new(context.output);
            stream::iter(&sent)
                .map(async |outgoing| {
                    outgoing.send(session, &bars, args.replace).await?;
                    if args.unpack {
                        outgoing.unpack(context.output, session, args.replace).await?;
                    }
                    Ok::<(), CliError>(())
                })
                .buffer_unordered(AT_ONCE)
                .try_collect::<Vec<()>>()
                .await?;
            Ok(())
        })
        .await
}

/// A file or a folder, and where it belongs at the worker.
#[derive(Debug)]
pub(super) struct Outgoing {
    path: PathBuf,
    pub(super) name: RelativeName,
    /// What of a folder is left out; a file has no such list.
    folder: Option<Vec<Skipped>>,
}

impl Outgoing {
    /// Looks at what is to be sent, and names it at the worker.
    pub(super) fn plan(path: &Path, to: &str) -> Result<Self, CliError> {
        let wrong = |why: String| CliError::usage(format!("cannot send {}: {why}", path.display()));
        let metadata = std::fs::metadata(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => wrong("it does not exist".into()),
            _ => wrong(error.to_string()),
        })?;
        // `.` and `..` have a name, too, and people send them.
        let whole = std::path::absolute(path).and_then(|path| match path.file_name() {
            Some(_) => Ok(path),
            None => path.canonicalize(),
        });
        let whole = whole.map_err(|error| wrong(error.to_string()))?;
        let last = whole.file_name().ok_or_else(|| wrong("it has no name".into()))?;
        let last = last.to_str().ok_or_else(|| wrong("its name is not Unicode".into()))?;
        let to = to.trim_matches('/');
        let name = if to.is_empty() { last.to_owned() } else { format!("{to}/{last}") };
        let (name, folder) = if metadata.is_dir() {
            let source = FolderSource::open(path).map_err(|failure| wrong(failure.message))?;
            (RelativeName::folder(name), Some(source.skipped().to_vec()))
        } else {
            (RelativeName::new(name), None)
        };
        let name = name.map_err(|error| wrong(error.to_string()))?;
        Ok(Self { path: path.to_owned(), name, folder })
    }

    /// Says what of a folder stays here, and why.
    pub(super) fn tell_skipped(&self, output: Output) -> Result<(), CliError> {
        let Some(skipped) = &self.folder else { return Ok(()) };
        for (number, Skipped { name, why }) in skipped.iter().enumerate() {
            let whole = format!("{}/{name}", self.name.file_name());
            output.object(&json!({ "event": "skipped", "name": whole, "why": why }))?;
            if number < SHOW_SKIPPED {
                output.line(format!("{FAINT}left out{FAINT:#}  {}: {why}", printable(&whole)))?;
            }
        }
        if skipped.len() > SHOW_SKIPPED {
            let more = skipped.len() - SHOW_SKIPPED;
            output.line(format!("{FAINT}left out{FAINT:#}  and {more} more"))?;
        }
        Ok(())
    }

    /// The folder that an archive is unpacked into: beside it, without what makes it an archive's.
    /// Anything else is a folder already, or is named like none.
    pub(super) fn unpacked(&self) -> Option<RelativeName> {
        if self.folder.is_some() {
            return None;
        }
        let name = self.name.as_str();
        let bare = [".zip", ".tar", ".tar.gz", ".tgz"].into_iter().find_map(|ending| {
            let at = name.len().checked_sub(ending.len())?;
            let (bare, end) = (name.get(..at)?, name.get(at..)?);
            (end.eq_ignore_ascii_case(ending) && !bare.is_empty()).then_some(bare)
        });
        RelativeName::folder(bare?).ok()
    }

    /// Refuses what would be sent in vain.
    pub(super) fn may_be_unpacked(&self) -> Result<(), CliError> {
        if self.folder.is_some() || self.unpacked().is_some() {
            return Ok(());
        }
        Err(CliError::usage(format!(
            "cannot unpack {}: it is not named like an archive (.zip, .tar, .tar.gz, .tgz)",
            self.path.display()
        )))
    }

    /// Has the worker unpack it, if it is named like an archive, and says so.
    pub(super) async fn unpack(
        &self,
        output: Output,
        session: &Session,
        replace: bool,
    ) -> Result<RelativeName, CliError> {
        let Some(into) = self.unpacked() else { return Ok(self.name.clone()) };
        let unpacked = session.unpack(&self.name, &into, replace).await?;
        output.object(&json!({
            "event": "unpacked",
            "path": into.as_str(),
            "files": unpacked.files,
            "bytes": unpacked.bytes,
        }))?;
        output.line(format!(
            "{GOOD}unpacked{GOOD:#}  {}/  {} files, {}",
            printable(into.as_str()),
            unpacked.files,
            bytes(unpacked.bytes)
        ))?;
        Ok(into)
    }

    /// Removes the archive from the worker, once it was unpacked or refused.
    pub(super) async fn remove_archive(&self, session: &Session) {
        if self.unpacked().is_none() {
            return;
        }
        if let Err(error) = session.delete(&self.name, false).await {
            tracing::warn!(name = %self.name, %error, "the archive stays on the worker");
        }
    }

    /// Sends it and says so.
    pub(super) async fn send(
        &self,
        session: &Session,
        bars: &Bars,
        replace: bool,
    ) -> Result<(), CliError> {
        let began = Instant::now();
        let mut progress = bars.file(Direction::Outgoing, self.name.file_name());
        let sent = loop {
            let sent: Result<Finished, FilesError> = if self.folder.is_some() {
                let step = |report| progress.step(report);
                session.send_folder(&self.path, &self.name, replace, step).await
            } else {
                session.send_file(&self.path, &self.name, |report| progress.step(report)).await
            };
            match &sent {
                Err(FilesError::Refused(failure))
                    if failure.code == FileErrorCode::Busy && began.elapsed() < MAKES_WAY =>
                {
                    tracing::debug!(name = %self.name, "another transfer holds it, trying again");
                    tokio::time::sleep(TRY_AGAIN).await;
                }
                _ => break sent,
            }
        };
        progress.done(sent?, self.name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(path: &Path, to: &str) -> Result<String, CliError> {
        Outgoing::plan(path, to).map(|outgoing| outgoing.name.to_string())
    }

    #[test]
    fn a_file_keeps_its_last_name_in_the_folder_asked_for() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("a b.bin");
        std::fs::write(&file, "x").expect("written");
        assert_eq!(plan(&file, "").expect("fine"), "a b.bin");
        assert_eq!(plan(&file, "in/box/").expect("fine"), "in/box/a b.bin");
        assert!(plan(&file, "../up").is_err());
    }

    #[test]
    fn a_folder_is_sent_whole_and_says_what_stays() {
        let dir = tempfile::tempdir().expect("a folder");
        let set = dir.path().join("set");
        std::fs::create_dir(&set).expect("made");
        std::fs::write(set.join("a"), "x").expect("written");
        std::os::unix::fs::symlink("/etc", set.join("etc")).expect("linked");
        for path in [set.clone(), set.join("."), dir.path().join("set/")] {
            let outgoing = Outgoing::plan(&path, "packages").expect("fine");
            assert_eq!(outgoing.name.as_str(), "packages/set");
            let skipped = outgoing.folder.expect("a folder");
            assert_eq!(skipped, [Skipped { name: "etc".into(), why: "it is a link" }]);
        }
    }

    #[test]
    fn an_archive_becomes_a_folder_beside_it() {
        let dir = tempfile::tempdir().expect("a folder");
        for (file, folder) in [
            ("set.zip", Some("p/set")),
            ("set.v2.TAR.GZ", Some("p/set.v2")),
            ("set.tgz", Some("p/set")),
            (".zip", None),
            ("set", None),
        ] {
            let path = dir.path().join(file);
            std::fs::write(&path, "x").expect("written");
            let outgoing = Outgoing::plan(&path, "p").expect("fine");
            let unpacked = outgoing.unpacked().map(|name| name.to_string());
            assert_eq!(unpacked.as_deref(), folder, "{file}");
        }
    }

    #[test]
    fn what_cannot_be_sent_says_why() {
        let dir = tempfile::tempdir().expect("a folder");
        let missing = plan(&dir.path().join("no"), "").expect_err("missing");
        assert!(missing.message.contains("does not exist"), "{missing}");
    }
}
