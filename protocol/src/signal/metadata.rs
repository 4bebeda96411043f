//! What a peer says of itself, and how others find it.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Tags and properties that a peer publishes in its room, for example `gpu_memory_mb` or `status`.
///
/// Fields that this version does not know are kept and passed on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    /// Words to be found by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// Named values to be found by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub properties: Option<Map<String, Value>>,
    /// Anything else.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// What existing peers are found by.
pub const EXISTING_TAG: &str = "sleap-rtc";

/// What a worker of ours is found by.
pub const WORKER_TAG: &str = "halyard-worker";

impl Metadata {
    /// A peer that speaks the original's words and not ours. One of ours may speak both, and then
    /// has both tags.
    pub fn is_existing(&self) -> bool {
        let has = |tag| self.tags.as_ref().is_some_and(|tags| tags.iter().any(|own| own == tag));
        has(EXISTING_TAG) && !has(WORKER_TAG)
    }

    /// Takes over what `update` says and keeps the rest: tags are united, properties merged by
    /// name. (The original dropped all tags when an update had none; that was a defect.)
    pub fn merge(&mut self, update: Self) {
        if let Some(tags) = update.tags {
            let own = self.tags.get_or_insert_default();
            // A set, because an update may be as large as a frame.
            let mut known: HashSet<String> = own.iter().cloned().collect();
            own.extend(tags.into_iter().filter(|tag| known.insert(tag.clone())));
        }
        if let Some(properties) = update.properties {
            self.properties.get_or_insert_default().extend(properties);
        }
        self.extra.extend(update.extra);
    }
}

/// Whom `discover_peers` looks for. Every part that is given must match.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Filters {
    /// The peer's role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Any of these tags.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// All of these properties: a plain value must be equal; `{"$gte": n}`, `{"$lte": n}` and
    /// `{"$eq": v}` compare. A missing property is `null`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub properties: Option<Map<String, Value>>,
}

impl Filters {
    /// Whether a peer of this role and metadata is meant.
    pub fn matches(&self, role: &str, metadata: &Metadata) -> bool {
        self.role.as_deref().is_none_or(|wanted| wanted == role)
            && self.tags.as_ref().is_none_or(|wanted| {
                let own = metadata.tags.as_deref().unwrap_or_default();
                wanted.is_empty() || wanted.iter().any(|tag| own.contains(tag))
            })
            && self.properties.as_ref().is_none_or(|wanted| {
                wanted.iter().all(|(name, wanted)| {
                    let own = metadata.properties.as_ref().and_then(|p| p.get(name));
                    property_matches(wanted, own.unwrap_or(&Value::Null))
                })
            })
    }
}

fn property_matches(wanted: &Value, own: &Value) -> bool {
    let Value::Object(operators) = wanted else {
        return wanted == own;
    };
    operators.iter().all(|(operator, operand)| match operator.as_str() {
        "$eq" => operand == own,
        "$gte" => numbers(own, operand).is_some_and(|(own, operand)| own >= operand),
        "$lte" => numbers(own, operand).is_some_and(|(own, operand)| own <= operand),
        _ => false,
    })
}

fn numbers(own: &Value, operand: &Value) -> Option<(f64, f64)> {
    Some((own.as_f64()?, operand.as_f64()?))
}
