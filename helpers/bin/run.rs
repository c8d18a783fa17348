//! See [`glexec_rs::pilot::run`].

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    glexec_rs::pilot::run::main()
}
