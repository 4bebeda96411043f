//! What the worker's owner lets others run: a command line with typed holes in it.
//!
//! ```toml
//! [[job]]
//! name = "train"
//! help = "Trains a model on a data set"
//! run = ["python3", "/opt/train.py", "--data", "{data:path}", "--epochs", "{epochs:int=1..1000?20}",
//!        ["--seed", "{seed:int=0..9999}"]]
//! results = ["*.ckpt", "*.json"]
//! ```
//!
//! A request names a template and values. Each value is checked against its hole and becomes a part
//! of one argument: no shell ever reads it, and it can never become an option of its own. Arguments
//! in an array of their own are left out when their value is not given, and repeated for a list.

mod hole;
mod read;

use std::{collections::BTreeMap, path::Path, time::Duration};

use globset::GlobSet;
use halyard_protocol::channel::{JobErrorCode, JobProblem, JobTemplateInfo};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use hole::{Hole, HoleError, Kind};
pub(super) use read::{SILENT_AFTER, STOP_GRACE};
pub use read::{TemplateError, read_templates};

/// One thing that may be run.
#[derive(Debug, Clone)]
pub struct Template {
    /// Its name, unique in this worker.
    pub name: String,
    /// One line for people.
    pub help: String,
    /// The program and its arguments.
    pub run: Vec<Group>,
    /// Where it runs, where not in the job's own folder.
    pub cwd: Option<Vec<Part>>,
    /// Variables of the worker that the program sees.
    pub env: Vec<String>,
    /// Variables that the owner sets, parts as in `run`.
    pub set: BTreeMap<String, Vec<Part>>,
    /// Graphics cards that it needs. Jobs that need some run one after another, unless the worker
    /// was told which cards jobs share.
    pub gpus: u32,
    /// The hole that says how many epochs a training is to do.
    pub epochs: Option<String>,
    /// The most that is kept of each of its two outputs, in bytes.
    pub output_limit: u64,
    /// It is ended after this long.
    pub time_limit: Duration,
    /// How long the program may take to follow a wish to stop before it is interrupted.
    pub stop_grace: Duration,
    /// Its trainer is called silent after this long without a report.
    pub silent_after: Duration,
    /// Which files of the job's folder are results.
    pub results: GlobSet,
}

/// Arguments that stand or fall together.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// In their order.
    pub arguments: Vec<Vec<Part>>,
    /// They are left out when one of their values is not given. A list of values repeats them.
    pub optional: bool,
}

impl Group {
    fn parts(&self) -> impl Iterator<Item = &Part> {
        self.arguments.iter().flatten()
    }
}

/// A piece of an argument.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// As it stands.
    Text(String),
    /// To be filled by a request.
    Hole(Hole),
    /// To be filled by the worker.
    Own(Own),
}

/// What the worker itself fills in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Own {
    /// The job's id.
    Job,
    /// The job's folder, absolute.
    Folder,
    /// The folder of files, absolute.
    Files,
    /// The port where the trainer hears commands.
    ControlPort,
    /// The port where the trainer reports progress.
    ProgressPort,
}

impl Own {
    /// Their names in a template.
    pub const NAMES: [(&'static str, Self); 5] = [
        ("job", Self::Job),
        ("folder", Self::Folder),
        ("files", Self::Files),
        ("control_port", Self::ControlPort),
        ("progress_port", Self::ProgressPort),
    ];
}

/// A piece of an argument once a request has filled it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Filled {
    /// As it stands.
    Text(String),
    /// To be filled when the job starts.
    Own(Own),
}

/// A command line that a request has filled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandLine {
    /// The program and its arguments.
    pub run: Vec<Vec<Filled>>,
    /// Where it runs, where not in the job's own folder.
    pub cwd: Option<Vec<Filled>>,
    /// Variables that the template sets.
    pub set: BTreeMap<String, Vec<Filled>>,
}

impl Template {
    /// Fills the holes. `field` names the step in what is said of problems; `files` is the folder
    /// that paths lead into. Says everything that is wrong, not only the first.
    pub fn fill(
        &self,
        field: &str,
        values: &BTreeMap<String, Value>,
        files: &Path,
    ) -> Result<CommandLine, Vec<JobProblem>> {
        let mut problems = Vec::new();
        let holes = self.holes();
        for name in values.keys() {
            if !holes.contains_key(name.as_str()) {
                let known = holes.keys().copied().collect::<Vec<_>>().join(", ");
                problems.push(JobProblem {
                    field: format!("{field}.{}", shown(name)),
                    code: JobErrorCode::UnknownValue,
                    message: format!("{:?} takes no such value; accepted are: {known}", self.name),
                });
            }
        }
        let mut fills: BTreeMap<&str, Vec<Vec<Filled>>> = BTreeMap::new();
        for (name, hole) in &holes {
            let several = match values.get(*name) {
                Some(Value::Array(several)) if hole.repeats => several.iter().map(Some).collect(),
                value => vec![value],
            };
            for value in several {
                match hole.fill(value, files) {
                    Ok(Some(filled)) => fills.entry(name).or_default().push(filled),
                    Ok(None) => {}
                    Err(error) => {
                        let code = match error {
                            HoleError::Missing(_) => JobErrorCode::MissingValue,
                            HoleError::Bad { .. } => JobErrorCode::BadValue,
                        };
                        let (field, message) = (format!("{field}.{name}"), error.to_string());
                        problems.push(JobProblem { field, code, message });
                    }
                }
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        // One with several values stands in repeated groups alone, so the first is all elsewhere.
        let filled = |parts: &Vec<Part>, turn: usize| -> Vec<Filled> {
            let fill = |part: &Part| match part {
                Part::Text(text) => vec![Filled::Text(text.clone())],
                Part::Own(own) => vec![Filled::Own(*own)],
                Part::Hole(hole) => {
                    let fills = fills.get(hole.name.as_str()).map_or(&[][..], Vec::as_slice);
                    fills.get(turn).or(fills.first()).cloned().unwrap_or_default()
                }
            };
            parts.iter().flat_map(fill).collect()
        };
        let turns = |group: &Group| {
            let counts = group.parts().filter_map(|part| match part {
                Part::Hole(hole) => Some(fills.get(hole.name.as_str()).map_or(0, Vec::len)),
                _ => None,
            });
            // Without one of its values it is left out.
            let counts: Vec<_> = counts.collect();
            let fewest = counts.iter().min().copied().unwrap_or(1);
            if fewest == 0 { 0 } else { counts.iter().max().copied().unwrap_or(1) }
        };
        let mut run = Vec::new();
        for group in &self.run {
            for turn in 0..if group.optional { turns(group) } else { 1 } {
                run.extend(group.arguments.iter().map(|argument| filled(argument, turn)));
            }
        }
        Ok(CommandLine {
            run,
            cwd: self.cwd.as_ref().map(|parts| filled(parts, 0)),
            set: self.set.iter().map(|(name, parts)| (name.clone(), filled(parts, 0))).collect(),
        })
    }

    /// Whether the program speaks with the worker over ZMQ.
    pub fn has_bridge(&self) -> bool {
        let own = |part: &Part| matches!(part, Part::Own(Own::ControlPort | Own::ProgressPort));
        self.run.iter().flat_map(Group::parts).chain(self.set.values().flatten()).any(own)
    }

    /// How many epochs a request asks for, where the template has such a value.
    pub fn epochs(&self, values: &BTreeMap<String, Value>) -> Option<u64> {
        let name = self.epochs.as_deref()?;
        let holes = self.holes();
        // A number needs no folder to be looked up in.
        let filled = holes.get(name)?.fill(values.get(name), Path::new("")).ok()??;
        match filled.as_slice() {
            [Filled::Text(text)] => text.parse().ok(),
            _ => None,
        }
    }

    /// What others are told of it.
    pub fn info(&self) -> JobTemplateInfo {
        let values = self.holes().into_iter();
        JobTemplateInfo {
            name: self.name.clone(),
            help: self.help.clone(),
            values: values.map(|(name, hole)| (name.to_owned(), hole.accepted())).collect(),
        }
    }

    /// By name. One that begins an argument somewhere must fit there everywhere; one that stands
    /// outside of optional arguments is needed, and only once.
    fn holes(&self) -> BTreeMap<&str, Hole> {
        let mut holes: BTreeMap<&str, Hole> = BTreeMap::new();
        let groups = self.run.iter().flat_map(|group| group.parts().map(|p| (p, group.optional)));
        let others = self.set.values().chain(&self.cwd).flatten().map(|part| (part, false));
        for (part, optional) in groups.chain(others) {
            if let Part::Hole(hole) = part {
                let known = holes.entry(&hole.name).or_insert_with(|| Hole {
                    optional: true,
                    repeats: true,
                    ..hole.clone()
                });
                known.begins |= hole.begins;
                known.optional &= optional;
                known.repeats &= optional;
            }
        }
        holes
    }
}

/// Somebody's name for a value, fit for a line.
fn shown(name: &str) -> String {
    name.chars().take(64).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
