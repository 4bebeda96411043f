//! What waits to be sent: the queues between the handle and a channel's writer.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, PoisonError, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use bytes::BytesMut;
use halyard_protocol::limits::MAX_CHANNEL_MESSAGE_BYTES;
use tokio::sync::{Notify, mpsc, oneshot};
use webrtc::data_channel::DataChannel;

use super::PeerError;

/// Something to send, in order.
pub(super) enum Frame {
    Text(String),
    Binary(BytesMut),
    /// Answered when everything before it is acknowledged.
    Flush(oneshot::Sender<()>),
}

impl Frame {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
            Self::Flush(_) => 0,
        }
    }
}

/// The way to a reliable channel. It may be filled before the channel opens.
pub(super) struct Outlet {
    queue: mpsc::Sender<Frame>,
    /// The other end of the queue, until a writer takes it.
    waiting: Mutex<Option<mpsc::Receiver<Frame>>>,
    queued: AtomicUsize,
    channel: ChannelSlot,
}

impl Outlet {
    pub(super) fn new(messages: usize) -> Self {
        let (queue, waiting) = mpsc::channel(messages);
        Self {
            queue,
            waiting: Mutex::new(Some(waiting)),
            queued: AtomicUsize::new(0),
            channel: ChannelSlot::default(),
        }
    }

    /// Queues a frame, waiting for room.
    pub(super) async fn send(&self, frame: Frame) -> Result<(), PeerError> {
        let bytes = checked_len(frame.len())?;
        let permit = self.queue.reserve().await.map_err(|_| PeerError::Closed)?;
        self.queued.fetch_add(bytes, Ordering::Relaxed);
        permit.send(frame);
        Ok(())
    }

    /// Waits until a frame can be queued without waiting.
    pub(super) async fn writable(&self) -> Result<(), PeerError> {
        self.queue.reserve().await.map(drop).map_err(|_| PeerError::Closed)
    }

    /// The writer's end, once.
    pub(super) fn take_queue(&self) -> Option<mpsc::Receiver<Frame>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// A writer took this out of the queue.
    pub(super) fn on_taken(&self, bytes: usize) {
        self.queued.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Queued and unacknowledged bytes.
    pub(super) async fn buffered(&self) -> usize {
        self.queued.load(Ordering::Relaxed) + self.channel.outstanding().await
    }

    pub(super) fn channel(&self) -> &ChannelSlot {
        &self.channel
    }
}

/// The way to a channel that may lose messages: the latest few wait for it.
pub(super) struct LossyOutlet {
    queue: Mutex<VecDeque<String>>,
    arrived: Notify,
    channel: ChannelSlot,
}

impl LossyOutlet {
    /// A driver's commands of 400 ms, or telemetry of as much: what is older is of no use.
    const MESSAGES: usize = 8;

    pub(super) fn new() -> Self {
        Self { queue: Mutex::default(), arrived: Notify::new(), channel: ChannelSlot::default() }
    }

    /// Queues a message; the oldest makes room for it.
    pub(super) fn send(&self, text: String) -> Result<(), PeerError> {
        checked_len(text.len())?;
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.len() >= Self::MESSAGES {
            queue.pop_front();
        }
        queue.push_back(text);
        drop(queue);
        self.arrived.notify_one();
        Ok(())
    }

    /// The oldest message that waits.
    pub(super) async fn next(&self) -> String {
        loop {
            let next = self.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            if let Some(text) = next {
                return text;
            }
            self.arrived.notified().await;
        }
    }

    pub(super) fn channel(&self) -> &ChannelSlot {
        &self.channel
    }
}

fn checked_len(bytes: usize) -> Result<usize, PeerError> {
    if bytes > MAX_CHANNEL_MESSAGE_BYTES {
        return Err(PeerError::TooLarge { bytes, max: MAX_CHANNEL_MESSAGE_BYTES });
    }
    Ok(bytes)
}

/// The channel of a lane. Its tasks own it; this only looks.
#[derive(Default)]
pub(super) struct ChannelSlot {
    is_claimed: AtomicBool,
    channel: Mutex<Option<Weak<dyn DataChannel>>>,
}

impl ChannelSlot {
    /// Takes the lane for a channel. Only the first gets it.
    pub(super) fn claim(&self, channel: Weak<dyn DataChannel>) -> bool {
        if self.is_claimed.swap(true, Ordering::AcqRel) {
            return false;
        }
        *self.channel.lock().unwrap_or_else(PoisonError::into_inner) = Some(channel);
        true
    }

    pub(super) fn is_claimed(&self) -> bool {
        self.is_claimed.load(Ordering::Acquire)
    }

    async fn outstanding(&self) -> usize {
        let channel = {
            let slot = self.channel.lock().unwrap_or_else(PoisonError::into_inner);
            slot.as_ref().and_then(Weak::upgrade)
        };
        match channel {
            Some(channel) => channel.outstanding_bytes().await.unwrap_or(0),
            None => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn the_latest_messages_survive_on_a_lossy_lane() {
        let outlet = LossyOutlet::new();
        for number in 0..20 {
            outlet.send(number.to_string()).unwrap();
        }
        for number in 12..20 {
            assert_eq!(outlet.next().await, number.to_string());
        }
        assert!(outlet.next().now_or_never().is_none());
    }

    #[tokio::test]
    async fn a_message_beyond_the_limit_is_refused_with_its_size() {
        let outlet = Outlet::new(1);
        let large = BytesMut::zeroed(MAX_CHANNEL_MESSAGE_BYTES + 1);
        let refused = outlet.send(Frame::Binary(large)).await;
        assert!(matches!(refused, Err(PeerError::TooLarge { bytes: 65_537, max: 65_536 })));
        assert_eq!(outlet.buffered().await, 0);
    }

    #[tokio::test]
    async fn a_gone_writer_closes_the_outlet() {
        let outlet = Outlet::new(1);
        drop(outlet.take_queue());
        let refused = outlet.send(Frame::Text(String::new())).await;
        assert!(matches!(refused, Err(PeerError::Closed)));
    }
}
