//! A link over a network that loses, repeats and reorders, on a clock of its own.

use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::bus::Worth;

/// What the network does with each packet in turn.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Arrives,
    Lost,
    Twice,
    /// After the one behind it.
    Late,
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let fate = prop_oneof![
        4 => Just(Fate::Arrives),
        2 => Just(Fate::Lost),
        1 => Just(Fate::Twice),
        1 => Just(Fate::Late),
    ];
    prop::collection::vec(fate, 1..60)
}

/// Carries packets as the fates say; when those are used up, everything arrives.
struct Network<T> {
    fates: std::vec::IntoIter<Fate>,
    late: Option<T>,
}

impl<T: Clone> Network<T> {
    fn carry(&mut self, packets: Vec<T>) -> Vec<T> {
        let mut arrived = Vec::new();
        for packet in packets {
            match self.fates.next().unwrap_or(Fate::Arrives) {
                Fate::Arrives => arrived.push(packet),
                Fate::Lost => continue,
                Fate::Twice => arrived.extend([packet.clone(), packet]),
                Fate::Late => {
                    arrived.extend(self.late.replace(packet));
                    continue;
                }
            }
            arrived.extend(self.late.take());
        }
        arrived
    }
}

fn message(size: usize, number: usize) -> Bytes {
    let mut bytes = vec![u8::try_from(number % 251).expect("small"); size];
    bytes.extend(number.to_be_bytes());
    bytes.into()
}

proptest! {
    #[test]
    fn every_message_arrives_once_and_in_order_whatever_the_network_does(
        there in fates(),
        back in fates(),
        sizes in prop::collection::vec(prop_oneof![0..200_usize, 0..3 * PIECE_BYTES], 1..12),
    ) {
        let messages: Vec<Bytes> =
            sizes.iter().enumerate().map(|(number, &size)| message(size, number)).collect();
        let mut sender = Outgoing::new(1);
        let mut receiver = Incoming::default();
        let mut there = Network { fates: there.into_iter(), late: None };
        let mut back = Network { fates: back.into_iter(), late: None };
        let mut now = Instant::now();
        let mut arrived = Vec::new();
        let mut handed_over = messages.iter();
        for round in 0.. {
            prop_assert!(round < 2_000, "it ends");
            if let Some(message) = handed_over.next() {
                sender.push(message, Worth::Peer).expect("there is room");
            } else if sender.is_empty() {
                break;
            }
            let pieces = sender.due(now).into_iter().map(|p| (p.number, p.last, p.bytes)).collect();
            let mut acks = Vec::new();
            for (number, last, bytes) in there.carry(pieces) {
                match receiver.take(1, number, last, &bytes) {
                    Taken::Message(message) => arrived.push(message),
                    Taken::Nothing => {}
                    // The first piece is on its way again.
                    Taken::Unknown => continue,
                    Taken::Old => prop_assert!(false, "there is one epoch"),
                }
                acks.push(receiver.position());
            }
            for (epoch, next) in back.carry(acks) {
                sender.acked(epoch, next, now);
            }
            now += Duration::from_millis(40);
        }
        prop_assert_eq!(arrived, messages);
    }
}

#[test]
fn a_link_that_starts_again_forgets_what_came_of_the_old_one() {
    let mut receiver = Incoming::default();
    let piece = Bytes::from_static(b"x");
    assert_eq!(receiver.take(4, 1, true, &piece), Taken::Message(piece.clone()));
    assert_eq!(receiver.take(5, 2, true, &piece), Taken::Unknown, "its beginning was missed");
    assert_eq!(receiver.take(5, 1, false, &piece), Taken::Nothing);
    assert_eq!(receiver.take(4, 2, true, &piece), Taken::Old);
    assert_eq!(receiver.take(5, 2, true, &piece), Taken::Message(Bytes::from_static(b"xx")));
}

#[test]
fn what_did_not_arrive_is_handed_back_whole() {
    let mut sender = Outgoing::new(1);
    let now = Instant::now();
    let messages = [message(3, 0), message(2 * PIECE_BYTES, 1), message(5, 2)];
    for message in &messages {
        sender.push(message, Worth::Rooms).expect("there is room");
    }
    // The first message and one piece of the second.
    assert_eq!(sender.due(now).len(), 1, "the second message's piece is above the first allowance");
    sender.acked(1, 2, now);
    assert!(!sender.due(now).is_empty());
    sender.acked(1, 3, now);
    assert_eq!(sender.into_undelivered(), messages[1..]);
}

#[test]
fn a_queue_that_is_full_for_peers_still_has_room_for_the_rooms_and_not_for_ever() {
    let mut sender = Outgoing::new(1);
    let large = message(1024 * 1024, 0);
    while sender.push(&large, Worth::Peer).is_ok() {}
    sender.push(&large, Worth::Rooms).expect("there is room");
    let mut pushed = 0;
    while sender.push(&large, Worth::Rooms).is_ok() {
        pushed += 1;
        assert!(pushed < 1_000, "bounded");
    }
}

#[test]
fn a_silent_end_is_asked_with_one_piece_and_ever_more_slowly() {
    let mut sender = Outgoing::new(1);
    for number in 0..10 {
        sender.push(&message(10, number), Worth::Peer).expect("there is room");
    }
    let start = Instant::now();
    assert_eq!(sender.due(start).len(), 10);
    assert!(sender.due(start).is_empty(), "not twice");
    let mut asked = Vec::new();
    for millis in (0..5_000).step_by(10) {
        let pieces = sender.due(start + Duration::from_millis(millis));
        assert!(pieces.len() <= 1);
        asked.extend(pieces.iter().map(|_| millis));
    }
    assert_eq!(asked, [200, 600, 1400, 2400, 3400, 4400]);
    sender.network_is_back();
    assert_eq!(sender.due(start + Duration::from_secs(5)).len(), 10);
}
