//! Waiting for what may not be there: then it never comes, and a `select!` goes on with the rest.

use std::time::Instant;

use tokio::sync::{broadcast, mpsc};
use tokio_util::task::AbortOnDropHandle;

use crate::sound::SoundEvent;

/// At this moment; never without one.
pub(super) async fn at(when: Option<Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when.into()).await,
        None => std::future::pending().await,
    }
}

/// The task's result; never while there is none.
pub(super) async fn joined<T>(
    task: &mut Option<AbortOnDropHandle<T>>,
) -> Option<Result<T, tokio::task::JoinError>> {
    match task {
        Some(task) => Some(task.await),
        None => std::future::pending().await,
    }
}

pub(super) async fn received<T>(queue: &mut Option<mpsc::Receiver<T>>) -> Option<T> {
    match queue {
        Some(queue) => queue.recv().await,
        None => std::future::pending().await,
    }
}

/// The next thing that happens to sound. Who is late misses some.
pub(super) async fn sound_event(
    events: &mut Option<broadcast::Receiver<SoundEvent>>,
) -> SoundEvent {
    loop {
        let Some(receiver) = events else { return std::future::pending().await };
        match receiver.recv().await {
            Ok(event) => return event,
            Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => *events = None,
        }
    }
}
