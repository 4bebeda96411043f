//! What the WebRTC library calls. It calls on its own driver, so nothing here waits.

use std::sync::{Arc, PoisonError, atomic::Ordering};

use async_trait::async_trait;
use halyard_protocol::signal::Candidate;
use rtc::rtp_transceiver::rtp_sender::RtpCodecKind;
use webrtc::{
    data_channel::DataChannel,
    media_stream::track_remote::TrackRemote,
    peer_connection::{
        PeerConnectionEventHandler, RTCIceGatheringState, RTCPeerConnectionIceEvent,
        RTCPeerConnectionState,
    },
};

use super::{PeerEvent, PeerState, audio, channel, shared::Shared, video};

pub(super) struct Handler {
    pub(super) shared: Arc<Shared>,
    pub(super) receives_video: bool,
    pub(super) receives_audio: bool,
}

impl Handler {
    fn trickle(&self, line: String) {
        // What was found before the description was handed out is in it.
        if !self.shared.trickles.load(Ordering::Acquire) {
            return;
        }
        let ufrag = self.shared.ufrag.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.shared.notice(PeerEvent::LocalCandidate(Candidate {
            candidate: line,
            sdp_mid: None,
            sdp_m_line_index: Some(0),
            username_fragment: ufrag,
        }));
    }
}

#[async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_candidate(&self, event: RTCPeerConnectionIceEvent) {
        match event.candidate.to_json() {
            Ok(init) => self.trickle(init.candidate),
            Err(error) => tracing::debug!(%error, "a local candidate cannot be written down"),
        }
    }

    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.trickle(String::new());
            self.shared.gathered.send_replace(true);
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        let silent_for = self.shared.silent_for();
        self.shared.change_state(match state {
            RTCPeerConnectionState::Connecting => PeerState::Connecting,
            RTCPeerConnectionState::Connected => PeerState::Connected,
            RTCPeerConnectionState::Disconnected => PeerState::Disconnected { silent_for },
            RTCPeerConnectionState::Failed => PeerState::Failed { silent_for },
            // The end is reported by the supervisor, when nothing runs any more.
            _ => return,
        });
    }

    async fn on_data_channel(&self, data_channel: Arc<dyn DataChannel>) {
        // A look into the connection's own table, not a wait for anybody.
        if let Ok(label) = data_channel.label().await {
            channel::adopt(&self.shared, data_channel, label);
        }
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        let shared = Arc::clone(&self.shared);
        // Of a track that nobody takes, what comes in is dropped by the library.
        match track.kind().await {
            RtpCodecKind::Video if self.receives_video => {
                self.shared.spawn(video::receive(shared, track));
            }
            RtpCodecKind::Audio if self.receives_audio => {
                self.shared.spawn(audio::receive(shared, track));
            }
            _ => {}
        }
    }
}
