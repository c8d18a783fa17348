//! See [`glexec_rs::run`].

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    glexec_rs::run::main()
}
