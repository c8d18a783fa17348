//! R14: what runs as the target account cannot be traced by that account's processes from its first instruction on, and
//! not only from the call on that it makes for that itself.

#![forbid(unsafe_code)]

use crate::common::{GREG, Site, as_account};
use crate::tracing::{Event, Next, trace};
use std::fs::{File, Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;

/// Whether GREG gets at the memory of a program of GREG's that has made no system call yet.
fn is_open_at_first(site: &Site, program: &str) -> bool {
    let mut open = None;
    trace(site.call(program).account(GREG).traced().start(), |tracee, event| {
        let command = std::fs::read(format!("/proc/{}/cmdline", tracee.process)).unwrap_or_default();
        let is_it = String::from_utf8_lossy(&command).contains(program);
        if is_it && matches!(event, Event::Entry(_)) && open.is_none() {
            let environment = format!("/proc/{}/environ", tracee.process);
            open = Some(as_account(GREG, || File::open(environment).is_ok()));
        }
        Next::Call
    });
    open.expect("it was not started")
}

#[test]
#[ignore = "needs root"]
fn r14_the_target_sides_programs_are_closed_from_their_first_instruction() {
    let site = Site::new();
    for program in ["condor_glexec_peer", "condor_glexec_job_wrapper"] {
        assert!(!is_open_at_first(&site, program), "{program}");
        // With another mode they are not, and setup says so: once, as a warning.
        set_permissions(site.program(program), Permissions::from_mode(0o755)).unwrap();
        assert!(is_open_at_first(&site, program), "{program}");
        let finished = site.setup(&site.sandbox()).run().expect(0);
        let said = finished.said();
        assert!(said.contains(program) && said.contains("0711") && said.trim_end().lines().count() == 1, "{said}");
        set_permissions(site.program(program), Permissions::from_mode(0o711)).unwrap();
    }
    site.setup(&site.sandbox()).run().expect_quiet();
}
