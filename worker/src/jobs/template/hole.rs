//! A typed hole in a command line, and what fits into it.

use std::{fmt, path::Path};

use cap_std::{ambient_authority, fs::Dir};
use halyard_protocol::transfer::RelativeName;
use serde_json::Value;

/// A hole with its name.
#[derive(Debug, Clone, PartialEq)]
pub struct Hole {
    /// How a request calls it.
    pub name: String,
    /// What fits.
    pub kind: Kind,
    /// What it is filled with when the request says nothing.
    pub standard: Option<String>,
    /// It begins an argument: a text there must not look like an option.
    pub begins: bool,
}

/// What fits into a hole.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// A whole number.
    Int {
        /// The least.
        least: i64,
        /// The most.
        most: i64,
    },
    /// A number. Never NaN.
    Float {
        /// The least.
        least: f64,
        /// The most.
        most: f64,
    },
    /// One of these words.
    Choice(Vec<String>),
    /// Characters without line ends and other controls.
    Text {
        /// At most so many.
        most: usize,
    },
    /// A file or folder that is there, inside the folder of files. It becomes an absolute path.
    Path,
}

/// Why a hole was not filled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HoleError {
    /// Nothing was said.
    #[error("a value is needed: {0}")]
    Missing(String),
    /// What was said does not fit.
    #[error("{value} does not fit: {why}")]
    Bad {
        /// What was said, shortened.
        value: String,
        /// What would.
        why: String,
    },
}

impl Hole {
    /// What fits, in words.
    pub fn accepted(&self) -> String {
        match &self.standard {
            Some(standard) => format!("{} [default: {standard}]", self.kind),
            None => self.kind.to_string(),
        }
    }

    /// The text for the command line.
    pub fn text(&self, value: Option<&Value>, files: &Path) -> Result<String, HoleError> {
        match (value, &self.standard) {
            (None | Some(Value::Null), Some(standard)) => Ok(standard.clone()),
            (None | Some(Value::Null), None) => Err(HoleError::Missing(self.kind.to_string())),
            (Some(value), _) => self.fit(value, files).map_err(|why| {
                let value: String = value.to_string().chars().take(80).collect();
                HoleError::Bad { value, why }
            }),
        }
    }

    fn fit(&self, value: &Value, files: &Path) -> Result<String, String> {
        let accepted = || format!("accepted is {}", self.kind);
        match &self.kind {
            Kind::Int { least, most } => {
                let number = match value {
                    Value::Number(number) => number.as_i64(),
                    Value::String(text) => text.parse().ok(),
                    _ => None,
                };
                let number = number.filter(|number| (least..=most).contains(&number));
                number.map(|number| number.to_string()).ok_or_else(accepted)
            }
            Kind::Float { least, most } => {
                let number: Option<f64> = match value {
                    Value::Number(number) => number.as_f64(),
                    Value::String(text) => text.parse().ok(),
                    _ => None,
                };
                let number = number.filter(|number| (least..=most).contains(&number));
                number.map(|number| number.to_string()).ok_or_else(accepted)
            }
            Kind::Choice(words) => {
                let word = value.as_str().filter(|word| words.iter().any(|known| known == word));
                word.map(str::to_owned).ok_or_else(accepted)
            }
            Kind::Text { most } => {
                let text = value.as_str().ok_or_else(accepted)?;
                if text.chars().count() > *most || text.chars().any(char::is_control) {
                    return Err(accepted());
                }
                if self.begins && text.starts_with('-') {
                    return Err("it must not begin with -, which is for options".to_owned());
                }
                Ok(text.to_owned())
            }
            Kind::Path => {
                let path = value.as_str().ok_or_else(accepted)?;
                inside(files, path)
            }
        }
    }
}

/// The absolute path of something that is there. Looked up from the folder's handle, so that
/// nothing outside of it is found; what stands there later is the program's own affair.
fn inside(files: &Path, path: &str) -> Result<String, String> {
    let name = RelativeName::new(path.trim_end_matches('/')).map_err(|error| error.to_string())?;
    let dir = Dir::open_ambient_dir(files, ambient_authority())
        .map_err(|error| format!("the worker's files cannot be read: {error}"))?;
    dir.metadata(name.as_str()).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => "nothing is there; send it first".to_owned(),
        _ => error.to_string(),
    })?;
    let path = files.join(name.as_str());
    path.to_str().map(str::to_owned).ok_or_else(|| "the path is not Unicode".to_owned())
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int { least, most } => write!(f, "a whole number from {least} to {most}"),
            Self::Float { least, most } => write!(f, "a number from {least} to {most}"),
            Self::Choice(words) => write!(f, "one of {}", words.join(", ")),
            Self::Text { most } => {
                write!(f, "a text of at most {most} characters without control characters")
            }
            Self::Path => f.write_str("the path of something in the worker's files"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn hole(kind: Kind) -> Hole {
        Hole { name: "x".into(), kind, standard: None, begins: true }
    }

    fn says(hole: &Hole, value: impl Into<Value>) -> Result<String, String> {
        hole.text(Some(&value.into()), Path::new("/nonexistent")).map_err(|error| error.to_string())
    }

    #[test]
    fn numbers_fit_within_their_range_and_nothing_else_does() {
        let epochs = hole(Kind::Int { least: 1, most: 10 });
        assert_eq!(says(&epochs, json!(10)), Ok("10".into()));
        assert_eq!(says(&epochs, json!("3")), Ok("3".into()));
        for bad in [json!(0), json!(11), json!(1.5), json!("3; rm -rf /"), json!([1]), json!(true)]
        {
            let why = says(&epochs, bad).expect_err("must be refused");
            assert!(why.contains("a whole number from 1 to 10"), "{why}");
        }
        let rate = hole(Kind::Float { least: 0.0, most: 1.0 });
        assert_eq!(says(&rate, json!(0.5)), Ok("0.5".into()));
        assert!(says(&rate, json!("NaN")).is_err());
        assert!(says(&rate, json!("inf")).is_err());
    }

    #[test]
    fn a_text_is_never_an_option_and_has_no_line_ends() {
        let name = hole(Kind::Text { most: 20 });
        assert_eq!(says(&name, json!("a; rm -rf $HOME")), Ok("a; rm -rf $HOME".into()));
        assert!(says(&name, json!("--output=/etc")).expect_err("an option").contains("options"));
        assert!(says(&name, json!("a\nb")).is_err());
        assert!(says(&name, json!("ä".repeat(21))).is_err());
        let inner = Hole { begins: false, ..name };
        assert_eq!(says(&inner, json!("-1")), Ok("-1".into()), "behind `--name=` it is a value");
    }

    #[test]
    fn a_path_stays_inside_the_files_and_is_there() {
        let home = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(home.path().join("data")).expect("made");
        std::os::unix::fs::symlink("/etc", home.path().join("out")).expect("linked");
        let path = hole(Kind::Path);
        let says = |text: &str| path.text(Some(&json!(text)), home.path());
        assert_eq!(says("data/"), Ok(home.path().join("data").to_str().expect("text").to_owned()));
        for bad in ["../data", "/etc/passwd", "nothing", "out/passwd", ""] {
            assert!(says(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_missing_is_the_standard_or_an_error_that_says_what_fits() {
        let mut word = hole(Kind::Choice(vec!["a".into(), "b".into()]));
        let missing = word.text(None, Path::new("/")).expect_err("missing").to_string();
        assert_eq!(missing, "a value is needed: one of a, b");
        assert!(says(&word, json!("c")).is_err());
        word.standard = Some("b".into());
        assert_eq!(word.text(None, Path::new("/")), Ok("b".into()));
        assert_eq!(word.accepted(), "one of a, b [default: b]");
    }
}
