//! Files by descriptors and single names: what everything that touches a tree is made of.

#![forbid(unsafe_code)]

pub mod component;
pub mod content;
pub mod metadata;
pub mod path;
pub mod proxy;
pub mod remove;
pub mod walk;
