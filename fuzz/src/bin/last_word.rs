//! See `bodies/last_word.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| glexec_rs_fuzz::last_word::target(data));
