//! How much is logged, changed while the broker runs. On the address for operators alone.

use std::sync::Arc;

use axum::{Json, Router, extract::State, routing::get};
use serde::{Deserialize, Serialize};

use super::{App, body::Body, error::RestError};

/// What the program around the broker lets an operator change of its logging.
pub trait LogLevel: Send + Sync {
    /// The filter now, like `info,halyard_server=debug`.
    fn filter(&self) -> String;

    /// Another filter from now on. A refusal says what is accepted.
    fn set_filter(&self, words: &str) -> Result<(), String>;
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Filter {
    filter: String,
}

/// Routes, where the program lets its logging be changed.
pub(super) fn routes(level: Option<Arc<dyn LogLevel>>) -> Router<App> {
    let Some(level) = level else { return Router::new() };
    let show = {
        let level = Arc::clone(&level);
        async move || Json(Filter { filter: level.filter() })
    };
    let set = async move |State(_): State<App>, Body(wish): Body<Filter>| {
        level.set_filter(&wish.filter).map_err(RestError::invalid)?;
        let filter = level.filter();
        tracing::warn!(filter, "the log level was changed");
        Ok::<_, RestError>(Json(Filter { filter }))
    };
    Router::new().route("/log-level", get(show).put(set))
}
