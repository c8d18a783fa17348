//! See [`glexec_rs::pilot::setup`].

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    glexec_rs::pilot::setup::main()
}
