//! What the tasks of one peer share, and the one task that ends it.

use std::{
    future::Future,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Instant,
};

use halyard_protocol::channel::Lane;
use tokio::{
    runtime::Handle,
    sync::{Notify, mpsc, watch},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use webrtc::peer_connection::PeerConnection;

use super::{
    MAX_PLACES, PeerEvent, PeerState, audio,
    bulk::BulkInbox,
    congestion::{Estimate, Name, Pacer},
    net::Heard,
    newest::Newest,
    outlet::{ChannelSlot, LossyOutlet, Outlet},
    video::{FrameQueue, RtpPacket},
};

/// Events that wait for the application. Beyond this, the lanes they come from are not read.
const EVENTS: usize = 256;

/// News of the connection itself (states, candidates) that wait for a place among the events.
const NOTICES: usize = 256;

/// Control messages that wait for their channel.
const CONTROL_FRAMES: usize = 256;

/// File chunks that wait for their channel: one to send, one to follow.
const BULK_FRAMES: usize = 2;

/// What is known of one picture that is sent.
#[derive(Debug, Default)]
pub(super) struct PlaceState {
    /// The source number of its packets; 0 where nothing is sent.
    pub(super) ssrc: AtomicU32,
    /// Whether the viewer agreed to it.
    pub(super) is_agreed: AtomicBool,
    /// How often what was sent so far was given up: the viewer can go on with a key frame only.
    pub(super) begun_anew: AtomicU64,
    keyframe_is_asked_for: AtomicBool,
}

pub(super) struct Shared {
    pub(super) thread: Handle,
    pub(super) control: Outlet,
    pub(super) bulk: Outlet,
    pub(super) state_lane: LossyOutlet,
    pub(super) drive: LossyOutlet,
    pub(super) legacy: Outlet,
    /// How many channels are open; an existing client's one channel counts as all lanes.
    opened: watch::Sender<usize>,
    pub(super) inbox: BulkInbox,
    /// How far the other end lets us send on `bulk`, if it said.
    pub(super) bulk_allowed: watch::Sender<Option<u64>>,
    pub(super) frames: FrameQueue,
    /// What the other end says, newest packets only.
    pub(super) sound: Newest<RtpPacket>,
    /// Somebody pressed the e-stop.
    pub(super) pressed: Notify,
    pub(super) state: watch::Sender<PeerState>,
    pub(super) heard: Arc<Heard>,
    /// Whether candidates are reported, because the description is out already.
    pub(super) trickles: AtomicBool,
    pub(super) gathered: watch::Sender<bool>,
    /// The user name fragment of our current description.
    pub(super) ufrag: Mutex<Option<String>>,
    /// What is known of each picture that is sent.
    pub(super) places: [PlaceState; MAX_PLACES],
    /// What the path carries, as far as the viewer tells.
    pub(super) estimate: watch::Sender<Estimate>,
    /// When the next packet of media may leave.
    pub(super) pacer: Mutex<Pacer>,
    /// Packets of media that the viewer said it has, until the [responder](super::video) read of them.
    pub(super) arrived: Mutex<Vec<Name>>,
    /// Packets of media that were sent again.
    pub(super) repaired: AtomicU64,
    events: Mutex<Option<mpsc::Sender<PeerEvent>>>,
    notices: mpsc::Sender<PeerEvent>,
    connection: OnceLock<Weak<dyn PeerConnection>>,
    tasks: TaskTracker,
    /// Ends all tasks.
    pub(super) stop: CancellationToken,
    /// A task died of a defect.
    pub(super) broken: CancellationToken,
    /// The other end said goodbye.
    pub(super) left: CancellationToken,
    /// Nothing runs any more.
    pub(super) ended: CancellationToken,
}

/// What a new peer's parts need besides [`Shared`].
pub(super) struct Receivers {
    pub(super) events: mpsc::Receiver<PeerEvent>,
    pub(super) notices: mpsc::Receiver<PeerEvent>,
}

impl Shared {
    pub(super) fn new(thread: Handle) -> (Arc<Self>, Receivers) {
        let (events, events_in) = mpsc::channel(EVENTS);
        let (notices, notices_in) = mpsc::channel(NOTICES);
        let shared = Self {
            thread,
            control: Outlet::new(CONTROL_FRAMES),
            bulk: Outlet::new(BULK_FRAMES),
            state_lane: LossyOutlet::new(),
            drive: LossyOutlet::new(),
            legacy: Outlet::new(BULK_FRAMES),
            opened: watch::channel(0).0,
            inbox: BulkInbox::new(),
            bulk_allowed: watch::channel(None).0,
            frames: FrameQueue::new(),
            sound: Newest::new(audio::WAITING),
            pressed: Notify::new(),
            state: watch::channel(PeerState::New).0,
            heard: Arc::new(Heard::new()),
            trickles: AtomicBool::new(false),
            gathered: watch::channel(false).0,
            ufrag: Mutex::new(None),
            places: Default::default(),
            estimate: watch::channel(Estimate::default()).0,
            pacer: Mutex::default(),
            arrived: Mutex::default(),
            repaired: AtomicU64::new(0),
            events: Mutex::new(Some(events)),
            notices,
            connection: OnceLock::new(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            broken: CancellationToken::new(),
            left: CancellationToken::new(),
            ended: CancellationToken::new(),
        };
        (Arc::new(shared), Receivers { events: events_in, notices: notices_in })
    }

    /// Runs a task on the peer's thread. It has to end when `stop` is cancelled; if it dies, the
    /// peer is closed.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let guard = self.broken.clone().drop_guard();
        let guarded = async move {
            task.await;
            guard.disarm();
        };
        self.tasks.spawn_on(guarded, &self.thread);
    }

    /// The way of a reliable lane.
    pub(super) fn outlet(&self, lane: Lane) -> Option<&Outlet> {
        match lane {
            Lane::Control => Some(&self.control),
            Lane::Bulk => Some(&self.bulk),
            Lane::State | Lane::Drive => None,
        }
    }

    /// The way of a lossy lane.
    pub(super) fn lossy(&self, lane: Lane) -> Option<&LossyOutlet> {
        match lane {
            Lane::State => Some(&self.state_lane),
            Lane::Drive => Some(&self.drive),
            Lane::Control | Lane::Bulk => None,
        }
    }

    /// The channel of a lane, or of an existing client.
    pub(super) fn slot(&self, lane: Option<Lane>) -> &ChannelSlot {
        match lane {
            Some(Lane::Control) => self.control.channel(),
            Some(Lane::Bulk) => self.bulk.channel(),
            Some(Lane::State) => self.state_lane.channel(),
            Some(Lane::Drive) => self.drive.channel(),
            None => self.legacy.channel(),
        }
    }

    /// Where events go; `None` at the end.
    pub(super) fn events(&self) -> Option<mpsc::Sender<PeerEvent>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reports news of the connection without waiting. When nobody listens for hundreds of them,
    /// they are lost; the state can always be asked for.
    pub(super) fn notice(&self, event: PeerEvent) {
        if self.notices.try_send(event).is_err() {
            tracing::debug!("nobody takes this peer's events, one is lost");
        }
    }

    /// Reports that the viewer needs a key frame in this place, once until it is taken.
    pub(super) fn ask_for_keyframe(&self, place: usize) {
        if let Some(state) = self.places.get(place)
            && !state.keyframe_is_asked_for.swap(true, Ordering::AcqRel)
        {
            self.notice(PeerEvent::KeyframeRequested(place));
        }
    }

    /// The viewer will never have all of what was sent in this place: what waits is not sent any more,
    /// and whoever writes the next picture is told that it has to be a key frame.
    pub(super) fn begin_anew(&self, place: usize) {
        if let Some(state) = self.places.get(place) {
            state.begun_anew.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// The place whose picture has this source number.
    pub(super) fn place_of(&self, ssrc: u32) -> Option<usize> {
        self.places.iter().position(|place| place.ssrc.load(Ordering::Acquire) == ssrc)
    }

    /// Notes and reports a state. After `Closed` there is no other.
    pub(super) fn change_state(&self, state: PeerState) {
        let is_new = self.state.send_if_modified(|current| {
            let is_new = *current != PeerState::Closed && *current != state;
            if is_new {
                *current = state;
            }
            is_new
        });
        if is_new && state != PeerState::Closed {
            self.notice(PeerEvent::State(state));
        }
        if is_new && state.is_connected() {
            // Pictures begin, or go on after a hole.
            for (number, place) in self.places.iter().enumerate() {
                if place.is_agreed.load(Ordering::Acquire) {
                    self.ask_for_keyframe(number);
                }
            }
        }
    }

    /// Notes that a channel opened.
    pub(super) fn on_open(&self, lane: Option<Lane>) {
        let channels = if lane.is_some() { 1 } else { Lane::ALL.len() };
        self.opened.send_modify(|opened| *opened += channels);
    }

    /// Waits until all lanes, or an existing client's channel, are open.
    pub(super) async fn all_open(&self) {
        let mut opened = self.opened.subscribe();
        // The sender is in `self`.
        let _ = opened.wait_for(|opened| *opened >= Lane::ALL.len()).await;
    }

    pub(super) fn silent_for(&self) -> Option<std::time::Duration> {
        self.heard.silent_for(Instant::now())
    }

    pub(super) fn set_connection(&self, connection: Weak<dyn PeerConnection>) {
        // Set once, right after it was built.
        let _ = self.connection.set(connection);
    }

    pub(super) fn connection(&self) -> Option<Arc<dyn PeerConnection>> {
        self.connection.get()?.upgrade()
    }

    /// Notes that a channel closed. With the last one, the other end has left: closing a connection
    /// closes them all, and there is nothing left to say anything on.
    pub(super) fn on_close(&self, lane: Option<Lane>) {
        let channels = if lane.is_some() { 1 } else { Lane::ALL.len() };
        self.opened.send_modify(|opened| *opened = opened.saturating_sub(channels));
        if *self.opened.borrow() == 0 {
            self.left.cancel();
        }
    }

    /// Passes news on, and ends the peer when anybody wants that: the application, the other end,
    /// or a defect. Owns every other task of the peer.
    pub(super) async fn supervise(self: Arc<Self>, mut notices: mpsc::Receiver<PeerEvent>) {
        self.run(&mut notices).await;
        if let Some(connection) = self.connection()
            && let Err(error) = connection.close().await
        {
            tracing::debug!(%error, "the connection did not close cleanly");
        }
        self.stop.cancel();
        self.tasks.close();
        self.inbox.close();
        self.tasks.wait().await;

        drop((self.control.take_queue(), self.bulk.take_queue(), self.legacy.take_queue()));
        self.frames.close();
        self.sound.close();
        self.change_state(PeerState::Closed);
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(events) = events {
            // When it does not fit, the end of the events says the same.
            let _ = events.try_send(PeerEvent::State(PeerState::Closed));
        }
        self.ended.cancel();
    }

    async fn run(&self, notices: &mut mpsc::Receiver<PeerEvent>) {
        let Some(events) = self.events() else { return };
        let forward = async {
            while let Some(notice) = notices.recv().await {
                if let PeerEvent::KeyframeRequested(place) = notice {
                    self.places[place].keyframe_is_asked_for.store(false, Ordering::Release);
                }
                if events.send(notice).await.is_err() {
                    // Nobody listens; the peer works on for whoever holds its handle.
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::select! {
            biased;
            () = self.stop.cancelled() => {}
            () = self.left.cancelled() => tracing::debug!("the other end closed the connection"),
            () = self.broken.cancelled() => {
                tracing::error!("a task of the peer connection died, closing it");
            }
            () = forward => {}
        }
    }
}
