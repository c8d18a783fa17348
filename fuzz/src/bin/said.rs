//! See `bodies/said.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| glexec_rs_fuzz::said::target(data));
