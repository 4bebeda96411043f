//! What happened at the gate, with the name of the rule that made it happen.

use std::fmt;

use halyard_protocol::{
    channel::{Notice, Severity},
    ids::PeerId,
};

use serde::Serialize;

use super::Velocity;

/// The `code` of the notice that somebody else drives now. (`CONTROL_LEASE` says the same to
/// programs.)
pub const LEASE_CHANGED: &str = "lease_changed";

/// A rule of the gate. Its word is the `code` of the notice and stands in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rule {
    /// Only the lease's holder drives, under its present number.
    Lease,
    /// Repeated messages, and those that came out of order, are not followed.
    Sequence,
    /// Messages that were said about a state of long ago are not followed.
    Stale,
    /// Speeds are numbers.
    NotFinite,
    /// Silence stops the machine.
    Watchdog,
    /// Without a hand on the controls the machine stops, and after every stop the hand has to come
    /// off first.
    DeadMan,
    /// Who sees an old picture, or none, does not drive.
    Picture,
    /// What speaks to the machine has to be there.
    Driver,
    /// More than the machine can do is cut to what it can.
    Limits,
    /// Speed changes take their time.
    Slew,
    /// While the e-stop is latched nothing moves.
    Estop,
}

impl Rule {
    /// All of them, in their order.
    pub const ALL: [Self; 11] = [
        Self::Lease,
        Self::Sequence,
        Self::Stale,
        Self::NotFinite,
        Self::Watchdog,
        Self::DeadMan,
        Self::Picture,
        Self::Driver,
        Self::Limits,
        Self::Slew,
        Self::Estop,
    ];

    /// The word on the wire and in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lease => "lease",
            Self::Sequence => "sequence",
            Self::Stale => "stale",
            Self::NotFinite => "not_finite",
            Self::Watchdog => "watchdog",
            Self::DeadMan => "dead_man",
            Self::Picture => "picture",
            Self::Driver => "driver",
            Self::Limits => "limits",
            Self::Slew => "slew",
            Self::Estop => "estop",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// By its word.
impl Serialize for Rule {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// How the lease came to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaseChange {
    /// Nobody drove, somebody asked.
    Granted,
    /// The driver is done.
    Released,
    /// The room's owner took over.
    Taken,
    /// The driver is gone.
    Lost,
}

/// Something that people or the log should know.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Somebody else drives now, or nobody.
    Lease {
        /// Who.
        holder: Option<PeerId>,
        /// The new number.
        number: u64,
        /// How it came.
        change: LeaseChange,
    },
    /// The e-stop latched or was cleared.
    Estop {
        /// Which.
        latched: bool,
        /// By whom.
        by: PeerId,
    },
    /// A peer asked for something it does not get.
    Refused {
        /// Who.
        peer: PeerId,
        /// By which rule.
        rule: Rule,
        /// Why, and what to do.
        message: String,
    },
    /// The machine is being stopped although its driver did not ask for it.
    Tripped {
        /// By which rule.
        rule: Rule,
        /// Who drove.
        driver: PeerId,
        /// What was wrong.
        why: String,
    },
    /// The controls were let go after a stop, and what caused it is over: it may move again.
    Ready {
        /// What had stopped it.
        rule: Rule,
        /// Who drives.
        driver: PeerId,
    },
    /// The machine does less than asked. Told once, when it begins.
    Limited {
        /// By which rule.
        rule: Rule,
        /// What was asked for.
        requested: Velocity,
        /// What is done.
        applied: Velocity,
    },
}

impl Event {
    /// The rule behind it.
    pub fn rule(&self) -> Rule {
        match self {
            Self::Lease { .. } => Rule::Lease,
            Self::Estop { .. } => Rule::Estop,
            Self::Refused { rule, .. }
            | Self::Tripped { rule, .. }
            | Self::Ready { rule, .. }
            | Self::Limited { rule, .. } => *rule,
        }
    }

    /// The one peer that it concerns; `None` means everybody.
    pub fn concerns(&self) -> Option<&PeerId> {
        match self {
            Self::Refused { peer, .. } => Some(peer),
            _ => None,
        }
    }

    /// What people are told. `None` for what is normal in every start (slew, ready) and goes to the
    /// log alone.
    pub fn notice(&self) -> Option<Notice> {
        let (severity, message) = match self {
            Self::Lease { holder, change, .. } => {
                (Severity::Info, lease_words(holder.as_ref(), *change))
            }
            Self::Estop { latched: true, by } => (
                Severity::Error,
                format!("emergency stop, pressed by {by}; an operator can clear it"),
            ),
            Self::Estop { latched: false, by } => (
                Severity::Warning,
                format!("the emergency stop was cleared by {by}; the machine may move again"),
            ),
            Self::Refused { message, .. } => (Severity::Warning, message.clone()),
            Self::Tripped { why, .. } => (
                Severity::Warning,
                format!("stopped: {why}; to go on, let go of the controls and press again"),
            ),
            Self::Ready { .. } | Self::Limited { rule: Rule::Slew, .. } => return None,
            Self::Limited { rule, requested, applied } => (
                Severity::Info,
                format!(
                    "asked for {:.2} m/s and {:.2} rad/s, doing {:.2} m/s and {:.2} rad/s (rule {rule})",
                    requested.linear, requested.angular, applied.linear, applied.angular
                ),
            ),
        };
        // A program that asked for the lease reads `lease` as its refusal.
        let code = match self {
            Self::Lease { .. } => LEASE_CHANGED,
            _ => self.rule().as_str(),
        };
        Some(Notice::new(severity, code, message))
    }
}

fn lease_words(holder: Option<&PeerId>, change: LeaseChange) -> String {
    match (holder, change) {
        (Some(holder), LeaseChange::Taken) => format!("{holder} took over and drives now"),
        (Some(holder), _) => format!("{holder} drives now"),
        (None, LeaseChange::Lost) => "the driver is gone; the machine stops, nobody drives".into(),
        (None, _) => "nobody drives now".into(),
    }
}
