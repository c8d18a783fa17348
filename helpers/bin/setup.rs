//! See [`glexec_rs::setup`].

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    glexec_rs::setup::main()
}
