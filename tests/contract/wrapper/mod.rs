//! `condor_glexec_job_wrapper` against the built program, driven by a Starter's stand-in: the environment channel byte
//! for byte, the attacks on it, and what the job inherits, seen from inside a job that changes nothing of it (cat, env,
//! ls).

mod arguments;
mod conversation;
mod descriptors;
mod environment;
mod inheritance;
mod playground;
mod streams;
mod terminal;
