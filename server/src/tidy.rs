//! What the broker puts away by itself: ended rooms, and users whom nobody needs any more.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{broker::Broker, identity::Subject, store::EXPIRED_KEPT_SECONDS, time::Now};

/// How often the store and the users are swept.
const SWEEP: Duration = Duration::from_mins(1);
/// Rooms forgotten in one transaction, so that no other waits long for its turn.
const SWEPT_AT_ONCE: usize = 500;
/// How often it is looked who left for good.
const DEPARTURES: Duration = Duration::from_secs(1);
/// Users deleted in one go. A user pool takes some 25 such calls a second.
const DELETED_AT_ONCE: usize = 20;

/// Forgets rooms whose time has long been over, where the backend does not do it by itself, and
/// users whose tokens are over.
pub(crate) async fn sweep(broker: Arc<Broker>, stop: CancellationToken) {
    let mut ticks = interval(SWEEP);
    loop {
        tokio::select! {
            biased;

            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        tokio::select! {
            biased;

            // A user that is deleted half way stands in the journal until it is gone.
            () = stop.cancelled() => return,
            () = sweep_once(&broker) => {}
        }
    }
}

async fn sweep_once(broker: &Broker) {
    let before = Now::read().unix().saturating_sub(EXPIRED_KEPT_SECONDS);
    while !broker.store.expires_by_itself() {
        match broker.store.sweep(before, SWEPT_AT_ONCE).await {
            Ok(SWEPT_AT_ONCE) => {}
            Ok(_) => break,
            Err(error) => {
                tracing::error!(%error, "the room store could not be swept");
                break;
            }
        }
    }
    while broker.identity.keeps_users() {
        match broker.identity.sweep_users(Now::read(), DELETED_AT_ONCE).await {
            Ok(DELETED_AT_ONCE) => {}
            Ok(_) => break,
            Err(error) => {
                tracing::warn!(%error, "users could not be swept");
                break;
            }
        }
    }
}

/// Deletes users whose peer left the last room for good, unless they own a room: they may want to
/// come back to it.
pub(crate) async fn see_off(broker: Arc<Broker>, stop: CancellationToken) {
    let Some(departures) = broker.hall.departures().filter(|_| broker.identity.keeps_users())
    else {
        return stop.cancelled().await;
    };
    let mut ticks = interval(DEPARTURES);
    loop {
        tokio::select! {
            biased;

            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        for subject in departures.take(DELETED_AT_ONCE) {
            tokio::select! {
                biased;

                () = stop.cancelled() => return,
                () = see_one_off(&broker, &subject) => {}
            }
        }
    }
}

/// What fails here is left to the sweep.
async fn see_one_off(broker: &Broker, subject: &Subject) {
    match broker.store.owned_by(subject, Now::read().unix()).await {
        Ok(rooms) if rooms.is_empty() => {}
        Ok(_) => return,
        Err(error) => {
            tracing::debug!(%error, %subject, "nobody knows whether this user owns a room");
            return;
        }
    }
    match broker.identity.delete_user(subject).await {
        Ok(()) => tracing::debug!(%subject, "a user left for good and was deleted"),
        Err(error) => tracing::warn!(%error, %subject, "a user left and could not be deleted"),
    }
}

fn interval(every: Duration) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks
}
