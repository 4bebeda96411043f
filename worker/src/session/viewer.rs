//! How one viewer is, for the picture to follow.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use halyard_client::peer::{Estimate, Peer};
use halyard_protocol::{channel::Stats, ids::PeerId};
use tokio::sync::watch;

use crate::{
    machine::Standing,
    media::follow::{Aim, Reading},
};

/// One viewer, as all of its pictures see it.
#[derive(Clone)]
pub(super) struct Viewer {
    estimate: watch::Receiver<Estimate>,
    standing: watch::Receiver<Standing>,
    peer: PeerId,
    /// Pictures that it is shown at the same time: they share its path.
    pictures: Arc<AtomicUsize>,
}

impl Viewer {
    pub(super) fn new(peer: &Peer, standing: watch::Receiver<Standing>, id: PeerId) -> Self {
        let pictures = Arc::new(AtomicUsize::new(1));
        Self { estimate: peer.estimate(), standing, peer: id, pictures }
    }

    /// It is shown so many pictures.
    pub(super) fn shows(&self, pictures: usize) {
        self.pictures.store(pictures.max(1), Ordering::Relaxed);
    }

    /// What it is told about its path. `rendition` is the one of its first picture that is shown, and
    /// `aim` is what the encoder of it aims at.
    pub(super) fn stats(
        &self,
        rendition: Option<String>,
        aim: Option<Aim>,
        repaired: u64,
    ) -> Stats {
        let estimate = *self.estimate.borrow();
        let ms = |time: Duration| time.as_secs_f32() * 1e3;
        Stats {
            estimate: estimate.bitrate,
            delivered: estimate.delivered,
            target: aim.map(|aim| aim.bitrate),
            rendition,
            scale: aim.map(|aim| aim.shape.sixteenths as f32 / 16.0),
            loss: estimate.loss.map(|loss| loss as f32),
            round_trip_ms: estimate.round_trip.map(ms),
            queue_ms: estimate.queue.map(ms),
            repaired,
        }
    }

    /// How it is now, with so many bytes of this picture waiting for it.
    pub(super) fn reading(&self, waiting: usize) -> Reading {
        let estimate = *self.estimate.borrow();
        let pictures = self.pictures.load(Ordering::Relaxed) as u32;
        let bitrate = estimate.bitrate / pictures;
        let backlog = waiting as f64 * 8.0 / f64::from(bitrate.max(1));
        Reading {
            bitrate,
            delivered: estimate.delivered.map(|delivered| delivered / pictures),
            is_measured: estimate.is_measured,
            drives: self.standing.borrow().holder.as_ref() == Some(&self.peer),
            backlog: Duration::from_secs_f64(backlog.min(10.0)),
        }
    }
}
