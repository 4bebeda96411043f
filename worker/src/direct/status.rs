//! `GET /status`: what is shown, who watches, how the machine is.

use halyard_protocol::{
    channel::VideoInfo,
    ids::{PeerId, RoomId},
};
use serde::Serialize;

use super::Direct;
use crate::{
    drive::{Counts, Rule},
    media::stills::Stills,
    record::RecordStatus,
};

/// The answer.
#[derive(Debug, Serialize)]
pub(super) struct Status {
    #[serde(rename = "status")]
    word: &'static str,
    version: &'static str,
    uptime_seconds: u64,
    room_id: Option<RoomId>,
    sources: Vec<VideoInfo>,
    /// Pictures that are shown to somebody now, counted once for each viewer.
    viewers: usize,
    /// Whether offers are answered.
    webrtc: bool,
    /// Those that watch `GET /mjpeg` now.
    mjpeg_viewers: usize,
    drive: Drive,
    /// Where what is recorded, and how that goes; absent where nothing is.
    #[serde(skip_serializing_if = "Option::is_none")]
    recording: Option<RecordStatus>,
}

#[derive(Debug, Serialize)]
struct Drive {
    driver: String,
    /// Who drives.
    holder: Option<PeerId>,
    estop: bool,
    /// The rule by which nothing moves now.
    stopped: Option<Rule>,
    /// What is wrong with what speaks to the machine.
    fault: Option<String>,
    /// Metres a second.
    speed: f64,
    /// How often each rule did something.
    counts: Counts,
}

pub(super) fn status(direct: &Direct) -> Status {
    let shared = &direct.shared;
    let standing = shared.machine.standing().borrow().clone();
    let told = shared.machine.telemetry().borrow().clone();
    Status {
        word: "ok",
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: direct.started.elapsed().as_secs(),
        room_id: direct.room.borrow().as_ref().map(|held| held.room_id.clone()),
        sources: shared.tracks.infos(),
        viewers: shared.tracks.iter().map(|track| track.fanout().stats().viewers).sum(),
        webrtc: direct.webrtc,
        mjpeg_viewers: direct.stills.iter().map(Stills::viewers).sum(),
        recording: shared.recording.as_ref().map(|status| status.borrow().clone()),
        drive: Drive {
            driver: shared.machine.facts().driver.clone(),
            holder: standing.holder,
            estop: standing.latched_by.is_some(),
            stopped: told.stopped,
            fault: told.fault,
            speed: told.state.speed,
            counts: told.counts,
        },
    }
}
