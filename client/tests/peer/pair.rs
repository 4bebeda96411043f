//! Two connected peers.

use std::{future::Future, sync::OnceLock, time::Duration};

use halyard_client::peer::{Peer, PeerConfig, PeerEvent, PeerState, PeerThreads, VideoRole};
use halyard_protocol::channel::{Lane, Message, Notice, Severity};
use tokio::{sync::mpsc, time::timeout};

/// Nothing in these tests takes this long unless it is broken.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// Waits for something that must happen.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(LONG, future).await.unwrap_or_else(|_| panic!("{what} did not happen in {LONG:?}"))
}

/// The threads that all tests of this program share.
pub(crate) fn threads() -> PeerThreads {
    static THREADS: OnceLock<PeerThreads> = OnceLock::new();
    THREADS.get_or_init(|| PeerThreads::new(2.try_into().unwrap()).unwrap()).clone()
}

pub(crate) fn config(video: VideoRole) -> PeerConfig {
    PeerConfig { video, threads: Some(threads()), ..PeerConfig::default() }
}

/// One end and what it reported.
pub(crate) struct End {
    pub(crate) peer: Peer,
    pub(crate) events: mpsc::Receiver<PeerEvent>,
}

impl End {
    pub(crate) async fn offerer(config: PeerConfig) -> Self {
        let (peer, events) = Peer::offerer(config).await.unwrap();
        Self { peer, events }
    }

    pub(crate) async fn answerer(config: PeerConfig) -> Self {
        let (peer, events) = Peer::answerer(config).await.unwrap();
        Self { peer, events }
    }

    /// The next event that the caller can use.
    pub(crate) async fn until<T>(
        &mut self,
        what: &str,
        mut pick: impl FnMut(PeerEvent) -> Option<T>,
    ) -> T {
        let picked = async {
            while let Some(event) = self.events.recv().await {
                if let Some(picked) = pick(event) {
                    return picked;
                }
            }
            panic!("the events ended before {what}")
        };
        soon(what, picked).await
    }

    pub(crate) async fn until_open(&mut self) {
        let mut missing = Lane::ALL.to_vec();
        self.until("all lanes open", |event| {
            if let PeerEvent::LaneOpen(lane) = event {
                missing.retain(|other| *other != lane);
            }
            missing.is_empty().then_some(())
        })
        .await;
    }

    pub(crate) async fn until_state(&mut self, state: PeerState) {
        let what = format!("state {state}");
        self.until(&what, |event| (event == PeerEvent::State(state)).then_some(())).await;
    }

    pub(crate) async fn until_text(&mut self, lane: Lane) -> String {
        let what = format!("text on {lane}");
        self.until(&what, |event| match event {
            PeerEvent::Text(on, text) if on == lane => Some(text),
            _ => None,
        })
        .await
    }
}

/// A message with a number in it.
pub(crate) fn note(number: usize) -> Message {
    Message::Notice(Notice::new(Severity::Info, "test", number.to_string()))
}

/// Its number.
pub(crate) fn number(text: &str) -> usize {
    match Message::decode(text) {
        Ok(Message::Notice(notice)) => notice.message.parse().unwrap(),
        other => panic!("{other:?} is no note"),
    }
}

/// Both ends, descriptions exchanged with all candidates in them.
pub(crate) async fn introduce(offerer: &End, answerer: &End) {
    let offer = offerer.peer.create_offer(false).await.unwrap();
    let answer = answerer.peer.accept_offer(&offer).await.unwrap();
    offerer.peer.accept_answer(&answer).await.unwrap();
}

pub(crate) async fn pair_with(offerer: PeerConfig, answerer: PeerConfig) -> (End, End) {
    let mut offerer = End::offerer(offerer).await;
    let mut answerer = End::answerer(answerer).await;
    introduce(&offerer, &answerer).await;
    tokio::join!(offerer.until_open(), answerer.until_open());
    (offerer, answerer)
}

pub(crate) async fn pair() -> (End, End) {
    pair_with(config(VideoRole::None), config(VideoRole::None)).await
}
