//! `halyard get`: files and folders from the worker.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use futures_util::{StreamExt, TryStreamExt, stream};
use halyard_protocol::transfer::RelativeName;

use super::{args::Get, exit::CliError, progress::Bars, send::AT_ONCE, session::Context};
use crate::{files::FileRoot, transfer::Direction};

pub(super) async fn run(context: &Context<'_>, mut args: Get) -> Result<(), CliError> {
    let link = context.link(&mut args.words)?;
    if args.words.is_empty() {
        return Err(CliError::usage(
            "no file is named; say which to get behind the link (`halyard ls` shows them)",
        ));
    }
    let paths: Vec<_> = args
        .words
        .iter()
        .map(|path| {
            RelativeName::folder(path.trim_start_matches("./").trim_end_matches('/'))
                .map_err(|error| CliError::usage(format!("cannot get {path:?}: {error}")))
        })
        .collect::<Result<_, _>>()?;
    let (dir, new_name) = destination(args.output.as_deref(), paths.len())?;
    let store = FileRoot::open(&dir).await.map_err(|error| CliError::usage(error.to_string()))?;
    let store = Arc::new(store);
    let options = context.options(&link)?;
    context
        .in_session(link, options, async |session| {
            let bars = Bars::new(context.output);
            stream::iter(&paths)
                .map(async |path| {
                    let name = match &new_name {
                        Some(name) => name.clone(),
                        None => RelativeName::folder(path.file_name())
                            .map_err(|error| CliError::usage(error.to_string()))?,
                    };
                    let mut progress = bars.file(Direction::Incoming, path.file_name());
                    let store = Arc::clone(&store) as _;
                    let got = session.get_any(path, store, &name, args.replace, |report| {
                        progress.step(report);
                    });
                    let finished = got.await?;
                    let at = dir.join(name.as_str());
                    let at = at.strip_prefix(".").unwrap_or(&at);
                    progress.done(finished, &at.display().to_string())
                })
                .buffer_unordered(AT_ONCE)
                .try_collect::<Vec<()>>()
                .await?;
            Ok(())
        })
        .await
}

/// The folder, and for one file its new name. A path that ends in a slash is a folder, and is made.
fn destination(
    wanted: Option<&Path>,
    files: usize,
) -> Result<(PathBuf, Option<RelativeName>), CliError> {
    let Some(wanted) = wanted else { return Ok((PathBuf::from("."), None)) };
    let wrong = |why: String| CliError::usage(format!("--output {}: {why}", wanted.display()));
    let ends_in_slash = wanted.as_os_str().to_string_lossy().ends_with('/');
    if wanted.is_dir() {
        return Ok((wanted.to_owned(), None));
    }
    if ends_in_slash {
        std::fs::create_dir_all(wanted).map_err(|error| wrong(error.to_string()))?;
        return Ok((wanted.to_owned(), None));
    }
    if files > 1 {
        return Err(wrong(format!(
            "it is no folder, and {files} files do not fit into one; create it, or end it with /"
        )));
    }
    let name = wanted.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| wrong("it names no file".into()))?;
    let name = RelativeName::new(name).map_err(|error| wrong(error.to_string()))?;
    let parent = wanted.parent().filter(|parent| !parent.as_os_str().is_empty());
    Ok((parent.unwrap_or(Path::new(".")).to_owned(), Some(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_a_folder_when_it_is_one_or_ends_like_one() {
        let home = tempfile::tempdir().expect("a folder");
        let (dir, name) = destination(Some(home.path()), 2).expect("a folder");
        assert_eq!((dir.as_path(), name), (home.path(), None));
        let new = PathBuf::from(format!("{}/a/b/", home.path().display()));
        assert!(destination(Some(&new), 2).expect("made").0.is_dir());
        assert_eq!(destination(None, 3).expect("here"), (PathBuf::from("."), None));
    }

    #[test]
    fn otherwise_it_is_the_new_name_of_one_file() {
        let home = tempfile::tempdir().expect("a folder");
        let (dir, name) = destination(Some(&home.path().join("x.bin")), 1).expect("a file");
        assert_eq!(dir, home.path());
        assert_eq!(name.expect("a name").as_str(), "x.bin");
        assert!(destination(Some(&home.path().join("x.bin")), 2).is_err());
        let (dir, _) = destination(Some(Path::new("x.bin")), 1).expect("here");
        assert_eq!(dir, Path::new("."));
    }
}
