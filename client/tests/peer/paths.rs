//! Candidates in the description, candidates apart, and changing paths on the way.

use std::time::Duration;

use halyard_client::peer::{CandidateKind, PeerConfig, PeerError, PeerEvent, PeerState, VideoRole};
use halyard_protocol::{
    channel::{Chunk, Lane},
    limits::CHUNK_BYTES,
    signal::Candidate,
};

use crate::pair::{End, config, note, number, pair, soon};

/// A description as an end sends it that trickles everything.
fn without_candidates(sdp: &str) -> String {
    let kept: Vec<_> = sdp
        .lines()
        .filter(|line| !line.starts_with("a=candidate") && !line.starts_with("a=end-of-cand"))
        .collect();
    kept.join("\r\n") + "\r\n"
}

/// The candidates of a description.
fn candidates(sdp: &str) -> Vec<Candidate> {
    sdp.lines()
        .filter_map(|line| line.strip_prefix("a="))
        .filter(|line| line.starts_with("candidate:"))
        .map(|line| Candidate {
            candidate: line.to_owned(),
            sdp_mid: None,
            sdp_m_line_index: Some(0),
            username_fragment: None,
        })
        .collect()
}

#[tokio::test]
async fn the_descriptions_alone_are_enough() {
    let offerer = End::offerer(config(VideoRole::None)).await;
    let answerer = End::answerer(config(VideoRole::None)).await;
    let offer = offerer.peer.create_offer(false).await.unwrap();
    assert!(candidates(&offer).iter().any(|line| line.candidate.contains(" 127.0.0.1 ")));
    let answer = answerer.peer.accept_offer(&offer).await.unwrap();
    assert!(!candidates(&answer).is_empty());
    offerer.peer.accept_answer(&answer).await.unwrap();
    let (mut offerer, mut answerer) = (offerer, answerer);
    tokio::join!(offerer.until_open(), answerer.until_open());
}

#[tokio::test]
async fn trickled_candidates_alone_are_enough_even_when_they_come_early() {
    let impatient = || PeerConfig { gather_wait: Duration::ZERO, ..config(VideoRole::None) };
    let mut offerer = End::offerer(impatient()).await;
    let mut answerer = End::answerer(impatient()).await;

    let offer = offerer.peer.create_offer(false).await.unwrap();
    let mut offered = candidates(&offer);
    offered.extend(trickled(&mut offerer).await);
    assert!(!offered.is_empty());
    // Faster than the offer.
    for candidate in offered {
        answerer.peer.add_candidate(candidate).await.unwrap();
    }
    let answer = answerer.peer.accept_offer(&without_candidates(&offer)).await.unwrap();
    let mut answered = candidates(&answer);
    answered.extend(trickled(&mut answerer).await);
    for candidate in answered {
        offerer.peer.add_candidate(candidate).await.unwrap();
    }
    offerer.peer.accept_answer(&without_candidates(&answer)).await.unwrap();
    tokio::join!(offerer.until_open(), answerer.until_open());
}

#[tokio::test]
async fn two_ends_on_one_host_connect_over_ipv6_alone() {
    let mut offerer = End::offerer(config(VideoRole::None)).await;
    let mut answerer = End::answerer(config(VideoRole::None)).await;
    let over_ipv6 = |sdp: &str| -> Vec<Candidate> {
        candidates(sdp).into_iter().filter(|line| line.candidate.contains(" ::1 ")).collect()
    };
    let offer = offerer.peer.create_offer(false).await.unwrap();
    assert!(!over_ipv6(&offer).is_empty(), "{offer}");
    let answer = answerer.peer.accept_offer(&without_candidates(&offer)).await.unwrap();
    offerer.peer.accept_answer(&without_candidates(&answer)).await.unwrap();
    for candidate in over_ipv6(&offer) {
        answerer.peer.add_candidate(candidate).await.unwrap();
    }
    for candidate in over_ipv6(&answer) {
        offerer.peer.add_candidate(candidate).await.unwrap();
    }
    tokio::join!(offerer.until_open(), answerer.until_open());
}

/// Everything reported until gathering is over. It may have been over before the description.
async fn trickled(end: &mut End) -> Vec<Candidate> {
    let mut found = Vec::new();
    let wait = Duration::from_millis(300);
    while let Ok(Some(event)) = tokio::time::timeout(wait, end.events.recv()).await {
        match event {
            PeerEvent::LocalCandidate(candidate) if candidate.candidate.is_empty() => break,
            PeerEvent::LocalCandidate(candidate) => found.push(candidate),
            _ => {}
        }
    }
    found
}

#[tokio::test]
async fn a_peer_does_not_knock_at_every_door_it_is_told_of() {
    let mut offerer = End::offerer(config(VideoRole::None)).await;
    let mut answerer = End::answerer(config(VideoRole::None)).await;
    let door = |port: u32| format!("candidate:{port} 1 udp 1 192.0.2.1 {port} typ host");
    let offer = offerer.peer.create_offer(false).await.unwrap();
    let doors: String =
        (1000..2000).flat_map(|port| ["a=".into(), door(port), "\r\n".into()]).collect();
    let refused = answerer.peer.accept_offer(&(offer.clone() + &doors)).await;
    assert!(matches!(refused, Err(PeerError::BadDescription { kind: "offer", .. })), "{refused:?}");

    let answer = answerer.peer.accept_offer(&offer).await.unwrap();
    let mut taken = 0;
    for port in 1000..2000 {
        let candidate = Candidate {
            candidate: door(port),
            sdp_mid: None,
            sdp_m_line_index: Some(0),
            username_fragment: None,
        };
        match answerer.peer.add_candidate(candidate).await {
            Ok(()) => taken += 1,
            Err(error) => assert!(matches!(error, PeerError::BadCandidate(_)), "{error}"),
        }
    }
    assert!((1..=128).contains(&taken), "{taken}");
    offerer.peer.accept_answer(&answer).await.unwrap();
    tokio::join!(offerer.until_open(), answerer.until_open());
}

#[tokio::test]
async fn nonsense_is_refused_and_the_peer_goes_on() {
    let offerer = End::offerer(config(VideoRole::None)).await;
    let mut answerer = End::answerer(config(VideoRole::None)).await;
    for nonsense in ["", "hello", "v=0\r\n", "v=0\r\nm=video\r\n", "\u{0}\u{1}"] {
        let refused = answerer.peer.accept_offer(nonsense).await;
        assert!(
            matches!(refused, Err(PeerError::BadDescription { .. } | PeerError::Describe { .. })),
            "{nonsense:?}: {refused:?}"
        );
    }
    let early = offerer.peer.accept_answer("v=0\r\n").await;
    assert!(matches!(early, Err(PeerError::BadDescription { kind: "answer", .. })), "{early:?}");

    let offer = offerer.peer.create_offer(false).await.unwrap();
    let answer = answerer.peer.accept_offer(&offer).await.unwrap();
    let bad = Candidate {
        candidate: "candidate:nonsense".to_owned(),
        sdp_mid: None,
        sdp_m_line_index: None,
        username_fragment: None,
    };
    let refused = answerer.peer.add_candidate(bad).await;
    assert!(matches!(refused, Err(PeerError::BadCandidate(_))), "{refused:?}");
    offerer.peer.accept_answer(&answer).await.unwrap();
    answerer.until_open().await;
}

#[tokio::test]
async fn the_path_and_its_round_trip_are_told() {
    let (offerer, _answerer) = pair().await;
    offerer.peer.send(Lane::Control, &note(1)).await.unwrap();
    let known = async {
        loop {
            let stats = offerer.peer.stats().await;
            if stats.rtt.is_some() && stats.bytes_received > 0 {
                return stats;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let stats = soon("a measured round trip", known).await;
    println!("{stats:?}");
    let (local, remote) = stats.path.unwrap();
    assert!(matches!(local, CandidateKind::Host | CandidateKind::PeerReflexive));
    assert!(matches!(remote, CandidateKind::Host | CandidateKind::PeerReflexive));
    assert!(stats.rtt.unwrap() < Duration::from_secs(1));
    assert!(stats.silent_for.unwrap() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ice_restart_under_traffic_loses_nothing_on_reliable_lanes() {
    const CHUNKS: usize = 1500;
    const NOTES: usize = 2000;
    let (mut offerer, mut answerer) = pair().await;

    let (bulk, control) = (offerer.peer.clone(), offerer.peer.clone());
    let sending_bulk = tokio::spawn(async move {
        for n in 0..CHUNKS {
            let bytes = vec![n as u8; CHUNK_BYTES - Chunk::HEADER_BYTES].into();
            let chunk = Chunk { transfer: 1, offset: n as u64, bytes };
            bulk.send_chunk(chunk.encode()).await.unwrap();
        }
    });
    let sending_control = tokio::spawn(async move {
        for n in 0..NOTES {
            control.send(Lane::Control, &note(n)).await.unwrap();
            if n % 10 == 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    });
    let peer = answerer.peer.clone();
    let receiving = tokio::spawn(async move {
        for n in 0..CHUNKS {
            let message = soon("a chunk", peer.recv_bulk()).await.unwrap();
            assert_eq!(Chunk::decode(message).unwrap().offset, n as u64);
        }
    });

    let restarted = answerer.peer.clone();
    let restarting = tokio::spawn(async move {
        for _ in 0..2 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let offer = offerer.peer.create_offer(true).await.unwrap();
            let answer = restarted.accept_offer(&offer).await.unwrap();
            offerer.peer.accept_answer(&answer).await.unwrap();
            offerer.until_state(PeerState::Connected).await;
        }
        offerer
    });
    for n in 0..NOTES {
        assert_eq!(number(&answerer.until_text(Lane::Control).await), n);
    }
    sending_control.await.unwrap();
    sending_bulk.await.unwrap();
    receiving.await.unwrap();
    let offerer = restarting.await.unwrap();
    assert!(offerer.peer.state().is_connected());
}

#[tokio::test]
async fn a_restart_changes_the_ports_and_keeps_the_lanes() {
    let (mut offerer, mut answerer) = pair().await;
    let ports = |sdp: &str| -> Vec<String> {
        candidates(sdp)
            .iter()
            .filter_map(|line| line.candidate.split(' ').nth(5).map(str::to_owned))
            .collect()
    };
    let first = offerer.peer.create_offer(true).await.unwrap();
    let answer = answerer.peer.accept_offer(&first).await.unwrap();
    offerer.peer.accept_answer(&answer).await.unwrap();
    offerer.until_state(PeerState::Connected).await;
    let second = offerer.peer.create_offer(true).await.unwrap();
    let answer = answerer.peer.accept_offer(&second).await.unwrap();
    offerer.peer.accept_answer(&answer).await.unwrap();
    assert!(ports(&first).iter().all(|port| !ports(&second).contains(port)));

    offerer.peer.send(Lane::Control, &note(7)).await.unwrap();
    assert_eq!(number(&answerer.until_text(Lane::Control).await), 7);
    answerer.peer.send(Lane::Control, &note(8)).await.unwrap();
    assert_eq!(number(&offerer.until_text(Lane::Control).await), 8);
}
