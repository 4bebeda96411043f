//! Removes what transfers left unfinished and nobody came back for: at the start, and now and then.

use std::time::{Duration, SystemTime};

use halyard_client::files::{Abandonment, FileRoot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

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
    /// Begins with a look at once. What was not touched for `untouched` is removed.
    pub fn start(files: FileRoot, untouched: Duration) -> Self {
        let stop = CancellationToken::new();
        let task = tokio::spawn(run(files, untouched, stop.clone()));
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

async fn run(files: FileRoot, untouched: Duration, stop: CancellationToken) {
    let what = Abandonment { untouched, except: vec![JOBS.to_owned()] };
    let pause = (untouched / 8).clamp(Duration::from_secs(1), LOOK_EVERY);
    loop {
        let (files, what, stopped) = (files.clone(), what.clone(), stop.clone());
        let look =
            move || files.remove_abandoned(&what, SystemTime::now(), || !stopped.is_cancelled());
        match tokio::task::spawn_blocking(look).await {
            Ok(found) if found.removed > 0 => {
                tracing::info!(
                    removed = found.removed,
                    bytes = found.freed,
                    "nobody came back for these unfinished files and folders"
                );
            }
            Ok(found) => tracing::debug!(?found, "looked for unfinished files"),
            Err(error) => tracing::error!(%error, "looking for unfinished files failed"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}
