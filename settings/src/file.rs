//! What stood in the configuration file, and files that hold a secret.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    path::Path,
};

use toml::{Spanned, Value};

use crate::{
    Found, Key, Keys, Place, SettingError, Shape,
    key::nearest,
    values::{Raw, parts},
};

/// The longest file that is read. A configuration has some kilobytes, a secret a line; more is some
/// other file.
const MOST_BYTES: u64 = 1 << 20;

/// What counts of the file, by key.
pub(crate) fn found(
    keys: Keys,
    path: &Path,
    named_by: Place,
) -> Result<BTreeMap<&'static str, Found>, SettingError> {
    let text = read(path, named_by)?;
    let table: BTreeMap<Spanned<String>, Value> = toml::from_str(&text).map_err(|error| {
        SettingError::Toml { path: path.into(), message: message(&text, &error) }
    })?;
    let mut all = BTreeMap::new();
    for (name, value) in table {
        let line = line(&text, name.span().start);
        let name = name.into_inner();
        let (key, secret) = (keys.find(&name), keys.secret_of(&name));
        let in_line = !key.is_some_and(|key| matches!(key.shape, Shape::Lines | Shape::Tables));
        let place = Place::File { path: path.into(), line: in_line.then_some(line) };
        let (key, found) = match (key, secret) {
            (Some(key), _) => (key, one(key, &value).map(|raw| Found::new(raw, place.clone()))),
            (None, Some(secret)) => {
                (secret, value.as_str().map(|path| Found::in_file(path, place.clone())))
            }
            (None, None) => return Err(unknown(keys, name, place)),
        };
        let found = found.ok_or_else(|| SettingError::BadValue {
            key: key.name,
            value: key.shown(&value.to_string()),
            place: place.clone(),
            accepted: key.accepted,
        })?;
        if all.insert(key.name, found).is_some() {
            let other = format!("{}_file in {place}", key.name);
            return Err(SettingError::Twice { one: key.name.to_owned(), other });
        }
    }
    Ok(all)
}

/// The whole text of a file, where it is short enough to be meant.
pub(crate) fn read(path: &Path, named_by: Place) -> Result<String, SettingError> {
    let text = || {
        let mut text = String::new();
        let read = File::open(path)?.take(MOST_BYTES + 1).read_to_string(&mut text)?;
        if read as u64 > MOST_BYTES {
            return Err(io::Error::other("it is larger than 1 MiB"));
        }
        Ok(text)
    };
    text().map_err(|source| SettingError::File { path: path.into(), place: named_by, source })
}

/// Numbers and yes or no need no quotes.
fn one(key: &Key, value: &Value) -> Option<Raw> {
    let scalar = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Boolean(yes) => Some(yes.to_string()),
        _ => None,
    };
    match (key.shape, value) {
        (Shape::Tables | Shape::Lines, tables) => Some(Raw::Tables(tables.clone())),
        (Shape::Many, Value::Array(items)) => {
            items.iter().map(scalar).collect::<Option<_>>().map(Raw::Parts)
        }
        _ => scalar(value).map(|text| Raw::Parts(parts(key, &text))),
    }
}

fn unknown(keys: Keys, key: String, place: Place) -> SettingError {
    let instead = if let Some(word) = nearest(&key, keys.iter().map(|key| key.name), 2) {
        format!("did you mean {word:?}?")
    } else {
        let names: Vec<_> = keys.iter().map(|key| key.name).collect();
        format!("known are {}", names.join(", "))
    };
    SettingError::UnknownKey { key, place, instead }
}

/// Where and why, without the line itself: a secret may stand in it.
fn message(text: &str, error: &toml::de::Error) -> String {
    match error.span() {
        Some(span) => format!("line {}: {}", line(text, span.start), error.message()),
        None => error.message().to_owned(),
    }
}

/// The line of a byte, counted from 1.
fn line(text: &str, byte: usize) -> usize {
    1 + text.bytes().take(byte).filter(|&byte| byte == b'\n').count()
}
