//! Where media leaves: the last place before the wire.
//!
//! Numbers what leaves (transport-wide, or with its time of sending for viewers who only know that),
//! hears what the viewer says of it, and publishes what the [estimator](super::super::congestion)
//! makes of both.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, PoisonError, Weak},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use rtc::{
    interceptor::{Interceptor, Packet, StreamInfo, TaggedPacket, convert_twcc},
    rtcp::{
        self,
        payload_feedbacks::receiver_estimated_maximum_bitrate::ReceiverEstimatedMaximumBitrate,
        receiver_report::ReceiverReport, reception_report::ReceptionReport,
        sender_report::SenderReport, transport_feedbacks::transport_layer_cc::TransportLayerCc,
    },
    rtp::Header,
    sansio::Protocol,
    shared::{error::Error, marshal::MarshalSize},
};

use super::super::{
    congestion::{Ack, Estimator, Name},
    shared::Shared,
};

/// Transport-wide numbers (draft-holmer-rmcat-transport-wide-cc-extensions-01).
pub(super) const TRANSPORT_CC: &str =
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";

/// The time of sending, for viewers who estimate by themselves and answer with REMB.
pub(super) const ABS_SEND_TIME: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time";

/// What SRTP, UDP and IPv4 add to a packet.
const OVERHEAD: usize = 10 + 8 + 20;

/// How often silence is looked for.
const TICK: Duration = Duration::from_millis(200);

/// Numbers, listens, estimates.
pub(in super::super) struct Departures {
    shared: Weak<Shared>,
    estimator: Estimator,
    /// By source, those of repairs included.
    streams: HashMap<u32, Extensions>,
    tick: Option<Instant>,
    reads: VecDeque<TaggedPacket>,
    writes: VecDeque<TaggedPacket>,
}

/// The ids that were agreed for a stream.
#[derive(Debug, Clone, Copy)]
struct Extensions {
    transport_cc: Option<u8>,
    abs_send_time: Option<u8>,
}

impl Departures {
    pub(in super::super) fn new(shared: &Arc<Shared>) -> Self {
        Self {
            shared: Arc::downgrade(shared),
            estimator: Estimator::new(),
            streams: HashMap::new(),
            tick: None,
            reads: VecDeque::new(),
            writes: VecDeque::new(),
        }
    }

    fn mark(&mut self, now: Instant, header: &mut Header, bytes: usize) {
        let Some(stream) = self.streams.get(&header.ssrc) else { return };
        if let Some(id) = stream.transport_cc {
            let name = Name { ssrc: header.ssrc, sequence: header.sequence_number };
            let number = self.estimator.sent(now, bytes + OVERHEAD, name);
            // The id was checked.
            let _ = header.set_extension(id, Bytes::copy_from_slice(&number.to_be_bytes()));
            self.tick.get_or_insert(now + TICK);
        } else if let Some(id) = stream.abs_send_time {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let _ = header.set_extension(id, Bytes::copy_from_slice(&send_time(since)));
        }
    }

    /// Whether a report said anything about what leaves here.
    fn hear(&mut self, now: Instant, report: &dyn rtcp::Packet) -> bool {
        let report = report.as_any();
        if let Some(arrivals) = report.downcast_ref::<TransportLayerCc>() {
            let acks: Vec<_> = convert_twcc(arrivals)
                .into_iter()
                // Arrived, but nobody knows when: of no use.
                .filter(|ack| ack.arrived == ack.arrival.is_some())
                .map(|ack| Ack { number: ack.sequence_number, arrival: ack.arrival })
                .collect();
            let arrived = self.estimator.reported(now, &acks);
            if let Some(shared) = self.shared.upgrade() {
                shared.arrived.lock().unwrap_or_else(PoisonError::into_inner).extend(arrived);
            }
        } else if let Some(remb) = report.downcast_ref::<ReceiverEstimatedMaximumBitrate>() {
            self.estimator.receiver_estimate(f64::from(remb.bitrate));
        } else if let Some(report) = report.downcast_ref::<ReceiverReport>() {
            return self.hear_loss(now, &report.reports);
        } else if let Some(report) = report.downcast_ref::<SenderReport>() {
            return self.hear_loss(now, &report.reports);
        } else {
            return false;
        }
        true
    }

    fn hear_loss(&mut self, now: Instant, reports: &[ReceptionReport]) -> bool {
        let ours = reports.iter().filter(|report| self.streams.contains_key(&report.ssrc));
        let Some(worst) = ours.map(|report| report.fraction_lost).max() else { return false };
        self.estimator.receiver_report(now, f64::from(worst) / 256.0, None);
        true
    }

    fn publish(&self) {
        let Some(shared) = self.shared.upgrade() else { return };
        let estimate = self.estimator.estimate();
        shared.estimate.send_if_modified(|old| {
            let is_new = *old != estimate;
            *old = estimate;
            is_new
        });
    }
}

/// Seconds as 24 bits with 18 behind the point, wrapping every 64 seconds.
fn send_time(since: Duration) -> [u8; 3] {
    let seconds = since.as_secs() % 64;
    let fraction = (u64::from(since.subsec_nanos()) << 18) / 1_000_000_000;
    let [.., a, b, c] = (seconds << 18 | fraction).to_be_bytes();
    [a, b, c]
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Departures {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtcp(reports) = &packet.message.packet {
            let mut has_news = false;
            for report in reports {
                has_news |= self.hear(packet.now, &**report);
            }
            if has_news {
                self.publish();
            }
        }
        self.reads.push_back(packet);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.reads.pop_front()
    }

    fn handle_write(&mut self, mut packet: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtp(rtp) = &mut packet.message.packet {
            let bytes = rtp.marshal_size();
            self.mark(packet.now, &mut rtp.header, bytes);
        }
        self.writes.push_back(packet);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.writes.pop_front()
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        if self.tick.is_some_and(|tick| tick <= now) {
            self.estimator.tick(now);
            self.publish();
            // Who sends nothing needs no timer.
            self.tick = self.estimator.is_waiting(now).then(|| now + TICK);
        }
        Ok(())
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        self.tick
    }
}

impl Interceptor for Departures {
    fn bind_local_stream(&mut self, info: &StreamInfo) {
        let id = |uri: &str| {
            let found = info.rtp_header_extensions.iter().find(|extension| extension.uri == uri)?;
            // Larger ids need the two-byte form, which not every viewer takes.
            u8::try_from(found.id).ok().filter(|id| (1..=14).contains(id))
        };
        let extensions =
            Extensions { transport_cc: id(TRANSPORT_CC), abs_send_time: id(ABS_SEND_TIME) };
        for ssrc in std::iter::once(info.ssrc).chain(info.ssrc_rtx) {
            self.streams.insert(ssrc, extensions);
        }
    }

    fn unbind_local_stream(&mut self, info: &StreamInfo) {
        for ssrc in std::iter::once(info.ssrc).chain(info.ssrc_rtx) {
            self.streams.remove(&ssrc);
        }
    }

    fn bind_remote_stream(&mut self, _: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _: &StreamInfo) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_sending_has_18_bits_behind_the_point() {
        assert_eq!(send_time(Duration::from_millis(500)), [2, 0, 0]);
        assert_eq!(send_time(Duration::from_secs(65)), [4, 0, 0]);
        assert_eq!(send_time(Duration::from_secs(63)), [0xfc, 0, 0]);
    }
}
