//! See [`glexec_rs::rootless`].

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    glexec_rs::rootless::main()
}
