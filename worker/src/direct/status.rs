//! `GET /status`: what is shown, who watches, how the machine is.

use std::time::Instant;

use halyard_protocol::{
    channel::VideoInfo,
    ids::{PeerId, RoomId},
};
use serde::Serialize;

use crate::session::Shared;

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
    drive: Drive,
}

#[derive(Debug, Serialize)]
struct Drive {
    driver: &'static str,
    /// Who drives.
    holder: Option<PeerId>,
    estop: bool,
    /// Metres a second.
    speed: f64,
}

pub(super) fn status(shared: &Shared, room_id: Option<RoomId>, started: Instant) -> Status {
    let standing = shared.machine.standing().borrow().clone();
    let speed = shared.machine.telemetry().borrow().state.speed;
    Status {
        word: "ok",
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: started.elapsed().as_secs(),
        room_id,
        sources: shared.tracks.infos(),
        viewers: shared.tracks.iter().map(|track| track.fanout().stats().viewers).sum(),
        drive: Drive {
            driver: shared.machine.facts().driver,
            holder: standing.holder,
            estop: standing.latched_by.is_some(),
            speed,
        },
    }
}
