//! Opening, and messages on every lane.

use std::time::{Duration, Instant};

use halyard_client::peer::{PeerError, PeerEvent, PeerState, VideoRole};
use halyard_protocol::{channel::Lane, limits::MAX_CHANNEL_MESSAGE_BYTES};

use crate::pair::{End, config, introduce, note, number, pair, soon};

#[tokio::test]
async fn all_lanes_are_open_within_a_second() {
    let started = Instant::now();
    let (offerer, answerer) = pair().await;
    let took = started.elapsed();
    println!("all lanes open on both ends after {took:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert!(offerer.peer.state().is_connected());
    assert!(answerer.peer.state().is_connected());
}

#[tokio::test]
async fn every_lane_carries_messages_both_ways() {
    let (mut offerer, mut answerer) = pair().await;
    for lane in [Lane::Control, Lane::State, Lane::Drive] {
        offerer.peer.send(lane, &note(1)).await.unwrap();
        assert_eq!(number(&answerer.until_text(lane).await), 1);
        answerer.peer.send(lane, &note(2)).await.unwrap();
        assert_eq!(number(&offerer.until_text(lane).await), 2);
    }
    offerer.peer.send_chunk(&b"to the answerer"[..]).await.unwrap();
    assert_eq!(soon("a chunk", answerer.peer.recv_bulk()).await.unwrap(), "to the answerer");
    answerer.peer.send_chunk(&b"to the offerer"[..]).await.unwrap();
    assert_eq!(soon("a chunk", offerer.peer.recv_bulk()).await.unwrap(), "to the offerer");
}

#[tokio::test]
async fn what_is_sent_before_the_lane_opens_arrives_in_order() {
    let offerer = End::offerer(config(VideoRole::None)).await;
    let mut answerer = End::answerer(config(VideoRole::None)).await;
    for n in 0..100 {
        offerer.peer.send(Lane::Control, &note(n)).await.unwrap();
    }
    introduce(&offerer, &answerer).await;
    for n in 0..100 {
        assert_eq!(number(&answerer.until_text(Lane::Control).await), n);
    }
}

#[tokio::test]
async fn ten_thousand_messages_keep_their_order_on_control() {
    let (offerer, mut answerer) = pair().await;
    let peer = offerer.peer.clone();
    let sending = tokio::spawn(async move {
        for n in 0..10_000 {
            peer.send(Lane::Control, &note(n)).await.unwrap();
        }
    });
    for n in 0..10_000 {
        assert_eq!(number(&answerer.until_text(Lane::Control).await), n);
    }
    sending.await.unwrap();
}

#[tokio::test]
async fn a_message_beyond_the_limit_is_refused_and_the_lane_goes_on() {
    let (offerer, answerer) = pair().await;
    let refused = offerer.peer.send_chunk(vec_of(MAX_CHANNEL_MESSAGE_BYTES + 1)).await;
    assert!(matches!(refused, Err(PeerError::TooLarge { .. })), "{refused:?}");
    let lossy = offerer.peer.try_send_lossy(Lane::Control, &note(0));
    assert!(matches!(lossy, Err(PeerError::Reliable(Lane::Control))), "{lossy:?}");

    offerer.peer.send_chunk(vec_of(MAX_CHANNEL_MESSAGE_BYTES)).await.unwrap();
    let received = soon("a chunk", answerer.peer.recv_bulk()).await.unwrap();
    assert_eq!(received.len(), MAX_CHANNEL_MESSAGE_BYTES);
}

#[tokio::test]
async fn an_end_without_a_legacy_client_says_so() {
    let (offerer, _answerer) = pair().await;
    let refused = offerer.peer.send_legacy_text("hello".to_owned()).await;
    assert!(matches!(refused, Err(PeerError::NoLegacyChannel)), "{refused:?}");
}

#[tokio::test]
async fn states_are_reported_in_order() {
    let mut offerer = End::offerer(config(VideoRole::None)).await;
    let answerer = End::answerer(config(VideoRole::None)).await;
    introduce(&offerer, &answerer).await;
    let mut states = Vec::new();
    offerer
        .until("connected", |event| {
            if let PeerEvent::State(state) = event {
                states.push(state);
            }
            (states.last() == Some(&PeerState::Connected)).then_some(())
        })
        .await;
    assert_eq!(states, [PeerState::Connecting, PeerState::Connected]);
}

fn vec_of(bytes: usize) -> bytes::BytesMut {
    bytes::BytesMut::zeroed(bytes)
}
