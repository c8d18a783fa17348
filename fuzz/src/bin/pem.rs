//! See `bodies/pem.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| glexec_rs_fuzz::pem::target(data));
