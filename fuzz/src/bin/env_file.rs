//! See `bodies/env_file.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| glexec_rs_fuzz::env_file::target(data));
