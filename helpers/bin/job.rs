//! See [`glexec_rs::job`].

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    glexec_rs::job::main()
}
