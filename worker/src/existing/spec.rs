//! `JOB_SUBMIT::id::{…}`: a job as newer existing clients describe it, made into steps of the
//! worker's own templates.
//!
//! `"type":"train"` and `"track"` are the templates of those names, and the fields are their values.
//! Paths are checked here, with the codes that existing clients know; everything else is checked by
//! the template. Other types are the worker's other templates, whose values are named as they are.
//!
//! Everything here waits for the disk.

use std::collections::BTreeMap;

use halyard_protocol::channel::{JobErrorCode, JobProblem, JobStep};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    config::{self, Config},
    place::{Outside, Place, below, or_top},
};

/// Models of one pipeline.
const MOST_MODELS: usize = 16;

/// Characters that mean something to the trainer's own command line.
const SPECIAL: &[char] = &['[', ']', '{', '}', ',', '$', '\'', '"', '\\', '=', '(', ')'];

/// What a client wants done.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plan {
    /// What the client calls it.
    pub(super) kind: String,
    /// What to do, in this order.
    pub(super) steps: Vec<JobStep>,
    /// The configuration of each step.
    pub(super) names: Vec<String>,
    /// The kind of model of each step, where the client said so.
    pub(super) model_types: Vec<String>,
    /// The folder of each model among the job's results.
    pub(super) run_names: Vec<String>,
    /// The labels that are looked through when all models are trained.
    pub(super) labels: Option<String>,
    /// What the client should know.
    pub(super) remarks: Vec<String>,
}

/// One thing that is wrong with a specification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) field: String,
    pub(super) message: String,
    pub(super) code: Option<String>,
    pub(super) path: Option<String>,
}

#[derive(Deserialize)]
struct Train {
    config_path: Option<String>,
    #[serde(default)]
    config_paths: Vec<String>,
    config_content: Option<String>,
    #[serde(default)]
    config_contents: Vec<String>,
    #[serde(default)]
    model_types: Vec<String>,
    labels_path: Option<String>,
    val_labels_path: Option<String>,
    run_name: Option<String>,
    resume_ckpt_path: Option<String>,
    #[serde(default)]
    path_mappings: BTreeMap<String, String>,
    /// Numbers, and whatever else the template takes.
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
struct Track {
    data_path: Option<String>,
    #[serde(default)]
    model_paths: Vec<String>,
    output_path: Option<String>,
    #[serde(default)]
    path_mappings: BTreeMap<String, String>,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

/// Where configurations that came with a specification are put, and what time it is.
pub(super) struct Around<'a> {
    pub(super) place: &'a Place,
    /// A folder of this request's own, made when it is needed.
    pub(super) folder: &'a str,
    /// `YYYYmmdd_HHMMSS`.
    pub(super) stamp: &'a str,
}

/// Reads a specification. Says everything that is wrong with it.
pub(super) fn plan(text: &str, around: &Around<'_>) -> Result<Plan, Vec<Problem>> {
    let bad = |why: String| vec![Problem::new("spec", format!("Invalid job specification: {why}"))];
    if text.is_empty() {
        return Err(vec![Problem::new("spec", "Job specification JSON is required")]);
    }
    let mut spec: Map<String, Value> =
        serde_json::from_str(text).map_err(|error| bad(error.to_string()))?;
    let Some(Value::String(kind)) = spec.remove("type") else {
        return Err(bad("type names what is to be run: train or track".to_owned()));
    };
    match kind.as_str() {
        "train" => {
            let train = Train::deserialize(Value::Object(spec));
            self::train(train.map_err(|error| bad(error.to_string()))?, around)
        }
        "track" => {
            let track = Track::deserialize(Value::Object(spec));
            self::track(track.map_err(|error| bad(error.to_string()))?, around.place)
        }
        _ => {
            let step = JobStep { template: kind.clone(), values: spec.into_iter().collect() };
            Ok(Plan::of(&kind, vec![step], vec![kind.clone()]))
        }
    }
}

/// What the worker's own check of a job found, as existing clients read it.
pub(super) fn problems(refused: Vec<JobProblem>) -> Vec<Problem> {
    let mut problems: Vec<Problem> = Vec::new();
    for problem in refused {
        let field = match problem.field.split_once("].") {
            Some((step, field)) if step.starts_with("steps[") => field.to_owned(),
            _ => problem.field,
        };
        let code = match problem.code {
            JobErrorCode::MissingValue if field == "config" => "MISSING_CONFIG".to_owned(),
            JobErrorCode::Forbidden | JobErrorCode::Disabled => "NOT_ALLOWED".to_owned(),
            code => code.as_str().to_uppercase(),
        };
        let problem = Problem { field, message: problem.message, code: Some(code), path: None };
        // Every step of a pipeline has the same numbers.
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }
    problems
}

impl Plan {
    fn of(kind: &str, steps: Vec<JobStep>, names: Vec<String>) -> Self {
        Self {
            kind: kind.to_owned(),
            steps,
            names,
            model_types: Vec::new(),
            run_names: Vec::new(),
            labels: None,
            remarks: Vec::new(),
        }
    }
}

impl Problem {
    fn new(field: &str, message: impl Into<String>) -> Self {
        Self { field: field.to_owned(), message: message.into(), code: None, path: None }
    }

    fn with(field: &str, message: impl Into<String>, code: &str, path: &str) -> Self {
        let (code, path) = (Some(code.to_owned()), Some(path.to_owned()));
        Self { field: field.to_owned(), message: message.into(), code, path }
    }

    /// As it is said.
    pub(super) fn value(&self) -> Value {
        let mut value = json!({ "field": self.field, "message": self.message });
        if let Some(code) = &self.code {
            value["code"] = json!(code);
        }
        if let Some(path) = &self.path {
            value["path"] = json!(path);
        }
        value
    }
}

fn train(spec: Train, around: &Around<'_>) -> Result<Plan, Vec<Problem>> {
    let place = around.place;
    let mut problems = Vec::new();
    let mut contents = spec.config_contents;
    if contents.is_empty() {
        contents.extend(spec.config_content);
    }
    let mut paths = spec.config_paths;
    if paths.is_empty() {
        paths.extend(spec.config_path);
    }
    let models = if contents.is_empty() { paths.len() } else { contents.len() };
    if models > MOST_MODELS {
        let words = format!("at most {MOST_MODELS} configurations are accepted");
        return Err(vec![Problem::new("config", words)]);
    }
    let mapped = |path: String| spec.path_mappings.get(&path).cloned().unwrap_or(path);
    let labels = spec.labels_path.map(mapped);
    let val_labels = spec.val_labels_path.map(mapped);
    let resume = spec.resume_ckpt_path.map(mapped);

    // Which folder and name each configuration has.
    let mut configs: Vec<(String, String)> = Vec::new();
    for (at, path) in paths.iter().enumerate().filter(|_| contents.is_empty()) {
        let field =
            if paths.len() > 1 { format!("config_path[{at}]") } else { "config_path".to_owned() };
        match checked(place, &field, path) {
            Ok(name) => {
                let (folder, file) = name.rsplit_once('/').unwrap_or(("", &name));
                configs.push((folder.to_owned(), file.to_owned()));
            }
            Err(problem) => problems.push(problem),
        }
    }
    let mut texts: Vec<String> = Vec::new();
    for (at, text) in contents.into_iter().enumerate() {
        let Some(text) = exchanged(text, &spec.path_mappings) else {
            let most = config::MOST_BYTES;
            let words = format!("with its paths exchanged it has more than {most} bytes");
            return Err(vec![Problem::new(&format!("config_contents[{at}]"), words)]);
        };
        configs.push((around.folder.to_owned(), format!("rtc_config_{at}.yaml")));
        texts.push(text);
    }
    let overridden = (labels.is_some(), val_labels.is_some());
    for (at, (folder, file)) in configs.iter().enumerate() {
        let prefix =
            if configs.len() > 1 { format!("config[{at}].") } else { "config.".to_owned() };
        let text = match texts.get(at) {
            Some(text) => Ok(text.clone()),
            None => read(place, &below(folder, file)),
        };
        problems.extend(inner(place, &prefix, folder, file, text, overridden));
    }

    let mut values = spec.rest;
    let mut model_values =
        [("labels_path", &labels), ("val_labels_path", &val_labels), ("resume_ckpt_path", &resume)]
            .into_iter()
            .filter_map(|(field, path)| Some((field, path.as_ref()?)))
            .filter_map(|(field, path)| match checked(place, field, path) {
                Ok(name) => Some((field.to_owned(), Value::String(name))),
                Err(problem) => {
                    problems.push(problem);
                    None
                }
            })
            .collect::<Vec<_>>();
    let labels = model_values.iter().find(|(field, _)| field == "labels_path");
    let labels = labels.and_then(|(_, name)| name.as_str().map(str::to_owned));
    values.extend(model_values.drain(..));
    // A template that is described otherwise is asked for its own values.
    let described = values.contains_key("package") || values.contains_key("config");
    if configs.is_empty() && problems.is_empty() && !described {
        let words = "Either config_paths or config_content is required";
        problems
            .push(Problem { code: Some("MISSING_CONFIG".into()), ..Problem::new("config", words) });
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    write(place, around.folder, &texts).map_err(|error| {
        vec![Problem::new(
            "config_contents",
            format!("Failed to write config to temp file: {error}"),
        )]
    })?;

    if configs.is_empty() {
        let step = JobStep { template: "train".to_owned(), values };
        return Ok(Plan::of("train", vec![step], vec!["train".to_owned()]));
    }
    let (mut steps, mut run_names) = (Vec::new(), Vec::new());
    for (at, (folder, file)) in configs.iter().enumerate() {
        let model = spec.model_types.get(at);
        let run_name = match (&spec.run_name, model) {
            // Two models of one name would write over each other.
            (Some(name), Some(model)) if at > 0 => format!("{name}_{model}"),
            (Some(name), None) if at > 0 => format!("{name}_{at}"),
            (Some(name), _) => name.clone(),
            (None, Some(model)) => format!("{model}_{}", around.stamp),
            (None, None) => format!("model_{at}_{}", around.stamp),
        };
        let mut values = values.clone();
        values.insert("config".to_owned(), json!(file));
        values.insert("package".to_owned(), json!(or_top(folder)));
        values.insert("run_name".to_owned(), json!(run_name));
        steps.push(JobStep { template: "train".to_owned(), values });
        run_names.push(run_name);
    }
    let stem = |file: &String| file.rsplit_once('.').map_or(file.clone(), |(stem, _)| stem.into());
    let names = configs.iter().map(|(_, file)| stem(file)).collect();
    let is_labels = |path: &String| {
        [&labels].into_iter().flatten().any(|name| place.name(path).as_ref() == Ok(name))
    };
    let videos = spec.path_mappings.values().filter(|path| !is_labels(path)).count();
    let mut remarks = Vec::new();
    if videos > 0 && labels.is_some() {
        remarks.push(format!(
            "{videos} mapped paths are exchanged in the configuration, but not inside the labels: \
             this worker does not read HDF5"
        ));
    }
    let model_types = spec.model_types;
    Ok(Plan { model_types, run_names, labels, remarks, ..Plan::of("train", steps, names) })
}

/// A configuration with its paths exchanged; nothing where it becomes larger than any is. Reckoned
/// before it is done: a few mappings can make gigabytes of a few kilobytes.
fn exchanged(mut text: String, mappings: &BTreeMap<String, String>) -> Option<String> {
    let fits = |bytes: usize| (bytes as u64) <= config::MOST_BYTES;
    for (old, new) in mappings.iter().filter(|(old, _)| !old.is_empty()) {
        let count = text.matches(old.as_str()).count();
        let bytes =
            (text.len() - count * old.len()).saturating_add(count.saturating_mul(new.len()));
        if !fits(bytes) {
            return None;
        }
        text = text.replace(old.as_str(), new);
    }
    fits(text.len()).then_some(text)
}

fn track(spec: Track, place: &Place) -> Result<Plan, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut values = spec.rest;
    match spec.data_path.map(|path| spec.path_mappings.get(&path).cloned().unwrap_or(path)) {
        None => problems.push(Problem::new("data_path", "A data path is required")),
        Some(path) => match checked(place, "data_path", &path) {
            Ok(name) => drop(values.insert("data_path".to_owned(), json!(name))),
            Err(problem) => problems.push(problem),
        },
    }
    if spec.model_paths.is_empty() {
        problems.push(Problem::new("model_paths", "At least one model path is required"));
    }
    let mut models = Vec::new();
    for (at, path) in spec.model_paths.iter().enumerate() {
        match checked(place, &format!("model_paths[{at}]"), path) {
            Ok(name) => models.push(json!(name)),
            Err(problem) => problems.push(problem),
        }
    }
    values.insert("model_paths".to_owned(), Value::Array(models));
    if let Some(path) = &spec.output_path {
        match output(place, path) {
            Ok(name) => drop(values.insert("output_path".to_owned(), json!(name))),
            Err(problem) => problems.push(problem),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let step = JobStep { template: "track".to_owned(), values };
    Ok(Plan::of("track", vec![step], vec!["track".to_owned()]))
}

/// The name of something that is there.
fn checked(place: &Place, field: &str, path: &str) -> Result<String, Problem> {
    let name = place.name(path).map_err(|error| of_outside(field, path, &error))?;
    if name.contains(SPECIAL) {
        let words =
            "Invalid path: the trainer's command line takes none of [ ] { } ( ) , $ = ' \" \\";
        return Err(Problem::with(field, words, "INVALID_PATH", path));
    }
    match place.dir().metadata(or_top(&name)) {
        Ok(_) => Ok(name),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(Problem::with(field, "Path does not exist", "PATH_NOT_FOUND", path))
        }
        // A link that leads out, above all.
        Err(_) => Err(Problem::with(field, "Path not within allowed mounts", "NOT_ALLOWED", path)),
    }
}

/// The name of something to be made, whose folder is there.
fn output(place: &Place, path: &str) -> Result<String, Problem> {
    let field = "output_path (parent directory)";
    let name = place.name(path).map_err(|error| of_outside(field, path, &error))?;
    let (folder, _) = name.rsplit_once('/').unwrap_or(("", &name));
    checked(place, field, &place.path(folder))?;
    Ok(name)
}

fn of_outside(field: &str, path: &str, error: &Outside) -> Problem {
    match error {
        Outside::Elsewhere { .. } => {
            Problem::with(field, "Path not within allowed mounts", "NOT_ALLOWED", path)
        }
        Outside::NoPath(why) => {
            Problem::with(field, format!("Invalid path: {why}"), "INVALID_PATH", path)
        }
    }
}

/// What a configuration names besides.
fn inner(
    place: &Place,
    prefix: &str,
    folder: &str,
    file: &str,
    text: Result<String, String>,
    (labels, val_labels): (bool, bool),
) -> Vec<Problem> {
    let path = place.path(&below(folder, file));
    let config = match text.and_then(|text| Config::read(&text)) {
        Ok(config) => config,
        Err(words) => {
            let field = format!("{prefix}parse");
            return vec![Problem::with(&field, words, "CONFIG_PARSE_ERROR", &path)];
        }
    };
    let mut problems = Vec::new();
    for (field, path) in config.labels() {
        if labels && field.starts_with("train") || val_labels && field.starts_with("val") {
            continue;
        }
        // Relative paths begin where the job runs.
        let path = if path.starts_with('/') { path } else { below(folder, &path) };
        problems.extend(checked(place, &format!("{prefix}{field}"), &path).err());
    }
    problems
}

fn read(place: &Place, name: &str) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("Failed to parse config file: {error}");
    let metadata = place.dir().metadata(name).map_err(failed)?;
    if !metadata.is_file() || metadata.len() > config::MOST_BYTES {
        return Err(format!("Config file is no file of at most {} bytes", config::MOST_BYTES));
    }
    place.dir().read_to_string(name).map_err(failed)
}

fn write(place: &Place, folder: &str, texts: &[String]) -> std::io::Result<()> {
    if texts.is_empty() {
        return Ok(());
    }
    place.dir().create_dir_all(folder)?;
    for (at, text) in texts.iter().enumerate() {
        place.dir().write(format!("{folder}/rtc_config_{at}.yaml"), text)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOLDER: &str = "packages/1a2b3c4d";

    fn place() -> (tempfile::TempDir, Place) {
        let home = tempfile::tempdir().expect("a folder");
        let root = home.path().join("vast");
        std::fs::create_dir_all(root.join("p/models/centroid")).expect("made");
        let config = "data_config: {train_labels_path: [labels.slp]}\n";
        for (name, text) in [
            ("p/centroid.yaml", config),
            ("p/instance.yaml", config),
            (
                "p/lost.yaml",
                "data_config: {train_labels_path: lost.slp, val_labels_path: /etc/x.slp}",
            ),
            ("p/broken.yaml", "a: ["),
            ("p/labels.slp", ""),
            ("p/a,b.slp", ""),
        ] {
            std::fs::write(root.join(name), text).expect("written");
        }
        std::os::unix::fs::symlink("/etc", root.join("p/out")).expect("linked");
        let place = Place::open(&root).expect("opened");
        (home, place)
    }

    fn planned(place: &Place, spec: &Value) -> Result<Plan, Vec<Problem>> {
        plan(&spec.to_string(), &Around { place, folder: FOLDER, stamp: "20260102_030405" })
    }

    /// Field and code of everything that is wrong.
    fn wrong(place: &Place, spec: &Value) -> Vec<(String, String)> {
        let problems = planned(place, spec).expect_err("refused");
        problems.into_iter().map(|p| (p.field, p.code.unwrap_or_default())).collect()
    }

    #[test]
    fn a_pipeline_becomes_one_step_for_each_model() {
        let (_home, place) = place();
        let spec = json!({
            "type": "train",
            "config_paths": [place.path("p/centroid.yaml"), place.path("p/instance.yaml")],
            "model_types": ["centroid", "centered_instance"],
            "labels_path": place.path("p/labels.slp"), "max_epochs": 3, "batch_size": 4,
        });
        let plan = planned(&place, &spec).expect("a plan");
        assert_eq!(plan.names, ["centroid", "instance"]);
        let runs = ["centroid_20260102_030405", "centered_instance_20260102_030405"];
        assert_eq!(plan.run_names, runs);
        assert_eq!(plan.labels.as_deref(), Some("p/labels.slp"));
        let first = json!({
            "template": "train",
            "values": {
                "package": "p", "config": "centroid.yaml", "run_name": runs[0],
                "labels_path": "p/labels.slp", "max_epochs": 3, "batch_size": 4,
            },
        });
        assert_eq!(serde_json::to_value(&plan.steps[0]).expect("JSON"), first);
        assert_eq!(plan.steps[1].values["config"], "instance.yaml");
    }

    #[test]
    fn configurations_that_come_along_are_put_beside_the_job_with_their_paths_exchanged() {
        let (home, place) = place();
        let content = "data_config:\n  train_labels_path: [/Users/me/labels.slp]\n";
        let spec = json!({
            "type": "train", "config_content": content, "run_name": "mine",
            "labels_path": "/Users/me/labels.slp",
            "path_mappings": {
                "/Users/me/labels.slp": place.path("p/labels.slp"),
                "/Users/me/v.mp4": "/vast/v.mp4",
            },
        });
        let plan = planned(&place, &spec).expect("a plan");
        let values = &plan.steps[0].values;
        assert_eq!((&values["package"], &values["run_name"]), (&json!(FOLDER), &json!("mine")));
        assert_eq!(values["labels_path"], "p/labels.slp");
        assert!(!values.contains_key("path_mappings"));
        let written = home.path().join("vast").join(FOLDER).join("rtc_config_0.yaml");
        let written = std::fs::read_to_string(written).expect("written");
        assert!(written.contains(&place.path("p/labels.slp")), "{written}");
        assert!(plan.remarks[0].contains("does not read HDF5"), "{:?}", plan.remarks);
    }

    #[test]
    fn mappings_that_make_gigabytes_of_a_message_are_refused_before_they_do() {
        let (home, place) = place();
        // As much as one message holds: 20 KB by 20 KB would be 400 MB, the next one more still.
        let (many, long) = ("a".repeat(20_000), "a".repeat(20_000));
        let spec = json!({
            "type": "train", "config_content": many,
            "path_mappings": {"a": long, "aa": "b".repeat(10_000)},
        });
        assert_eq!(wrong(&place, &spec), [("config_contents[0]".to_owned(), String::new())]);
        assert!(!home.path().join("vast/packages").exists());
        let mappings = |new: &str| [("a".to_owned(), new.to_owned())].into();
        let most = config::MOST_BYTES as usize;
        let fits = exchanged("a".repeat(16), &mappings(&"b".repeat(most / 16)));
        assert_eq!(fits.map(|text| text.len()), Some(most));
        assert_eq!(exchanged("a".repeat(17), &mappings(&"b".repeat(most / 16))), None);
    }

    #[test]
    fn everything_wrong_with_a_training_is_said_with_their_codes() {
        let (home, place) = place();
        let at = |name: &str| place.path(name);
        let spec = json!({
            "type": "train",
            "config_paths": [at("p/none.yaml"), at("p/lost.yaml"), at("p/broken.yaml"), "/etc/a.yaml"],
            "labels_path": null, "resume_ckpt_path": at("p/out/passwd"),
        });
        let said = wrong(&place, &spec);
        let said: Vec<_> = said.iter().map(|(f, c)| (f.as_str(), c.as_str())).collect();
        assert_eq!(
            said,
            [
                ("config_path[0]", "PATH_NOT_FOUND"),
                ("config_path[3]", "NOT_ALLOWED"),
                ("config[0].train_labels_path", "PATH_NOT_FOUND"),
                ("config[0].val_labels_path", "NOT_ALLOWED"),
                ("config[1].parse", "CONFIG_PARSE_ERROR"),
                ("resume_ckpt_path", "NOT_ALLOWED"),
            ]
        );
        let one = |spec: Value| wrong(&place, &spec).remove(0);
        let pair = |field: &str, code: &str| (field.to_owned(), code.to_owned());
        assert_eq!(one(json!({"type": "train"})), pair("config", "MISSING_CONFIG"));
        assert_eq!(one(json!({"type": "train", "config_paths": 5})), pair("spec", ""));
        assert_eq!(one(json!({"config_path": "x"})), pair("spec", ""));
        let special = json!({"type": "train", "config_path": at("p/centroid.yaml"), "labels_path": at("p/a,b.slp")});
        assert_eq!(one(special), pair("labels_path", "INVALID_PATH"));
        assert_eq!(
            one(json!({"type": "train", "config_path": "../x.yaml"})),
            pair("config_path", "NOT_ALLOWED")
        );
        assert!(plan("{", &Around { place: &place, folder: FOLDER, stamp: "" }).is_err());
        assert!(!home.path().join("vast/packages").exists(), "what is refused leaves nothing");
    }

    #[test]
    fn tracking_names_data_models_and_where_the_result_goes() {
        let (_home, place) = place();
        let at = |name: &str| place.path(name);
        let spec = json!({
            "type": "track", "data_path": at("p/labels.slp"), "model_paths": [at("p/models/centroid")],
            "output_path": at("p/new.slp"), "only_suggested_frames": true, "peak_threshold": 0.2,
        });
        let plan = planned(&place, &spec).expect("a plan");
        let values = json!({
            "data_path": "p/labels.slp", "model_paths": ["p/models/centroid"],
            "output_path": "p/new.slp", "only_suggested_frames": true, "peak_threshold": 0.2,
        });
        assert_eq!(serde_json::to_value(&plan.steps[0].values).expect("JSON"), values);
        let bad = json!({"type": "track", "model_paths": ["/etc"], "output_path": "/tmp/x.slp"});
        let said = wrong(&place, &bad);
        let said: Vec<_> = said.iter().map(|(f, c)| (f.as_str(), c.as_str())).collect();
        let codes = [
            ("data_path", ""),
            ("model_paths[0]", "NOT_ALLOWED"),
            ("output_path (parent directory)", "NOT_ALLOWED"),
        ];
        assert_eq!(said, codes);
    }

    #[test]
    fn the_workers_own_check_is_told_once_for_all_models() {
        let problem = |step: usize, field: &str, code| JobProblem {
            field: format!("steps[{step}].{field}"),
            code,
            message: "m".into(),
        };
        let said = problems(vec![
            problem(0, "max_epochs", JobErrorCode::BadValue),
            problem(1, "max_epochs", JobErrorCode::BadValue),
            problem(1, "config", JobErrorCode::MissingValue),
        ]);
        let said: Vec<_> = said.iter().map(Problem::value).collect();
        assert_eq!(
            said,
            [
                json!({"field": "max_epochs", "message": "m", "code": "BAD_VALUE"}),
                json!({"field": "config", "message": "m", "code": "MISSING_CONFIG"}),
            ]
        );
    }

    #[test]
    fn other_types_are_the_workers_other_templates() {
        let (_home, place) = place();
        let plan = planned(&place, &json!({"type": "calibrate", "speed": 3})).expect("a plan");
        assert_eq!(plan.steps[0].template, "calibrate");
        assert_eq!(plan.steps[0].values["speed"], 3);
        let own = json!({"type": "train", "package": "p", "epochs": 3});
        assert_eq!(planned(&place, &own).expect("a plan").steps[0].values["epochs"], 3);
    }
}
