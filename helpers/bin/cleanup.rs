//! See [`glexec_rs::pilot::cleanup`].

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    glexec_rs::pilot::cleanup::main()
}
