//! See [`glexec_rs::update_proxy`].

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    glexec_rs::update_proxy::main()
}
