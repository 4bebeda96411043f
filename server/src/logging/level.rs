//! How much is logged, and changing it while the program runs.

use std::sync::{Mutex, PoisonError};

use halyard_server::http::LogLevel;
use tracing_subscriber::{EnvFilter, Registry, reload};

/// The words for levels.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
/// Longest filter. The lines of a broker have a few dozen targets.
const MAX_BYTES: usize = 1024;

/// A filter that means nothing.
#[derive(Debug, thiserror::Error)]
#[error(
    "{part:?} is no log filter; accepted is a level (off, error, warn, info, debug, trace) or \
     TARGET=LEVEL, like halyard_server=debug, several with commas between them, at most \
     {MAX_BYTES} bytes"
)]
pub(crate) struct BadFilter {
    part: String,
}

/// What is logged now.
pub(crate) struct Level {
    words: Mutex<String>,
    handle: reload::Handle<EnvFilter, Registry>,
}

impl Level {
    pub(super) fn new(words: String, handle: reload::Handle<EnvFilter, Registry>) -> Self {
        Self { words: Mutex::new(words), handle }
    }
}

impl LogLevel for Level {
    fn filter(&self) -> String {
        self.words.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_filter(&self, words: &str) -> Result<(), String> {
        let (words, filter) = read(words).map_err(|error| error.to_string())?;
        let mut kept = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        self.handle.reload(filter).map_err(|error| error.to_string())?;
        *kept = words;
        Ok(())
    }
}

/// Reads a filter. A single word must be a level: to the library it would be a target, and a
/// mistyped level would silence everything.
pub(super) fn read(words: &str) -> Result<(String, EnvFilter), BadFilter> {
    let words = words.trim();
    let bad = |part: &str| BadFilter { part: part.chars().take(64).collect() };
    if words.len() > MAX_BYTES {
        return Err(bad(words));
    }
    for part in words.split(',').map(str::trim) {
        let level = match part.split_once('=') {
            // A target may have a filter for spans behind it, which the library reads.
            Some((target, level)) if !target.is_empty() => level,
            Some(_) => return Err(bad(part)),
            None => part,
        };
        if !LEVELS.contains(&level.to_ascii_lowercase().as_str()) {
            return Err(bad(part));
        }
    }
    let filter = EnvFilter::builder().with_regex(false).parse(words).map_err(|_| bad(words))?;
    Ok((words.to_owned(), filter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_levels_alone_or_of_targets() {
        for good in ["info", "DEBUG", "warn,halyard_server=debug", " off ", "a::b=trace, info"] {
            assert!(read(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn what_means_nothing_is_refused_with_what_is_accepted() {
        let long = "info,".repeat(300);
        for bad in ["", "debgu", "info,,warn", "=debug", "halyard_server", "a=b", "a=", &long] {
            let said = read(bad).map(|_| ()).expect_err(bad).to_string();
            assert!(said.contains("halyard_server=debug") && said.len() < 400, "{bad}: {said}");
        }
    }
}
