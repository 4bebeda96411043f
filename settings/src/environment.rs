//! What stood in the environment.

use std::collections::BTreeMap;

use crate::{Found, Keys, Place, SettingError, Shape, key::nearest};

/// What the programs know beside their keys, and keys that several have: all may stand in one
/// environment.
const SHARED: [&str; 8] = [
    "HALYARD_CONFIG",
    "HALYARD_LOG",
    "HALYARD_LOG_FORMAT",
    "HALYARD_SERVER",
    "HALYARD_ROOM",
    "HALYARD_TOKEN",
    "HALYARD_TOKEN_FILE",
    "HALYARD_CA_FILE",
];

/// What counts of the environment, by key.
pub(crate) fn found(
    keys: Keys,
    variables: &BTreeMap<String, String>,
) -> Result<BTreeMap<&'static str, Found>, SettingError> {
    let mut all = BTreeMap::new();
    let mut known: Vec<String> = SHARED.iter().map(|&name| name.to_owned()).collect();
    for key in keys.iter().filter(|key| key.shape != Shape::Tables) {
        let name = key.variable();
        let typed = variables.get(&name);
        let found = |text: &String| Found::text(key, text, Place::Variable(name.clone()));
        let mut one = typed.map(found);
        if key.shape == Shape::Secret {
            let file = format!("{name}_FILE");
            if let Some(path) = variables.get(&file) {
                if one.is_some() {
                    return Err(SettingError::Twice { one: name, other: file });
                }
                one = Some(Found::in_file(path, Place::Variable(file.clone())));
            }
            known.push(file);
        }
        all.extend(one.map(|one| (key.name, one)));
        known.push(name);
    }
    // Other programs have variables of their own, so only what looks mistyped stops the start: one
    // letter, because two are between the servers of STUN and of TURN.
    let ours = variables.keys().filter(|name| name.starts_with("HALYARD_"));
    for name in ours.filter(|name| !known.contains(name)) {
        if let Some(word) = nearest(name, known.iter().map(String::as_str), 1) {
            let (name, nearest) = (name.clone(), word.to_owned());
            return Err(SettingError::UnknownVariable { name, nearest });
        }
    }
    Ok(all)
}
