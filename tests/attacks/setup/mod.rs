//! The attacks on `condor_glexec_setup`, run by the accounts that would run them against the built programs.

mod circumstances;
mod inputs;
mod names;
