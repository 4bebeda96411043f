//! Work on blocking threads.

use tokio::task::JoinHandle;

/// Starts work that blocks.
pub(super) fn start<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    tokio::task::spawn_blocking(work)
}

/// Waits for it. A panic goes on here; `None` when the runtime stops first.
pub(super) async fn finished<T>(work: &mut JoinHandle<T>) -> Option<T> {
    match work.await {
        Ok(done) => Some(done),
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => None,
    }
}

/// Both.
pub(super) async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    finished(&mut start(work)).await
}
