//! Hears the viewer ask for a key frame.
//!
//! The library keeps inbound RTCP to itself, because its own interceptors answer most of it. Only
//! the encoder can answer a request for a key frame, so this interceptor listens for it.

use std::{
    collections::VecDeque,
    sync::{Arc, Weak},
    time::Instant,
};

use rtc::{
    interceptor::{Interceptor, Packet, StreamInfo, TaggedPacket},
    rtcp::payload_feedbacks::{
        full_intra_request::FullIntraRequest, picture_loss_indication::PictureLossIndication,
    },
    sansio::Protocol,
    shared::error::Error,
};

use super::super::shared::Shared;

/// Close to the application: everything that acts on RTCP has seen it before.
pub(in super::super) const SLOT: usize = 14_000;

/// Passes everything on and reports PLI and FIR.
pub(in super::super) struct KeyframeRequests {
    shared: Weak<Shared>,
    reads: VecDeque<TaggedPacket>,
    writes: VecDeque<TaggedPacket>,
}

impl KeyframeRequests {
    pub(in super::super) fn new(shared: &Arc<Shared>) -> Self {
        let shared = Arc::downgrade(shared);
        Self { shared, reads: VecDeque::new(), writes: VecDeque::new() }
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for KeyframeRequests {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtcp(reports) = &packet.message.packet
            && let Some(shared) = self.shared.upgrade()
        {
            for report in reports {
                let report = report.as_any();
                if let Some(lost) = report.downcast_ref::<PictureLossIndication>() {
                    lost_in(&shared, lost.media_ssrc);
                } else if let Some(asked) = report.downcast_ref::<FullIntraRequest>() {
                    asked.fir.iter().for_each(|entry| lost_in(&shared, entry.ssrc));
                }
            }
        }
        self.reads.push_back(packet);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.reads.pop_front()
    }

    fn handle_write(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        self.writes.push_back(packet);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.writes.pop_front()
    }
}

impl Interceptor for KeyframeRequests {
    fn bind_local_stream(&mut self, _: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _: &StreamInfo) {}
    fn bind_remote_stream(&mut self, _: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _: &StreamInfo) {}
}

/// The picture with this source number is lost to the viewer.
fn lost_in(shared: &Shared, ssrc: u32) {
    if let Some(place) = shared.place_of(ssrc) {
        shared.ask_for_keyframe(place);
    }
}
