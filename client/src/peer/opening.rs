//! Makes opening fast.
//!
//! After the handshakes of DTLS and SCTP the library waits for its next timer, up to 200 ms, before
//! it sends what comes next. Any call that wakes its driver ends the wait. So while a connection
//! opens, the driver is woken every few milliseconds; nothing else happens by it.

use std::{sync::Arc, time::Duration};

use tokio::time::{self, MissedTickBehavior, timeout};
use webrtc::peer_connection::PeerConnection;

use super::{PeerState, shared::Shared};

const WAKE_EVERY: Duration = Duration::from_millis(5);

/// Opening takes a second on bad days; after this, the timers have to do.
const GIVE_UP_AFTER: Duration = Duration::from_secs(15);

/// After ICE is connected, DTLS and SCTP still need a few round trips.
const AFTER_CONNECTED: Duration = Duration::from_secs(2);

/// Wakes the driver until the connection is open.
pub(super) fn hurry(shared: &Arc<Shared>, connection: &Arc<dyn PeerConnection>) {
    let (shared, connection) = (Arc::clone(shared), Arc::clone(connection));
    let stop = shared.stop.clone();
    Arc::clone(&shared).spawn(async move {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            _ = timeout(GIVE_UP_AFTER, until_open(&shared)) => {}
            () = wake(&*connection) => {}
        }
    });
}

async fn until_open(shared: &Shared) {
    let mut state = shared.state.subscribe();
    // The state outlives this task.
    let _ = state.wait_for(|state| *state == PeerState::Connected).await;
    let _ = timeout(AFTER_CONNECTED, shared.all_open()).await;
}

/// Sets the configuration that is set already: of all calls that wake the driver, the one that
/// both ends can make at any time and that changes nothing.
async fn wake(connection: &dyn PeerConnection) {
    let mut every = time::interval(WAKE_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let configuration = connection.get_configuration().await;
        if connection.set_configuration(configuration).await.is_err() {
            return;
        }
    }
}
