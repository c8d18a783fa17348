//! See the library.

#![forbid(unsafe_code)]

fn main() {}
