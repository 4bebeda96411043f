//! The four lanes of a connection between two of our own ends.

use std::fmt;

/// A data channel with its own reliability. A peer that opens one channel of any other label is an
/// existing client: it says everything there (see [`legacy`](super::legacy)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lane {
    /// Reliable and ordered: commands and acknowledgements, leases, e-stop, transfer control.
    Control,
    /// Reliable and ordered: file bytes. Apart, so that a command never waits behind a file.
    Bulk,
    /// Unordered, never sent again: telemetry, latest wins.
    State,
    /// Unordered, never sent again: what the machine shall do right now.
    Drive,
}

impl Lane {
    /// In the order in which they are opened.
    pub const ALL: [Self; 4] = [Self::Control, Self::Bulk, Self::State, Self::Drive];

    /// The data channel's label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Bulk => "bulk",
            Self::State => "state",
            Self::Drive => "drive",
        }
    }

    /// The lane of a label, if it is one of ours.
    pub fn from_label(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|lane| lane.label() == label)
    }

    /// Whether lost messages are sent again and order is kept.
    pub fn is_reliable(self) -> bool {
        matches!(self, Self::Control | Self::Bulk)
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}
