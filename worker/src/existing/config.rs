//! What a training configuration says of the data: the two paths that are checked before a job is
//! taken.

use serde::Deserialize;

/// More is no configuration.
pub(super) const MOST_BYTES: u64 = 1024 * 1024;

/// The part of a sleap-nn configuration that names data.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Config {
    #[serde(default)]
    data_config: Option<Data>,
}

#[derive(Debug, Default, Deserialize)]
struct Data {
    #[serde(default)]
    train_labels_path: Option<Paths>,
    #[serde(default)]
    val_labels_path: Option<Paths>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Paths {
    One(String),
    Several(Vec<Option<String>>),
    /// Not a path: the trainer will say so.
    Other(serde::de::IgnoredAny),
}

impl Config {
    /// Reads YAML. The error is for people.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let read: Result<Option<Self>, _> = serde_saphyr::from_str(text);
        match read {
            Ok(Some(config)) => Ok(config),
            Ok(None) => Err("Config file is not a valid YAML mapping".to_owned()),
            Err(error) => {
                let words = error.to_string();
                let line = words.lines().next().unwrap_or_default();
                Err(format!("Failed to parse config file: {line}"))
            }
        }
    }

    /// The paths of the labels, each with the name of its field.
    pub(super) fn labels(&self) -> Vec<(String, String)> {
        let data = self.data_config.as_ref();
        let train = data.and_then(|data| data.train_labels_path.as_ref());
        let val = data.and_then(|data| data.val_labels_path.as_ref());
        let mut labels = Vec::new();
        for (field, paths) in [("train_labels_path", train), ("val_labels_path", val)] {
            match paths {
                Some(Paths::One(path)) => labels.push((field.to_owned(), path.clone())),
                Some(Paths::Several(paths)) => {
                    for (at, path) in paths.iter().enumerate() {
                        labels.extend(path.clone().map(|path| (format!("{field}[{at}]"), path)));
                    }
                }
                Some(Paths::Other(_)) | None => {}
            }
        }
        labels
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_paths_of_labels_are_found_in_either_form() {
        let text = "data_config:\n  train_labels_path:\n  - a.slp\n  - null\n  - b.slp\n  val_labels_path: v.slp\nmodel_config: {backbone: unet}\n";
        let labels = Config::read(text).expect("a configuration").labels();
        let labels: Vec<_> = labels.iter().map(|(f, p)| (f.as_str(), p.as_str())).collect();
        let both = [
            ("train_labels_path[0]", "a.slp"),
            ("train_labels_path[2]", "b.slp"),
            ("val_labels_path", "v.slp"),
        ];
        assert_eq!(labels, both);
        assert!(Config::read("data_config: null").expect("fine").labels().is_empty());
        assert!(Config::read("trainer_config: {max_epochs: 3}").expect("fine").labels().is_empty());
    }

    #[test]
    fn what_is_no_configuration_is_refused_in_one_line() {
        for bad in ["a: [", "just words", "- a\n- b", "", "data_config: 5"] {
            let error = Config::read(bad).expect_err(bad);
            assert!(error.contains("onfig") && error.lines().count() == 1, "{bad}: {error}");
        }
    }

    #[test]
    fn a_bomb_is_refused() {
        let mut text = "a: &a [x,x,x,x,x,x,x,x,x]\n".to_owned();
        for (name, before) in ('b'..='z').zip('a'..='y') {
            let items = vec![format!("*{before}"); 9].join(",");
            text.extend([format!("{name}: &{name} [{items}]\n")]);
        }
        text.push_str("data_config: {train_labels_path: *z}\n");
        assert!(Config::read(&text).is_err());
    }

    proptest! {
        #[test]
        fn no_text_does_harm(text in "\\PC{0,200}") {
            let _ = Config::read(&text).map(|config| config.labels());
        }
    }
}
