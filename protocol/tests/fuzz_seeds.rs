//! The fuzz targets' checks over their seeds: what was once interesting stays tested.
//!
//! `protocol/fuzz/seeds/TARGET/` holds one input a file; what a fuzzer finds is added there. The
//! golden messages are seeds of the two codecs as well. Each seed is also tried cut at every length
//! and with every byte changed.

#[path = "../fuzz/checks/channel.rs"]
#[allow(unreachable_pub, reason = "shared with the fuzz target")]
mod channel;
#[path = "../fuzz/checks/receiver.rs"]
#[allow(unreachable_pub, reason = "shared with the fuzz target")]
mod receiver;
#[path = "../fuzz/checks/signal.rs"]
#[allow(unreachable_pub, reason = "shared with the fuzz target")]
mod signal;

use std::path::PathBuf;

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut paths: Vec<_> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} has no seeds", folder.display());
    paths.iter().map(|path| std::fs::read(path).expect("a seed")).collect()
}

fn golden(files: &[&str]) -> Vec<Vec<u8>> {
    let line = |line: &str| {
        let value: serde_json::Value = serde_json::from_str(line).expect("a golden line");
        value["text"].as_str().expect("a text").as_bytes().to_vec()
    };
    let text = |file: &&str| {
        let path = format!("{}/../test_files/wire/{file}.jsonl", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    };
    files.iter().flat_map(|file| text(file).lines().map(line).collect::<Vec<_>>()).collect()
}

fn replay(seeds: &[Vec<u8>], check: fn(&[u8])) {
    for seed in seeds {
        check(seed);
        for at in 0..seed.len() {
            check(&seed[..at]);
            let mut changed = seed.clone();
            for byte in [changed[at] ^ 1, changed[at] ^ 0x80, b'"', 0, 0xFF] {
                changed[at] = byte;
                check(&changed);
            }
        }
    }
}

#[test]
fn signaling_seeds_hold() {
    replay(&[seeds("signal"), golden(&["client", "server"])].concat(), signal::check);
}

#[test]
fn channel_seeds_hold() {
    replay(&[seeds("channel"), golden(&["channel"])].concat(), channel::check);
}

#[test]
fn receiver_seeds_hold() {
    replay(&seeds("receiver"), receiver::check);
}
