//! The picture on its way to one viewer.

use halyard_client::peer::{AccessUnit, NotSent, VideoTrack};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::media::{EncodedFrame, Fanout};

/// Sends the picture to one viewer until dropped.
pub(super) struct Pump {
    keyframes: mpsc::Sender<()>,
    task: JoinHandle<()>,
}

impl Pump {
    /// Subscribes, and sends from the next key frame on.
    pub(super) fn start(fanout: &Fanout, track: VideoTrack) -> Self {
        let mut subscription = fanout.subscribe();
        // One request that waits stands for any number of them.
        let (keyframes, mut wanted) = mpsc::channel(1);
        let task = tokio::spawn(async move {
            // Pictures were lost while the connection was away. A key frame costs everybody, so
            // it is asked for once, when there is somebody to see it.
            let mut away = false;
            loop {
                tokio::select! {
                    frame = subscription.next() => {
                        let Some(frame) = frame else { return };
                        if away && track.is_ready() && !frame.is_key {
                            away = false;
                            subscription.skip_to_keyframe();
                            continue;
                        }
                        match track.write(&unit(frame)) {
                            Ok(()) => away = false,
                            Err(NotSent::NotReady) => away = true,
                            // What follows is of no use without the one that was lost.
                            Err(NotSent::Behind) => subscription.skip_to_keyframe(),
                            Err(NotSent::Closed) => return,
                        }
                    },
                    Some(()) = wanted.recv() => subscription.request_keyframe(),
                }
            }
        });
        Self { keyframes, task }
    }

    /// The viewer lost the picture.
    pub(super) fn request_keyframe(&self) {
        let _ = self.keyframes.try_send(());
    }

    /// The picture has ended.
    pub(super) fn is_over(&self) -> bool {
        self.task.is_finished()
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The same bytes, shared by all viewers.
fn unit(frame: EncodedFrame) -> AccessUnit {
    AccessUnit { data: frame.data, rtp_time: frame.rtp_time, is_key: frame.is_key }
}
