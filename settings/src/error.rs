//! Why a program does not start.

use std::{io, path::PathBuf};

use crate::Place;

/// Why a program does not start: what was wrong, where, and what is accepted.
#[derive(Debug, thiserror::Error)]
pub enum SettingError {
    /// A key that does not exist.
    #[error("{key} in {place}: unknown key {key:?}; {instead}")]
    UnknownKey {
        /// What was typed.
        key: String,
        /// Where.
        place: Place,
        /// What was probably meant, or all that there is.
        instead: String,
    },
    /// A variable that looks like one of ours and is none.
    #[error("the variable {name} is not known; did you mean {nearest}?")]
    UnknownVariable {
        /// What was typed.
        name: String,
        /// What was probably meant.
        nearest: String,
    },
    /// A value that means nothing.
    #[error("{key} is {value:?} in {place}; accepted is {accepted}")]
    BadValue {
        /// The key.
        key: &'static str,
        /// What was typed; a secret is not repeated.
        value: String,
        /// Where.
        place: Place,
        /// What is accepted.
        accepted: &'static str,
    },
    /// A value that means nothing, in the words of who knows why.
    #[error("{}: {why}", .place.typed(.key))]
    Refused {
        /// The key.
        key: &'static str,
        /// Where.
        place: Place,
        /// Why.
        why: String,
    },
    /// A file that was named cannot be read.
    #[error("cannot read {path}, named by {place}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Who named it.
        place: Place,
        /// What the system said.
        source: io::Error,
    },
    /// A secret has a file, and there is nothing in it.
    #[error("{path}, named by {place}, is empty")]
    Empty {
        /// Which.
        path: PathBuf,
        /// Who named it.
        place: Place,
    },
    /// The configuration file is not TOML.
    #[error("{path} is not TOML: {message}")]
    Toml {
        /// Which.
        path: PathBuf,
        /// Where and why.
        message: String,
    },
    /// A secret, and a file that holds it.
    #[error("{one} and {other} are both set; keep one of them")]
    Twice {
        /// The secret, as it was typed.
        one: String,
        /// The file, as it was typed.
        other: String,
    },
    /// A key that makes no sense without another.
    #[error("{key} needs {needs}: {why}")]
    Needs {
        /// The key that is there.
        key: &'static str,
        /// The key that is missing.
        needs: &'static str,
        /// Why.
        why: &'static str,
    },
}
