//! See [`glexec_rs::target::peer`].

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    glexec_rs::target::peer::main()
}
