//! See [`glexec_rs::peer`].

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    glexec_rs::peer::main()
}
