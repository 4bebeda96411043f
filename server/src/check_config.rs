//! `halyard-server check-config`: what the configuration means, where each part of it was typed, and
//! with `--connect` whether what it names is there.

use std::{collections::BTreeMap, fmt::Write as _, io::Write as _, process::ExitCode};

use halyard_server::{
    Settings,
    check::{self, Outcome, Tried},
};
use halyard_settings::{Place, SettingError};
use serde_json::{Value, json};

use crate::{DEFAULT_ADMIN, EXIT_CONFIGURATION};

/// Something that the configuration names is not there.
const EXIT_UNREACHABLE: u8 = 3;

type Read = Result<(Settings, BTreeMap<&'static str, Place>), SettingError>;

/// Checks and reports.
pub(crate) fn run(read: Read, connect: bool, as_json: bool) -> ExitCode {
    let (mut settings, places) = match read {
        Ok(read) => read,
        Err(error) if as_json => {
            say(&format!("{}\n", json!({ "ok": false, "error": error.to_string() })));
            return ExitCode::from(EXIT_CONFIGURATION);
        }
        Err(error) => return crate::refused(&error),
    };
    let admin_was_typed = places.contains_key("admin_listen");
    // A start does without it where it is taken, so it is shown and not tried.
    let shown = if admin_was_typed {
        settings.clone()
    } else {
        Settings { admin_listen: Some(DEFAULT_ADMIN), ..settings.clone() }
    };
    if !admin_was_typed {
        settings.admin_listen = None;
    }
    let tried = if connect { try_it(&settings) } else { Ok(Vec::new()) };
    let tried = match tried {
        Ok(tried) => tried,
        Err(error) => return crate::refused(&error),
    };
    let good = !tried.iter().any(|tried| matches!(tried.outcome, Outcome::Failed(_)));
    if as_json {
        say(&format!("{}\n", report(&shown, &places, &tried, good)));
    } else {
        say(&table(&shown, &places, &tried, good));
    }
    if good { ExitCode::SUCCESS } else { ExitCode::from(EXIT_UNREACHABLE) }
}

fn try_it(settings: &Settings) -> std::io::Result<Vec<Tried>> {
    Ok(tokio::runtime::Runtime::new()?.block_on(check::connect(settings)))
}

fn report(
    settings: &Settings,
    places: &BTreeMap<&'static str, Place>,
    tried: &[Tried],
    good: bool,
) -> Value {
    let settings: Vec<Value> = settings
        .effective()
        .map(|(key, value)| {
            let from = places.get(key).map(ToString::to_string);
            json!({ "key": key, "value": value, "from": from })
        })
        .collect();
    let tried: Vec<Value> = tried
        .iter()
        .map(|tried| {
            let (ok, warning, error) = match &tried.outcome {
                Outcome::Good => (true, None, None),
                Outcome::Warning(why) => (true, Some(why), None),
                Outcome::Failed(why) => (false, None, Some(why)),
            };
            json!({ "what": tried.what, "ok": ok, "warning": warning, "error": error })
        })
        .collect();
    json!({ "ok": good, "settings": settings, "checks": tried })
}

fn table(
    settings: &Settings,
    places: &BTreeMap<&'static str, Place>,
    tried: &[Tried],
    good: bool,
) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ =
        writeln!(out, "the configuration is {}", if good { "good" } else { "understood, but:" });
    for tried in tried {
        let _ = match &tried.outcome {
            Outcome::Good => writeln!(out, "  ok      {}", tried.what),
            Outcome::Warning(why) => writeln!(out, "  WARNING {}, but {why}", tried.what),
            Outcome::Failed(why) => writeln!(out, "  FAILED  {}: {why}", tried.what),
        };
    }
    let rows: Vec<_> = settings.effective().collect();
    let key_width = rows.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
    let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    let value_width = rows.iter().map(|(_, value)| shown(value).len()).max().unwrap_or(0).min(48);
    for (key, value) in &rows {
        let from = places.get(key).map_or_else(|| "default".to_owned(), ToString::to_string);
        let _ = writeln!(out, "{key:key_width$}  {:value_width$}  {from}", shown(value));
    }
    out
}

/// To who reads it; a reader that has seen enough and left is none of our business.
fn say(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}
