//! One data channel: the task that reads it and the task that writes it.
//!
//! Every channel is read all the time, also one that is only sent on: the library stops reading
//! the whole connection when the events of one channel pile up.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use halyard_protocol::{
    channel::{BulkWindow, Estop, EstopAction, Lane, Message, legacy::KEEP_ALIVE},
    limits::MAX_CHANNEL_MESSAGE_BYTES,
};
use tokio::{
    sync::{Notify, mpsc, watch},
    time::{self, MissedTickBehavior, timeout},
};
use webrtc::data_channel::{DataChannel, DataChannelEvent, RTCDataChannelMessage};

use super::{
    PeerEvent,
    outlet::{Frame, LossyOutlet, Outlet},
    shared::Shared,
    window::SendWindow,
};

/// Existing peers send this so often, and so do we.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(15);

/// A lossy lane with more than this unacknowledged does not keep up: what is sent now would only
/// arrive late.
const LOSSY_BYTES: usize = 16 * 1024;

/// The reader announces room; should it be stuck behind a full queue of events, the writer looks
/// for itself after this long.
const ROOM_BACKSTOP: Duration = Duration::from_millis(100);

/// Starts reading a channel. It becomes a lane, or an existing client's channel; a second one of
/// the same kind is closed.
pub(super) fn adopt(shared: &Arc<Shared>, channel: Arc<dyn DataChannel>, label: String) {
    let lane = Lane::from_label(&label);
    let is_first = shared.slot(lane).claim(Arc::downgrade(&channel));
    if !is_first {
        tracing::warn!(%label, "the other end opened a channel too many, it is closed");
        let stop = shared.stop.clone();
        shared.spawn(async move {
            let drained = async {
                let _ = channel.close().await;
                while channel.poll().await.is_some() {}
            };
            tokio::select! { () = drained => {}, () = stop.cancelled() => {} }
        });
        return;
    }
    let reader =
        Reader { shared: Arc::clone(shared), channel, lane, label, room: Arc::new(Notify::new()) };
    shared.spawn(reader.run());
}

struct Reader {
    shared: Arc<Shared>,
    channel: Arc<dyn DataChannel>,
    /// `None` for an existing client.
    lane: Option<Lane>,
    label: String,
    room: Arc<Notify>,
}

impl Reader {
    async fn run(self) {
        let stop = self.shared.stop.clone();
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = self.read() => {}
        }
    }

    async fn read(&self) {
        let Some(events) = self.shared.events() else { return };
        let mut is_open = false;
        while let Some(event) = self.channel.poll().await {
            match event {
                DataChannelEvent::OnOpen => {
                    is_open = true;
                    self.shared.on_open(self.lane);
                    self.start_writer();
                    self.report(&events, self.opened()).await;
                }
                DataChannelEvent::OnMessage(message) => self.deliver(&events, message).await,
                DataChannelEvent::OnBufferedAmountLow => self.room.notify_one(),
                DataChannelEvent::OnClose => break,
                _ => {}
            }
        }
        if self.lane == Some(Lane::Bulk) {
            self.shared.inbox.close();
        }
        // The writer ends by itself: its channel is gone.
        self.room.notify_one();
        self.report(&events, self.closed()).await;
        if is_open {
            self.shared.on_close(self.lane);
        }
    }

    fn opened(&self) -> PeerEvent {
        match self.lane {
            Some(lane) => PeerEvent::LaneOpen(lane),
            None => PeerEvent::LegacyOpen(self.label.clone()),
        }
    }

    fn closed(&self) -> PeerEvent {
        self.lane.map_or(PeerEvent::LegacyClosed, PeerEvent::LaneClosed)
    }

    async fn report(&self, events: &mpsc::Sender<PeerEvent>, event: PeerEvent) {
        // With nobody listening there is nobody to tell.
        let _ = events.send(event).await;
    }

    async fn deliver(&self, events: &mpsc::Sender<PeerEvent>, message: RTCDataChannelMessage) {
        let bytes = message.data.len();
        if bytes > MAX_CHANNEL_MESSAGE_BYTES {
            tracing::warn!(label = %self.label, bytes, "a message is too large, it is dropped");
            return;
        }
        if !message.is_string {
            return self.deliver_binary(events, message.data).await;
        }
        let Ok(text) = String::from_utf8(message.data.into()) else {
            tracing::warn!(label = %self.label, bytes, "a text is not UTF-8, it is dropped");
            return;
        };
        if self.lane.is_some() && is_press(&text) {
            // It waits behind nothing; where nobody waits for it now, the next one who does knows.
            self.shared.pressed.notify_one();
            return;
        }
        match self.lane {
            Some(Lane::Control) if BulkWindow::is(&text) => self.on_window(&text),
            Some(Lane::Control) => {
                self.report(events, PeerEvent::Text(Lane::Control, text)).await;
            }
            Some(lane @ (Lane::State | Lane::Drive)) => {
                // What nobody takes in time is not worth waiting for.
                let _ = events.try_send(PeerEvent::Text(lane, text));
            }
            Some(Lane::Bulk) => {
                tracing::debug!(bytes, "a text on the bulk lane is dropped");
            }
            None => self.report(events, PeerEvent::LegacyText(text)).await,
        }
    }

    async fn deliver_binary(&self, events: &mpsc::Sender<PeerEvent>, data: BytesMut) {
        match self.lane {
            Some(Lane::Bulk) => self.shared.inbox.push(data.freeze()).await,
            Some(lane) => tracing::debug!(%lane, bytes = data.len(), "a binary is dropped"),
            None if data == KEEP_ALIVE => {}
            None => self.report(events, PeerEvent::LegacyBinary(data.freeze())).await,
        }
    }

    fn on_window(&self, text: &str) {
        let Some(window) = BulkWindow::decode(text) else {
            tracing::debug!("a bulk window that cannot be read is dropped");
            return;
        };
        self.shared.bulk_allowed.send_modify(|allowed| {
            *allowed = Some(allowed.unwrap_or(0).max(window.bytes));
        });
    }

    fn start_writer(&self) {
        let shared = Arc::clone(&self.shared);
        let (channel, room) = (Arc::clone(&self.channel), Arc::clone(&self.room));
        let lane = self.lane;
        self.shared.spawn(async move {
            let stop = shared.stop.clone();
            let writing = async {
                if let Some(outlet) = lane.and_then(|lane| shared.lossy(lane)) {
                    write_lossy(&*channel, outlet).await;
                    return;
                }
                let outlet = lane.and_then(|lane| shared.outlet(lane)).unwrap_or(&shared.legacy);
                let Some(queue) = outlet.take_queue() else { return };
                Writer::new(&shared, &*channel, &room, outlet, lane).run(queue).await;
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = writing => {}
            }
        });
    }
}

/// The channel cannot be sent on any more.
struct Gone;

struct Writer<'a> {
    channel: &'a dyn DataChannel,
    room: &'a Notify,
    outlet: &'a Outlet,
    window: SendWindow,
    /// The library's low threshold, as last set.
    threshold: usize,
    /// `bulk`: bytes sent, and how far the other end lets us.
    sent: u64,
    allowed: Option<watch::Receiver<Option<u64>>>,
    /// `control`: what we let the other end send on `bulk`.
    granted: Option<watch::Receiver<u64>>,
    is_first: bool,
    /// An existing client's channel.
    keep_alive: Option<time::Interval>,
}

impl<'a> Writer<'a> {
    fn new(
        shared: &'a Shared,
        channel: &'a dyn DataChannel,
        room: &'a Notify,
        outlet: &'a Outlet,
        lane: Option<Lane>,
    ) -> Self {
        Self {
            channel,
            room,
            outlet,
            window: SendWindow::new(),
            threshold: 0,
            sent: 0,
            allowed: (lane == Some(Lane::Bulk)).then(|| shared.bulk_allowed.subscribe()),
            granted: (lane == Some(Lane::Control)).then(|| shared.inbox.allowed()),
            is_first: true,
            keep_alive: lane.is_none().then(|| {
                let start = time::Instant::now() + KEEP_ALIVE_EVERY;
                let mut every = time::interval_at(start, KEEP_ALIVE_EVERY);
                every.set_missed_tick_behavior(MissedTickBehavior::Delay);
                every
            }),
        }
    }

    async fn run(mut self, mut queue: mpsc::Receiver<Frame>) {
        loop {
            let is_first = self.is_first;
            let next = tokio::select! {
                biased;
                () = tick(self.keep_alive.as_mut()) => Some(Frame::Binary(KEEP_ALIVE.into())),
                // The first word on `control` is the application's greeting.
                window = change(self.granted.as_mut()), if !is_first => Some(window),
                frame = queue.recv() => {
                    if let Some(frame) = &frame {
                        self.outlet.on_taken(frame.len());
                    }
                    frame
                }
            };
            let Some(frame) = next else { return };
            if self.send(frame).await.is_err() {
                return;
            }
            if self.is_first
                && let Some(granted) = self.granted.as_mut()
            {
                self.is_first = false;
                let bytes = *granted.borrow_and_update();
                if self.send(Frame::Text(BulkWindow { bytes }.encode())).await.is_err() {
                    return;
                }
            }
        }
    }

    async fn send(&mut self, frame: Frame) -> Result<(), Gone> {
        let bytes = frame.len();
        self.wait_until_allowed(bytes).await?;
        let outstanding = self.wait_for_room().await?;
        self.window.on_sent(Instant::now(), bytes, outstanding);
        let sent = match frame {
            Frame::Text(text) => self.channel.send_text(&text).await,
            Frame::Binary(data) => self.channel.send(data).await,
            Frame::Flush(done) => {
                self.wait_until_empty().await?;
                // Whoever asked may have stopped waiting.
                let _ = done.send(());
                Ok(())
            }
        };
        self.sent += bytes as u64;
        sent.map_err(|error| {
            tracing::debug!(%error, bytes, "a channel takes nothing any more");
            Gone
        })
    }

    /// On `bulk`: waits until the other end's consumer has room for this.
    async fn wait_until_allowed(&mut self, bytes: usize) -> Result<(), Gone> {
        let Some(allowed) = self.allowed.as_mut() else { return Ok(()) };
        let end = self.sent + bytes as u64;
        allowed
            .wait_for(|allowed| allowed.is_none_or(|allowed| end <= allowed))
            .await
            .map(drop)
            .map_err(|_| Gone)
    }

    /// Waits until fewer bytes are unacknowledged than the window allows.
    async fn wait_for_room(&mut self) -> Result<usize, Gone> {
        loop {
            let outstanding = self.outstanding().await?;
            self.window.on_outstanding(Instant::now(), outstanding);
            let limit = self.window.limit();
            if outstanding < limit {
                return Ok(outstanding);
            }
            self.wait_below(limit / 2).await?;
        }
    }

    async fn wait_until_empty(&mut self) -> Result<(), Gone> {
        while self.outstanding().await? > 0 {
            self.wait_below(0).await?;
        }
        Ok(())
    }

    /// Waits for the library's word that no more than this is unacknowledged, or for a while.
    async fn wait_below(&mut self, threshold: usize) -> Result<(), Gone> {
        if self.threshold.abs_diff(threshold) > threshold / 8 {
            self.threshold = threshold;
            let threshold = u32::try_from(threshold).unwrap_or(u32::MAX);
            self.channel.set_buffered_amount_low_threshold(threshold).await.map_err(|_| Gone)?;
            // It may have been passed just before.
            return Ok(());
        }
        let _ = timeout(ROOM_BACKSTOP, self.room.notified()).await;
        Ok(())
    }

    async fn outstanding(&self) -> Result<usize, Gone> {
        self.channel.outstanding_bytes().await.map_err(|_| Gone)
    }
}

/// An e-stop that is pressed at the other end.
fn is_press(text: &str) -> bool {
    let press = Message::Estop(Estop::Ask { action: EstopAction::Press });
    text.starts_with("ESTOP::") && Message::decode(text).is_ok_and(|message| message == press)
}

async fn tick(interval: Option<&mut time::Interval>) {
    match interval {
        Some(interval) => {
            interval.tick().await;
        }
        None => std::future::pending().await,
    }
}

/// The next window to tell the other end about.
async fn change(granted: Option<&mut watch::Receiver<u64>>) -> Frame {
    if let Some(granted) = granted
        && granted.changed().await.is_ok()
    {
        let bytes = *granted.borrow_and_update();
        return Frame::Text(BulkWindow { bytes }.encode());
    }
    std::future::pending().await
}

async fn write_lossy(channel: &dyn DataChannel, outlet: &LossyOutlet) {
    loop {
        let text = outlet.next().await;
        match channel.outstanding_bytes().await {
            Ok(outstanding) if outstanding > LOSSY_BYTES => {}
            Ok(_) => {
                if channel.send_text(&text).await.is_err() {
                    return;
                }
            }
            Err(_) => return,
        }
    }
}
