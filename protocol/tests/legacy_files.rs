//! Files on the original's single channel.

mod support;

use bytes::Bytes;
use halyard_protocol::{
    channel::{FileErrorCode, legacy::LegacyMessage},
    transfer::{
        RelativeName,
        legacy::{LegacyAction, LegacyReceiver, LegacySender},
    },
};
use proptest::prelude::*;
use support::bytes;

fn take(receiver: &mut LegacyReceiver) -> Vec<LegacyAction> {
    std::iter::from_fn(|| receiver.poll()).collect()
}

fn opened(meta: &str) -> LegacyReceiver {
    let mut receiver = LegacyReceiver::new();
    receiver.text(meta);
    assert!(matches!(&take(&mut receiver)[..], [LegacyAction::Open { .. }]));
    receiver
}

fn refusal(receiver: &mut LegacyReceiver) -> (FileErrorCode, String) {
    match &take(receiver)[..] {
        [LegacyAction::Discard(failure)] => (failure.code, failure.message.clone()),
        other => panic!("it is refused, not {other:?}"),
    }
}

#[test]
fn the_words_around_a_file_are_the_originals() {
    let name = RelativeName::new("demo_pkg.zip").expect("a good name");
    let sender = LegacySender::new(&name, 1_501_234, Some("False".into())).expect("no colon");
    assert_eq!(sender.opening(), "FILE_META::demo_pkg.zip:1501234:False");
    assert_eq!(sender.closing(), "END_OF_FILE");
}

#[test]
fn other_words_pass_by_also_in_the_middle_of_a_file() {
    let mut receiver = opened("FILE_META::a.zip:3:models");
    receiver.text("PROGRESS_REPORT::{\"epoch\":1}");
    let passed = LegacyMessage::Other("PROGRESS_REPORT::{\"epoch\":1}".into());
    assert_eq!(take(&mut receiver), [LegacyAction::Pass(passed)]);
    receiver.binary(Bytes::from_static(b"abc"));
    receiver.text("END_OF_FILE");
    let expected = [LegacyAction::Write(Bytes::from_static(b"abc")), LegacyAction::Finish];
    assert_eq!(take(&mut receiver), expected);
}

#[test]
fn the_wrong_number_of_bytes_is_refused_with_both() {
    let mut short = opened("FILE_META::a.zip:10:x");
    short.binary(Bytes::from_static(b"123"));
    let _ = take(&mut short);
    short.text("END_OF_FILE");
    let words = "the file was announced with 10 bytes, but 3 came";
    assert_eq!(refusal(&mut short), (FileErrorCode::HashMismatch, words.into()));

    let mut long = opened("FILE_META::a.zip:2:x");
    long.binary(Bytes::from_static(b"123"));
    let words = "the file was announced with 2 bytes, but more came";
    assert_eq!(refusal(&mut long), (FileErrorCode::Protocol, words.into()));
    long.binary(Bytes::from_static(b"more"));
    long.text("END_OF_FILE");
    assert_eq!(take(&mut long), [], "the rest passes by");
}

#[test]
fn bytes_without_a_file_are_refused_once() {
    let mut receiver = LegacyReceiver::new();
    receiver.binary(Bytes::from_static(b"what is this"));
    receiver.binary(Bytes::from_static(b"and this"));
    assert_eq!(refusal(&mut receiver).0, FileErrorCode::Protocol);
    receiver.text("FILE_META::a.zip:3:x");
    assert!(matches!(&take(&mut receiver)[..], [LegacyAction::Open { .. }]));
}

#[test]
fn a_file_in_the_middle_of_another_replaces_it() {
    let mut receiver = opened("FILE_META::a.zip:10:x");
    receiver.binary(Bytes::from_static(b"123"));
    let _ = take(&mut receiver);
    receiver.text("FILE_META::b.zip:1");
    let actions = take(&mut receiver);
    assert!(matches!(&actions[..], [LegacyAction::Discard(_), LegacyAction::Open { name, .. }]
        if name.as_str() == "b.zip"));
}

#[test]
fn a_refused_file_passes_by_and_the_next_one_is_taken() {
    let mut receiver = opened("FILE_META::a.zip:3:x");
    let full = halyard_protocol::transfer::Failure::new(FileErrorCode::NoSpace, "full");
    assert!(receiver.refuse(full.clone()));
    assert_eq!(take(&mut receiver), [LegacyAction::Discard(full.clone())]);
    assert!(!receiver.refuse(full));
    receiver.binary(Bytes::from_static(b"abc"));
    receiver.text("END_OF_FILE");
    assert_eq!(take(&mut receiver), []);
    receiver.text("FILE_META::b.zip:0:x");
    assert_eq!(take(&mut receiver).len(), 1);
    receiver.text("END_OF_FILE");
    assert_eq!(take(&mut receiver), [LegacyAction::Finish]);
}

proptest! {
    #[test]
    fn a_file_arrives_with_keep_alives_anywhere(
        seed: u64,
        size in 0..200_000usize,
        keep_alives in prop::collection::vec(any::<bool>(), 16),
    ) {
        let file = bytes(seed, size);
        let name = RelativeName::new("a.bin").expect("a good name");
        let sender = LegacySender::new(&name, size as u64, None).expect("no colon");
        let mut receiver = LegacyReceiver::new();
        receiver.text(&sender.opening());
        for (frame, keep_alive) in
            LegacySender::frames(file.clone().into()).into_iter().zip(keep_alives)
        {
            if keep_alive {
                receiver.binary(Bytes::from_static(b"KEEP_ALIVE"));
            }
            receiver.binary(frame);
        }
        receiver.text(&sender.closing());
        let mut written = Vec::new();
        let actions = take(&mut receiver);
        for action in &actions {
            if let LegacyAction::Write(bytes) = action {
                written.extend_from_slice(bytes);
            }
        }
        prop_assert_eq!(actions.last(), Some(&LegacyAction::Finish));
        prop_assert_eq!(written, file);
    }

    #[test]
    fn whatever_comes_is_never_more_than_announced(
        frames in prop::collection::vec(
            prop_oneof![
                "FILE_META::[a-z./]{0,6}:[0-9]{1,3}(:x)?".prop_map(Ok),
                Just(Ok("END_OF_FILE".to_owned())),
                any::<String>().prop_map(Ok),
                prop::collection::vec(any::<u8>(), 0..200).prop_map(Err),
            ],
            0..20,
        ),
    ) {
        let mut receiver = LegacyReceiver::new();
        let mut left: Option<u64> = None;
        for frame in frames {
            match frame {
                Ok(text) => receiver.text(&text),
                Err(bytes) => receiver.binary(bytes.into()),
            }
            for action in take(&mut receiver) {
                match action {
                    LegacyAction::Open { size, .. } => left = Some(size),
                    LegacyAction::Write(bytes) => {
                        let rest = left.expect("a file is open");
                        prop_assert!(bytes.len() as u64 <= rest);
                        left = Some(rest - bytes.len() as u64);
                    }
                    LegacyAction::Finish => {
                        prop_assert_eq!(left.take(), Some(0));
                    }
                    LegacyAction::Discard(_) => left = None,
                    LegacyAction::Pass(_) => {}
                }
            }
        }
    }
}
