//! What stands beside the programs keeps its promises: the ledger of attacks, the corpora of the fuzz targets, the
//! models and the profiles.

#![forbid(unsafe_code)]

#[path = "../../fuzz/bodies/mod.rs"]
#[allow(dead_code)] // shared with the fuzz targets
mod bodies;
mod corpora;
mod environment_model;
mod ledger;
#[path = "../../seccomp-profiles/profile.rs"]
mod profile;
mod profiles;
mod seeds;
