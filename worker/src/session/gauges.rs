//! What the machine and its computer measure, told to one peer.

use std::sync::Arc;

use halyard_client::peer::Peer;
use halyard_protocol::{
    access::Access,
    channel::{Lane, Message},
};
use tokio::sync::watch;

use super::{Start, speaker::Speaker};
use crate::{host::HostLoad, machine::Telemetry};

/// The latest of it counts; what is missed is missed.
pub(super) struct Gauges {
    access: Access,
    telemetry: watch::Receiver<Telemetry>,
    host: watch::Receiver<Arc<HostLoad>>,
}

impl Gauges {
    pub(super) fn new(start: &Start) -> Self {
        Self {
            access: start.asker.access,
            telemetry: start.shared.machine.telemetry(),
            host: start.shared.host.watch(),
        }
    }

    /// Waits until there is something to [`tell`](Self::tell). Cancel safe.
    pub(super) async fn changed(&mut self) {
        if self.telemetry.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// The latest telemetry, where it fits, to who was greeted.
    pub(super) fn tell(&mut self, peer: &Peer, speaker: &Speaker) {
        let telemetry = self.telemetry.borrow_and_update();
        if !speaker.has_greeted() {
            return;
        }
        let mut telemetry = telemetry.to_value();
        // The computer is looked at less often than the machine; its news rides along.
        if self.host.has_changed().unwrap_or(false)
            && let Some(telemetry) = telemetry.as_object_mut()
        {
            let host = self.host.borrow_and_update().to_value(self.access.may_operate());
            telemetry.insert("host".to_owned(), host);
        }
        if let Err(error) = peer.try_send_lossy(Lane::State, &Message::Telemetry(telemetry)) {
            tracing::trace!(%error, "telemetry");
        }
    }
}
