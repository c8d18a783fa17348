//! See [`glexec_rs::cleanup`].

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    glexec_rs::cleanup::main()
}
