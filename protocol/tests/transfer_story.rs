//! A sender and a receiver over two lanes that deliver whenever they like, are cut at any point,
//! and sometimes lie. Whatever happens, a file is never called whole unless it is the sender's.

mod support;

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use halyard_protocol::{
    channel::{Chunk, Message},
    limits::CHUNK_BYTES,
    transfer::{Failure, Receiver, ReceiverAction, Sender, SenderAction},
};
use proptest::prelude::*;
use support::{Numbers, bytes, offer};

/// One connection: what is on its way, and the two machines at its ends.
struct Pair<'a> {
    file: &'a [u8],
    part: &'a mut Vec<u8>,
    sender: Sender,
    receiver: Option<Receiver>,
    /// Towards the receiver.
    control: VecDeque<Message>,
    bulk: VecDeque<Bytes>,
    /// Towards the sender.
    answers: VecDeque<Message>,
    syncs: VecDeque<u64>,
    now: Duration,
    sent: Option<Result<(), Failure>>,
    received: Option<Result<(), Failure>>,
}

impl<'a> Pair<'a> {
    fn new(file: &'a [u8], part: &'a mut Vec<u8>) -> Self {
        Self {
            sender: Sender::new(offer(1, file.len() as u64), Duration::ZERO),
            file,
            part,
            receiver: None,
            control: VecDeque::new(),
            bulk: VecDeque::new(),
            answers: VecDeque::new(),
            syncs: VecDeque::new(),
            now: Duration::ZERO,
            sent: None,
            received: None,
        }
    }

    /// Lets one thing happen. `false` when nothing can.
    fn step(
        &mut self,
        numbers: &mut Numbers,
        liar: &mut impl FnMut(&mut Numbers, &mut Bytes),
    ) -> bool {
        self.now += Duration::from_millis(numbers.next() % 300);
        let first = numbers.below(5);
        (0..5).any(|turn| match (first + turn) % 5 {
            0 => self.send_something(numbers),
            1 => self.hear_control(),
            2 => self.hear_bulk(numbers, liar),
            3 => match self.answers.pop_front() {
                Some(word) => {
                    self.sender.hear(&word, self.now);
                    true
                }
                None => false,
            },
            _ => match (self.syncs.pop_front(), &mut self.receiver) {
                (Some(upto), Some(receiver)) => {
                    receiver.synced(upto, self.now);
                    self.receive();
                    true
                }
                _ => false,
            },
        })
    }

    fn send_something(&mut self, numbers: &mut Numbers) -> bool {
        match self.sender.poll() {
            None => return false,
            Some(SenderAction::Say(message)) => self.control.push_back(message),
            Some(SenderAction::Chunk(chunk)) => self.bulk.push_back(chunk),
            Some(SenderAction::Finished) => self.sent = Some(Ok(())),
            Some(SenderAction::Failed(failure)) => self.sent = Some(Err(failure)),
            Some(SenderAction::Read { offset, most }) => {
                let from = usize::try_from(offset).expect("small");
                // Short reads are reads.
                let most = 1 + numbers.below(most.max(1));
                self.sender.supply(&self.file[from..(from + most).min(self.file.len())], self.now);
            }
        }
        true
    }

    fn hear_control(&mut self) -> bool {
        let Some(word) = self.control.pop_front() else { return false };
        match (&mut self.receiver, &word) {
            (None, Message::TransferOffer(offer)) => {
                self.receiver = Some(Receiver::new(offer, self.part.len() as u64, self.now));
            }
            (Some(receiver), word) => receiver.hear(word, self.now),
            (None, _) => {}
        }
        self.receive();
        true
    }

    fn hear_bulk(
        &mut self,
        numbers: &mut Numbers,
        liar: &mut impl FnMut(&mut Numbers, &mut Bytes),
    ) -> bool {
        let Some(mut message) = self.bulk.pop_front() else { return false };
        liar(numbers, &mut message);
        if let (Some(receiver), Ok(chunk)) = (&mut self.receiver, Chunk::decode(message)) {
            receiver.chunk(chunk, self.now);
            self.receive();
        }
        true
    }

    fn receive(&mut self) {
        let Some(receiver) = &mut self.receiver else { return };
        while let Some(action) = receiver.poll() {
            match action {
                ReceiverAction::Say(message) => self.answers.push_back(message),
                ReceiverAction::ReadHeld { offset, most } => {
                    let from = usize::try_from(offset).expect("small");
                    let to = (from + most).min(self.part.len());
                    receiver.supply(&self.part[from..to], self.now);
                }
                ReceiverAction::Truncate | ReceiverAction::Discard => self.part.clear(),
                ReceiverAction::Write { offset, bytes } => {
                    assert_eq!(offset, self.part.len() as u64, "writes follow each other");
                    self.part.extend_from_slice(&bytes);
                }
                ReceiverAction::Sync { upto } => self.syncs.push_back(upto),
                ReceiverAction::Finish => receiver.finished(),
                ReceiverAction::Finished => self.received = Some(Ok(())),
                ReceiverAction::Failed(failure) => self.received = Some(Err(failure)),
            }
        }
    }

    fn run(
        &mut self,
        numbers: &mut Numbers,
        most: usize,
        mut liar: impl FnMut(&mut Numbers, &mut Bytes),
    ) {
        for _ in 0..most {
            if !self.step(numbers, &mut liar) {
                break;
            }
        }
    }
}

fn honest(_: &mut Numbers, _: &mut Bytes) {}

fn flip(numbers: &mut Numbers, message: &mut Bytes) {
    let mut bytes = message.to_vec();
    let at = numbers.below(bytes.len());
    bytes[at] ^= 1 << numbers.below(8);
    *message = bytes.into();
}

fn sizes() -> impl Strategy<Value = usize> {
    prop_oneof![Just(0), 1..200usize, Just(CHUNK_BYTES), Just(CHUNK_BYTES + 1), 1..5 * CHUNK_BYTES,]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn an_honest_pair_always_arrives(seed: u64, size in sizes()) {
        let (file, mut numbers, mut part) = (bytes(seed, size), Numbers::new(seed), Vec::new());
        let mut pair = Pair::new(&file, &mut part);
        pair.run(&mut numbers, usize::MAX, honest);
        prop_assert_eq!(&pair.sent, &Some(Ok(())));
        prop_assert_eq!(&pair.received, &Some(Ok(())));
        prop_assert_eq!(part, file);
    }

    #[test]
    fn a_file_arrives_after_any_number_of_cuts(
        seed: u64,
        size in sizes(),
        cuts in prop::collection::vec(0..60usize, 0..6),
        lost in 0..2000usize,
        damage: bool,
    ) {
        let (file, mut numbers, mut part) = (bytes(seed, size), Numbers::new(seed), Vec::new());
        for steps in cuts {
            Pair::new(&file, &mut part).run(&mut numbers, steps, honest);
            if numbers.once_in(3) {
                // A power cut: what was not made safe is gone.
                part.truncate(part.len().saturating_sub(lost));
            }
            if damage && !part.is_empty() {
                let at = numbers.below(part.len());
                part[at] ^= 0x40;
            }
            if part == file {
                // It arrived; the next offer would start over.
                break;
            }
        }
        let mut pair = Pair::new(&file, &mut part);
        pair.run(&mut numbers, usize::MAX, honest);
        prop_assert_eq!(&pair.sent, &Some(Ok(())));
        prop_assert_eq!(&pair.received, &Some(Ok(())));
        prop_assert_eq!(part, file);
    }

    #[test]
    fn what_another_try_left_is_replaced(seed: u64, size in sizes(), left in sizes()) {
        let (file, mut numbers) = (bytes(seed, size), Numbers::new(seed));
        let mut part = bytes(seed.wrapping_add(1), left);
        let mut pair = Pair::new(&file, &mut part);
        pair.run(&mut numbers, usize::MAX, honest);
        prop_assert_eq!(&pair.received, &Some(Ok(())));
        prop_assert_eq!(part, file);
    }

    #[test]
    fn damaged_bytes_are_never_accepted(
        seed: u64,
        size in 1..3 * CHUNK_BYTES,
        held in 0..3 * CHUNK_BYTES,
        rate in 1..4usize,
    ) {
        let (file, mut numbers) = (bytes(seed, size), Numbers::new(seed));
        let mut part = file[..held.min(size)].to_vec();
        let mut pair = Pair::new(&file, &mut part);
        let mut damaged = 0;
        pair.run(&mut numbers, 10_000, |numbers, message| {
            if numbers.once_in(rate) {
                damaged += 1;
                flip(numbers, message);
            }
        });
        let received = pair.received.clone();
        if matches!(received, Some(Ok(()))) {
            prop_assert_eq!(part, file);
        } else {
            prop_assert!(damaged > 0, "an honest pair arrives, this one said {:?}", received);
        }
    }

    #[test]
    fn words_in_any_order_never_panic_and_never_lie(
        seed: u64,
        size in 0..1000usize,
        held in 0..1000usize,
    ) {
        let file = bytes(seed, size);
        let mut numbers = Numbers::new(seed);
        let mut part = bytes(seed, held);
        let mut pair = Pair::new(&file, &mut part);
        for _ in 0..60 {
            // Words of a stranger among those of the sender.
            match numbers.below(8) {
                0 => if let Some(word) = pair.control.front().cloned() { pair.control.push_back(word) },
                1 => if let Some(word) = pair.answers.front().cloned() { pair.answers.push_back(word) },
                2 => if let Some(chunk) = pair.bulk.front().cloned() { pair.bulk.push_back(chunk) },
                3 => { pair.control.rotate_left(numbers.below(2).min(pair.control.len())); }
                4 => { pair.bulk.rotate_left(numbers.below(2).min(pair.bulk.len())); }
                _ => {}
            }
            pair.step(&mut numbers, &mut |_, _| {});
        }
        if matches!(pair.received, Some(Ok(()))) {
            prop_assert_eq!(part, file);
        }
    }
}
