//! Connections that are cut.

use std::sync::{Arc, atomic::Ordering};

use halyard_protocol::{access::Access, limits::CHUNK_BYTES};

use super::pair::{Pair, content, folder, name, names, soon};
use crate::{
    files::FileRoot,
    transfer::{Finished, TransferError},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_file_goes_on_where_the_connection_was_cut() {
    let bytes = content(1, 30 * CHUNK_BYTES);
    let (mut client, mut worker) = (folder(), folder());
    std::fs::write(client.path().join("film"), &bytes).expect("a file to send");
    let root = FileRoot::open(worker.path()).await.expect("a folder");
    let mut reached = 0;
    for _ in 0..2 {
        let store = Arc::new(root.clone());
        let pair = Pair::between("a", client, worker, store, root.clone(), Access::Operator).await;
        pair.client_wire.cut_after.store(10 * (CHUNK_BYTES as u64 + 16), Ordering::Relaxed);
        let error = soon(pair.client.send("film", "film").done()).await.expect_err("it was cut");
        assert_eq!(error, TransferError::Cut);
        (client, worker) = pair.cut().await;
        assert_eq!(names(worker.path()), ["film.part"], "what came is kept");
        let part = std::fs::metadata(worker.path().join("film.part")).expect("it is there").len();
        assert!(part > reached && part <= bytes.len() as u64, "{part} after {reached}");
        reached = part;
    }
    let pair =
        Pair::between("a", client, worker, Arc::new(root.clone()), root, Access::Operator).await;
    let finished = soon(pair.client.send("film", "film").done()).await.expect("it arrives");
    assert_eq!(finished, Finished { size: bytes.len() as u64, resumed_at: reached });
    let sent = pair.client_wire.order.lock().expect("not poisoned").len() as u64;
    assert!(sent * (CHUNK_BYTES as u64) < bytes.len() as u64 - reached + 2 * CHUNK_BYTES as u64);
    assert!(pair.worker.read("film") == bytes);
    assert_eq!(pair.worker.names(), ["film"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_another_file_is_not_used() {
    let pair = Pair::new(Access::Operator).await;
    let bytes = content(1, 5 * CHUNK_BYTES);
    for left in
        [content(2, 2 * CHUNK_BYTES), content(2, 5 * CHUNK_BYTES), content(2, 9 * CHUNK_BYTES)]
    {
        pair.worker.write("film.part", &left);
        pair.client.write("film", &bytes);
        let finished = soon(pair.client.send("film", "film").done()).await.expect("it arrives");
        assert_eq!(finished.resumed_at, 0);
        assert!(pair.worker.read("film") == bytes);
        assert_eq!(pair.worker.names(), ["film"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_part_needs_no_byte_to_move() {
    let pair = Pair::new(Access::Operator).await;
    let bytes = content(1, 3 * CHUNK_BYTES + 5);
    pair.worker.write("film.part", &bytes);
    pair.client.write("film", &bytes);
    let finished = soon(pair.client.send("film", "film").done()).await.expect("it arrives");
    assert_eq!(finished.resumed_at, bytes.len() as u64);
    assert_eq!(pair.client_wire.order.lock().expect("not poisoned").len(), 0);
    assert!(pair.worker.read("film") == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_comes_back_takes_over_from_its_own_dead_connection() {
    let bytes = content(1, 20 * CHUNK_BYTES);
    let (client, worker) = (folder(), folder());
    std::fs::write(client.path().join("film"), &bytes).expect("a file to send");
    let root = FileRoot::open(worker.path()).await.expect("a folder");
    let store = Arc::new(root.clone());
    let old =
        Pair::between("a", client, worker, store.clone(), root.clone(), Access::Operator).await;
    // The worker hears nothing more, but does not know that the connection is dead.
    let (_until_the_end, end) = std::sync::mpsc::channel();
    let stuck = Stuck { size: bytes.len() as u64, path: old.client.path("film"), end };
    old.client.transfers.send(Box::new(stuck), name("film")).expect("room for one");
    let mut started = old.worker.started;
    let stuck = soon(started.recv()).await.expect("it began");
    let mut progress = stuck.watch();
    soon(progress.wait_for(|progress| progress.moved > 0)).await.expect("it moves");

    let client = folder();
    std::fs::write(client.path().join("film"), &bytes).expect("a file to send");
    let again = Pair::between("a", client, folder(), store, root, Access::Operator).await;
    let finished = soon(again.client.send("film", "film").done()).await.expect("it arrives");
    assert!(finished.resumed_at > 0, "it went on where the dead connection stopped");
    let error = soon(stuck.done()).await.expect_err("it made way");
    assert_eq!(error.to_string(), "the file is sent again on another connection");
    let arrived = std::fs::read(old.worker.folder.path().join("film")).expect("it is there");
    assert!(arrived == bytes);
}

/// A source that gives three chunks and then nothing for as long as the test runs.
struct Stuck {
    size: u64,
    path: std::path::PathBuf,
    end: std::sync::mpsc::Receiver<()>,
}

impl crate::files::Source for Stuck {
    fn size(&self) -> u64 {
        self.size
    }

    fn modified_ms(&self) -> Option<u64> {
        None
    }

    fn read_at(
        &mut self,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<usize, halyard_protocol::transfer::Failure> {
        if offset > 0 {
            let _ = self.end.recv();
            return Ok(0);
        }
        let most = buffer.len().min(3 * CHUNK_BYTES);
        crate::files::LocalFile::open(&self.path)?.read_at(offset, &mut buffer[..most])
    }
}
