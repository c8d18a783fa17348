//! See [`glexec_rs::kill`].

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    glexec_rs::kill::main()
}
