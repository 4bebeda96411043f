//! Files that arrive.

use std::{
    sync::atomic::Ordering,
    time::{Duration, UNIX_EPOCH},
};

use halyard_protocol::{access::Access, limits::CHUNK_BYTES};

use super::pair::{Pair, content, soon};
use crate::transfer::Direction;

#[tokio::test(flavor = "multi_thread")]
async fn files_of_every_size_arrive_whole_with_their_names_and_times() {
    let mut pair = Pair::new(Access::Operator).await;
    for (seed, size, name) in [
        (1, 0, "empty"),
        (2, 1, "ordner/один.bin"),
        (3, CHUNK_BYTES, "ordner/tiefer/测试 🚁"),
        (4, CHUNK_BYTES + 1, "b"),
        (5, 20 * 1024 * 1024 + 3, "large.bin"),
    ] {
        let bytes = content(seed, size);
        pair.client.write("source", &bytes);
        let time = UNIX_EPOCH + Duration::from_millis(1_600_000_000_123);
        let file = std::fs::File::options().write(true).open(pair.client.path("source"));
        file.expect("it is there").set_modified(time).expect("a time is set");

        let transfer = pair.client.send("source", name);
        let finished = soon(transfer.done()).await.expect(name);
        assert_eq!((finished.size, finished.resumed_at), (size as u64, 0));
        assert_eq!(transfer.progress().moved, size as u64);
        assert_eq!(transfer.progress().durable, size as u64);
        assert!(pair.worker.read(name) == bytes, "{name}");
        let arrived = std::fs::metadata(pair.worker.path(name)).expect("it is there");
        assert_eq!(arrived.modified().expect("a time"), time);

        let seen = soon(pair.worker.started.recv()).await.expect("the worker saw it");
        assert_eq!((seen.direction(), seen.name().as_str()), (Direction::Incoming, name));
        assert_eq!(soon(seen.done()).await.expect("it arrived").size, size as u64);
    }
    assert_eq!(pair.worker.names(), ["b", "empty", "large.bin", "ordner"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_file_of_the_same_name_is_replaced() {
    let pair = Pair::new(Access::Operator).await;
    pair.worker.write("map.bin", b"the old one, which is longer");
    pair.client.write("new", b"the new one");
    soon(pair.client.send("new", "map.bin").done()).await.expect("it arrives");
    assert_eq!(pair.worker.read("map.bin"), b"the new one");
    assert_eq!(pair.worker.names(), ["map.bin"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_files_share_a_slow_connection_chunk_by_chunk() {
    let pair = Pair::new(Access::Operator).await;
    let wire = pair.client_wire.clone();
    wire.gated.store(true, Ordering::Relaxed);
    let bytes = content(1, 60 * CHUNK_BYTES);
    let transfers = ["a", "b", "c"].map(|name| {
        pair.client.write(name, &bytes);
        pair.client.send(name, name)
    });
    let order = || wire.order.lock().expect("not poisoned").clone();
    let all_begun = || transfers.iter().all(|transfer| order().contains(&transfer.id()));
    // One chunk gets through at a time. Until all three have begun, seldom: the others should not be
    // through before the last one has read its first chunk.
    for sent in 0..3 * 60 {
        if !all_begun() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        wire.gate.add_permits(1);
        soon(async {
            while order().len() == sent {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    for transfer in &transfers {
        soon(transfer.done()).await.expect("it arrives");
    }
    let order = order();
    let begun = transfers.iter().map(|t| order.iter().position(|&of| of == t.id()));
    let all_begun = begun.max().flatten().expect("three of them");
    let shared = &order[all_begun..all_begun + 30];
    for transfer in &transfers {
        let share = shared.iter().filter(|&&of| of == transfer.id()).count();
        assert!((5..=15).contains(&share), "{shared:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_go_both_ways_at_once() {
    let pair = Pair::new(Access::Operator).await;
    let (up, down) = (content(1, 5_000_000), content(2, 6_000_000));
    pair.client.write("up", &up);
    pair.worker.write("down", &down);
    let sending = pair.client.send("up", "up");
    let store = std::sync::Arc::new(pair.client.root.clone());
    let name = super::pair::name("down");
    let getting =
        soon(pair.client.transfers.get(&name, store, name.clone())).await.expect("offered");
    soon(sending.done()).await.expect("up");
    soon(getting.done()).await.expect("down");
    assert!(pair.worker.read("up") == up && pair.client.read("down") == down);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_called_off_leaves_nothing() {
    let mut pair = Pair::new(Access::Operator).await;
    pair.client.write("film", &content(1, 64 * 1024 * 1024));
    let transfer = pair.client.send("film", "film");
    let mut progress = transfer.watch();
    soon(progress.wait_for(|progress| progress.moved > 0)).await.expect("it moves");
    transfer.cancel();
    let error = soon(transfer.done()).await.expect_err("it was called off");
    assert_eq!(error.to_string(), "the transfer was called off");
    let seen = soon(pair.worker.started.recv()).await.expect("the worker saw it");
    soon(seen.done()).await.expect_err("it was called off");
    assert_eq!(pair.worker.names(), [""; 0]);

    // The same from the other side.
    let transfer = pair.client.send("film", "film");
    let seen = soon(pair.worker.started.recv()).await.expect("the worker saw it");
    seen.cancel();
    soon(transfer.done()).await.expect_err("it was called off");
    soon(seen.done()).await.expect_err("it was called off");
    assert_eq!(pair.worker.names(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_connection_is_not_taken_for_a_dead_one() {
    let pair = Pair::new(Access::Operator).await;
    let wire = pair.client_wire.clone();
    wire.gated.store(true, Ordering::Relaxed);
    pair.worker_wire.reports_nothing.store(true, Ordering::Relaxed);
    pair.client.write("film", &content(1, 5 * CHUNK_BYTES));
    let transfer = pair.client.send("film", "film");
    // A minute a chunk: the last batch takes longer than a receiver may stay silent.
    let slowly = async {
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_mins(1)).await;
            wire.gate.add_permits(1);
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        finished = transfer.done() => { finished.expect("it arrives"); }
        () = slowly => {}
    }
    assert_eq!(pair.worker.names(), ["film"]);
}
