//! Which of a room's workers is meant. Pure.

use std::{cmp::Ordering, fmt, str::FromStr};

use halyard_protocol::{
    ids::PeerId,
    signal::{Metadata, PeerInfo},
};
use serde_json::Value;

/// Which worker a session wants. The default is the first one in the room.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// This one and no other.
    pub worker: Option<PeerId>,
    /// Only workers whose metadata fit all of these.
    pub conditions: Vec<Condition>,
    /// The least busy of those that fit, instead of the first.
    pub least_busy: bool,
}

/// One condition on what a worker says of itself: `gpu_memory_mb>=8000`, `status=available`.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    name: String,
    operator: Operator,
    value: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    AtLeast,
    AtMost,
    NotEqual,
    More,
    Less,
    Equal,
}

/// Longer ones first, so that `>=` is not read as `>`.
const OPERATORS: [(&str, Operator); 6] = [
    (">=", Operator::AtLeast),
    ("<=", Operator::AtMost),
    ("!=", Operator::NotEqual),
    (">", Operator::More),
    ("<", Operator::Less),
    ("=", Operator::Equal),
];

/// What was typed is no condition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no condition: write NAME>=NUMBER (or <=, >, <) or NAME=WORD (or !=), for example \
     'gpu_memory_mb>=8000' or status=available"
)]
pub struct BadCondition(String);

impl FromStr for Condition {
    type Err = BadCondition;

    fn from_str(text: &str) -> Result<Self, BadCondition> {
        let bad = || BadCondition(text.to_owned());
        let (at, sign, operator) = OPERATORS
            .iter()
            .filter_map(|(sign, operator)| Some((text.find(sign)?, *sign, *operator)))
            // The first sign in the text; of two that begin there the longer one.
            .reduce(|first, other| if other.0 < first.0 { other } else { first })
            .ok_or_else(bad)?;
        let (name, value) = (text[..at].trim(), text[at + sign.len()..].trim());
        let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
        let compares = matches!(
            operator,
            Operator::AtLeast | Operator::AtMost | Operator::More | Operator::Less
        );
        if name.is_empty() || !name.chars().all(is_word) || value.is_empty() {
            return Err(bad());
        }
        if compares && value.parse::<f64>().is_ok_and(f64::is_finite).then_some(()).is_none() {
            return Err(bad());
        }
        Ok(Self { name: name.to_owned(), operator, value: value.to_owned() })
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = OPERATORS.iter().find(|(_, known)| *known == self.operator);
        write!(f, "{}{}{}", self.name, sign.map_or("", |(sign, _)| sign), self.value)
    }
}

impl Condition {
    /// Whether a peer says so of itself. `tag` asks for one of its tags; what it does not say fits
    /// `!=` alone.
    pub fn fits(&self, metadata: &Metadata) -> bool {
        if self.name == "tag" {
            let has = metadata.tags.iter().flatten().any(|tag| *tag == self.value);
            return match self.operator {
                Operator::Equal => has,
                Operator::NotEqual => !has,
                _ => false,
            };
        }
        let own = property(metadata, &self.name);
        let order = own.and_then(|own| compare(own, &self.value));
        match self.operator {
            Operator::Equal => order == Some(Ordering::Equal),
            Operator::NotEqual => order != Some(Ordering::Equal),
            Operator::AtLeast => order.is_some_and(Ordering::is_ge),
            Operator::AtMost => order.is_some_and(Ordering::is_le),
            Operator::More => order.is_some_and(Ordering::is_gt),
            Operator::Less => order.is_some_and(Ordering::is_lt),
        }
    }

    /// What the peer says instead, for people.
    fn instead(&self, metadata: &Metadata) -> String {
        match property(metadata, &self.name) {
            Some(Value::String(text)) => format!("{}={text}", self.name),
            Some(value) => format!("{}={value}", self.name),
            None => format!("no {}", self.name),
        }
    }
}

fn property<'a>(metadata: &'a Metadata, name: &str) -> Option<&'a Value> {
    metadata.properties.as_ref()?.get(name).filter(|value| !value.is_null())
}

/// Numbers in their order; of anything else only whether it is the same.
fn compare(own: &Value, wanted: &str) -> Option<Ordering> {
    let own = match own {
        Value::String(own) => own.clone(),
        other => other.to_string(),
    };
    match (own.parse::<f64>(), wanted.parse::<f64>()) {
        (Ok(own), Ok(wanted)) => own.partial_cmp(&wanted),
        _ => (own == wanted).then_some(Ordering::Equal),
    }
}

impl Choice {
    /// Whether this peer, known to be a worker, is one of those that are meant.
    pub(super) fn fits(&self, peer: &PeerInfo) -> bool {
        self.conditions.iter().all(|condition| condition.fits(&peer.metadata))
    }

    /// The one of these that is meant.
    pub(super) fn of<'a>(
        &self,
        fitting: impl Iterator<Item = &'a PeerInfo>,
    ) -> Option<&'a PeerInfo> {
        let mut fitting = fitting;
        if !self.least_busy {
            return fitting.next();
        }
        // Of equals the first: it is here the longest.
        fitting.reduce(|best, other| {
            match busy(&other.metadata).partial_cmp(&busy(&best.metadata)) {
                Some(Ordering::Less) => other,
                _ => best,
            }
        })
    }

    /// What is wanted, and what the workers that are here say instead, for people.
    pub(super) fn unmet<'a>(&self, workers: impl Iterator<Item = &'a PeerInfo>) -> Option<String> {
        let wanted: Vec<_> = self.conditions.iter().map(ToString::to_string).collect();
        if wanted.is_empty() {
            return None;
        }
        let here: Vec<_> = workers
            .take(MOST_NAMED)
            .map(|worker| {
                let instead = self.conditions.iter().filter(|c| !c.fits(&worker.metadata));
                let instead: Vec<_> = instead.map(|c| c.instead(&worker.metadata)).collect();
                format!("{} ({})", worker.peer_id, instead.join(", "))
            })
            .collect();
        let here = if here.is_empty() { "none".to_owned() } else { here.join(", ") };
        Some(format!("wanted is {}; workers here: {here}", wanted.join(" and ")))
    }
}

/// Workers that an error names.
const MOST_NAMED: usize = 5;

/// How busy a worker is: its status, its jobs, then its graphics cards or its processors.
fn busy(metadata: &Metadata) -> (u8, f64, f64) {
    let number = |name| property(metadata, name).and_then(Value::as_f64);
    let status = match property(metadata, "status").and_then(Value::as_str) {
        Some("available") => 0,
        Some("reserved") => 2,
        Some("busy") => 3,
        Some("maintenance") => 4,
        _ => 1,
    };
    let jobs = number("jobs_running").unwrap_or(0.0) + number("jobs_queued").unwrap_or(0.0);
    let load = number("gpu_utilization").or_else(|| number("cpu_load")).unwrap_or(0.0);
    (status, jobs, load)
}

#[cfg(test)]
mod tests {
    use halyard_protocol::access::{Access, PeerRole};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn worker(name: &str, properties: Value) -> PeerInfo {
        let Value::Object(properties) = properties else { panic!("an object") };
        PeerInfo {
            peer_id: PeerId::new(name).expect("a good name"),
            role: PeerRole::Worker,
            access: Access::Operator,
            metadata: Metadata {
                tags: Some(vec!["gpu".to_owned()]),
                properties: Some(properties),
                ..Metadata::default()
            },
            connected_at: 0.0,
            grant: None,
        }
    }

    fn fits(condition: &str, properties: Value) -> bool {
        let condition: Condition = condition.parse().expect("a condition");
        condition.fits(&worker("w", properties).metadata)
    }

    #[test]
    fn numbers_are_compared_as_numbers_and_words_as_words() {
        assert!(fits("gpu_memory_mb>=8000", json!({ "gpu_memory_mb": 24_000 })));
        assert!(!fits("gpu_memory_mb >= 8000", json!({ "gpu_memory_mb": 900 })));
        assert!(fits("gpu_memory_mb<8000", json!({ "gpu_memory_mb": 900 })));
        assert!(fits("cuda_version>=9.2", json!({ "cuda_version": "12.4" })));
        assert!(fits("status=available", json!({ "status": "available" })));
        assert!(fits("status!=busy", json!({ "status": "available" })));
        assert!(fits("files=true", json!({ "files": true })));
        assert!(fits("tag=gpu", json!({})) && !fits("tag=cpu", json!({})));
    }

    #[test]
    fn what_a_worker_does_not_say_fits_nothing_but_unequal() {
        assert!(!fits("gpu_memory_mb>=0", json!({})));
        assert!(!fits("gpu_memory_mb=0", json!({ "gpu_memory_mb": null })));
        assert!(fits("status!=busy", json!({})));
        assert!(!fits("gpu_memory_mb>=8000", json!({ "gpu_memory_mb": "plenty" })));
    }

    #[test]
    fn what_is_no_condition_says_what_one_looks_like() {
        for bad in ["", "gpu", ">=8", "gpu>=", "gpu>=many", "a b=c", "x<nan"] {
            let error = bad.parse::<Condition>().expect_err(bad).to_string();
            assert!(error.contains("gpu_memory_mb>=8000"), "{error}");
        }
    }

    #[test]
    fn the_least_busy_is_the_one_with_nothing_to_do_and_the_most_idle_card() {
        let workers = [
            worker("maintained", json!({ "status": "maintenance" })),
            worker("busy", json!({ "status": "busy", "jobs_running": 1 })),
            worker("warm", json!({ "status": "available", "gpu_utilization": 0.7 })),
            worker("idle", json!({ "status": "available", "gpu_utilization": 0.1 })),
            worker("silent", json!({})),
        ];
        let choice = Choice { least_busy: true, ..Choice::default() };
        let chosen = choice.of(workers.iter()).expect("one");
        assert_eq!(chosen.peer_id.as_str(), "idle");
        let first = Choice::default().of(workers.iter()).expect("one");
        assert_eq!(first.peer_id.as_str(), "maintained", "the first where nothing was wished for");
        assert_eq!(choice.of(workers[..2].iter()).expect("one").peer_id.as_str(), "busy");
    }

    #[test]
    fn who_finds_no_worker_hears_what_those_that_are_here_have() {
        let choice = Choice {
            conditions: vec!["gpu_memory_mb>=8000".parse().expect("a condition")],
            ..Choice::default()
        };
        let here = [worker("a", json!({ "gpu_memory_mb": 4096 })), worker("b", json!({}))];
        assert_eq!(
            choice.unmet(here.iter()).expect("words"),
            "wanted is gpu_memory_mb>=8000; workers here: a (gpu_memory_mb=4096), b (no gpu_memory_mb)"
        );
    }

    proptest! {
        #[test]
        fn conditions_read_as_they_are_written(
            name in "[a-z_]{1,12}", sign in "(>=|<=|>|<|=|!=)", value in -1e6..1e6_f64,
        ) {
            let text = format!("{name}{sign}{value}");
            let condition: Condition = text.parse().expect("a condition");
            prop_assert_eq!(condition.to_string(), text);
        }

        #[test]
        fn nothing_that_is_typed_or_told_breaks_it(text in ".{0,40}", own in ".{0,20}") {
            if let Ok(condition) = text.parse::<Condition>() {
                condition.fits(&worker("w", json!({ (condition.name.clone()): own })).metadata);
            }
        }
    }
}
