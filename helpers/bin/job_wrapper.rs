//! See [`glexec_rs::job_wrapper`].

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    glexec_rs::job_wrapper::main()
}
