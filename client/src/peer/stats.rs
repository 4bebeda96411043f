//! How a connection is doing.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use webrtc::peer_connection::{
    PeerConnection, RTCIceCandidate, RTCIceCandidateType, RTCStatsReportEntry, StatsSelector,
};

use super::{congestion::Estimate, shared::Shared};

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
    /// Video: packets that were sent again because the receiving end missed them.
    pub packets_repaired: u64,
    /// Video: how much the path carries.
    pub estimate: Estimate,
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

/// Reads a snapshot out of the library's report.
pub(super) async fn take(shared: &Shared, connection: &dyn PeerConnection) -> PeerStats {
    let report = connection.get_stats(Instant::now(), StatsSelector::None).await;
    let mut stats = PeerStats {
        bulk_buffered: shared.bulk.buffered().await,
        silent_for: shared.silent_for(),
        packets_repaired: shared.repaired.load(Ordering::Relaxed),
        estimate: *shared.estimate.borrow(),
        ..PeerStats::default()
    };
    let selected = report.iter().find_map(|entry| match entry {
        RTCStatsReportEntry::Transport(transport) => {
            Some(transport.selected_candidate_pair_id.as_str())
        }
        _ => None,
    });
    if let Some(RTCStatsReportEntry::IceCandidatePair(pair)) =
        selected.and_then(|id| report.get(id))
    {
        stats.rtt = (pair.current_round_trip_time > 0.0)
            .then(|| Duration::from_secs_f64(pair.current_round_trip_time));
        stats.bytes_sent = pair.bytes_sent;
        stats.bytes_received = pair.bytes_received;
        stats.path = path(connection, &pair.local_candidate_id, &pair.remote_candidate_id).await;
    }
    for entry in report.iter() {
        if let RTCStatsReportEntry::RemoteInboundRtp(remote) = entry {
            stats.packets_lost +=
                u64::try_from(remote.received_rtp_stream_stats.packets_lost).unwrap_or(0);
            stats.fraction_lost = Some(remote.fraction_lost);
        }
    }
    stats
}

/// The kinds of both candidates. The report leaves those out that came with a description.
async fn path(
    connection: &dyn PeerConnection,
    local: &str,
    remote: &str,
) -> Option<(CandidateKind, CandidateKind)> {
    let ice = connection.sctp().await?.transport().ice_transport();
    let find = |candidates: Vec<RTCIceCandidate>, id: &str| {
        candidates.iter().find(|candidate| candidate.id == id).and_then(|found| kind(found.typ))
    };
    let local = find(ice.get_local_candidates().await.ok()?, local);
    let remote = find(ice.get_remote_candidates().await.ok()?, remote);
    local.zip(remote)
}

fn kind(kind: RTCIceCandidateType) -> Option<CandidateKind> {
    Some(match kind {
        RTCIceCandidateType::Host => CandidateKind::Host,
        RTCIceCandidateType::Srflx => CandidateKind::ServerReflexive,
        RTCIceCandidateType::Prflx => CandidateKind::PeerReflexive,
        RTCIceCandidateType::Relay => CandidateKind::Relay,
        _ => return None,
    })
}
