//! Ends a whole family of processes: everything that descends from one process, however it tries to get away.
//!
//! A member can leave its session, its process group, its namespaces and its parent, but not its descent: the root of
//! the family is a child subreaper (`PR_SET_CHILD_SUBREAPER`), so whoever loses its parent becomes the root's child.
//! Killing alone loses against a family that forks faster than it is killed; so all members are stopped first, and a
//! stopped process forks no more.
//!
//! Everything read from `/proc` is the job's to choose (a process names itself) and is parsed as such. Nothing here
//! needs more than a descriptor of `/proc` and pidfds, so that it works in a process confined to that.

mod descent;
mod hunt;
pub(crate) mod lineage;

use crate::confine::Confined;
use crate::ground::argv::decimal;
use crate::ground::limits;
use crate::ground::outcome::{OrFail, Outcome};
pub(crate) use hunt::Hunt;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, RawDir, openat};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::ffi::CString;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

/// What tells one process from every other that had or will have its number: the start time in clock ticks since boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Birth {
    /// Its number.
    pub pid: u32,
    /// Its start time.
    pub start: u64,
}

/// One line of `/proc/<pid>/stat`, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// What tells it from others.
    pub birth: Birth,
    /// Its parent's number.
    pub parent: u32,
    /// The state of the first thread only.
    pub state: u8,
    /// How many threads it has.
    pub threads: u64,
}

impl Process {
    /// Whether anything of it still runs or could. A first thread may end ("Z") while others go on.
    fn lives(&self) -> bool {
        match self.state {
            b'X' | b'x' => false,
            b'Z' => self.threads > 1,
            _ => true,
        }
    }

    /// Whether its first thread is seen running, although every thread of a process is stopped by one SIGSTOP. Waiting
    /// for the kernel ("D", where the parent of a vfork is) does not count: it stops as soon as it leaves the kernel.
    fn runs(&self) -> bool {
        matches!(self.state, b'R' | b'S')
    }
}

/// Reads one `/proc/<pid>/stat` line (proc_pid_stat(5)). The second field is the process's own choice of name in
/// parentheses, with any byte in it; all later fields are numbers but for the state, so the name ends at the *last*
/// `)`.
pub fn parse(line: &[u8], _: &Confined) -> Option<Process> {
    let name_start = line.iter().position(|byte| *byte == b'(')?;
    let name_end = line.iter().rposition(|byte| *byte == b')')?;
    let pid = decimal(line.get(..name_start)?.strip_suffix(b" ")?)?;
    let mut fields = line.get(name_end..)?.strip_prefix(b") ")?.strip_suffix(b"\n")?.split(|byte| *byte == b' ');
    // Fields 3, 4, 20 and 22 of the manual page.
    let [state] = *fields.next()? else { return None };
    let parent = decimal(fields.next()?)?;
    let threads = long_decimal(fields.nth(15)?)?;
    let start = long_decimal(fields.nth(1)?)?;
    Some(Process { birth: Birth { pid, start }, parent, state, threads })
}

fn long_decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    core::str::from_utf8(text).ok()?.parse().ok()
}

/// The directory `/proc` for a confined process.
#[derive(Clone, Copy)]
pub(crate) struct Proc<'p> {
    directory: BorrowedFd<'p>,
    proof: &'p Confined,
}

impl<'p> Proc<'p> {
    /// Reads through `directory`, a descriptor of `/proc`.
    pub(crate) fn new(directory: BorrowedFd<'p>, proof: &'p Confined) -> Self {
        Proc { directory, proof }
    }

    /// What it says about one process; `None` when that is gone.
    pub(crate) fn look_at(self, pid: u32) -> io::Result<Option<Process>> {
        let name = CString::new(format!("{pid}/stat"))?;
        let mut line = [0_u8; limits::STAT_BYTES];
        let read = openat(self.directory, &name, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())
            .and_then(|file| rustix::io::read(file, &mut line));
        let length = match read {
            Ok(length) => length,
            Err(Errno::NOENT | Errno::SRCH) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // A line that fills the buffer may be cut, and one that is not of the kernel's form must not hide a process.
        let whole = line.get(..length).filter(|whole| whole.len() < limits::STAT_BYTES);
        match whole.and_then(|line| parse(line, self.proof)).filter(|process| process.birth.pid == pid) {
            Some(process) => Ok(Some(process)),
            None => {
                Err(io::Error::new(io::ErrorKind::InvalidData, "a line of /proc/<pid>/stat is not of the known form"))
            }
        }
    }

    /// Shows the numbers of all processes to `visit`, each as soon as it is seen.
    fn each_number(self, mut visit: impl FnMut(u32) -> Outcome) -> Outcome {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let listing = openat(self.directory, c".", flags, Mode::empty()).or_fail(FAILED)?;
        // Room for a few names only: between the listing of a name and the look at its process, the process grows old.
        let mut buffer = Vec::with_capacity(128);
        let mut entries = RawDir::new(listing, buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            if let Some(number) = decimal(entry.or_fail(FAILED)?.file_name().to_bytes()) {
                visit(number)?;
            }
        }
        Ok(())
    }

    /// A pidfd of exactly the process that was looked at; `None` when that one is gone, or cannot be had at this
    /// moment: whoever looks again sees which.
    pub(crate) fn hold(self, process: &Process) -> io::Result<Option<OwnedFd>> {
        let Some(pid) = i32::try_from(process.birth.pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
        self.held(process, pidfd_open(pid, PidfdFlags::empty()))
    }

    fn held(self, process: &Process, opened: Result<OwnedFd, Errno>) -> io::Result<Option<OwnedFd>> {
        let pidfd = match opened {
            Ok(pidfd) => pidfd,
            // Before Linux 6.16 EINVAL for a process that is just being reaped, and for one that a thread of it makes
            // another program of.
            Err(Errno::SRCH | Errno::INVAL) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // Whoever has the number now started when the process did, so it is the process; and the pidfd's process has
        // not ended up to now, so it is that one.
        let same = self.look_at(process.birth.pid)?.is_some_and(|now| now.birth == process.birth);
        let mut ended = [PollFd::new(&pidfd, PollFlags::IN)];
        let alive = poll(&mut ended, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? == 0;
        Ok((same && alive).then_some(pidfd))
    }
}

const FAILED: fn() -> &'static str = || "cannot end the job's processes";

#[cfg(test)]
mod tests {
    use super::{Birth, Hunt, Proc, Process};
    use crate::confine::Confined;
    use crate::ground::limits;
    use crate::ground::outcome::{Failure, Outcome};
    use crate::sys::pidfd_signal;
    use rustix::fs::{CWD, Mode, OFlags, openat};
    use rustix::io::Errno;
    use rustix::process::Pid;
    use std::io::{BufRead, BufReader};
    use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};
    use std::time::Duration;

    const REST: &str = "0 -1 4194304 1 2 3 4 5 6 7 8 20 0 3 0 4711 9 9";

    fn line(name: &str) -> Vec<u8> {
        format!("12 ({name}) S 7 1 1 {REST}\n").into_bytes()
    }

    fn parse(line: &[u8]) -> Option<Process> {
        super::parse(line, &Confined::assumed())
    }

    #[test]
    fn a_process_names_itself_as_it_likes() {
        let expected = Process { birth: Birth { pid: 12, start: 4711 }, parent: 7, state: b'S', threads: 3 };
        for name in ["sh", "", ")", "a) R 1 1 1 1", "\n", "\n13 (x) S 1", "(((", ") Z 0 0 0", " "] {
            assert_eq!(parse(&line(name)), Some(expected), "{name:?}");
        }
    }

    #[test]
    fn only_the_process_that_was_looked_at_is_held() {
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let (directory, proof) = (proc(), Confined::assumed());
        let proc = Proc::new(directory.as_fd(), &proof);
        let is_held = |process: &Process| proc.hold(process).unwrap().is_some();
        let process = proc.look_at(child.id()).unwrap().unwrap();
        let running = is_held(&process);
        // Its number was another process's when that was looked at.
        let Birth { pid, start } = process.birth;
        let another = is_held(&Process { birth: Birth { pid, start: start - 1 }, ..process });
        // It has ended, and its number may be given away at any moment.
        child.kill().unwrap();
        while proc.look_at(pid).unwrap().unwrap().lives() {
            std::thread::yield_now();
        }
        let ended = is_held(&process);
        child.wait().unwrap();
        assert_eq!((running, another, ended, is_held(&process)), (true, false, false, false));
    }

    #[test]
    fn n1_an_older_kernels_answer_about_a_process_that_is_being_reaped_is_no_failure() {
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let (directory, proof) = (proc(), Confined::assumed());
        let proc = Proc::new(directory.as_fd(), &proof);
        let process = proc.look_at(child.id()).unwrap().unwrap();
        for passing in [Errno::INVAL, Errno::SRCH] {
            assert!(proc.held(&process, Err(passing)).unwrap().is_none());
        }
        for lasting in [Errno::MFILE, Errno::NOSYS, Errno::PERM] {
            assert!(proc.held(&process, Err(lasting)).is_err());
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn what_is_no_stat_line_is_refused() {
        let good = line("sh");
        for cut in 0..good.len() {
            // Only fields that nobody reads may be missing, and never the end of the line.
            assert_eq!(parse(&good[..cut]), None, "{cut}");
        }
        for bad in [
            format!("-12 (sh) S 7 1 1 {REST}\n"),
            format!("12(sh) S 7 1 1 {REST}\n"),
            format!("12 (sh)  S 7 1 1 {REST}\n"),
            format!("12 (sh) SS 7 1 1 {REST}\n"),
            format!("12 (sh) S -7 1 1 {REST}\n"),
            "12 (sh) S 7 1 1 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 x 0 4711\n".to_string(),
            "12 (sh) S 7 1 1 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 3 0 99999999999999999999\n".to_string(),
        ] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad:?}");
        }
    }

    fn process(pid: u32, parent: u32, state: u8, threads: u64) -> Process {
        Process { birth: Birth { pid, start: 1 }, parent, state, threads }
    }

    #[test]
    fn a_process_lives_as_long_as_one_of_its_threads() {
        for (state, threads, lives) in [
            (b'S', 1, true),
            (b'R', 1, true),
            (b'T', 1, true),
            (b'D', 1, true),
            (b'Z', 1, false),
            (b'Z', 2, true),
            (b'X', 1, false),
        ] {
            assert_eq!(process(12, 11, state, threads).lives(), lives, "{}", char::from(state));
        }
    }

    fn plain(process: BorrowedFd<'_>, signal: u8) -> Outcome<Result<(), Errno>> {
        Ok(pidfd_signal(process, signal))
    }

    fn proc() -> OwnedFd {
        openat(CWD, "/proc", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap()
    }

    fn hunt<S: FnMut(BorrowedFd<'_>, u8) -> Outcome<Result<(), Errno>>>(root: u32, except: u32, signal: S) -> Outcome {
        Hunt::new(Proc::new(proc().as_fd(), &Confined::assumed()), root, except, signal).end()
    }

    #[test]
    fn this_process_and_its_ancestors_are_seen() {
        let (directory, proof) = (proc(), Confined::assumed());
        let proc = Proc::new(directory.as_fd(), &proof);
        let mut all = Vec::new();
        proc.each_number(|number| {
            all.extend(proc.look_at(number).unwrap());
            Ok(())
        })
        .unwrap();
        let this = all.iter().find(|process| process.birth.pid == std::process::id()).unwrap();
        assert!(this.parent == 0 || all.iter().any(|process| process.birth.pid == this.parent));
    }

    #[test]
    fn everything_below_a_process_ends_but_for_the_exception() {
        // Children only: this root is no child subreaper, so what loses its parent would not be its any more.
        let script = "sleep 600 & spared=$!; sleep 600 & (trap '' TERM; exec sleep 600) & \
                      sh -c 'kill -STOP $$' & echo $spared; wait";
        let mut root = Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
        let mut first = String::new();
        BufReader::new(root.stdout.take().unwrap()).read_line(&mut first).unwrap();
        let spared: u32 = first.trim().parse().unwrap();
        hunt(root.id(), spared, plain).unwrap();
        // The shell waits for the one that was spared; with that gone too it ends.
        assert!(root.try_wait().unwrap().is_none());
        hunt(root.id(), 0, plain).unwrap();
        assert!(root.wait().unwrap().success());
    }

    #[test]
    fn slow_answers_do_not_stretch_the_deadlines() {
        const MEMBERS: u32 = 20;
        let script = format!("for n in $(seq {MEMBERS}); do sleep 600 & done; echo; wait");
        let mut root = Command::new("sh").args(["-c", &script]).stdout(Stdio::piped()).spawn().unwrap();
        BufReader::new(root.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
        let (stop_deadline, kill_deadline) = (Duration::from_millis(500), Duration::from_millis(1500));
        let pause = kill_deadline / 10;
        let slow = |process: BorrowedFd<'_>, signal: u8| {
            std::thread::sleep(pause);
            plain(process, signal)
        };
        let begin = std::time::Instant::now();
        let (proof, proc) = (Confined::assumed(), proc());
        let mut hunt_slowly = Hunt::new(Proc::new(proc.as_fd(), &proof), root.id(), 0, slow);
        (hunt_slowly.stop_deadline, hunt_slowly.kill_deadline) = (stop_deadline, kill_deadline);
        let ended = hunt_slowly.end();
        let took = begin.elapsed();
        hunt(root.id(), 0, plain).unwrap();
        root.wait().unwrap();
        assert!(ended.is_err());
        assert!(took < stop_deadline + kill_deadline + 3 * pause, "{took:?}");
    }

    #[test]
    fn a_look_that_is_not_whole_when_the_time_is_over_is_no_empty_one() {
        // The dead are not counted, but below those that there is no room for somebody may live.
        let made = std::env::temp_dir().join(format!("glexec-rs-family.{}", std::process::id()));
        std::fs::create_dir(&made).unwrap();
        for pid in 2..u32::try_from(limits::FAMILY_WAY).unwrap() + 3 {
            std::fs::create_dir(made.join(pid.to_string())).unwrap();
        }
        // Each is the child of the one that is listed behind it.
        let listed: Vec<_> = std::fs::read_dir(&made).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        let listed: Vec<_> = listed.iter().map(|name| name.to_str().unwrap()).collect();
        for (pid, parent) in listed.iter().zip(listed.iter().skip(1).chain([&"1"])) {
            let line = format!("{pid} (sh) Z {parent} 0 0 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0\n");
            std::fs::write(made.join(pid).join("stat"), line).unwrap();
        }
        let (directory, proof) = (std::fs::File::open(&made).unwrap(), Confined::assumed());
        let no_signal = |_: BorrowedFd<'_>, _| panic!("none is due");
        let begin = || Hunt::new(Proc::new(directory.as_fd(), &proof), 1, 0, no_signal);
        begin().end().unwrap();
        let mut hunt_briefly = begin();
        (hunt_briefly.stop_deadline, hunt_briefly.kill_deadline) = (Duration::ZERO, Duration::ZERO);
        let ended = hunt_briefly.end();
        std::fs::remove_dir_all(&made).unwrap();
        assert!(ended.is_err());
    }

    #[test]
    fn nobody_is_spared_for_its_number_while_others_are_new() {
        let script = "sleep 600 & echo $!; while :; do sleep 600; done";
        let mut root = Command::new("sh")
            .args(["-c", script])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        let mut first = String::new();
        BufReader::new(root.stdout.take().unwrap()).read_line(&mut first).unwrap();
        let survivor = format!("Pid:\t{first}");
        let survives = |process: BorrowedFd<'_>| {
            std::fs::read_to_string(format!("/proc/self/fdinfo/{}", process.as_raw_fd())).unwrap().contains(&survivor)
        };
        let (directory, proof) = (proc(), Confined::assumed());
        let (mut again, mut others) = (0, 0);
        let sparing = |process: BorrowedFd<'_>, signal: u8| {
            if survives(process) {
                again += 1;
                return Ok(Ok(()));
            }
            others += 1;
            plain(process, signal)
        };
        let mut hunt = Hunt::new(Proc::new(directory.as_fd(), &proof), root.id(), 0, sparing);
        (hunt.stop_deadline, hunt.kill_deadline) = (Duration::ZERO, 8 * limits::FAMILY_KILL_AGAIN);
        let ended = hunt.end();
        rustix::process::kill_process_group(Pid::from_child(&root), rustix::process::Signal::KILL).unwrap();
        root.wait().unwrap();
        assert!(ended.is_err() && again > 1 && others > again, "{again} and {others}");
    }

    #[test]
    fn an_error_of_the_delivery_ends_the_attempt() {
        let mut root =
            Command::new("sh").args(["-c", "sleep 600 & echo; wait"]).stdout(Stdio::piped()).spawn().unwrap();
        BufReader::new(root.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
        let broken = |_: BorrowedFd<'_>, _| Err(Failure::permanent("broken"));
        assert!(hunt(root.id(), 0, broken).is_err());
        hunt(root.id(), 0, plain).unwrap();
        root.wait().unwrap();
    }
}
