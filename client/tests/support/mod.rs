//! Servers of a few lines that answer as a test says.
#![allow(dead_code, missing_docs, unreachable_pub)]

pub mod broker;
pub mod http;
pub mod log;

use std::time::Duration;

/// Long enough for a loaded machine; a test that needs it has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The result, or a failed test that says what did not happen.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let in_time = tokio::time::timeout(PATIENCE, future).await;
    in_time.unwrap_or_else(|_| panic!("this did not happen in time: {what}"))
}
