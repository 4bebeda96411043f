//! See `checks/channel.rs`.
#![no_main]

#[path = "../checks/channel.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|data: &[u8]| check::check(data));
