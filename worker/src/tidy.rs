//! Removes what nobody came back for, at the start and now and then: what transfers left unfinished,
//! and the packages of existing clients whose jobs are over.

use std::time::{Duration, SystemTime};

use halyard_client::files::{Abandoned, Abandonment, FileRoot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    existing::{PACKAGES, is_fresh_folder},
    jobs::JobsHandle,
};

/// Between two looks at the most.
const LOOK_EVERY: Duration = Duration::from_hours(6);

/// What jobs write is their own affair, whatever it is called.
const JOBS: &str = "jobs";

/// Tidies a folder of files until it is stopped.
#[derive(Debug)]
pub struct Tidier {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Tidier {
    /// Begins with a look at once. What was not touched for `untouched` is removed, but no package
    /// that one of these jobs has still to do with.
    pub fn start(files: FileRoot, untouched: Duration, jobs: Option<JobsHandle>) -> Self {
        let stop = CancellationToken::new();
        let task = tokio::spawn(run(files, untouched, jobs, stop.clone()));
        Self { stop, task }
    }

    /// Waits for a look that is under way; that ends at the next folder.
    pub async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "looking for unfinished files ended badly");
        }
    }
}

async fn run(
    files: FileRoot,
    untouched: Duration,
    jobs: Option<JobsHandle>,
    stop: CancellationToken,
) {
    let what = Abandonment { untouched, except: vec![JOBS.to_owned()] };
    let pause = (untouched / 8).clamp(Duration::from_secs(1), LOOK_EVERY);
    loop {
        let in_use = match &jobs {
            Some(jobs) => jobs.in_use().await,
            None => Some(Vec::new()),
        };
        let (files, what, stopped) = (files.clone(), what.clone(), stop.clone());
        let look = move || {
            let now = SystemTime::now();
            let unfinished = files.remove_abandoned(&what, now, || !stopped.is_cancelled());
            let packages = in_use.map(|in_use| {
                let may_go = |name: &str| {
                    !stopped.is_cancelled() && is_fresh_folder(name) && !is_used(name, &in_use)
                };
                files.remove_untouched(PACKAGES, what.untouched, now, may_go)
            });
            (unfinished, packages.unwrap_or_default())
        };
        match tokio::task::spawn_blocking(look).await {
            Ok((unfinished, packages)) => {
                tell(&unfinished, "unfinished files and folders");
                tell(&packages, "packages of existing clients");
            }
            Err(error) => tracing::error!(%error, "looking for unfinished files failed"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

fn tell(found: &Abandoned, what: &str) {
    if found.removed > 0 {
        let Abandoned { removed, freed, .. } = found;
        tracing::info!(removed, bytes = freed, what, "removed what nobody came back for");
    } else {
        tracing::debug!(?found, what, "looked for what nobody came back for");
    }
}

/// Whether one of these texts names this package, or something in it.
fn is_used(package: &str, in_use: &[String]) -> bool {
    let folder = format!("{PACKAGES}/{package}");
    in_use.iter().any(|text| text.contains(&folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_in_use_while_anything_in_it_is_named() {
        let (ours, other) = ("client-1a2b3c4d", "client-00000000");
        for text in [
            "packages/client-1a2b3c4d",
            "packages/client-1a2b3c4d/demo/labels.slp",
            "/srv/files/packages/client-1a2b3c4d/a:/else",
        ] {
            let in_use = ["x".to_owned(), text.to_owned()];
            assert!(is_used(ours, &in_use) && !is_used(other, &in_use), "{text}");
        }
        assert!(is_fresh_folder(ours));
        for theirs in
            ["20261126", "client-", "client-1a2b3c4", "client-1a2b3c4dx", "client-+a2b3c4d"]
        {
            assert!(!is_fresh_folder(theirs), "{theirs}");
        }
    }
}
