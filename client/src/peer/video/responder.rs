//! Sends a viewer again what it misses (NACK, RFC 4585), as a stream of its own where the viewer knows
//! that (RTX, RFC 4588), as it was where not.
//!
//! The library has such an interceptor. It sends again whatever is asked for, as often as it is asked
//! for; this one keeps to what [`retransmit`](super::retransmit) allows, and hears from
//! [`departures`](super::departures) what has arrived meanwhile.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, PoisonError, Weak, atomic::Ordering},
    time::{Duration, Instant},
};

use bytes::{BufMut, BytesMut};
use rtc::{
    interceptor::{Attribute, AttributedPacket, Interceptor, Packet, StreamInfo, TaggedPacket},
    rtcp::transport_feedbacks::transport_layer_nack::TransportLayerNack,
    rtp,
    sansio::Protocol,
    shared::{TransportContext, error::Error},
};

use super::{
    super::{
        congestion::{Estimate, Name},
        shared::Shared,
    },
    retransmit::{Path, Sent},
};

/// Until a round trip was measured.
const ROUND_TRIP: Duration = Duration::from_millis(50);

/// There is room while less than this share of what the path carries leaves.
const ROOM: f64 = 0.7;

/// Repairs whose arrival is waited for.
const REPAIRS: usize = 512;

/// Keeps what leaves and answers what is asked.
pub(in super::super) struct Responder {
    shared: Weak<Shared>,
    streams: HashMap<u32, Stream>,
    /// From the source of repairs to that of what they repair.
    sources: HashMap<u32, u32>,
    reads: VecDeque<TaggedPacket>,
    writes: VecDeque<TaggedPacket>,
}

struct Stream {
    sent: Sent,
    payload_type: u8,
    /// Source and payload type of the repairs.
    rtx: Option<(u32, u8)>,
    rtx_sequence: u16,
    /// The numbers of repairs and of what they repair, oldest first.
    repairs: VecDeque<(u16, u16)>,
}

impl Stream {
    /// The viewer has a packet of this source.
    fn arrived(&mut self, name: Name) {
        if self.rtx.is_none_or(|(ssrc, _)| ssrc != name.ssrc) {
            self.sent.arrived(name.sequence);
        } else if let Some(at) = self.repairs.iter().position(|(own, _)| *own == name.sequence)
            && let Some((_, repaired)) = self.repairs.remove(at)
        {
            self.sent.arrived(repaired);
        }
    }
}

impl Responder {
    pub(in super::super) fn new(shared: &Arc<Shared>) -> Self {
        Self {
            shared: Arc::downgrade(shared),
            streams: HashMap::new(),
            sources: HashMap::new(),
            reads: VecDeque::new(),
            writes: VecDeque::new(),
        }
    }

    /// What arrived needs no repair.
    fn hear(&mut self, shared: &Shared) {
        let mut arrived = shared.arrived.lock().unwrap_or_else(PoisonError::into_inner);
        for name in arrived.drain(..) {
            let source = self.sources.get(&name.ssrc).copied().unwrap_or(name.ssrc);
            if let Some(stream) = self.streams.get_mut(&source) {
                stream.arrived(name);
            }
        }
    }

    fn ask(&mut self, now: Instant, nack: &TransportLayerNack, path: Path) {
        let Some(stream) = self.streams.get_mut(&nack.media_ssrc) else { return };
        let numbers = nack.nacks.iter().flat_map(|pair| {
            let later = (0..16u16).filter(|bit| pair.lost_packets & (1 << bit) != 0);
            let later = later.map(|bit| pair.packet_id.wrapping_add(bit + 1));
            std::iter::once(pair.packet_id).chain(later)
        });
        for number in numbers {
            stream.sent.ask(now, number, path);
        }
    }

    /// Lets a picture begin anew of which too much is missing.
    fn give_up(&mut self, now: Instant, shared: &Shared, path: Path) {
        for (ssrc, stream) in &mut self.streams {
            if !stream.sent.is_beyond_repair(now, path) {
                continue;
            }
            stream.sent.begin_anew();
            if let Some(place) = shared.place_of(*ssrc) {
                tracing::debug!(place, "too much was lost to repair it");
                shared.begin_anew(place);
            }
        }
    }

    /// Sends what is due.
    fn answer(&mut self, now: Instant, shared: &Shared, path: Path) {
        for stream in self.streams.values_mut() {
            while let Some(packet) = stream.sent.next(now, path) {
                let packet = match stream.rtx {
                    Some(rtx) if packet.header.payload_type == stream.payload_type => {
                        stream.rtx_sequence = stream.rtx_sequence.wrapping_add(1);
                        if stream.repairs.len() >= REPAIRS {
                            stream.repairs.pop_front();
                        }
                        let number = packet.header.sequence_number;
                        stream.repairs.push_back((stream.rtx_sequence, number));
                        repair(packet, rtx, stream.rtx_sequence)
                    }
                    _ => packet.clone(),
                };
                shared.repaired.fetch_add(1, Ordering::Relaxed);
                self.writes.push_back(TaggedPacket {
                    now,
                    transport: TransportContext::default(),
                    message: AttributedPacket::new(Packet::Rtp(packet))
                        .with(Attribute::Retransmission),
                });
            }
        }
    }
}

fn path(estimate: &Estimate) -> Path {
    let most = f64::from(estimate.bitrate) * ROOM;
    Path {
        round_trip: estimate.round_trip.unwrap_or(ROUND_TRIP),
        estimate: estimate.bitrate,
        jitter: estimate.jitter,
        has_room: estimate.leaving.is_none_or(|leaving| f64::from(leaving) < most),
    }
}

/// The packet as one of the stream of repairs: its own number goes before its payload.
fn repair(packet: &rtp::Packet, (ssrc, payload_type): (u32, u8), sequence: u16) -> rtp::Packet {
    let mut payload = BytesMut::with_capacity(2 + packet.payload.len());
    payload.put_u16(packet.header.sequence_number);
    payload.put_slice(&packet.payload);
    rtp::Packet {
        header: rtp::Header {
            version: 2,
            marker: packet.header.marker,
            payload_type,
            sequence_number: sequence,
            timestamp: packet.header.timestamp,
            ssrc,
            ..rtp::Header::default()
        },
        payload: payload.freeze(),
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Responder {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtcp(reports) = &packet.message.packet
            && let Some(shared) = self.shared.upgrade()
        {
            self.hear(&shared);
            let path = path(&shared.estimate.borrow());
            let mut nacks =
                reports.iter().filter_map(|report| report.as_any().downcast_ref()).peekable();
            let is_asked = nacks.peek().is_some();
            for nack in nacks {
                self.ask(packet.now, nack, path);
            }
            if is_asked {
                self.give_up(packet.now, &shared, path);
            }
            self.answer(packet.now, &shared, path);
        }
        self.reads.push_back(packet);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.reads.pop_front()
    }

    fn handle_write(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtp(rtp) = &packet.message.packet
            && let Some(stream) = self.streams.get_mut(&rtp.header.ssrc)
        {
            stream.sent.keep(packet.now, rtp);
        }
        self.writes.push_back(packet);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.writes.pop_front()
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        if self.poll_timeout().is_some_and(|due| due <= now)
            && let Some(shared) = self.shared.upgrade()
        {
            let path = path(&shared.estimate.borrow());
            self.answer(now, &shared, path);
        }
        Ok(())
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        self.streams.values().filter_map(|stream| stream.sent.due()).min()
    }
}

impl Interceptor for Responder {
    fn bind_local_stream(&mut self, info: &StreamInfo) {
        let answers = info
            .rtcp_feedback
            .iter()
            .any(|feedback| feedback.typ == "nack" && feedback.parameter.is_empty());
        if answers {
            let stream = Stream {
                sent: Sent::new(),
                payload_type: info.payload_type,
                rtx: info.ssrc_rtx.zip(info.payload_type_rtx),
                rtx_sequence: rand::random(),
                repairs: VecDeque::new(),
            };
            if let Some((rtx, _)) = stream.rtx {
                self.sources.insert(rtx, info.ssrc);
            }
            self.streams.insert(info.ssrc, stream);
        }
    }

    fn unbind_local_stream(&mut self, info: &StreamInfo) {
        self.streams.remove(&info.ssrc);
        self.sources.retain(|_, source| *source != info.ssrc);
    }

    fn bind_remote_stream(&mut self, _: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _: &StreamInfo) {}
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use rtc::{
        interceptor::RTCPFeedback, rtcp::transport_feedbacks::transport_layer_nack::NackPair,
    };

    use super::*;

    const SSRC: u32 = 7;
    const RTX: u32 = 8;

    fn responder(shared: &Arc<Shared>) -> Responder {
        let mut responder = Responder::new(shared);
        let nack = RTCPFeedback { typ: "nack".to_owned(), parameter: String::new() };
        responder.bind_local_stream(&StreamInfo {
            ssrc: SSRC,
            ssrc_rtx: Some(RTX),
            payload_type: 102,
            payload_type_rtx: Some(103),
            rtcp_feedback: vec![nack],
            ..StreamInfo::default()
        });
        responder
    }

    fn write(responder: &mut Responder, now: Instant, sequence_number: u16) {
        let packet = rtp::Packet {
            header: rtp::Header {
                version: 2,
                payload_type: 102,
                sequence_number,
                ssrc: SSRC,
                ..rtp::Header::default()
            },
            payload: Bytes::from(vec![7; 1000]),
        };
        let message = AttributedPacket::new(Packet::Rtp(packet));
        let packet = TaggedPacket { now, transport: TransportContext::default(), message };
        responder.handle_write(packet).unwrap();
        while responder.poll_write().is_some() {}
    }

    /// The viewer misses so many packets from this number on. Gives what is sent again: the numbers of
    /// the repairs.
    fn ask(responder: &mut Responder, now: Instant, first: u16, packets: u16) -> Vec<u16> {
        let nacks = (first..first + packets)
            .map(|packet_id| NackPair { packet_id, lost_packets: 0 })
            .collect();
        let nack = TransportLayerNack { media_ssrc: SSRC, nacks, ..TransportLayerNack::default() };
        let message = AttributedPacket::new(Packet::Rtcp(vec![Box::new(nack)]));
        let packet = TaggedPacket { now, transport: TransportContext::default(), message };
        responder.handle_read(packet).unwrap();
        while responder.poll_read().is_some() {}
        let mut repairs = Vec::new();
        while let Some(packet) = responder.poll_write() {
            if let Packet::Rtp(packet) = packet.message.packet {
                assert_eq!(packet.header.ssrc, RTX);
                repairs.push(packet.header.sequence_number);
            }
        }
        repairs
    }

    #[tokio::test]
    async fn what_cannot_be_repaired_in_time_is_begun_anew_and_what_was_repaired_does_not_count() {
        let (shared, _receivers) = Shared::new(tokio::runtime::Handle::current());
        shared.places[1].ssrc.store(SSRC, Ordering::Release);
        shared.estimate.send_replace(Estimate {
            bitrate: 1_000_000,
            jitter: Some(Duration::ZERO),
            round_trip: Some(Duration::from_millis(20)),
            ..Estimate::default()
        });
        let begun_anew = || shared.places[1].begun_anew.load(Ordering::Acquire);
        let (mut responder, mut now) = (responder(&shared), Instant::now());

        // Twenty are repaired, and the viewer says that the repairs are there.
        (0..20).for_each(|number| write(&mut responder, now, number));
        now += Duration::from_millis(100);
        let repairs = ask(&mut responder, now, 0, 20);
        assert_eq!(repairs.len(), 20);
        let arrived = repairs.iter().map(|sequence| Name { ssrc: RTX, sequence: *sequence });
        shared.arrived.lock().unwrap().extend(arrived);

        // At 1 Mbit/s thirty more are worth a repair, since the first twenty are there, and forty are not.
        (20..60).for_each(|number| write(&mut responder, now, number));
        now += Duration::from_millis(100);
        ask(&mut responder, now, 20, 30);
        assert_eq!(begun_anew(), 0);
        let repairs = ask(&mut responder, now, 50, 10);
        assert_eq!((begun_anew(), repairs.len()), (1, 0));

        // Nobody looks back.
        now += Duration::from_millis(100);
        assert!(ask(&mut responder, now, 20, 40).is_empty());
        assert_eq!(begun_anew(), 1);
    }

    #[test]
    fn a_repair_carries_the_number_of_what_it_repairs() {
        let lost = rtp::Packet {
            header: rtp::Header {
                version: 2,
                marker: true,
                payload_type: 102,
                sequence_number: 0x1234,
                timestamp: 9,
                ssrc: 7,
                ..rtp::Header::default()
            },
            payload: Bytes::from_static(&[0x65, 1, 2]),
        };
        let repair = repair(&lost, (8, 103), 4);
        assert_eq!(repair.payload, Bytes::from_static(&[0x12, 0x34, 0x65, 1, 2]));
        let header = repair.header;
        assert_eq!((header.ssrc, header.payload_type, header.sequence_number), (8, 103, 4));
        assert!(header.marker && header.timestamp == 9 && header.version == 2);
    }
}
