//! Files by descriptors and single names: what everything that touches a tree is made of.

#![forbid(unsafe_code)]

pub mod component;
pub mod content;
pub mod metadata;
pub mod name;
pub mod path;
pub mod pem;
pub mod proxy;
pub(crate) mod proxy_copy;
pub mod remove;
pub mod sandbox;
pub(crate) mod staged_proxy;
pub mod walk;
