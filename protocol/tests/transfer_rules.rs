//! What may follow what in a transfer, one rule a test.

mod support;

use std::time::Duration;

use bytes::Bytes;
use halyard_protocol::{
    channel::{
        Chunk, FileErrorCode, Message, TransferAccept, TransferCancel, TransferDone, TransferEnd,
        TransferOffer, TransferProgress, TransferRefuse,
    },
    limits::{CHUNK_BYTES, DURABLE_EVERY_BYTES, PAUSE_ABOVE_BUFFERED_BYTES, TRANSFER_STALL},
    transfer::{Failure, Receiver, ReceiverAction, Sender, SenderAction},
};
use support::{bytes, hex, offer};

const START: Duration = Duration::ZERO;

fn accept(offset: u64, prefix: Option<&[u8]>) -> Message {
    Message::TransferAccept(TransferAccept { transfer: 7, offset, prefix: prefix.map(hex) })
}

fn progress(durable: u64) -> Message {
    Message::TransferProgress(TransferProgress { transfer: 7, durable })
}

fn end(of: &[u8]) -> Message {
    Message::TransferEnd(TransferEnd { transfer: 7, blake3: hex(of) })
}

fn chunk(offset: u64, bytes: &[u8]) -> Chunk {
    Chunk { transfer: 7, offset, bytes: Bytes::copy_from_slice(bytes) }
}

fn done() -> Message {
    Message::TransferDone(TransferDone { transfer: 7 })
}

/// Everything that a sender of this file wants, with its reads answered, until it waits.
fn drain(sender: &mut Sender, file: &[u8]) -> Vec<SenderAction> {
    let mut actions = Vec::new();
    while let Some(action) = sender.poll() {
        if let SenderAction::Read { offset, most } = action {
            let from = usize::try_from(offset).expect("small");
            sender.supply(&file[from..(from + most).min(file.len())], START);
        } else {
            actions.push(action);
        }
    }
    actions
}

fn take(receiver: &mut Receiver) -> Vec<ReceiverAction> {
    std::iter::from_fn(|| receiver.poll()).collect()
}

fn accepted(size: u64) -> Receiver {
    let mut receiver = Receiver::new(&offer(7, size), 0, START);
    assert!(matches!(&take(&mut receiver)[..], [ReceiverAction::Say(Message::TransferAccept(_))]));
    receiver
}

fn failure_of(receiver: &mut Receiver) -> Failure {
    let actions = take(receiver);
    let Some(ReceiverAction::Failed(failure)) = actions.last() else {
        panic!("it went on: {actions:?}")
    };
    let told = actions.iter().any(|action| {
        matches!(action, ReceiverAction::Say(Message::TransferRefuse(word))
            if word.code == failure.code && word.message == failure.message)
    });
    assert!(told, "the sender is told: {actions:?}");
    failure.clone()
}

#[test]
fn a_chunk_that_skips_is_refused_with_both_places() {
    let mut receiver = accepted(100);
    receiver.chunk(chunk(0, &[1; 10]), START);
    receiver.chunk(chunk(20, &[1; 10]), START);
    let failure = failure_of(&mut receiver);
    assert_eq!(failure.code, FileErrorCode::Protocol);
    assert_eq!(failure.message, "a chunk for byte 20 came where byte 10 was next");
}

#[test]
fn a_chunk_that_overlaps_is_refused_with_both_places() {
    let mut receiver = accepted(100);
    receiver.chunk(chunk(0, &[1; 10]), START);
    receiver.chunk(chunk(5, &[1; 10]), START);
    assert_eq!(failure_of(&mut receiver).message, "a chunk for byte 5 came where byte 10 was next");
}

#[test]
fn a_second_start_from_zero_is_refused() {
    let mut receiver = accepted(100);
    receiver.chunk(chunk(0, &[1; 10]), START);
    receiver.chunk(chunk(0, &[1; 10]), START);
    assert_eq!(failure_of(&mut receiver).code, FileErrorCode::Protocol);
}

#[test]
fn more_bytes_than_offered_are_refused() {
    let mut receiver = accepted(15);
    receiver.chunk(chunk(0, &[1; 10]), START);
    receiver.chunk(chunk(10, &[1; 6]), START);
    assert_eq!(
        failure_of(&mut receiver).message,
        "the file was offered with 15 bytes, but more came"
    );
}

#[test]
fn empty_and_oversized_chunks_are_refused() {
    for size in [0, CHUNK_BYTES + 1] {
        let mut receiver = accepted(1 << 20);
        receiver.chunk(chunk(0, &vec![1; size]), START);
        assert_eq!(failure_of(&mut receiver).code, FileErrorCode::Protocol, "{size} bytes");
    }
}

#[test]
fn bytes_before_the_answer_are_refused() {
    let mut receiver = Receiver::new(&offer(7, 100), 50, START);
    receiver.chunk(chunk(0, &[1; 10]), START);
    assert_eq!(failure_of(&mut receiver).message, "bytes came before the file was accepted");
}

#[test]
fn an_end_that_overtakes_the_last_chunks_waits_for_them() {
    let file = bytes(3, CHUNK_BYTES + 10);
    let mut receiver = accepted(file.len() as u64);
    receiver.hear(&end(&file), START);
    receiver.chunk(chunk(0, &file[..CHUNK_BYTES]), START);
    assert!(!take(&mut receiver).contains(&ReceiverAction::Finish));
    receiver.chunk(chunk(CHUNK_BYTES as u64, &file[CHUNK_BYTES..]), START);
    assert_eq!(take(&mut receiver).last(), Some(&ReceiverAction::Finish));
    receiver.finished();
    assert_eq!(take(&mut receiver), [ReceiverAction::Say(done()), ReceiverAction::Finished]);
}

#[test]
fn the_same_end_twice_is_one_end_and_another_is_refused() {
    let mut receiver = accepted(10);
    receiver.hear(&end(b"0123456789"), START);
    receiver.hear(&end(b"0123456789"), START);
    assert_eq!(take(&mut receiver), []);
    receiver.hear(&end(b"9876543210"), START);
    assert_eq!(failure_of(&mut receiver).message, "the file ended twice with different hashes");
}

#[test]
fn an_end_after_the_end_changes_nothing() {
    let mut receiver = accepted(0);
    receiver.hear(&end(b""), START);
    assert_eq!(take(&mut receiver), [ReceiverAction::Finish]);
    receiver.hear(&end(b""), START);
    receiver.finished();
    receiver.hear(&end(b""), START);
    assert_eq!(take(&mut receiver), [ReceiverAction::Say(done()), ReceiverAction::Finished]);
}

#[test]
fn an_end_without_a_hash_says_what_is_accepted() {
    let mut receiver = accepted(10);
    let word = TransferEnd { transfer: 7, blake3: "beef".into() };
    receiver.hear(&Message::TransferEnd(word), START);
    assert!(failure_of(&mut receiver).message.contains("64 hexadecimal digits"));
}

#[test]
fn wrong_bytes_are_removed_and_told() {
    let mut receiver = accepted(3);
    receiver.chunk(chunk(0, b"abc"), START);
    let _ = take(&mut receiver);
    receiver.hear(&end(b"abd"), START);
    let actions = take(&mut receiver);
    assert_eq!(actions[0], ReceiverAction::Discard);
    assert!(
        matches!(&actions[2], ReceiverAction::Failed(f) if f.code == FileErrorCode::HashMismatch)
    );
}

#[test]
fn more_held_than_offered_is_dropped_before_the_answer() {
    let mut receiver = Receiver::new(&offer(7, 10), 11, START);
    let actions = take(&mut receiver);
    assert_eq!(actions[0], ReceiverAction::Truncate);
    assert_eq!(actions[1], ReceiverAction::Say(accept(0, None)));
}

#[test]
fn what_is_held_is_read_back_and_told_with_its_hash() {
    let held = bytes(1, Receiver::MAX_READ_BYTES + 5);
    let mut receiver = Receiver::new(&offer(7, 1 << 30), held.len() as u64, START);
    assert_eq!(
        receiver.poll(),
        Some(ReceiverAction::ReadHeld { offset: 0, most: Receiver::MAX_READ_BYTES })
    );
    assert_eq!(receiver.poll(), None);
    receiver.supply(&held[..Receiver::MAX_READ_BYTES], START);
    let offset = Receiver::MAX_READ_BYTES as u64;
    assert_eq!(receiver.poll(), Some(ReceiverAction::ReadHeld { offset, most: 5 }));
    receiver.supply(&held[Receiver::MAX_READ_BYTES..], START);
    assert_eq!(take(&mut receiver), [ReceiverAction::Say(accept(held.len() as u64, Some(&held)))]);
}

#[test]
fn held_bytes_that_vanish_are_not_claimed() {
    let mut receiver = Receiver::new(&offer(7, 100), 50, START);
    assert!(matches!(receiver.poll(), Some(ReceiverAction::ReadHeld { .. })));
    receiver.supply(b"only ten b", START);
    assert!(matches!(receiver.poll(), Some(ReceiverAction::ReadHeld { .. })));
    receiver.supply(b"", START);
    assert_eq!(take(&mut receiver), [ReceiverAction::Say(accept(10, Some(b"only ten b")))]);
}

#[test]
fn a_chunk_from_zero_drops_what_was_held() {
    let mut receiver = Receiver::new(&offer(7, 4), 2, START);
    let _ = receiver.poll();
    receiver.supply(b"xx", START);
    let _ = take(&mut receiver);
    receiver.chunk(chunk(0, b"abcd"), START);
    let actions = take(&mut receiver);
    assert_eq!(actions[0], ReceiverAction::Truncate);
    assert_eq!(actions[1], ReceiverAction::Say(progress(0)));
    assert!(matches!(&actions[2], ReceiverAction::Write { offset: 0, .. }));
    receiver.hear(&end(b"abcd"), START);
    assert_eq!(take(&mut receiver), [ReceiverAction::Finish]);
}

#[test]
fn an_end_that_overtakes_a_restart_of_a_wholly_held_file_waits_for_it() {
    let mut receiver = Receiver::new(&offer(7, 4), 4, START);
    let _ = receiver.poll();
    receiver.supply(b"xxxx", START);
    let _ = take(&mut receiver);
    receiver.hear(&end(b"abcd"), START);
    assert_eq!(take(&mut receiver), [], "the hash differs, but the chunks are still on their way");
    receiver.chunk(chunk(0, b"abcd"), START);
    assert_eq!(take(&mut receiver).last(), Some(&ReceiverAction::Finish));
}

#[test]
fn progress_is_told_only_after_a_sync_and_at_least_every_8_mib() {
    let piece = vec![5; CHUNK_BYTES];
    let mut receiver = accepted(1 << 30);
    let mut offset = 0;
    let mut syncs = Vec::new();
    while syncs.len() < 3 {
        receiver.chunk(chunk(offset, &piece), START);
        offset += CHUNK_BYTES as u64;
        for action in take(&mut receiver) {
            match action {
                ReceiverAction::Sync { upto } => {
                    syncs.push(upto);
                    receiver.synced(upto, START);
                    assert_eq!(take(&mut receiver), [ReceiverAction::Say(progress(upto))]);
                }
                ReceiverAction::Say(Message::TransferProgress(word)) => {
                    assert_eq!(word.durable, 0, "only the first, before anything is safe");
                }
                _ => {}
            }
        }
    }
    let step = DURABLE_EVERY_BYTES + CHUNK_BYTES as u64;
    assert!(syncs.windows(2).all(|pair| pair[1] - pair[0] <= step), "{syncs:?}");
}

#[test]
fn a_slow_link_shows_progress_all_the_same() {
    let mut receiver = accepted(1000);
    receiver.chunk(chunk(0, &[1; 10]), START);
    let _ = take(&mut receiver);
    let due = receiver.deadline().expect("bytes are not safe yet");
    assert!(due <= Duration::from_secs(2), "{due:?}");
    receiver.tick(due);
    assert_eq!(take(&mut receiver), [ReceiverAction::Sync { upto: 10 }]);
}

#[test]
fn a_sender_that_goes_silent_is_given_up_and_the_file_stays() {
    let mut receiver = accepted(1000);
    receiver.chunk(chunk(0, &[1; 10]), START);
    let _ = take(&mut receiver);
    receiver.tick(TRANSFER_STALL);
    let actions = take(&mut receiver);
    assert!(!actions.contains(&ReceiverAction::Discard), "{actions:?}");
    assert!(matches!(actions.last(), Some(ReceiverAction::Failed(f))
        if f.message.contains("nothing of the file came for 120 s")));
}

#[test]
fn a_cancelled_file_is_removed_and_one_that_merely_failed_stays() {
    for (code, discards) in [(FileErrorCode::Cancelled, true), (FileErrorCode::Io, false)] {
        let mut receiver = accepted(1000);
        receiver.chunk(chunk(0, &[1; 10]), START);
        let _ = take(&mut receiver);
        let word = TransferCancel { transfer: 7, code, message: "why".into() };
        receiver.hear(&Message::TransferCancel(word), START);
        let actions = take(&mut receiver);
        assert_eq!(actions.contains(&ReceiverAction::Discard), discards);
        assert_eq!(actions.last(), Some(&ReceiverAction::Failed(Failure::new(code, "why"))));
    }
}

#[test]
fn a_disk_that_fills_is_told_to_the_sender() {
    let mut receiver = accepted(1000);
    receiver.chunk(chunk(0, &[1; 10]), START);
    receiver.refuse(Failure::new(FileErrorCode::NoSpace, "the disk is full"));
    assert_eq!(failure_of(&mut receiver).code, FileErrorCode::NoSpace);
    receiver.chunk(chunk(10, &[1; 10]), START);
    receiver.hear(&end(b""), START);
    assert_eq!(take(&mut receiver), [], "what is still on its way is dropped");
}

#[test]
fn an_empty_file_is_only_an_end() {
    let mut sender = Sender::new(offer(7, 0), START);
    assert_eq!(sender.poll(), Some(SenderAction::Say(Message::TransferOffer(offer(7, 0)))));
    sender.hear(&accept(0, None), START);
    assert_eq!(drain(&mut sender, b""), [SenderAction::Say(end(b""))]);
    sender.hear(&done(), START);
    assert_eq!(sender.poll(), Some(SenderAction::Finished));
}

#[test]
fn a_file_is_cut_into_chunks_and_ends_with_its_hash() {
    let file = bytes(9, 3 * CHUNK_BYTES + 1);
    let mut sender = Sender::new(offer(7, file.len() as u64), START);
    let _ = sender.poll();
    sender.hear(&accept(0, None), START);
    let actions = drain(&mut sender, &file);
    let mut rebuilt = Vec::new();
    for action in &actions[..4] {
        let SenderAction::Chunk(message) = action else { panic!("a chunk, not {action:?}") };
        let chunk = Chunk::decode(message.clone()).expect("a good chunk");
        assert_eq!((chunk.transfer, chunk.offset), (7, rebuilt.len() as u64));
        rebuilt.extend_from_slice(&chunk.bytes);
    }
    assert_eq!(rebuilt, file);
    assert_eq!(actions[4..], [SenderAction::Say(end(&file))]);
}

#[test]
fn a_held_beginning_is_not_sent_again() {
    let file = bytes(4, 1000);
    let mut sender = Sender::new(offer(7, 1000), START);
    let _ = sender.poll();
    sender.hear(&accept(600, Some(&file[..600])), START);
    let actions = drain(&mut sender, &file);
    let SenderAction::Chunk(message) = &actions[0] else { panic!("a chunk, not {actions:?}") };
    assert_eq!(Chunk::decode(message.clone()).expect("a good chunk").offset, 600);
    assert_eq!(actions[1], SenderAction::Say(end(&file)));
    assert_eq!(sender.resumed_at(), 600);
}

#[test]
fn a_held_beginning_of_another_file_is_sent_again_from_zero() {
    let file = bytes(4, 1000);
    for prefix in [Some(&bytes(5, 600)[..]), None] {
        let mut sender = Sender::new(offer(7, 1000), START);
        let _ = sender.poll();
        sender.hear(&accept(600, prefix), START);
        let actions = drain(&mut sender, &file);
        let SenderAction::Chunk(message) = &actions[0] else { panic!("a chunk, not {actions:?}") };
        assert_eq!(Chunk::decode(message.clone()).expect("a good chunk").offset, 0);
        assert_eq!(actions[1], SenderAction::Say(end(&file)), "the hash is the whole file's");
        assert_eq!(sender.resumed_at(), 0);
    }
}

#[test]
fn a_file_that_shrinks_is_called_off_with_its_new_end() {
    let mut sender = Sender::new(offer(7, 1000), START);
    let _ = sender.poll();
    sender.hear(&accept(0, None), START);
    let _ = sender.poll();
    sender.supply(&[1; 400], START);
    while !matches!(sender.poll(), Some(SenderAction::Read { .. })) {}
    sender.supply(&[], START);
    let Some(SenderAction::Say(Message::TransferCancel(word))) = sender.poll() else {
        panic!("the receiver is told")
    };
    assert_eq!(word.code, FileErrorCode::Io);
    assert!(word.message.contains("it ends at byte 400, 1000 were offered"), "{}", word.message);
    assert!(matches!(sender.poll(), Some(SenderAction::Failed(_))));
}

#[test]
fn a_sender_keeps_its_window_once_the_receiver_reports() {
    let size = 4 * PAUSE_ABOVE_BUFFERED_BYTES;
    let file = bytes(2, size);
    let mut sender = Sender::new(offer(7, size as u64), START);
    let _ = sender.poll();
    sender.hear(&accept(0, None), START);
    sender.hear(&progress(0), START);
    let _ = drain(&mut sender, &file);
    let ahead = sender.sent();
    let window = PAUSE_ABOVE_BUFFERED_BYTES as u64;
    assert!(ahead >= window && ahead < window + Sender::MAX_READ_BYTES as u64, "{ahead}");
    assert!(sender.deadline().is_some(), "it waits for the receiver");
    sender.hear(&progress(DURABLE_EVERY_BYTES), START);
    let _ = drain(&mut sender, &file);
    assert!(sender.sent() >= window + DURABLE_EVERY_BYTES);
    assert_eq!(sender.durable(), DURABLE_EVERY_BYTES);
}

#[test]
fn a_receiver_that_never_reports_gets_everything() {
    let size = 2 * PAUSE_ABOVE_BUFFERED_BYTES;
    let file = bytes(2, size);
    let mut sender = Sender::new(offer(7, size as u64), START);
    let _ = sender.poll();
    sender.hear(&accept(0, None), START);
    let _ = drain(&mut sender, &file);
    assert_eq!(sender.sent(), size as u64);
}

#[test]
fn a_receiver_that_says_nonsense_is_told_so() {
    let start = |size| {
        let mut sender = Sender::new(offer(7, size), START);
        let _ = sender.poll();
        sender
    };
    let mut beyond = start(10);
    beyond.hear(&accept(11, None), START);
    let mut twice = start(10);
    twice.hear(&accept(0, None), START);
    twice.hear(&accept(0, None), START);
    let mut early = start(10);
    early.hear(&done(), START);
    for (mut sender, words) in
        [(beyond, "from byte 11 on"), (twice, "twice"), (early, "not all of it was sent")]
    {
        let Some(SenderAction::Say(Message::TransferCancel(word))) = sender.poll() else {
            panic!("the receiver is told")
        };
        assert_eq!(word.code, FileErrorCode::Protocol);
        assert!(word.message.contains(words), "{}", word.message);
        assert!(matches!(sender.poll(), Some(SenderAction::Failed(_))));
        assert!(sender.is_over());
    }
}

#[test]
fn a_refusal_ends_it_with_the_receivers_words_and_without_an_answer() {
    let mut sender = Sender::new(offer(7, 10), START);
    let _ = sender.poll();
    sender.hear(&accept(0, None), START);
    let word = TransferRefuse { transfer: 7, code: FileErrorCode::NoSpace, message: "full".into() };
    sender.hear(&Message::TransferRefuse(word), START);
    let failure = Failure::new(FileErrorCode::NoSpace, "full");
    assert_eq!(drain(&mut sender, b"0123456789"), [SenderAction::Failed(failure)]);
}

#[test]
fn a_receiver_that_never_answers_is_given_up() {
    let mut sender = Sender::new(offer(7, 10), START);
    let _ = sender.poll();
    let deadline = sender.deadline().expect("an answer is owed");
    assert_eq!(deadline, TRANSFER_STALL);
    sender.tick(TRANSFER_STALL.saturating_sub(Duration::from_millis(1)));
    assert!(!sender.is_over());
    sender.tick(deadline);
    assert!(sender.is_over());
}

#[test]
fn a_slow_way_does_not_shorten_the_receivers_time() {
    let mut sender = Sender::new(offer(7, 10), START);
    let _ = sender.poll();
    sender.hear(&accept(0, None), START);
    let _ = drain(&mut sender, b"0123456789");
    let late = 3 * TRANSFER_STALL;
    sender.carried(late);
    sender.tick(late);
    assert!(!sender.is_over());
    assert_eq!(sender.deadline(), Some(late + TRANSFER_STALL));
    sender.tick(late + TRANSFER_STALL);
    assert!(sender.is_over());
}

#[test]
fn a_receiver_that_reports_every_8_mib_and_no_oftener_is_never_left_waiting() {
    let size = 5 * PAUSE_ABOVE_BUFFERED_BYTES;
    let file = bytes(2, size);
    let mut sender = Sender::new(offer(7, size as u64), START);
    let _ = sender.poll();
    sender.hear(&accept(0, None), START);
    sender.hear(&progress(0), START);
    let (mut got, mut told) = (0, 0);
    while got < size as u64 {
        for action in drain(&mut sender, &file) {
            if let SenderAction::Chunk(message) = action {
                got += Chunk::decode(message).expect("a good chunk").bytes.len() as u64;
            }
        }
        if got < size as u64 {
            assert!(got - told >= DURABLE_EVERY_BYTES, "{got} came, {told} were told");
            told += DURABLE_EVERY_BYTES;
            sender.hear(&progress(told), START);
        }
    }
}

#[test]
fn sizes_beyond_32_bits_are_counted_right() {
    let size = 5 << 40;
    let mut receiver = Receiver::new(&offer(7, size), size + 1, START);
    assert_eq!(receiver.poll(), Some(ReceiverAction::Truncate));
    let mut sender = Sender::new(offer(7, u64::MAX), START);
    let _ = sender.poll();
    sender.hear(&accept(u64::MAX, None), START);
    assert_eq!(sender.poll(), Some(SenderAction::Read { offset: 0, most: Sender::MAX_READ_BYTES }));
    let offered = TransferOffer { size: u64::MAX, ..offer(7, 0) };
    let mut receiver = Receiver::new(&offered, 0, START);
    receiver.chunk(chunk(0, &[1; 10]), START);
    receiver.chunk(chunk(u64::MAX - 3, &[1; 3]), START);
    assert_eq!(failure_of(&mut receiver).code, FileErrorCode::Protocol);
}
