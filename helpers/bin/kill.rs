//! See [`glexec_rs::pilot::kill`].

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    glexec_rs::pilot::kill::main()
}
