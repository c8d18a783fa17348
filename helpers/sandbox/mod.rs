//! A sandbox: where it is, and how a tree travels from one account to another.

#![forbid(unsafe_code)]

pub mod component;
