//! Whatever a sender does, a receiver writes without gaps, never more than was offered, and never
//! calls a file whole whose hash is not the one that was announced.
//!
//! The input is a small program: two bytes of sizes, then one operation after another, each an
//! opcode and what it needs.

use std::time::Duration;

use bytes::Bytes;
use halyard_protocol::{
    channel::{Chunk, FileErrorCode, Message, TransferCancel, TransferEnd, TransferOffer},
    transfer::{
        Failure, Receiver, ReceiverAction,
        legacy::{LegacyAction, LegacyReceiver},
    },
};

pub fn check(data: &[u8]) {
    let mut input = data.iter().copied();
    let size = u64::from(input.next().unwrap_or(0));
    let mut part = vec![7; usize::from(input.next().unwrap_or(0))];
    let offer = TransferOffer {
        transfer: 1,
        name: "x".into(),
        size,
        modified_ms: None,
        request: None,
        folder: None,
    };
    let mut now = Duration::ZERO;
    let mut receiver = Receiver::new(&offer, part.len() as u64, now);
    let mut announced = None;
    let mut over = false;
    loop {
        while let Some(action) = receiver.poll() {
            assert!(!over, "nothing comes after the last action");
            match action {
                ReceiverAction::ReadHeld { offset, most } => {
                    let from = usize::try_from(offset).expect("small");
                    receiver.supply(&part[from..(from + most).min(part.len())], now);
                }
                ReceiverAction::Truncate | ReceiverAction::Discard => part.clear(),
                ReceiverAction::Write { offset, bytes } => {
                    assert_eq!(offset, part.len() as u64, "writes follow each other");
                    part.extend_from_slice(&bytes);
                    assert!(part.len() as u64 <= size, "never more than was offered");
                }
                ReceiverAction::Finish => {
                    assert_eq!(part.len() as u64, size);
                    assert_eq!(announced, Some(blake3::hash(&part)));
                    receiver.finished();
                }
                ReceiverAction::Sync { upto } => receiver.synced(upto, now),
                ReceiverAction::Say(message) => {
                    Message::decode(&message.encode()).expect("our own words");
                }
                ReceiverAction::Finished | ReceiverAction::Failed(_) => over = true,
            }
        }
        assert_eq!(over, receiver.is_over());
        let Some(operation) = input.next() else { break };
        match operation % 8 {
            // The next bytes, as a good sender sends them.
            0 | 1 => {
                let len = usize::from(input.next().unwrap_or(0));
                let bytes: Bytes = input.by_ref().take(len).collect();
                let offset = receiver.received();
                receiver.chunk(Chunk { transfer: 1, offset, bytes }, now);
            }
            // Bytes of anywhere.
            2 => {
                let offset = u64::from(input.next().unwrap_or(0));
                let bytes: Bytes = input.by_ref().take(3).collect();
                receiver.chunk(Chunk { transfer: 1, offset, bytes }, now);
            }
            // The end: of what is there, or of something else.
            3 | 4 => {
                let hash = match input.next() {
                    Some(other) if other % 4 == 0 => blake3::hash(&[other]),
                    _ => blake3::hash(&part),
                };
                if !over && announced.is_none() {
                    announced = Some(hash);
                }
                let blake3 = hash.to_hex().to_string();
                receiver.hear(&Message::TransferEnd(TransferEnd { transfer: 1, blake3 }), now);
            }
            5 => {
                let blake3 = input.by_ref().take(64).map(char::from).collect();
                receiver.hear(&Message::TransferEnd(TransferEnd { transfer: 1, blake3 }), now);
            }
            6 => {
                now += Duration::from_secs(u64::from(input.next().unwrap_or(0)));
                receiver.tick(now);
            }
            _ => match input.next() {
                Some(0) => {
                    let word = TransferCancel {
                        transfer: 1,
                        code: FileErrorCode::Cancelled,
                        message: String::new(),
                    };
                    receiver.hear(&Message::TransferCancel(word), now);
                }
                Some(1) => receiver.refuse(Failure::new(FileErrorCode::NoSpace, "full")),
                _ => {}
            },
        }
    }
    check_legacy(data);
}

/// The same bytes as frames of the original's channel: text where they are text.
fn check_legacy(data: &[u8]) {
    let mut receiver = LegacyReceiver::new();
    let mut left = None;
    for frame in data.split(|&byte| byte == b'\n') {
        match std::str::from_utf8(frame) {
            Ok(text) if text.contains("::") || text == "END_OF_FILE" => receiver.text(text),
            _ => receiver.binary(Bytes::copy_from_slice(frame)),
        }
        while let Some(action) = receiver.poll() {
            match action {
                LegacyAction::Open { size, .. } => left = Some(size),
                LegacyAction::Write(bytes) => {
                    let rest: u64 = left.expect("a file is open");
                    left = Some(rest.checked_sub(bytes.len() as u64).expect("never more"));
                }
                LegacyAction::Finish => assert_eq!(left.take(), Some(0)),
                LegacyAction::Discard(_) => left = None,
                LegacyAction::Pass(_) => {}
            }
        }
    }
}
