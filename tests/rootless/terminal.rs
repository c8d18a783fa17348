//! The caller's terminal.

use crate::playground::{Playground, text};
use crate::probe;
use libc::{EIO, ENOTTY, EPERM};
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// The master and the slave of a new terminal.
fn terminal() -> (OwnedFd, OwnedFd) {
    use rustix::fs::{Mode, OFlags, open};
    let master = rustix::fs::open("/dev/ptmx", OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    let zero = 0_i32;
    let mut number = 0_i32;
    // SAFETY: both requests take the address of an int that lives through the call.
    unsafe {
        use std::os::fd::AsRawFd;
        assert_eq!(libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK as _, &raw const zero), 0);
        assert_eq!(libc::ioctl(master.as_raw_fd(), libc::TIOCGPTN as _, &raw mut number), 0);
    }
    let slave =
        open(format!("/dev/pts/{number}"), OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    (master, slave)
}

/// A shell of the pilot's with one line to execute. It leads a session whose controlling terminal is its descriptor 0.
fn at_terminal(playground: &Playground, slave: OwnedFd, line: &str) -> Command {
    let mut shell = playground.pilot("/bin/bash");
    shell.args(["-c", line]).env("GLEXEC_CLIENT_CERT", &playground.proxy).stdin(slave);
    // SAFETY: system calls only; descriptor 0 is the terminal.
    unsafe {
        shell.pre_exec(|| {
            if libc::setsid() < 0 || libc::ioctl(0, libc::TIOCSCTTY as _, 0) < 0 {
                return Err(std::io::Error::last_os_error());
            }
            Ok(())
        });
    }
    shell
}

#[test]
fn the_callers_terminal_is_not_the_jobs() {
    let playground = Playground::new();
    let script = playground.script(
        "#!/bin/bash\nread -a f < /proc/$$/stat; echo \"session $((f[5] == $$)) terminal ${f[6]}\"\n\
         test -t 0 && echo still open; { : < /dev/tty; } 2>/dev/null && echo reachable\nexit 0\n",
    );
    // A leader of a session; of a process group only; of nothing.
    for (leads_group, leads_session, session) in [(true, true, 1), (true, false, 0), (false, false, 1)] {
        let (master, slave) = terminal();
        // A session whose leader, a shell with the terminal, starts the switcher in the wanted position.
        let switcher = playground.programs.join("glexec_rootless");
        let line = match (leads_session, leads_group) {
            (true, _) => "exec \"$0\" \"$@\"",
            (false, true) => "set -m; \"$0\" \"$@\"; true",
            (false, false) => "\"$0\" \"$@\"; true",
        };
        let output = at_terminal(&playground, slave, line).arg(switcher).arg(&script).output().unwrap();
        assert_eq!(
            text(&output).0,
            format!("session {session} terminal 0\nstill open\n"),
            "{leads_group} {leads_session} {:?} {:?}",
            text(&output),
            output.status
        );
        drop(master);
    }
}

/// What the job types into the terminal that it got as a stream would be read by the shell that started the switcher.
#[test]
fn nobody_types_into_the_callers_terminal() {
    const ATTEMPTS: [&str; 3] = ["terminal_tiocsti", "terminal_tiocsti_high", "terminal_tioclinux"];
    let playground = Playground::new();
    // As of Linux 6.2 the kernel itself may be told to refuse it.
    let refused = fs::read("/proc/sys/dev/tty/legacy_tiocsti").is_ok_and(|setting| setting == b"0\n");
    let outside = if refused { EIO } else { 0 };
    for own_group in ["", "set -m; "] {
        let line = format!("{own_group}\"$0\" \"$@\"; read -rt 1 && echo typed; true");
        let run = |program: &[&Path]| {
            let (master, slave) = terminal();
            let mut shell = at_terminal(&playground, slave, &line);
            shell.args(program).args(probe::ARGUMENTS).env("GLEXEC_ENV", format!("1 / {}", ATTEMPTS.join(" ")));
            let output = shell.output().unwrap();
            drop(master);
            let (printed, _) = text(&output);
            let results = probe::results(&printed);
            (ATTEMPTS.map(|name| results.get(name).copied()), printed.lines().any(|line| line == "typed"))
        };
        let (results, typed) = run(&[&playground.probe]);
        assert_eq!((results, typed), ([Some(outside), Some(outside), Some(ENOTTY)], !refused));
        let (results, typed) = run(&[&playground.programs.join("glexec_rootless"), &playground.probe]);
        assert_eq!((results, typed), ([Some(EPERM); 3], false));
    }
}
