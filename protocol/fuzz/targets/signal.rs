//! See `checks/signal.rs`.
#![no_main]

#[path = "../checks/signal.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|data: &[u8]| check::check(data));
