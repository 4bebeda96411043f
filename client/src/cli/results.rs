//! Fetching what jobs made, verified, into a folder.

use std::{fmt::Display, path::PathBuf, sync::Arc};

use halyard_protocol::transfer::RelativeName;

use super::{
    exit::{CliError, Exit},
    progress::Bars,
    session::Context,
};
use crate::{files::FileRoot, session::Session, transfer::Direction};

/// Where results go.
pub(super) struct Place(PathBuf);

impl Place {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self(dir)
    }

    /// Makes the folder where there is none. To be done before anything is sent: a typo should not
    /// cost a training.
    pub(super) async fn open(&self) -> Result<Arc<FileRoot>, CliError> {
        let dir = &self.0;
        let wrong =
            |error: &dyn Display| CliError::usage(format!("--output {}: {error}", dir.display()));
        std::fs::create_dir_all(dir).map_err(|error| wrong(&error))?;
        let root = FileRoot::open(dir.clone()).await;
        Ok(Arc::new(root.map_err(|error| wrong(&error))?))
    }
}

/// Fetches these.
pub(super) async fn fetch(
    context: &Context<'_>,
    session: &Session,
    store: &Arc<FileRoot>,
    results: &[(String, u64)],
) -> Result<(), CliError> {
    let bars = Bars::new(context.output);
    for (path, _) in results {
        let wrong = |error: &dyn Display| {
            let words = format!("the worker names the result {path:?}: {error}");
            CliError::new(Exit::Failed, "BAD_RESULT", words)
        };
        let remote = RelativeName::new(path).map_err(|error| wrong(&error))?;
        // `jobs/ID/name`: here only the name.
        let name = path.splitn(3, '/').nth(2).unwrap_or(path);
        let name = RelativeName::new(name).map_err(|error| wrong(&error))?;
        let mut progress = bars.file(Direction::Incoming, name.file_name());
        let got =
            session.get_file(&remote, Arc::clone(store) as _, &name, |step| progress.step(step));
        let finished = got.await?;
        progress.done(finished, &store.path().join(name.as_str()).display().to_string())?;
    }
    Ok(())
}
