//! What a package's `train-script.sh` or `track-script.sh` asks for.
//!
//! Nobody runs the script. Its lines are read, and those that call SLEAP become steps of the
//! worker's own templates: an option that none of them has a place for is refused, so that nothing
//! is trained otherwise than it was asked for. Other lines are not done, and that is said.

use std::collections::BTreeMap;

use halyard_protocol::channel::JobStep;
use serde_json::{Value, json};

/// Steps of one package.
const MOST_STEPS: usize = 16;

/// What a shell would do more with than read it.
const SHELL: &[char] = &[';', '|', '&', '<', '>', '$', '`', '\n'];

/// What a script asks for.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Script {
    /// What to do, in this order, each with the name that the client knows it by.
    pub(super) steps: Vec<(String, JobStep)>,
    /// Lines that are not done.
    pub(super) left_out: Vec<String>,
}

/// Reads `train-script.sh` of the package in this folder of the worker's files.
pub(super) fn train(text: &str, package: &str) -> Result<Script, Vec<String>> {
    read(text, "training", |words| match words {
        ["sleap-nn", "train", rest @ ..] => Some(sleap_nn_train(rest, package)),
        ["sleap-train", rest @ ..] if rest.iter().any(|word| word.starts_with("--config-name")) => {
            Some(sleap_nn_train(rest, package))
        }
        ["sleap-train", rest @ ..] => Some(sleap_train(rest, package)),
        _ => None,
    })
}

/// Reads `track-script.sh` of the package in this folder of the worker's files.
pub(super) fn track(text: &str, package: &str) -> Result<Script, Vec<String>> {
    read(text, "tracking", |words| match words {
        ["sleap-nn", "track", rest @ ..] => Some(sleap_nn_track(rest, package)),
        _ => None,
    })
}

type Step = Result<(String, JobStep), String>;

fn read(
    text: &str,
    what: &str,
    step: impl Fn(&[&str]) -> Option<Step>,
) -> Result<Script, Vec<String>> {
    let (mut script, mut problems) = (Script::default(), Vec::new());
    for (number, line) in lines(text) {
        let words = shlex::split(&line);
        let words: Vec<&str> = words.iter().flatten().map(String::as_str).collect();
        match step(&words) {
            None if line.trim_start().starts_with("sleap") && words.is_empty() => {
                problems.push(format!("line {number} has a quote without its counterpart"));
            }
            None => script.left_out.push(shown(&line)),
            Some(_) if line.contains(SHELL) => problems.push(format!(
                "line {number} needs a shell, and none runs here: ; | & < > $ and ` are not \
                 accepted in {:?}",
                shown(&line)
            )),
            Some(Ok(step)) => script.steps.push(step),
            Some(Err(why)) => problems.push(format!("line {number}: {why}")),
        }
    }
    if script.steps.len() > MOST_STEPS {
        problems.push(format!("the script has more than {MOST_STEPS} lines of {what}"));
    }
    if script.steps.is_empty() && problems.is_empty() {
        problems.push(format!("the script has no line of {what}"));
    }
    if problems.is_empty() { Ok(script) } else { Err(problems) }
}

/// Lines with something in them, each with its number, those that end in `\` together.
fn lines(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut goes_on = false;
    for (at, line) in text.lines().enumerate() {
        let (piece, more) = match line.strip_suffix('\\') {
            Some(piece) => (piece, true),
            None => (line, false),
        };
        match lines.last_mut() {
            Some((_, last)) if goes_on => {
                last.push(' ');
                last.push_str(piece.trim());
            }
            _ => lines.push((at + 1, piece.trim().to_owned())),
        }
        goes_on = more;
    }
    lines.retain(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    lines
}

fn sleap_nn_train(words: &[&str], package: &str) -> Step {
    let mut values: BTreeMap<String, Value> = BTreeMap::new();
    let mut words = Words(words);
    while let Some((word, inline)) = words.next() {
        match word {
            "--config-name" | "-c" => {
                drop(values.insert("config".into(), json!(words.value(word, inline)?)));
            }
            // It is the package: a configuration lies nowhere else.
            "--config-dir" | "--config-path" | "-d" => {
                let folder = words.value(word, inline)?;
                if !matches!(folder.trim_end_matches('/'), "" | ".") {
                    return Err(format!("{word} is {folder:?}; accepted is . , the package"));
                }
            }
            option if option.starts_with('-') => return Err(not_accepted(option)),
            _ => over(&mut values, word, inline, package)?,
        }
    }
    let config = values.get("config").and_then(Value::as_str).unwrap_or_default();
    if config.is_empty() {
        return Err("--config-name names the configuration".to_owned());
    }
    let name = stem(config);
    values.entry("run_name".into()).or_insert_with(|| json!(name));
    values.insert("package".into(), json!(package));
    Ok((name, JobStep { template: "train".into(), values }))
}

/// One `key=value` behind the options.
fn over(
    values: &mut BTreeMap<String, Value>,
    word: &str,
    inline: Option<&str>,
    package: &str,
) -> Result<(), String> {
    let key = word.trim_start_matches('+');
    let Some(value) = inline else { return Err(not_accepted(word)) };
    let value = value.trim_matches(['\'', '"']);
    let (name, is_path) = match key {
        // Where results go, ports and helpers are the worker's own affair.
        "trainer_config.ckpt_dir"
        | "trainer_config.zmq.controller_port"
        | "trainer_config.zmq.publish_port"
        | "trainer_config.train_data_loader.num_workers"
        | "trainer_config.val_data_loader.num_workers" => return Ok(()),
        "trainer_config.run_name" => ("run_name", false),
        "trainer_config.max_epochs" => ("max_epochs", false),
        "trainer_config.train_data_loader.batch_size"
        | "trainer_config.val_data_loader.batch_size" => ("batch_size", false),
        "trainer_config.optimizer.lr" => ("learning_rate", false),
        "data_config.train_labels_path" => ("labels_path", true),
        "data_config.val_labels_path" => ("val_labels_path", true),
        "trainer_config.resume_ckpt_path" => ("resume_ckpt_path", true),
        _ => return Err(not_accepted(word)),
    };
    let value = value.strip_prefix('[').and_then(|v| v.strip_suffix(']')).unwrap_or(value);
    if matches!(value, "" | "null" | "None") {
        return Ok(());
    }
    let value = json!(if is_path { inside(package, value) } else { value.to_owned() });
    match values.insert(name.to_owned(), value.clone()) {
        Some(other) if other != value => {
            Err(format!("{key} is given twice, as {other} and {value}"))
        }
        _ => Ok(()),
    }
}

fn sleap_train(words: &[&str], package: &str) -> Step {
    let mut values: BTreeMap<String, Value> = BTreeMap::new();
    let mut paths = Vec::new();
    let mut words = Words(words);
    while let Some((word, inline)) = words.next() {
        match word {
            // The worker says these by itself.
            "--zmq" => {}
            "--controller_port" | "--publish_port" => drop(words.value(word, inline)?),
            "--run_name" => {
                drop(values.insert("run_name".into(), json!(words.value(word, inline)?)));
            }
            option if option.starts_with('-') => return Err(not_accepted(option)),
            path => paths.push(path),
        }
    }
    let [config, labels] = paths[..] else {
        return Err("sleap-train takes a configuration and a labels file".to_owned());
    };
    values.insert("config_path".into(), json!(inside(package, config)));
    values.insert("labels_path".into(), json!(inside(package, labels)));
    Ok((stem(config), JobStep { template: "train-legacy".into(), values }))
}

fn sleap_nn_track(words: &[&str], package: &str) -> Step {
    let mut values: BTreeMap<String, Value> = BTreeMap::new();
    let mut models = Vec::new();
    let mut words = Words(words);
    while let Some((word, inline)) = words.next() {
        let name = match word {
            "--data_path" | "--data-path" | "-i" => "data_path",
            "--output_path" | "--output-path" | "-o" => "output_path",
            "--batch_size" | "--batch-size" | "-b" => "batch_size",
            "--peak_threshold" | "--peak-threshold" => "peak_threshold",
            "--frames" => "frames",
            "--model_paths" | "--model-paths" | "-m" => {
                models.push(json!(inside(package, &words.value(word, inline)?)));
                continue;
            }
            "--only_suggested_frames" | "--only-suggested-frames" => {
                values.insert("only_suggested_frames".into(), json!(true));
                continue;
            }
            other => return Err(not_accepted(other)),
        };
        let value = words.value(word, inline)?;
        let is_path = matches!(name, "data_path" | "output_path");
        let value = if is_path { inside(package, &value) } else { value };
        values.insert(name.to_owned(), json!(value));
    }
    for (name, missing) in
        [("data_path", !values.contains_key("data_path")), ("model_paths", models.is_empty())]
    {
        if missing {
            return Err(format!("--{name} is needed"));
        }
    }
    values.insert("model_paths".into(), Value::Array(models));
    Ok(("inference".into(), JobStep { template: "track".into(), values }))
}

/// Words of a command line, `--option=value` and `key=value` taken apart.
struct Words<'a>(&'a [&'a str]);

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<(&'a str, Option<&'a str>)> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first.split_once('=').map_or((*first, None), |(word, value)| (word, Some(value))))
    }

    fn value(&mut self, option: &str, inline: Option<&str>) -> Result<String, String> {
        if let Some(value) = inline {
            return Ok(value.to_owned());
        }
        let (first, rest) =
            self.0.split_first().ok_or_else(|| format!("{option} needs a value"))?;
        self.0 = rest;
        Ok((*first).to_owned())
    }
}

/// A path of the package, as the worker's files know it. What leads out stays a path that does.
fn inside(package: &str, path: &str) -> String {
    let path = path.trim_start_matches("./").trim_end_matches('/');
    if path.starts_with('/') { path.to_owned() } else { format!("{package}/{path}") }
}

fn stem(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.rsplit_once('.').map_or(file, |(stem, _)| stem).to_owned()
}

fn not_accepted(word: &str) -> String {
    format!("{:?} is not accepted: the worker's template has no place for it", shown(word))
}

fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(120).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PIPELINE: &str = "#!/bin/bash\n\
        cd \"$(dirname \"$0\")\"\n\
        sleap-nn train --config-name centroid.yaml --config-dir . trainer_config.ckpt_dir=models \\\n\
          trainer_config.run_name=centroid_1 trainer_config.max_epochs=5\n\n\
        sleap-nn train --config-name=centered_instance.yaml ++trainer_config.zmq.publish_port=9001 \
          'data_config.train_labels_path=[labels.pkg.slp]'\n";

    #[test]
    fn a_pipeline_is_one_step_a_line_in_the_scripts_order() {
        let script = train(PIPELINE, "packages/1/demo").expect("a script");
        assert_eq!(script.left_out, ["cd \"$(dirname \"$0\")\""]);
        let [(first, one), (second, two)] = &script.steps[..] else { panic!("{script:?}") };
        assert_eq!((first.as_str(), second.as_str()), ("centroid", "centered_instance"));
        let values = json!({
            "package": "packages/1/demo", "config": "centroid.yaml", "run_name": "centroid_1",
            "max_epochs": "5",
        });
        assert_eq!(serde_json::to_value(&one.values).expect("JSON"), values);
        let values = json!({
            "package": "packages/1/demo", "config": "centered_instance.yaml",
            "run_name": "centered_instance", "labels_path": "packages/1/demo/labels.pkg.slp",
        });
        assert_eq!(serde_json::to_value(&two.values).expect("JSON"), values);
        assert!(script.steps.iter().all(|(_, step)| step.template == "train"));
    }

    #[test]
    fn sleap_before_sleap_nn_has_a_template_of_its_own() {
        let text = "sleap-train single.json labels.v1.slp --zmq --run_name 'x'\n";
        let script = train(text, "p").expect("a script");
        let (name, step) = &script.steps[0];
        assert_eq!((name.as_str(), step.template.as_str()), ("single", "train-legacy"));
        let values = json!({"config_path": "p/single.json", "labels_path": "p/labels.v1.slp", "run_name": "x"});
        assert_eq!(serde_json::to_value(&step.values).expect("JSON"), values);
        let newer = train("sleap-train --config-name a.yaml", "p").expect("a script");
        assert_eq!(newer.steps[0].1.template, "train");
    }

    #[test]
    fn a_tracking_of_several_models_is_one_step() {
        let text = "#!/bin/bash\n# Auto-generated\n\nsleap-nn track \\\n  --data_path data.slp \\\n  \
            --only_suggested_frames \\\n  --model_paths models/centroid \\\n  --model_paths models/ci/ \\\n  \
            -o out.predictions.slp\n";
        let script = track(text, "p/d").expect("a script");
        let (name, step) = &script.steps[0];
        assert_eq!((name.as_str(), step.template.as_str()), ("inference", "track"));
        let values = json!({
            "data_path": "p/d/data.slp", "model_paths": ["p/d/models/centroid", "p/d/models/ci"],
            "only_suggested_frames": true, "output_path": "p/d/out.predictions.slp",
        });
        assert_eq!(serde_json::to_value(&step.values).expect("JSON"), values);
    }

    #[test]
    fn what_no_template_has_a_place_for_is_refused_line_by_line() {
        for (text, words) in [
            ("sleap-nn train --config-name a.yaml; rm -rf /", "needs a shell"),
            ("sleap-nn train --config-name a.yaml && reboot", "needs a shell"),
            ("sleap-nn train --config-name $(cat /etc/passwd)", "needs a shell"),
            ("sleap-nn train --config-name a.yaml > /etc/cron.d/x", "needs a shell"),
            ("sleap-nn train --config-name a.yaml trainer_config.profiler=x", "no place for it"),
            ("sleap-nn train --config-name a.yaml --multirun", "no place for it"),
            ("sleap-nn train --config-name a.yaml --config-dir /etc", "accepted is ."),
            ("sleap-nn train", "--config-name names"),
            ("sleap-nn train --config-name", "needs a value"),
            ("sleap-nn train --config-name 'a.yaml", "a quote without"),
            (
                "sleap-nn train --config-name a.yaml trainer_config.train_data_loader.batch_size=2 trainer_config.val_data_loader.batch_size=4",
                "given twice",
            ),
            ("sleap-train a.json", "a configuration and a labels file"),
            ("sleap-train a.json b.slp --tensorboard", "no place for it"),
            ("echo nothing", "no line of training"),
            ("", "no line of training"),
        ] {
            let problems = train(text, "p").expect_err(text).join("\n");
            assert!(problems.contains(words), "{text}: {problems}");
        }
        let many = "sleap-nn train --config-name a.yaml\n".repeat(17);
        assert!(train(&many, "p").expect_err("many")[0].contains("more than 16"));
        for (text, words) in [
            ("sleap-nn track --data_path a.slp", "--model_paths is needed"),
            ("sleap-nn track --model_paths m", "--data_path is needed"),
            ("sleap-nn track --data_path a --model_paths m --gui", "no place for it"),
            ("sleap-nn train --config-name a.yaml", "no line of tracking"),
        ] {
            let problems = track(text, "p").expect_err(text).join("\n");
            assert!(problems.contains(words), "{text}: {problems}");
        }
    }

    #[test]
    fn a_path_that_leads_out_of_the_package_is_left_to_be_refused() {
        let step = |text: &str| track(text, "p").expect("a script").steps.remove(0).1.values;
        let values = step("sleap-nn track --data_path ../../x.slp --model_paths /etc");
        assert_eq!(values["data_path"], "p/../../x.slp", "which is no name in the worker's files");
        assert_eq!(values["model_paths"][0], "/etc");
    }

    proptest! {
        #[test]
        fn no_script_does_harm(text in "(sleap-nn (train|track) )?[ -~\\n\\\\]{0,200}") {
            let _ = train(&text, "p");
            let _ = track(&text, "p");
        }
    }
}
