//! What a session reports.

use std::{sync::Arc, time::Duration};

use halyard_protocol::{
    channel::{Changed, Hello, LeaseState, Notice, Watch},
    ids::PeerId,
    signal::PeerInfo,
};
use serde_json::Value;

/// Something happened. Slow listeners lose the oldest and are told how many.
#[derive(Debug, Clone)]
pub enum SessionEvent {
    /// A connection to the worker is up and it said what it can do.
    Connected {
        /// Which worker.
        worker: PeerId,
        /// What it said.
        hello: Arc<Hello>,
        /// Whether this session was connected before.
        again: bool,
    },
    /// The connection is gone; the session makes another by itself.
    Disconnected {
        /// For people.
        reason: String,
    },
    /// Nothing is heard from the worker at the moment.
    Silent,
    /// It is heard again, on the same connection.
    Heard,
    /// The signaling socket is gone. A connection that is up stays up.
    SignalLost {
        /// For people.
        reason: String,
        /// When it is tried next.
        retry_in: Duration,
    },
    /// The signaling socket is back.
    SignalBack,
    /// Somebody came into the room.
    PeerJoined(PeerInfo),
    /// Somebody left it.
    PeerLeft(PeerId),
    /// The machine's state. Newest only: what arrives out of order is left out.
    Telemetry(Telemetry),
    /// What of the machine's state must not be missed is something else now.
    Changed(Changed),
    /// A command waits for a connection.
    CommandWaits {
        /// Which.
        name: String,
    },
    /// The worker says something to people.
    Notice(Notice),
    /// Which pictures are shown to this session, one for each place: by its own
    /// [choice](super::Session::watch), or because one ended.
    Watch(Watch),
    /// Who drives changed.
    Lease(LeaseState),
    /// The emergency stop was pressed or cleared.
    Estop {
        /// Nothing moves while this is true.
        latched: bool,
        /// Who did it.
        by: Option<PeerId>,
    },
    /// The worker said goodbye.
    Bye {
        /// For people.
        reason: String,
    },
}

/// One report of the machine's state.
#[derive(Debug, Clone)]
pub struct Telemetry {
    /// The object, exactly as the worker wrote it, on one line.
    pub json: Arc<str>,
    /// The same, read.
    pub value: Arc<Value>,
}

impl Telemetry {
    /// Reads a payload. `None` for what is no JSON object.
    pub(super) fn read(payload: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(payload).ok()?;
        if !value.is_object() {
            return None;
        }
        // Written over several lines it would not be one line of output.
        let json = if payload.contains(['\n', '\r']) {
            value.to_string().into()
        } else {
            payload.trim().into()
        };
        Some(Self { json, value: Arc::new(value) })
    }

    /// Its place in the order of reports, if it names one.
    pub fn seq(&self) -> Option<u64> {
        self.value.get("seq").and_then(Value::as_u64)
    }
}
