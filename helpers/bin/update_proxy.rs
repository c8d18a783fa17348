//! See [`glexec_rs::pilot::update_proxy`].

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    glexec_rs::pilot::update_proxy::main()
}
