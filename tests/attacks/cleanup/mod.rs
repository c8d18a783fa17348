//! The attacks on `condor_glexec_cleanup`, run by the job (the target account) and another account against the built
//! programs.

mod changes;
mod interruptions;
mod links;
mod modes;
mod others_files;
mod playground;
mod swaps;
mod unreadable;
