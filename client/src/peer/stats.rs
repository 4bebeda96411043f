//! How a connection is doing.

use std::time::Duration;

/// A snapshot. What the connection does not know (yet) is `None` or 0.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PeerStats {
    /// Round trip on the selected path.
    pub rtt: Option<Duration>,
    /// Bytes sent on the selected path, headers included.
    pub bytes_sent: u64,
    /// Bytes received on the selected path, headers included.
    pub bytes_received: u64,
    /// The kinds of both addresses in use: local, then remote.
    pub path: Option<(CandidateKind, CandidateKind)>,
    /// Video: packets that the receiving end reported lost, since the start.
    pub packets_lost: u64,
    /// Video: lost packets of those expected in the latest report, 0 to 1.
    pub fraction_lost: Option<f64>,
    /// Bulk: bytes queued or unacknowledged.
    pub bulk_buffered: usize,
    /// How long ago the last packet came in.
    pub silent_for: Option<Duration>,
}

/// How an address was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CandidateKind {
    /// An interface's own: the direct path.
    Host,
    /// As a STUN server sees it: through a NAT.
    ServerReflexive,
    /// As the other end sees it: through a NAT.
    PeerReflexive,
    /// A TURN server's: everything goes through it.
    Relay,
}
