//! How often each rule did something.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Rule;

/// Counted since the worker started. What is told to people only once a second is counted every
/// time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    trips: [u64; Rule::ALL.len()],
    refusals: [u64; Rule::ALL.len()],
    clamps: [u64; Rule::ALL.len()],
    /// How often the lease changed hands.
    pub lease_changes: u64,
}

impl Counts {
    pub(super) fn trip(&mut self, rule: Rule) {
        self.trips[rule as usize] += 1;
    }

    pub(super) fn refusal(&mut self, rule: Rule) {
        self.refusals[rule as usize] += 1;
    }

    pub(super) fn clamp(&mut self, rule: Rule) {
        self.clamps[rule as usize] += 1;
    }

    /// How often this rule stopped the machine.
    pub fn trips(&self, rule: Rule) -> u64 {
        self.trips[rule as usize]
    }

    /// How often something was not followed by this rule.
    pub fn refusals(&self, rule: Rule) -> u64 {
        self.refusals[rule as usize]
    }

    /// How often the machine began to do less than asked by this rule.
    pub fn clamps(&self, rule: Rule) -> u64 {
        self.clamps[rule as usize]
    }
}

/// By the rules' names, those that did something.
impl Serialize for Counts {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Told {
            trips: BTreeMap<&'static str, u64>,
            refusals: BTreeMap<&'static str, u64>,
            clamps: BTreeMap<&'static str, u64>,
            lease_changes: u64,
        }
        let named = |counts: &[u64]| {
            let pairs = Rule::ALL.iter().map(|rule| rule.as_str()).zip(counts.iter().copied());
            pairs.filter(|(_, count)| *count > 0).collect()
        };
        Told {
            trips: named(&self.trips),
            refusals: named(&self.refusals),
            clamps: named(&self.clamps),
            lease_changes: self.lease_changes,
        }
        .serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_stand_in_the_order_of_their_numbers() {
        for (at, rule) in Rule::ALL.iter().enumerate() {
            assert_eq!(*rule as usize, at);
        }
    }

    #[test]
    fn counts_are_told_by_name() {
        let mut counts = Counts::default();
        counts.trip(Rule::Watchdog);
        counts.refusal(Rule::Stale);
        counts.refusal(Rule::Stale);
        assert_eq!(
            serde_json::to_value(counts).expect("JSON"),
            serde_json::json!({
                "trips": {"watchdog": 1}, "refusals": {"stale": 2}, "clamps": {},
                "lease_changes": 0,
            })
        );
    }
}
