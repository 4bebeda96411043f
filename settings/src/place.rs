//! Where a value was typed.

use std::{fmt, path::PathBuf};

/// Where a value was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// On the command line: the flag without its dashes.
    Flag(String),
    /// In the environment.
    Variable(String),
    /// In the configuration file.
    File {
        /// Which.
        path: PathBuf,
        /// In which line, counted from 1, where it is one.
        line: Option<usize>,
    },
}

impl Place {
    /// The key there, as it was typed.
    pub(crate) fn typed(&self, key: &str) -> String {
        match self {
            Self::Flag(flag) => format!("--{flag}"),
            Self::Variable(name) => name.clone(),
            Self::File { .. } => format!("{key} in {self}"),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "the flag --{flag}"),
            Self::Variable(name) => write!(f, "the variable {name}"),
            Self::File { path, line: None } => write!(f, "the file {}", path.display()),
            Self::File { path, line: Some(line) } => {
                write!(f, "the file {}, line {line}", path.display())
            }
        }
    }
}
