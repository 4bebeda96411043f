//! What a trainer reports about itself: one JSON object for each step.
//!
//! Python writes bare `NaN`, `Infinity` and `-Infinity`, which are not JSON. They matter: a loss
//! that is not a number is what one watches a training for. So they are read here, and never by a
//! strict parser alone.

use std::collections::BTreeMap;

use serde_json::Value;

/// Values that one report may carry: what a trainer logs, many times over.
const MOST_LOGS: usize = 256;

/// One report of a trainer.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainerReport {
    /// `train_begin`, `epoch_begin`, `batch_start`, `batch_end`, `epoch_end`, `train_end`, or a
    /// word of a newer trainer.
    pub event: String,
    /// Which epoch, from 0.
    pub epoch: Option<u64>,
    /// Which batch of it.
    pub batch: Option<u64>,
    /// Losses and other figures by name, for example `train/loss`. May be NaN or infinite.
    pub logs: BTreeMap<String, f64>,
}

impl TrainerReport {
    /// Reads a report. `None` for what is no JSON object with an `event`.
    pub fn read(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(&quoted(text)).ok()?;
        let event = value.get("event")?.as_str()?.to_owned();
        let number = |name: &str| value.get(name).and_then(Value::as_u64);
        let logs = match value.get("logs") {
            Some(Value::Object(logs)) => logs
                .iter()
                .filter_map(|(name, value)| Some((name.clone(), figure(value)?)))
                .take(MOST_LOGS)
                .collect(),
            _ => BTreeMap::new(),
        };
        Some(Self { event, epoch: number("epoch"), batch: number("batch"), logs })
    }

    /// The training loss, under the names that trainers use.
    pub fn loss(&self) -> Option<f64> {
        ["train/loss", "loss"].iter().find_map(|name| self.logs.get(*name).copied())
    }

    /// The validation loss, under the names that trainers use.
    pub fn val_loss(&self) -> Option<f64> {
        ["val/loss", "val_loss"].iter().find_map(|name| self.logs.get(*name).copied())
    }
}

/// What a bare word becomes, so that a strict parser takes it: a text that no trainer logs.
const MARKS: [(&str, &str, f64); 3] = [
    ("-Infinity", "\"\\u0000-Infinity\"", f64::NEG_INFINITY),
    ("Infinity", "\"\\u0000Infinity\"", f64::INFINITY),
    ("NaN", "\"\\u0000NaN\"", f64::NAN),
];

fn figure(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => {
            let word = text.strip_prefix('\0')?;
            MARKS.iter().find(|(mark, ..)| *mark == word).map(|&(.., figure)| figure)
        }
        _ => None,
    }
}

/// The same with quotes around the bare words, outside of texts.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 32);
    let mut rest = text;
    let (mut in_text, mut escaped) = (false, false);
    'next: while let Some(c) = rest.chars().next() {
        if in_text {
            in_text = escaped || c != '"';
            escaped = !escaped && c == '\\';
        } else if c == '"' {
            in_text = true;
        } else {
            for (word, mark, _) in MARKS {
                if let Some(after) = rest.strip_prefix(word) {
                    quoted.push_str(mark);
                    rest = after;
                    continue 'next;
                }
            }
        }
        quoted.push(c);
        rest = &rest[c.len_utf8()..];
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_an_epoch_is_read() {
        let text = r#"{"what":"","event":"epoch_end","epoch":3,"logs":{"train/loss":0.25,"val/loss":1e-3}}"#;
        let report = TrainerReport::read(text).expect("a report");
        assert_eq!(
            (report.event.as_str(), report.epoch, report.batch),
            ("epoch_end", Some(3), None)
        );
        assert_eq!((report.loss(), report.val_loss()), (Some(0.25), Some(0.001)));
        let old = r#"{"event":"epoch_end","logs":{"loss":1,"val_loss":2}}"#;
        assert_eq!(TrainerReport::read(old).expect("a report").loss(), Some(1.0));
    }

    #[test]
    fn what_is_not_a_number_survives() {
        let text =
            r#"{"event":"batch_end","logs":{"loss":NaN,"a":-Infinity,"b":Infinity,"NaN":1}}"#;
        let report = TrainerReport::read(text).expect("a report");
        assert!(report.loss().expect("a loss").is_nan());
        assert_eq!(report.logs.get("a"), Some(&f64::NEG_INFINITY));
        assert_eq!(report.logs.get("b"), Some(&f64::INFINITY));
        assert_eq!(report.logs.get("NaN"), Some(&1.0), "a name is no figure");
    }

    #[test]
    fn words_inside_texts_stay_what_they_are() {
        let report = TrainerReport::read(r#"{"event":"a \" NaN \\","logs":null}"#).expect("fine");
        assert_eq!(report.event, "a \" NaN \\");
        assert_eq!(TrainerReport::read("NaN"), None);
        assert_eq!(TrainerReport::read("{\"event\":"), None);
        assert_eq!(TrainerReport::read(r#"{"epoch":1}"#), None);
        assert_eq!(TrainerReport::read("ä\u{1f600}\""), None);
    }
}
