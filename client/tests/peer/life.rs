//! Closing, and what is left of a peer afterwards.

use std::{
    num::NonZeroUsize,
    time::{Duration, Instant},
};

use halyard_client::peer::{Peer, PeerConfig, PeerError, PeerEvent, PeerState, PeerThreads};
use halyard_protocol::channel::Lane;

use crate::pair::{End, note, number, pair, pair_with, soon};

/// Closing has to be noticed far faster than silence is.
const AT_ONCE: Duration = Duration::from_secs(1);

#[tokio::test]
async fn closing_is_noticed_at_once_and_the_events_end() {
    let (offerer, mut answerer) = pair().await;
    let started = Instant::now();
    offerer.peer.close().await;
    answerer.until_state(PeerState::Closed).await;
    let took = started.elapsed();
    println!("the other end noticed after {took:?}");
    assert!(took < AT_ONCE, "{took:?}");
    assert_eq!(soon("the end of the events", answerer.events.recv()).await, None);
    assert_eq!(soon("the end of bulk", answerer.peer.recv_bulk()).await, None);

    for peer in [&offerer.peer, &answerer.peer] {
        assert_eq!(peer.state(), PeerState::Closed);
        let refused = peer.send(Lane::Control, &note(1)).await;
        assert!(matches!(refused, Err(PeerError::Closed)), "{refused:?}");
        let refused = peer.create_offer(true).await;
        assert!(matches!(refused, Err(PeerError::Closed)), "{refused:?}");
        soon("closing again", peer.close()).await;
    }
}

#[tokio::test]
async fn the_answerer_may_close_as_well() {
    let (mut offerer, answerer) = pair().await;
    answerer.peer.close().await;
    offerer.until_state(PeerState::Closed).await;
}

#[tokio::test]
async fn the_last_words_are_delivered() {
    let (offerer, mut answerer) = pair().await;
    for n in 0..200 {
        offerer.peer.send(Lane::Control, &note(n)).await.unwrap();
    }
    offerer.peer.close().await;
    for n in 0..200 {
        assert_eq!(number(&answerer.until_text(Lane::Control).await), n);
    }
}

#[tokio::test]
async fn dropping_the_last_handle_closes() {
    let (offerer, mut answerer) = pair().await;
    let clone = offerer.peer.clone();
    drop(offerer);
    clone.send(Lane::Control, &note(1)).await.unwrap();
    assert_eq!(number(&answerer.until_text(Lane::Control).await), 1);
    drop(clone);
    answerer.until_state(PeerState::Closed).await;
}

#[tokio::test]
async fn a_peer_that_never_connected_closes_too() {
    let mut end = End::offerer(PeerConfig::default()).await;
    end.peer.create_offer(false).await.unwrap();
    soon("closing", end.peer.close()).await;
    end.until_state(PeerState::Closed).await;
}

#[tokio::test]
async fn an_application_that_reads_no_events_can_still_close() {
    let (offerer, answerer) = pair().await;
    for n in 0..1000 {
        let note = note(n);
        let sent = tokio::time::timeout(
            Duration::from_millis(200),
            offerer.peer.send(Lane::Control, &note),
        );
        if sent.await.is_err() {
            break;
        }
    }
    soon("closing", answerer.peer.close()).await;
    soon("closing", offerer.peer.close()).await;
}

#[tokio::test]
async fn events_in_the_queue_survive_the_closing() {
    let (offerer, mut answerer) = pair().await;
    offerer.peer.send(Lane::Control, &note(5)).await.unwrap();
    offerer.peer.close().await;
    let mut texts = 0;
    while let Some(event) = soon("the end", answerer.events.recv()).await {
        if let PeerEvent::Text(Lane::Control, text) = event {
            assert_eq!(number(&text), 5);
            texts += 1;
        }
    }
    assert_eq!(texts, 1);
}

/// Open files of this process, sockets among them.
#[cfg(target_os = "linux")]
fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// In a process of its own, because other tests open sockets at the same time.
#[cfg(target_os = "linux")]
#[test]
fn a_hundred_pairs_leave_nothing_behind() {
    const CHILD: &str = "HALYARD_TEST_LEAK";
    if std::env::var_os(CHILD).is_none() {
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "life::a_hundred_pairs_leave_nothing_behind", "--nocapture"])
            .env(CHILD, "1")
            .status()
            .unwrap();
        assert!(status.success());
        return;
    }
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let threads = PeerThreads::new(NonZeroUsize::new(2).unwrap()).unwrap();
        let config = || PeerConfig { threads: Some(threads.clone()), ..PeerConfig::default() };
        let before = open_files();
        for round in 0..100 {
            let (offerer, mut answerer) = pair_with(config(), config()).await;
            if round % 2 == 0 {
                offerer.peer.close().await;
                answerer.peer.close().await;
            } else {
                drop(offerer);
                answerer.until_state(PeerState::Closed).await;
                answerer.peer.close().await;
            }
        }
        let settled = async {
            while open_files() > before || threads.running_tasks() > 0 {
                tokio::task::yield_now().await;
            }
        };
        soon("closing every socket and ending every task", settled).await;
        soon("ending the threads", threads.shutdown()).await;
    });
}

#[tokio::test]
async fn a_peer_on_ended_threads_says_that_it_is_closed() {
    let threads = PeerThreads::new(NonZeroUsize::MIN).unwrap();
    let config = PeerConfig { threads: Some(threads.clone()), ..PeerConfig::default() };
    let (peer, _events) = Peer::offerer(config.clone()).await.unwrap();
    soon("ending the threads", threads.shutdown()).await;
    soon("closing", peer.close()).await;
    assert!(matches!(peer.create_offer(false).await, Err(PeerError::Closed)));
    assert!(matches!(Peer::offerer(config).await, Err(PeerError::Start(_))));
}
