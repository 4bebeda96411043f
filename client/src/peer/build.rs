//! Builds the library's connection with everything set as it has to be.

use std::{sync::Arc, time::Duration};

use halyard_protocol::{channel::Lane, limits::MAX_CHANNEL_MESSAGE_BYTES, signal::IceServer};
use rtc::{
    ice::mdns::MulticastDnsMode, interceptor::Slot,
    peer_connection::configuration::setting_engine::SctpMaxMessageSize,
    rtp_transceiver::rtp_sender::RtpCodecKind, shared::error::Result,
};
use webrtc::{
    data_channel::{DataChannel, RTCDataChannelInit},
    media_stream::track_local::TrackLocal,
    peer_connection::{
        PeerConnection, PeerConnectionBuilder, RTCConfiguration, RTCConfigurationBuilder,
        RTCIceServer, RTCIceTransportPolicy, SettingEngine, SettingEngineBuilder,
    },
    rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit, RtpTransceiver},
};

use super::{
    AudioRole, AudioTrack, MAX_PLACES, PeerConfig, VideoRole, VideoTrack, channel,
    handler::Handler,
    net::{LocalAddresses, PeerRuntime, receive_window},
    shared::Shared,
    video::{codec, departures::Departures, feedback, responder::Responder},
};

/// How often a pair of addresses is tried. The default of 200 ms makes opening slow.
const CHECK_EVERY: Duration = Duration::from_millis(20);

/// How many times: three seconds in all, since the other end may be slow to begin.
const MAX_CHECKS: u16 = 150;

/// Without a packet for this long the connection counts as disconnected: three missed answers.
const DISCONNECTED_AFTER: Duration = Duration::from_secs(3);

/// And after this long in addition as failed (the library's own default).
const FAILED_AFTER: Duration = Duration::from_secs(25);

/// Silence is interrupted this often.
const CONSENT_EVERY: Duration = Duration::from_secs(1);

/// Builds the connection on the peer's thread.
pub(super) async fn connection(
    shared: &Arc<Shared>,
    config: &PeerConfig,
) -> Result<Arc<dyn PeerConnection>> {
    let (engine, registry) = codec::engine(config)?;
    let registry = registry
        .with(Slot::CongestionControl, Departures::new(shared))
        .with(Slot::NackResponder, Responder::new(shared))
        .with(Slot::from(feedback::SLOT), feedback::KeyframeRequests::new(shared));
    let runtime = PeerRuntime {
        thread: shared.thread.clone(),
        heard: Arc::clone(&shared.heard),
        broken: shared.broken.clone(),
    };
    let handler = Handler {
        shared: Arc::clone(shared),
        receives_video: config.video == VideoRole::Receive,
        receives_audio: config.audio.receives,
    };
    let builder = PeerConnectionBuilder::new()
        .with_configuration(configuration(&config.ice_servers, config.relay_only))
        .with_setting_engine(settings())
        .with_media_engine(engine)
        .with_interceptor_registry(registry)
        .with_runtime(Arc::new(runtime))
        .with_handler(Arc::new(handler))
        .with_udp_addrs(vec![LocalAddresses]);
    Ok(Arc::new(Box::pin(builder.build()).await?))
}

/// Which servers, and whether only they may be used.
pub(super) fn configuration(servers: &[IceServer], relay_only: bool) -> RTCConfiguration {
    let policy = if relay_only { RTCIceTransportPolicy::Relay } else { RTCIceTransportPolicy::All };
    RTCConfigurationBuilder::new()
        .with_ice_servers(servers.iter().map(ice_server).collect())
        .with_ice_transport_policy(policy)
        .build()
}

fn settings() -> SettingEngine {
    SettingEngineBuilder::new()
        .with_ice_connection_attempts(Some(CHECK_EVERY), Some(MAX_CHECKS))
        .with_ice_timeouts(Some(DISCONNECTED_AFTER), Some(FAILED_AFTER), Some(CONSENT_EVERY))
        // The first path that works is taken. Waiting for a better one costs seconds with browsers,
        // whose addresses are first seen when their packets arrive.
        .with_host_acceptance_min_wait(Some(Duration::ZERO))
        .with_srflx_acceptance_min_wait(Some(Duration::from_millis(100)))
        .with_prflx_acceptance_min_wait(Some(Duration::ZERO))
        .with_relay_acceptance_min_wait(Some(Duration::from_millis(500)))
        .with_include_loopback_candidate(true)
        // A restart is for when the network changed: it binds new sockets on what is there then.
        .with_discard_local_candidates_during_ice_restart(true)
        // Browsers hide addresses behind names on the local network. They try ours anyway, and so
        // nothing has to be resolved.
        .with_multicast_dns_mode(MulticastDnsMode::Disabled)
        .with_sctp_max_receive_buffer_size(receive_window())
        .with_sctp_max_message_size(SctpMaxMessageSize::Bounded(MAX_CHANNEL_MESSAGE_BYTES as u32))
        .build()
}

fn ice_server(server: &IceServer) -> RTCIceServer {
    RTCIceServer {
        urls: server.urls.clone(),
        username: server.username.clone().unwrap_or_default(),
        credential: server
            .credential
            .as_ref()
            .map(|credential| credential.expose().to_owned())
            .unwrap_or_default(),
    }
}

/// One picture that can be sent, and where it stands in the description.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) track: VideoTrack,
    pub(super) transceiver: Arc<dyn RtpTransceiver>,
}

/// Sound, and where it stands in the description.
#[derive(Clone)]
pub(super) struct Sound {
    /// Where sound is sent.
    pub(super) track: Option<AudioTrack>,
    pub(super) transceiver: Arc<dyn RtpTransceiver>,
    pub(super) role: AudioRole,
}

impl Sound {
    /// The direction to say in an answer. An offer of both ways fits only to what may go both ways, so
    /// that is what the transceiver begins as.
    pub(super) fn direction(&self) -> RTCRtpTransceiverDirection {
        match (self.role.sends, self.role.receives) {
            (true, true) => RTCRtpTransceiverDirection::Sendrecv,
            (true, false) => RTCRtpTransceiverDirection::Sendonly,
            (false, true) => RTCRtpTransceiverDirection::Recvonly,
            (false, false) => RTCRtpTransceiverDirection::Inactive,
        }
    }
}

/// Adds the sound, where there is any.
pub(super) async fn sound(
    shared: &Arc<Shared>,
    connection: &dyn PeerConnection,
    role: AudioRole,
    offers: bool,
) -> Result<Option<Sound>> {
    let direction = match (role.sends, role.receives) {
        (false, false) => return Ok(None),
        (true, false) if offers => RTCRtpTransceiverDirection::Sendonly,
        (true, _) => RTCRtpTransceiverDirection::Sendrecv,
        (false, true) => RTCRtpTransceiverDirection::Recvonly,
    };
    let init = RTCRtpTransceiverInit { direction, ..Default::default() };
    if !role.sends {
        let transceiver =
            connection.add_transceiver_from_kind(RtpCodecKind::Audio, Some(init)).await?;
        return Ok(Some(Sound { track: None, transceiver, role }));
    }
    let (track, local) = AudioTrack::start(shared);
    let local: Arc<dyn TrackLocal> = local;
    let transceiver = connection.add_transceiver_from_track(local, Some(init)).await?;
    Ok(Some(Sound { track: Some(track), transceiver, role }))
}

/// Adds what is sent and received: the lanes of an offerer, and the picture.
pub(super) async fn contents(
    shared: &Arc<Shared>,
    connection: &dyn PeerConnection,
    config: &PeerConfig,
    offers: bool,
) -> Result<Vec<Place>> {
    if offers {
        for lane in Lane::ALL {
            let opened = open_lane(connection, lane).await?;
            channel::adopt(shared, opened, lane.label().to_owned());
        }
    }
    match config.video {
        VideoRole::None => Ok(Vec::new()),
        VideoRole::Receive => {
            if offers {
                let init = RTCRtpTransceiverInit {
                    direction: RTCRtpTransceiverDirection::Recvonly,
                    ..Default::default()
                };
                connection.add_transceiver_from_kind(RtpCodecKind::Video, Some(init)).await?;
            }
            Ok(Vec::new())
        }
        VideoRole::Send => {
            let mut places = Vec::new();
            for number in 0..config.places.clamp(1, MAX_PLACES) {
                let (track, local) = VideoTrack::start(shared, number);
                let init = RTCRtpTransceiverInit {
                    direction: RTCRtpTransceiverDirection::Sendonly,
                    ..Default::default()
                };
                let local: Arc<dyn TrackLocal> = local;
                // The library gives the other end's sections to ours in the order in which ours
                // were made.
                let transceiver = connection.add_transceiver_from_track(local, Some(init)).await?;
                places.push(Place { track, transceiver });
            }
            Ok(places)
        }
    }
}

async fn open_lane(connection: &dyn PeerConnection, lane: Lane) -> Result<Arc<dyn DataChannel>> {
    // In band: a channel that both ends only know of loses its first messages now and then.
    let init = RTCDataChannelInit {
        ordered: lane.is_reliable(),
        max_retransmits: (!lane.is_reliable()).then_some(0),
        ..Default::default()
    };
    connection.create_data_channel(lane.label(), Some(init)).await
}
