//! What was typed, and the command line's part of it.

use std::{collections::BTreeMap, path::PathBuf};

use clap::{Arg, ArgAction, ArgMatches};

use crate::{Key, Keys, Shape};

/// What was typed, in every place. It may hold secrets, so it cannot be printed.
#[derive(Default)]
pub struct Typed {
    /// Key to value, from the command line. A flag that is repeated has one value a line.
    pub flags: BTreeMap<&'static str, String>,
    /// The whole environment.
    pub variables: BTreeMap<String, String>,
    /// The configuration file that `--config` names; else `HALYARD_CONFIG` does.
    pub file: Option<PathBuf>,
}

impl Typed {
    /// What `clap` found for [`args`] and [`config_arg`], and this process's environment.
    pub fn new(keys: Keys, matches: &ArgMatches) -> Self {
        let flags = keys.iter().filter_map(|key| Some((key.name, flag(key, matches)?))).collect();
        let file = matches.try_get_one::<PathBuf>("config").ok().flatten().cloned();
        Self { flags, variables: Self::environment(), file }
    }

    /// This process's environment. What is no text is nothing that we know.
    pub fn environment() -> BTreeMap<String, String> {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect()
    }
}

/// A key's flag; none where the command does not have it.
fn flag(key: &Key, matches: &ArgMatches) -> Option<String> {
    if key.shape == Shape::Switch {
        let on = matches.try_get_one::<bool>(key.name).ok()??;
        return on.then(|| on.to_string());
    }
    let all = matches.try_get_many::<String>(key.name).ok()??;
    Some(all.map(String::as_str).collect::<Vec<_>>().join("\n"))
}

/// One flag for every key that is typed as one.
pub fn args(keys: &'static [Key]) -> impl Iterator<Item = Arg> {
    keys.iter().filter(|key| key.shape != Shape::Tables).map(|key| {
        let arg = Arg::new(key.name).long(key.flag());
        let arg = match key.shape {
            Shape::Switch => arg.action(ArgAction::SetTrue),
            Shape::Many => arg.value_name("VALUE,…"),
            Shape::Lines => arg.value_name("NAME=VALUE").action(ArgAction::Append),
            Shape::Secret => arg.value_name("SECRET"),
            Shape::One | Shape::Tables => arg.value_name("VALUE"),
        };
        arg.help(format!("{} [env: {}]", key.help, key.variable()))
    })
}

/// The flag that names the configuration file.
pub fn config_arg() -> Arg {
    Arg::new("config")
        .long("config")
        .value_name("FILE")
        .value_parser(clap::value_parser!(PathBuf))
        .help("A TOML file with the same keys [env: HALYARD_CONFIG]")
}
