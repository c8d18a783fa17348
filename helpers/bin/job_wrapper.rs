//! See [`glexec_rs::target::wrapper`].

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    glexec_rs::target::wrapper::main()
}
