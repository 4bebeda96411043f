//! Is the trainer still there? Pure logic: reports and time in, remarks out.

use std::time::Duration;

use halyard_protocol::channel::TrainerReport;

/// What is noticed about a trainer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remark {
    /// The first thing that is heard of it is not its beginning: what came before is lost.
    Late,
    /// It began anew.
    Restarted,
    /// Nothing was heard for this long.
    Silent(Duration),
    /// It is heard again.
    HeardAgain,
}

impl Remark {
    /// The words for all of them.
    pub const CODES: [&str; 4] = ["late", "restarted", "silent", "heard_again"];

    /// Its word.
    pub fn code(&self) -> &'static str {
        let [late, restarted, silent, heard_again] = Self::CODES;
        match self {
            Self::Late => late,
            Self::Restarted => restarted,
            Self::Silent(_) => silent,
            Self::HeardAgain => heard_again,
        }
    }
}

/// Watches one trainer.
#[derive(Debug, Clone)]
pub struct Watch {
    silent_after: Duration,
    /// When something was heard last, or when the waiting began.
    heard_at: Duration,
    /// Something was heard at all.
    known: bool,
    silent: bool,
    epoch: Option<u64>,
    over: bool,
}

impl Watch {
    /// Waits from now on for a trainer that was never heard, and calls it silent after this long.
    pub fn new(silent_after: Duration, now: Duration) -> Self {
        let (known, silent, epoch, over) = (false, false, None, false);
        Self { silent_after, heard_at: now, known, silent, epoch, over }
    }

    /// Watches on over a trainer that somebody else heard: so many epochs were done.
    pub fn resumed(silent_after: Duration, now: Duration, epochs: Option<u64>) -> Self {
        let epoch = epochs.map(|epochs| epochs.saturating_sub(1));
        Self { known: true, epoch, ..Self::new(silent_after, now) }
    }

    /// A report came at this time.
    pub fn heard(&mut self, now: Duration, report: &TrainerReport) -> Option<Remark> {
        self.heard_at = now;
        let first = !std::mem::replace(&mut self.known, true);
        let was_silent = std::mem::take(&mut self.silent);
        let begins = report.event == "train_begin";
        let back = matches!((self.epoch, report.epoch), (Some(old), Some(new)) if new < old);
        let again = !first && (begins || back);
        if begins {
            self.epoch = None;
        }
        self.epoch = report.epoch.or(self.epoch);
        self.over = report.event == "train_end";
        match (first, again, was_silent) {
            (true, ..) => (!begins).then_some(Remark::Late),
            (_, true, _) => Some(Remark::Restarted),
            (_, _, true) => Some(Remark::HeardAgain),
            _ => None,
        }
    }

    /// Time has passed. Says silence once.
    pub fn look(&mut self, now: Duration) -> Option<Remark> {
        let since = now.saturating_sub(self.heard_at);
        if self.silent || self.over || since < self.silent_after {
            return None;
        }
        self.silent = true;
        Some(Remark::Silent(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(event: &str, epoch: Option<u64>) -> TrainerReport {
        TrainerReport {
            event: event.into(),
            epoch,
            batch: None,
            logs: std::collections::BTreeMap::default(),
        }
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_trainer_that_does_as_expected_is_not_remarked_on() {
        let mut watch = Watch::new(at(60), at(470));
        assert_eq!(watch.look(at(500)), None, "it loads data");
        assert_eq!(watch.heard(at(501), &report("train_begin", None)), None);
        assert_eq!(watch.heard(at(510), &report("epoch_begin", Some(0))), None);
        assert_eq!(watch.heard(at(520), &report("epoch_end", Some(0))), None);
        assert_eq!(watch.heard(at(530), &report("epoch_begin", Some(1))), None);
        assert_eq!(watch.heard(at(540), &report("train_end", None)), None);
        assert_eq!(watch.look(at(5000)), None, "it saves its model");
    }

    #[test]
    fn silence_is_said_once_and_its_end_too() {
        let mut watch = Watch::new(at(60), at(0));
        watch.heard(at(0), &report("train_begin", None));
        assert_eq!(watch.look(at(59)), None);
        assert_eq!(watch.look(at(61)), Some(Remark::Silent(at(61))));
        assert_eq!(watch.look(at(62)), None);
        assert_eq!(watch.heard(at(70), &report("batch_end", Some(0))), Some(Remark::HeardAgain));
        assert_eq!(watch.look(at(131)), Some(Remark::Silent(at(61))));
    }

    #[test]
    fn a_trainer_that_never_says_a_word_is_silent_too() {
        let mut watch = Watch::new(at(60), at(100));
        assert_eq!(watch.look(at(159)), None);
        assert_eq!(watch.look(at(160)), Some(Remark::Silent(at(60))));
        assert_eq!(watch.heard(at(170), &report("train_begin", None)), None, "it was only slow");
    }

    #[test]
    fn a_trainer_that_was_taken_up_goes_on_or_began_anew_meanwhile() {
        let mut watch = Watch::resumed(at(60), at(0), Some(5));
        assert_eq!(watch.heard(at(1), &report("epoch_end", Some(7))), None, "not late");
        let mut watch = Watch::resumed(at(60), at(0), Some(5));
        assert_eq!(watch.heard(at(1), &report("epoch_end", Some(2))), Some(Remark::Restarted));
    }

    #[test]
    fn a_late_beginning_and_a_restart_are_noticed() {
        let mut watch = Watch::new(at(60), at(0));
        assert_eq!(watch.heard(at(0), &report("epoch_end", Some(4))), Some(Remark::Late));
        assert_eq!(watch.heard(at(1), &report("epoch_begin", Some(0))), Some(Remark::Restarted));
        assert_eq!(watch.heard(at(2), &report("epoch_end", Some(0))), None);
        assert_eq!(watch.heard(at(3), &report("train_begin", None)), Some(Remark::Restarted));
        assert_eq!(watch.heard(at(4), &report("epoch_begin", Some(0))), None);
    }
}
