//! What is done with one input of each fuzz target. Each checks what has to hold for any bytes at all and panics
//! where it does not.
//!
//! Shared by `src/bin/`, where a fuzzer makes the inputs, and `tests/corpora.rs`, which repeats those that were kept.

#![forbid(unsafe_code)]

pub mod answers;
pub mod arguments;
pub mod channel;
pub mod confined;
pub mod env_file;
pub mod environment;
pub mod environment_model;
pub mod hostile_sender;
pub mod input;
pub mod job_record;
pub mod last_word;
pub mod messages;
pub mod packets;
pub mod paths;
pub mod pem;
pub mod playground;
pub mod policy;
pub mod proc_files;
pub mod receive;
pub mod send;

/// What is done with one input.
pub type Target = fn(&[u8]);

/// Every target by its name.
pub const ALL: [(&str, Target); 15] = [
    ("answers", answers::target),
    ("arguments", arguments::target),
    ("channel", channel::target),
    ("env_file", env_file::target),
    ("environment", environment::target),
    ("job_record", job_record::target),
    ("last_word", last_word::target),
    ("messages", messages::target),
    ("packets", packets::target),
    ("paths", paths::target),
    ("pem", pem::target),
    ("policy", policy::target),
    ("proc_files", proc_files::target),
    ("receive", receive::target),
    ("send", send::target),
];

/// What a helper may say: printable ASCII only, however hostile what it speaks of is.
#[track_caller]
pub fn assert_fit_to_be_shown(text: &str) {
    assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{text:?}");
}
