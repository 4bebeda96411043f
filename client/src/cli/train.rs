//! `halyard train`: send a package, run the worker's templates on it, follow, fetch the results.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use halyard_protocol::{
    channel::{JobState, JobStep},
    transfer::RelativeName,
};
use serde_json::{Value, json};

use super::{
    args::Train,
    exit::CliError,
    jobs::{follow, verdict},
    output::printable,
    progress::FileProgress,
    session::Context,
};
use crate::{files::FileRoot, session::Session, transfer::Direction};

/// Files of one package: a data set of many small files is better sent as an archive.
const MOST_FILES: usize = 10_000;

/// Folders within folders.
const DEEPEST: usize = 32;

/// The worker's folder for packages.
const PACKAGES: &str = "packages";

pub(super) async fn run(context: &Context<'_>, mut args: Train) -> Result<(), CliError> {
    let link = context.link(&mut args.words)?;
    let package = (!args.words.is_empty()).then(|| PathBuf::from(args.words.remove(0)));
    Context::nothing_more(&args.words)?;
    // Before anybody is called: a typo should not cost a connection.
    let package = package.as_deref().map(plan).transpose()?;
    let mut values: BTreeMap<String, Value> =
        args.set.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    if let Some(package) = &package {
        values.insert("package".to_owned(), json!(package.name));
    }
    let step = |template: &String| JobStep { template: template.clone(), values: values.clone() };
    let steps: Vec<_> = args.template.iter().map(step).collect();
    let store = match &args.output {
        Some(dir) => {
            std::fs::create_dir_all(dir)
                .map_err(|error| CliError::usage(format!("--output {}: {error}", dir.display())))?;
            let root = FileRoot::open(dir.clone()).await;
            Some(Arc::new(root.map_err(|error| CliError::usage(error.to_string()))?))
        }
        None => None,
    };
    let mut options = context.options(&link)?;
    options.choice.least_busy = true;
    context
        .in_session(link, options, async |session| {
            for (path, name) in package.iter().flat_map(|package| &package.files) {
                let mut progress =
                    FileProgress::new(context.output, Direction::Outgoing, name.file_name());
                let finished = session.send_file(path, name, |step| progress.step(step)).await?;
                progress.done(finished, name.as_str())?;
            }
            let accepted = session.submit_jobs(steps.clone()).await?;
            for job in &accepted.jobs {
                context.output.object(&json!({ "event": "submitted", "job": job }))?;
                context.output.line(format!("submitted {}", printable(job)))?;
            }
            if args.detach {
                return Ok(());
            }
            for job in &accepted.jobs {
                let end = follow(context.output, session, job, 1).await?;
                if let Some(store) = &store {
                    fetch(context, session, store, job, &end.results).await?;
                }
                if end.state != JobState::Succeeded {
                    return verdict(job, &end);
                }
            }
            Ok(())
        })
        .await
}

async fn fetch(
    context: &Context<'_>,
    session: &Session,
    store: &Arc<FileRoot>,
    job: &str,
    results: &[(String, u64)],
) -> Result<(), CliError> {
    for (path, _) in results {
        let wrong = |error: &dyn std::fmt::Display| {
            CliError::new(
                super::exit::Exit::Failed,
                "BAD_RESULT",
                format!("{job} made {path:?}: {error}"),
            )
        };
        let remote = RelativeName::new(path).map_err(|error| wrong(&error))?;
        // `jobs/ID/name`: here only the name.
        let name = path.splitn(3, '/').nth(2).unwrap_or(path);
        let name = RelativeName::new(name).map_err(|error| wrong(&error))?;
        let mut progress = FileProgress::new(context.output, Direction::Incoming, name.file_name());
        let got =
            session.get_file(&remote, Arc::clone(store) as _, &name, |step| progress.step(step));
        let finished = got.await?;
        progress.done(finished, &store.path().join(name.as_str()).display().to_string())?;
    }
    Ok(())
}

/// What is sent.
#[derive(Debug)]
struct Package {
    /// What it is called at the worker.
    name: String,
    files: Vec<(PathBuf, RelativeName)>,
}

fn plan(path: &Path) -> Result<Package, CliError> {
    let wrong = |why: String| CliError::usage(format!("cannot send {}: {why}", path.display()));
    let whole = std::fs::canonicalize(path).map_err(|error| wrong(error.to_string()))?;
    let last = whole.file_name().and_then(|name| name.to_str());
    let last = last.ok_or_else(|| wrong("its name is not Unicode".into()))?;
    let name = format!("{PACKAGES}/{last}");
    let mut files = Vec::new();
    let mut waiting = vec![(whole, name.clone(), 0)];
    while let Some((path, name, depth)) = waiting.pop() {
        let io = |error: std::io::Error| wrong(format!("{}: {error}", path.display()));
        if path.is_dir() {
            if depth == DEEPEST {
                return Err(wrong(format!("more than {DEEPEST} folders within each other")));
            }
            for entry in std::fs::read_dir(&path).map_err(io)? {
                let entry = entry.map_err(io)?;
                // A link may lead anywhere; what is meant is to be named.
                if entry.file_type().map_err(io)?.is_symlink() {
                    return Err(wrong(format!("{} is a link", entry.path().display())));
                }
                let part = entry.file_name();
                let part = part.to_str().ok_or_else(|| wrong("a name is not Unicode".into()))?;
                waiting.push((entry.path(), format!("{name}/{part}"), depth + 1));
            }
            continue;
        }
        let name = RelativeName::new(name).map_err(|error| wrong(error.to_string()))?;
        files.push((path, name));
        if files.len() > MOST_FILES {
            return Err(wrong(format!("more than {MOST_FILES} files; send them as one archive")));
        }
    }
    files.sort();
    Ok(Package { name, files })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_sent_file_by_file_under_its_name() {
        let home = tempfile::tempdir().expect("a folder");
        let set = home.path().join("flies");
        std::fs::create_dir_all(set.join("deep")).expect("made");
        std::fs::write(set.join("a.json"), "1").expect("written");
        std::fs::write(set.join("deep/b.csv"), "2").expect("written");
        let package = plan(&set).expect("a package");
        assert_eq!(package.name, "packages/flies");
        let names: Vec<_> = package.files.iter().map(|(_, name)| name.as_str()).collect();
        assert_eq!(names, ["packages/flies/a.json", "packages/flies/deep/b.csv"]);
        let one = plan(&set.join("a.json")).expect("a file");
        assert_eq!((one.name.as_str(), one.files.len()), ("packages/a.json", 1));
    }

    #[test]
    fn what_cannot_be_sent_says_why() {
        let home = tempfile::tempdir().expect("a folder");
        let missing = plan(&home.path().join("no")).expect_err("missing");
        assert!(missing.message.contains("cannot send"), "{missing}");
        std::os::unix::fs::symlink("/etc", home.path().join("etc")).expect("linked");
        assert!(plan(home.path()).expect_err("a link").message.contains("is a link"));
    }
}
