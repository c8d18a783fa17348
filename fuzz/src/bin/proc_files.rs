//! See `bodies/proc_files.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| glexec_rs_fuzz::proc_files::target(data));
