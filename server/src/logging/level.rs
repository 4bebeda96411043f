//! How much is logged, and changing it while the program runs.

use std::sync::{Mutex, PoisonError};

use halyard_server::http::LogLevel;
use halyard_settings::log;
use tracing_subscriber::{EnvFilter, Registry, reload};

/// What is logged now.
pub(crate) struct Level {
    words: Mutex<String>,
    handle: reload::Handle<EnvFilter, Registry>,
}

impl Level {
    pub(super) fn new(words: &str, handle: reload::Handle<EnvFilter, Registry>) -> Self {
        Self { words: Mutex::new(words.trim().to_owned()), handle }
    }
}

impl LogLevel for Level {
    fn filter(&self) -> String {
        self.words.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_filter(&self, words: &str) -> Result<(), String> {
        let filter = log::filter(words).map_err(|error| error.to_string())?;
        let mut kept = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        self.handle.reload(filter).map_err(|error| error.to_string())?;
        words.trim().clone_into(&mut kept);
        Ok(())
    }
}
