//! A typed hole in a command line, and what fits into it.

use std::{fmt, path::Path};

use cap_std::{ambient_authority, fs::Dir};
use halyard_protocol::transfer::RelativeName;
use serde_json::Value;

use super::{Filled, Own};

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
    /// It stands in optional arguments alone, which are left out without a value.
    pub optional: bool,
    /// A list of values repeats its arguments.
    pub repeats: bool,
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
    /// The name of one file or run: letters, digits and `-_.+`, not beginning with `-` or `.`.
    Name {
        /// At most so many characters.
        most: usize,
    },
    /// Yes or no. Its arguments are there for yes; itself it becomes nothing.
    Flag,
    /// A file or folder that is there, inside the folder of files. It becomes an absolute path.
    Path,
    /// A file to be made: inside the folder of files, in a folder that is there, or, where the
    /// request says nothing and there is a default, of that name in the job's folder.
    New,
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
    pub(super) fn new(name: &str, kind: Kind, standard: Option<String>, begins: bool) -> Self {
        let (optional, repeats) = (false, false);
        Self { name: name.to_owned(), kind, standard, begins, optional, repeats }
    }

    /// What fits, in words.
    pub fn accepted(&self) -> String {
        let kind = &self.kind;
        let several = if self.repeats && *kind != Kind::Flag { ", or a list of such" } else { "" };
        match &self.standard {
            Some(standard) => format!("{kind}{several} [default: {standard}]"),
            None if self.optional => format!("{kind}{several} [may be left out]"),
            None => kind.to_string(),
        }
    }

    /// What stands in the command line. `None` for what was not given and need not be.
    pub fn fill(
        &self,
        value: Option<&Value>,
        files: &Path,
    ) -> Result<Option<Vec<Filled>>, HoleError> {
        let Some(value) = value.filter(|value| !value.is_null()) else {
            return match &self.standard {
                Some(standard) if self.kind == Kind::New => {
                    let name = Filled::Text(format!("/{standard}"));
                    Ok(Some(vec![Filled::Own(Own::Folder), name]))
                }
                Some(standard) => Ok(Some(vec![Filled::Text(standard.clone())])),
                None if self.optional => Ok(None),
                None => Err(HoleError::Missing(self.kind.to_string())),
            };
        };
        if self.kind == Kind::Flag && is_no(value) {
            return Ok(None);
        }
        let bad = |why| {
            let value: String = value.to_string().chars().take(80).collect();
            HoleError::Bad { value, why }
        };
        self.fit(value, files).map(|text| Some(vec![Filled::Text(text)])).map_err(bad)
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
            Kind::Name { most } => {
                let good = |c: char| c.is_alphanumeric() || "-_.+".contains(c);
                let name = value.as_str().filter(|name| {
                    (1..=*most).contains(&name.chars().count())
                        && name.chars().all(good)
                        && !name.starts_with(['-', '.'])
                });
                name.map(str::to_owned).ok_or_else(accepted)
            }
            Kind::Flag => match value {
                Value::Bool(true) => Ok(String::new()),
                Value::String(text) if text == "true" => Ok(String::new()),
                _ => Err(accepted()),
            },
            Kind::Path => inside(files, value.as_str().ok_or_else(accepted)?),
            Kind::New => {
                let path = value.as_str().ok_or_else(accepted)?;
                let name = RelativeName::new(path).map_err(|error| error.to_string())?;
                let folder = match name.parent() {
                    Some(parent) => inside(files, parent)?,
                    None => files.to_str().map(str::to_owned).ok_or_else(accepted)?,
                };
                Ok(format!("{}/{}", folder.trim_end_matches('/'), name.file_name()))
            }
        }
    }
}

fn is_no(value: &Value) -> bool {
    *value == Value::Bool(false) || value.as_str() == Some("false")
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
            Self::Name { most } => {
                write!(f, "a name of at most {most} letters, digits, - _ . and +")
            }
            Self::Flag => f.write_str("true or false"),
            Self::Path => f.write_str("the path of something in the worker's files"),
            Self::New => f.write_str("the path of a file to be made in the worker's files"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn hole(kind: Kind) -> Hole {
        Hole::new("x", kind, None, true)
    }

    fn text(filled: Result<Option<Vec<Filled>>, HoleError>) -> Result<String, String> {
        match filled.map_err(|error| error.to_string())?.as_deref() {
            Some([Filled::Text(text)]) => Ok(text.clone()),
            other => panic!("one text, not {other:?}"),
        }
    }

    fn says(hole: &Hole, value: impl Into<Value>) -> Result<String, String> {
        text(hole.fill(Some(&value.into()), Path::new("/nonexistent")))
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
        let says = |path_said: &str| text(path.fill(Some(&json!(path_said)), home.path()));
        assert_eq!(says("data/"), Ok(home.path().join("data").to_str().expect("text").to_owned()));
        for bad in ["../data", "/etc/passwd", "nothing", "out/passwd", ""] {
            assert!(says(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_missing_is_the_standard_or_an_error_that_says_what_fits() {
        let mut word = hole(Kind::Choice(vec!["a".into(), "b".into()]));
        let missing = text(word.fill(None, Path::new("/"))).expect_err("missing");
        assert_eq!(missing, "a value is needed: one of a, b");
        assert!(says(&word, json!("c")).is_err());
        word.standard = Some("b".into());
        assert_eq!(text(word.fill(None, Path::new("/"))), Ok("b".into()));
        assert_eq!(word.accepted(), "one of a, b [default: b]");
    }

    #[test]
    fn a_name_is_one_word_that_no_program_reads_as_more() {
        let name = hole(Kind::Name { most: 20 });
        assert_eq!(says(&name, "centroid.v1_2-a+b"), Ok("centroid.v1_2-a+b".into()));
        for bad in ["", ".hidden", "-x", "a/b", "a b", "${oc.env:HOME}", "a,b", "a=b", "a\nb"] {
            assert!(says(&name, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_file_to_be_made_needs_a_folder_that_is_there() {
        let home = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(home.path().join("data")).expect("made");
        let mut new = hole(Kind::New);
        let says = |said: &str| text(new.fill(Some(&json!(said)), home.path()));
        let wanted = home.path().join("data/out.slp").to_str().expect("text").to_owned();
        assert_eq!(says("data/out.slp"), Ok(wanted));
        assert!(says("out.slp").expect("at the top").ends_with("/out.slp"));
        for bad in ["nothing/out.slp", "../out.slp", "/etc/out.slp", "data/"] {
            assert!(says(bad).is_err(), "{bad}");
        }
        new.standard = Some("p.slp".into());
        let standard = new.fill(None, home.path()).expect("the default").expect("something");
        assert_eq!(standard, [Filled::Own(Own::Folder), Filled::Text("/p.slp".into())]);
    }
}
