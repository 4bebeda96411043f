//! How fast, printed and not judged: `cargo test -p halyard-client throughput -- --nocapture`.

use std::{io::Write, time::Instant};

use halyard_protocol::access::Access;

use super::pair::{Pair, content, soon};

#[tokio::test(flavor = "multi_thread")]
async fn throughput_from_disk_to_disk_is_printed() {
    const MIB: usize = 1024 * 1024;
    let megabytes = if std::env::var_os("HALYARD_LONG").is_some() { 2048 } else { 64 };
    let pair = Pair::new(Access::Operator).await;
    let block = content(1, MIB);
    let mut file = std::fs::File::create(pair.client.path("film")).expect("a file");
    for _ in 0..megabytes {
        file.write_all(&block).expect("it is written");
    }
    let started = Instant::now();
    let transfer = pair.client.send("film", "film");
    let finished = soon(transfer.done()).await.expect("it arrives");
    let seconds = started.elapsed().as_secs_f64();
    let rate = finished.size as f64 / 1e6 / seconds;
    println!("{megabytes} MiB in {seconds:.2} s: {rate:.0} MB/s from disk to disk, hashed twice");
}
