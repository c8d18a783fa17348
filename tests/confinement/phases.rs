//! Every phase of every helper is held by its confinement: a foreign system call is put into the running program after
//! it has confined itself, and is killed or refused.

use crate::abort;
use crate::common::{Call, PILOT, Sandbox, Site, Sleeper, pem};
use crate::tracer::{Answer, Foreign, inject};
use crate::tracing::Side;
use glexec_rs::confine::side;
use libc::c_long;
use rustix::process::Resource;
use std::os::unix::fs::MetadataExt;

/// The helpers that confine themselves, by their operations.
#[derive(Clone, Copy, Debug)]
pub enum Helper {
    Setup,
    Cleanup,
    Kill,
    UpdateProxy,
}

/// Every side of every one of them.
pub const PHASES: [(Helper, Side); 8] = [
    (Helper::Setup, Side::Pilot),
    (Helper::Setup, Side::Target),
    (Helper::Cleanup, Side::Pilot),
    (Helper::Cleanup, Side::Target),
    (Helper::Kill, Side::Pilot),
    (Helper::Kill, Side::Target),
    (Helper::UpdateProxy, Side::Pilot),
    (Helper::UpdateProxy, Side::Target),
];

impl Helper {
    /// A call that succeeds.
    pub fn call(self, site: &Site, sandbox: &Sandbox, to_kill: &Sleeper) -> Call {
        match self {
            Helper::Setup => site.setup(sandbox),
            Helper::Cleanup => site.cleanup(sandbox),
            Helper::Kill => site.kill(sandbox, to_kill.pid(), 0),
            Helper::UpdateProxy => {
                let new = site.private_file("new-proxy", &pem(7));
                site.update_proxy(sandbox, &new)
            }
        }
    }

    /// A sandbox that this helper can work on.
    pub fn sandbox(self, site: &Site) -> Sandbox {
        match self {
            Helper::Setup => site.sandbox(),
            _ => site.handed_over(),
        }
    }
}

/// A call without texts.
pub fn foreign(number: c_long, arguments: [u64; 6]) -> Foreign {
    Foreign { number, arguments, texts: Vec::new() }
}

/// Calls that no profile has, or not with these arguments.
fn forbidden() -> Vec<(&'static str, Foreign)> {
    let here = libc::AT_FDCWD as u64;
    let with = |number, index, text: &[u8], arguments| Foreign {
        texts: vec![(index, text.to_vec())],
        ..foreign(number, arguments)
    };
    vec![
        ("execve", with(libc::SYS_execve, 0, b"/bin/true\0", [0; 6])),
        ("execveat", with(libc::SYS_execveat, 1, b"/bin/true\0", [here, 0, 0, 0, 0, 0])),
        ("fork", foreign(libc::SYS_fork, [0; 6])),
        ("clone of a process", foreign(libc::SYS_clone, [libc::SIGCHLD as u64, 0, 0, 0, 0, 0])),
        ("clone3", foreign(libc::SYS_clone3, [0; 6])),
        ("socket(AF_INET)", foreign(libc::SYS_socket, [libc::AF_INET as u64, libc::SOCK_STREAM as u64, 0, 0, 0, 0])),
        ("socket(AF_UNIX)", foreign(libc::SYS_socket, [libc::AF_UNIX as u64, libc::SOCK_STREAM as u64, 0, 0, 0, 0])),
        ("connect", foreign(libc::SYS_connect, [3, 0, 0, 0, 0, 0])),
        ("ptrace", foreign(libc::SYS_ptrace, [libc::PTRACE_TRACEME as u64, 0, 0, 0, 0, 0])),
        ("process_vm_readv", foreign(libc::SYS_process_vm_readv, [1, 0, 0, 0, 0, 0])),
        ("kill", foreign(libc::SYS_kill, [1, libc::SIGTERM as u64, 0, 0, 0, 0])),
        ("tkill with another signal than abort's", foreign(libc::SYS_tkill, [1, libc::SIGKILL as u64, 0, 0, 0, 0])),
        ("mount", with(libc::SYS_mount, 1, b"/mnt\0", [0; 6])),
        ("unshare(CLONE_NEWUSER)", foreign(libc::SYS_unshare, [libc::CLONE_NEWUSER as u64, 0, 0, 0, 0, 0])),
        ("setuid", foreign(libc::SYS_setuid, [0; 6])),
        ("bpf", foreign(libc::SYS_bpf, [0; 6])),
        ("io_uring_setup", foreign(libc::SYS_io_uring_setup, [1, 0, 0, 0, 0, 0])),
        ("keyctl", foreign(libc::SYS_keyctl, [0; 6])),
        ("mmap of code", foreign(libc::SYS_mmap, [0, 4096, 7, 0x22, u64::MAX, 0])),
        ("mmap of a file", foreign(libc::SYS_mmap, [0, 4096, 1, 2, 3, 0])),
        ("mprotect to code", foreign(libc::SYS_mprotect, [0, 4096, 5, 0, 0, 0])),
        (
            "openat to write",
            with(libc::SYS_openat, 1, b"/dev/null\0", [here, 0, (libc::O_WRONLY | libc::O_CLOEXEC) as u64, 0, 0, 0]),
        ),
        (
            "openat to truncate",
            with(libc::SYS_openat, 1, b"/dev/null\0", [here, 0, (libc::O_TRUNC | libc::O_CLOEXEC) as u64, 0, 0, 0]),
        ),
        ("open", with(libc::SYS_open, 0, b"/etc/passwd\0", [0; 6])),
        ("ioctl(TIOCSTI)", foreign(libc::SYS_ioctl, [0, libc::TIOCSTI as u64, 0, 0, 0, 0])),
        ("fcntl(F_SETFL)", foreign(libc::SYS_fcntl, [0, libc::F_SETFL as u64, 0, 0, 0, 0])),
        ("prctl(PR_SET_DUMPABLE)", foreign(libc::SYS_prctl, [libc::PR_SET_DUMPABLE as u64, 1, 0, 0, 0, 0])),
        ("prlimit64", foreign(libc::SYS_prlimit64, [0; 6])),
        ("mknodat", foreign(libc::SYS_mknodat, [here, 0, 0, 0, 0, 0])),
        ("openat2", with(libc::SYS_openat2, 1, b"/etc/passwd\0", [here, 0, 0, 24, 0, 0])),
        ("chown", foreign(libc::SYS_fchownat, [here, 0, 0, 0, 0, 0])),
        ("setxattr", foreign(libc::SYS_fsetxattr, [0; 6])),
        ("a number of the x32 convention", foreign(0x4000_0000 | libc::SYS_read, [0; 6])),
    ]
}

/// Every call that gives something a mode, with each of the two bits (H7). The name is one that is free, in the
/// working directory: whatever the domain would say to it, the profile says no before.
fn set_id() -> Vec<(String, Foreign)> {
    let here = libc::AT_FDCWD as u64;
    let named =
        |number, index, arguments| Foreign { texts: vec![(index, b"set-id\0".to_vec())], ..foreign(number, arguments) };
    let new = (libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL | libc::O_CLOEXEC) as u64;
    let nameless = (libc::O_WRONLY | libc::O_TMPFILE | libc::O_CLOEXEC) as u64;
    let calls = |mode: u64| {
        [
            ("openat", named(libc::SYS_openat, 1, [here, 0, new, mode, 0, 0])),
            ("openat of a nameless file", named(libc::SYS_openat, 1, [here, 0, nameless, mode, 0, 0])),
            ("mkdirat", named(libc::SYS_mkdirat, 1, [here, 0, mode, 0, 0, 0])),
            ("fchmod", foreign(libc::SYS_fchmod, [3, mode, 0, 0, 0, 0])),
            ("fchmodat", named(libc::SYS_fchmodat, 1, [here, 0, mode, 0, 0, 0])),
            ("fchmodat2", named(libc::SYS_fchmodat2, 1, [here, 0, mode, 0, 0, 0])),
            ("chmod", named(libc::SYS_chmod, 0, [0, mode, 0, 0, 0, 0])),
            ("creat", named(libc::SYS_creat, 0, [0, mode, 0, 0, 0, 0])),
            ("mknodat", named(libc::SYS_mknodat, 1, [here, 0, u64::from(libc::S_IFREG) | mode, 0, 0, 0])),
        ]
        .map(|(name, call)| (format!("{name} with {mode:o}"), call))
    };
    [0o4711, 0o2711].into_iter().flat_map(calls).collect()
}

/// Calls that open something of this account, wherever it is, to others.
fn opening_to_others() -> Vec<(String, Foreign)> {
    let here = libc::AT_FDCWD as u64;
    let modes = [0o600, 0o711, 0o722, 0o755, 0o777, 0o1700];
    let calls = |mode: u64| {
        let named =
            |number| Foreign { texts: vec![(1, b"/tmp\0".to_vec())], ..foreign(number, [here, 0, mode, 0, 0, 0]) };
        [("fchmodat", libc::SYS_fchmodat), ("fchmodat2", libc::SYS_fchmodat2)]
            .map(|(name, number)| (format!("{name} to {mode:o}"), named(number)))
    };
    modes.into_iter().flat_map(calls).collect()
}

#[test]
#[ignore = "needs root"]
fn h7_no_phase_opens_anything_to_others_by_its_name() {
    assert_killed_in_every_phase(&opening_to_others());
}

#[test]
#[ignore = "needs root"]
fn h7_no_phase_makes_anything_set_id() {
    assert_killed_in_every_phase(&set_id());
}

#[test]
#[ignore = "needs root"]
fn a_forbidden_call_kills_in_every_phase() {
    assert_killed_in_every_phase(&forbidden());
}

fn assert_killed_in_every_phase<N: std::fmt::Display>(calls: &[(N, Foreign)]) {
    let site = Site::new();
    let to_kill = Sleeper::start(crate::common::GREG);
    for (helper, side) in PHASES {
        for (what, call) in calls {
            let sandbox = helper.sandbox(&site);
            let running = helper.call(&site, &sandbox, &to_kill).traced().start();
            let (answer, finished) = inject(running, side, Some(call.clone()), |_| {});
            assert_eq!(answer, Some(Answer::Killed(libc::SIGSYS)), "{helper:?} {side:?}: {what}");
            assert!(finished.code.is_some_and(|code| code != 0), "{helper:?}: {what}: {finished:?}");
            // Kill is called without a place to report to.
            let told = finished.said().contains("killed by SIGSYS");
            assert!(told || matches!(helper, Helper::Kill), "{helper:?}: {what}: {finished:?}");
            forget(&site, sandbox);
        }
    }
}

#[test]
#[ignore = "needs root"]
fn what_a_profile_allows_landlock_keeps_inside() {
    let site = Site::new();
    let to_kill = Sleeper::start(crate::common::GREG);
    let mut other = Sleeper::start(PILOT);
    for (helper, side) in PHASES {
        let reading = (libc::O_RDONLY | libc::O_CLOEXEC) as u64;
        let outside = Foreign {
            texts: vec![(1, b"/etc/passwd\0".to_vec())],
            ..foreign(libc::SYS_openat, [libc::AT_FDCWD as u64, 0, reading, 0, 0, 0])
        };
        let creating = (libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL | libc::O_CLOEXEC) as u64;
        let planted = Foreign {
            texts: vec![(1, b"/tmp/glexec-rs-tests.planted\0".to_vec())],
            ..foreign(libc::SYS_openat, [libc::AT_FDCWD as u64, 0, creating, 0o600, 0, 0])
        };
        let abort = foreign(libc::SYS_tkill, [other.pid().into(), libc::SIGABRT as u64, 0, 0, 0, 0]);
        let reads = !matches!(helper, Helper::UpdateProxy);
        let creates = matches!(
            (helper, side),
            (Helper::Setup, Side::Target) | (Helper::Cleanup, Side::Pilot) | (Helper::UpdateProxy, Side::Target)
        );
        for (what, call, allowed, errno) in [
            ("openat outside", outside, reads, libc::EACCES),
            ("a new file outside", planted, creates, libc::EACCES),
            ("the pilot's other process", abort, true, libc::EPERM),
        ] {
            let sandbox = helper.sandbox(&site);
            let running = helper.call(&site, &sandbox, &to_kill).traced().start();
            let (answer, finished) = inject(running, side, Some(call), |_| {});
            if allowed {
                assert_eq!(answer, Some(Answer::Returned(-i64::from(errno))), "{helper:?} {side:?}: {what}");
                assert_eq!(finished.code, Some(0), "it goes on with its own work: {finished:?}");
            } else {
                assert_eq!(answer, Some(Answer::Killed(libc::SIGSYS)), "{helper:?} {side:?}: {what}");
            }
            other.assert_alive();
            forget(&site, sandbox);
        }
    }
    assert!(!std::path::Path::new("/tmp/glexec-rs-tests.planted").exists());
}

#[test]
#[ignore = "needs root"]
fn a_confined_process_shows_what_it_gave_up() {
    let site = Site::new();
    let to_kill = Sleeper::start(crate::common::GREG);
    for (helper, side) in PHASES {
        let sandbox = helper.sandbox(&site);
        let call = helper.call(&site, &sandbox, &to_kill).limit(Resource::Core, 1 << 20);
        let running = call.traced().start();
        let (answer, finished) = inject(running, side, None, |pid| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            let line = |name: &str| {
                status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name}")).trim()
            };
            assert_eq!([line("NoNewPrivs:"), line("Seccomp:")], ["1", "2"], "{helper:?} {side:?}");
            for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
                assert_eq!(line(set), "0000000000000000", "{helper:?} {side:?}: {set}");
            }
            let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
            let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
            assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
            // The kernel gives the files of a process that is not dumpable to root.
            assert_eq!(std::fs::metadata(format!("/proc/{pid}/fd")).unwrap().uid(), 0, "{helper:?} {side:?}");
            if side == Side::Target {
                assert_no_descriptor_of_the_pilots(&site, pid);
            }
        });
        assert_eq!(answer, Some(Answer::Returned(0)), "{helper:?} {side:?}");
        finished.expect(0);
        forget(&site, sandbox);
    }
}

/// After the switch there is the socket, and what the process has opened itself, in EXECUTE.
fn assert_no_descriptor_of_the_pilots(site: &Site, pid: i32) {
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().map(|entry| entry.unwrap().path());
    let named: Vec<_> = open.map(|path| std::fs::read_link(path).unwrap()).collect();
    assert!(named.len() >= 4, "0 to 2 and the socket: {named:?}");
    for path in &named {
        let text = path.to_string_lossy();
        let passed = text == "/dev/null" || text.starts_with("socket:") || path.starts_with(&site.execute);
        // The pilot hands a new proxy over, and nothing else.
        assert!(passed || text.ends_with("/pilot/new-proxy (deleted)"), "{named:?}");
    }
}

#[test]
#[ignore = "needs root"]
fn capabilities_of_the_caller_are_given_up_with_the_bounding_set() {
    let site = Site::new();
    let sandbox = site.sandbox();
    let program = site.program("condor_glexec_setup");
    let running = Call::new("/usr/bin/setpriv")
        .account(crate::common::Account { name: "root" })
        .args(["--reuid", "pilot", "--regid", "pilot", "--clear-groups"])
        .args(["--inh-caps", "+setpcap,+net_raw", "--ambient-caps", "+setpcap,+net_raw", "--"])
        .arg(program)
        .arg(site.switcher())
        .arg(&sandbox.proxy)
        .arg(&sandbox.path)
        .args(["0", "0"])
        .cwd("/")
        .traced()
        .start();
    let (answer, finished) = inject(running, Side::Pilot, None, |pid| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let sets: Vec<&str> = status.lines().filter(|line| line.starts_with("Cap")).collect();
        assert_eq!(sets.len(), 5);
        assert!(sets.iter().all(|line| line.ends_with("\t0000000000000000")), "{sets:?}");
    });
    assert_eq!(answer, Some(Answer::Returned(0)));
    finished.expect(0);
    forget(&site, sandbox);
}

#[test]
fn a_panic_is_told_from_a_violation() {
    let phases = [
        &side::SETUP_PILOT,
        &side::SETUP_TARGET,
        &side::CLEANUP_PILOT,
        &side::CLEANUP_TARGET,
        &side::KILL_PILOT,
        &side::KILL_TARGET,
        &side::UPDATE_PROXY_PILOT,
        &side::UPDATE_PROXY_TARGET,
    ];
    for phase in phases {
        assert_eq!(abort::ended_by(phase), libc::SIGABRT);
    }
}

/// The sandbox may be anywhere on its way: the next one shall not find it.
pub fn forget(site: &Site, sandbox: Sandbox) {
    for path in [&sandbox.path, &sandbox.parked] {
        let _ = std::fs::remove_dir_all(path);
    }
    // The peer that was killed or orphaned, and its switcher.
    site.kill_processes();
}
