//! The fuzz targets' checks over their seeds, and over what chance writes.
//!
//! `server/fuzz/seeds/TARGET/` holds one input a file; what a fuzzer finds is added there. Each is
//! also tried cut at every length and with every byte changed.

#[path = "../fuzz/checks/forwarded.rs"]
#[allow(unreachable_pub, reason = "shared with the fuzz target")]
mod forwarded;

use std::path::PathBuf;

use proptest::prelude::*;

#[test]
fn headers_of_proxies_hold() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/forwarded");
    let mut seeds = 0;
    for entry in std::fs::read_dir(folder).expect("there are seeds") {
        let seed = std::fs::read(entry.expect("an entry").path()).expect("a seed");
        seeds += 1;
        forwarded::check(&seed);
        for at in 0..seed.len() {
            forwarded::check(&seed[..at]);
            let mut changed = seed.clone();
            for byte in [changed[at] ^ 1, b'"', b',', b'\\', b'=', 0xFF] {
                changed[at] = byte;
                forwarded::check(&changed);
            }
        }
    }
    assert!(seeds >= 5, "{seeds}");
}

proptest! {
    #[test]
    fn headers_that_chance_writes_hold(
        lines in prop::collection::vec(
            ("[xfph]", "(for=|proto=|host=|\"|;|,|\\\\|=|unknown|10\\.0\\.0\\.1|[a-f0-9.:\\[\\] ]|\\PC){0,40}"),
            0..6,
        ),
    ) {
        let text: Vec<String> = lines.iter().map(|(name, value)| format!("{name} {value}")).collect();
        forwarded::check(text.join("\n").as_bytes());
    }
}
