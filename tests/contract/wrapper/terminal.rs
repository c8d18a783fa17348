//! The terminal of whoever started the wrapper is not the job's.

use crate::wrapper::playground::{NOTHING, Sandbox, in_sandbox, job, output, raw, start, terminal};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};

/// A call in the sandbox below a session's leader that is not the call itself, and stays.
fn below_a_leader<A: AsRef<OsStr>>(sandbox: &Sandbox, words: impl IntoIterator<Item = A>) -> Command {
    let mut call = in_sandbox(sandbox, "/bin/sh");
    call.args(["-c", "exec 3<&0; \"$@\" <&3 & exec 3<&-; wait $!", "sh"]).args(words);
    call
}

/// Lets the call lead a session, with this controlling terminal.
fn control(call: &mut Command, terminal: &OwnedFd) {
    let terminal = terminal.try_clone().unwrap();
    raw::before_exec(call, move || {
        rustix::process::setsid()?;
        Ok(rustix::process::ioctl_tiocsctty(&terminal)?)
    });
}

#[test]
fn there_is_no_controlling_terminal() {
    // Within one account, the job must not reach who starts the wrapper: no leader in the same domain.
    let kinds: &[bool] = if crate::common::available() { &[true, false] } else { &[true] };
    for leader in kinds.iter().copied() {
        let sandbox = Sandbox::new();
        let (_master, slave) = terminal();
        let script = "cat /proc/self/stat; if (: < /dev/tty) 2> /dev/null; then echo terminal; fi; exit 0";
        let job = job(&sandbox, ["/bin/sh", "-c", script]);
        let mut call = match leader {
            true => job,
            false => below_a_leader(&sandbox, std::iter::once(job.get_program()).chain(job.get_args())),
        };
        control(&mut call, &slave);
        let stat = output(&sandbox, call);
        let terminal = stat.lines().next().unwrap().rsplit(") ").next().unwrap().split(' ').nth(4).unwrap();
        assert_eq!(terminal, "0", "{leader}: {stat}");
        assert_eq!(stat.lines().count(), 1, "{leader}: {stat}");
    }
}

/// Not a test of its own: a job that types into its standard streams and `/dev/tty`, which become its controlling
/// terminal if they can, and leaves in `typed` what it could do.
#[test]
#[ignore = "started by the other tests"]
fn acts_as_the_typist() {
    let mut done = String::new();
    for name in ["/proc/self/fd/0", "/proc/self/fd/1", "/proc/self/fd/2", "/dev/tty"] {
        let Ok(terminal) = File::options().read(true).write(true).open(name) else { continue };
        for (what, succeeded) in [
            ("takes it", rustix::process::ioctl_tiocsctty(&terminal).is_ok()),
            ("controls it", rustix::termios::tcgetpgrp(&terminal).is_ok()),
            ("types", raw::type_newline(&terminal).is_ok()),
            ("pastes", raw::paste(&terminal).is_ok()),
        ] {
            done += &if succeeded { format!("{name}: {what}\n") } else { String::new() };
        }
    }
    fs::write("typed", done).unwrap();
}

#[test]
#[ignore = "needs root"]
fn nothing_is_typed_into_the_callers_terminal_though_it_is_passed() {
    let legacy = fs::read_to_string("/proc/sys/dev/tty/legacy_tiocsti").is_ok_and(|on| on.trim() == "1");
    for new_session in [false, true] {
        for wrapped in [true, false] {
            let sandbox = Sandbox::new();
            let typist = sandbox.root.join("typist");
            crate::common::install_built(&std::env::current_exe().unwrap(), &typist);
            let mut words: Vec<OsString> = vec![typist.into(), "--ignored".into(), "acts_as_the_typist".into()];
            if new_session {
                words.splice(0..0, ["/usr/bin/setsid".into(), "--wait".into()]);
            }
            if wrapped {
                words.splice(0..0, [sandbox.wrapper.clone().into(), "-".into(), "-".into(), "-".into()]);
            }
            let (_master, slave) = terminal();
            let mut call = below_a_leader(&sandbox, words);
            control(&mut call, &slave);
            if wrapped {
                let (running, starter) = start(call);
                assert_eq!(starter.start_job(NOTHING, &[slave.as_fd(); 3]), Ok(()));
                assert_eq!(running.end().code, Some(0));
            } else {
                let stream = || Stdio::from(slave.try_clone().unwrap());
                assert!(call.stdin(stream()).stdout(stream()).stderr(stream()).status().unwrap().success());
            }
            let typed = String::from_utf8(sandbox.read("typed")).unwrap();
            let waiting = rustix::io::ioctl_fionread(&slave).unwrap();
            if wrapped {
                assert_eq!((typed.as_str(), waiting), ("", 0), "{new_session}");
            } else if !new_session {
                // The job is worth something: without the wrapper it has its way, as far as the kernel still lets
                // anybody.
                assert!(typed.contains("controls it"), "{typed}");
                assert_eq!(waiting > 0, legacy, "{typed}");
            }
        }
    }
}

/// Where `/dev/tty` may not be opened, the caller's terminal cannot be given up: then no job gets it.
#[test]
#[ignore = "needs root"]
fn a_terminal_that_cannot_be_given_up_is_not_the_jobs() {
    for errno in ["EACCES", "EPERM"] {
        let sandbox = Sandbox::new();
        let (_master, slave) = terminal();
        let strace = ["/usr/bin/strace", "-qq", "-o", "/dev/null", "-b", "execve", "-e"].map(OsString::from);
        let inject = OsString::from(format!("inject=open:error={errno}"));
        let words = [sandbox.wrapper.clone().into(), "-".into(), "-".into(), "-".into()];
        let script = "cut -d' ' -f7 /proc/self/stat > terminal";
        let mut call = below_a_leader(&sandbox, strace.into_iter().chain([inject]).chain(words));
        call.args(["/bin/sh", "-c", script]);
        control(&mut call, &slave);
        let (running, starter) = start(call);
        let outcome = starter.start_job(NOTHING, &[slave.as_fd(); 3]);
        let _ = running.end();
        assert!(
            outcome.is_err() || sandbox.read("terminal") == b"0\n",
            "{errno}: {:?}",
            String::from_utf8(sandbox.read("terminal"))
        );
    }
}
