//! See `checks/forwarded.rs`.
#![no_main]

#[path = "../checks/forwarded.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|data: &[u8]| check::check(data));
