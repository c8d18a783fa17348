//! The job wrapper against a stand-in of the Starter. Needs no second account: whoever runs this owns the sandbox.

#![allow(unsafe_code)]

#[path = "common/starter.rs"]
mod starter;

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use starter::Starter;
use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File, Permissions};
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

const WRAPPER: &str = env!("CARGO_BIN_EXE_condor_glexec_job_wrapper");

/// A directory that stands for the sandbox; removed at the end.
struct Sandbox(PathBuf);

impl Sandbox {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("glexec-rs-tests.wrapper.{}.{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Sandbox(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// The wrapper with the given names for the streams and a command.
    fn wrapper<A: AsRef<OsStr>>(&self, streams: [&str; 3], command: impl IntoIterator<Item = A>) -> Command {
        let mut wrapper = Command::new(WRAPPER);
        wrapper.args(streams).args(command).current_dir(&self.0).env_clear();
        wrapper.stdout(Stdio::null()).stderr(Stdio::null());
        wrapper
    }

    /// An honest run with all three streams by name; the job's output.
    fn run<A: AsRef<OsStr>>(&self, command: impl IntoIterator<Item = A>, environment: &[u8]) -> Ran {
        let out = self.path("job.out");
        let wrapper = self.wrapper(["/dev/null", out.to_str().unwrap(), "/dev/null"], command);
        self.finish(wrapper, environment)
    }

    fn finish(&self, mut wrapper: Command, environment: &[u8]) -> Ran {
        let mut starter = Starter::start(&mut wrapper);
        starter.hello();
        starter.environment(environment);
        let text = starter.fresh();
        let status = starter.end();
        Ran { text, status, output: fs::read(self.path("job.out")).unwrap_or_default() }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

struct Ran {
    text: Vec<u8>,
    status: ExitStatus,
    output: Vec<u8>,
}

impl Ran {
    fn ok(self) -> Vec<u8> {
        assert_eq!((self.shown(), self.status.code()), (String::new(), Some(0)));
        self.output
    }

    fn refused(&self, parts: &[&str]) {
        assert_eq!(self.status.code(), Some(1), "{}", self.shown());
        assert!(parts.iter().all(|part| self.shown().contains(part)), "{} lacks one of {parts:?}", self.shown());
    }

    fn shown(&self) -> String {
        String::from_utf8(self.text.clone()).unwrap().trim_end_matches('\0').to_owned()
    }
}

/// The environment of a job, from `env -0`.
fn environment_of(output: &[u8]) -> Vec<Vec<u8>> {
    let mut entries: Vec<Vec<u8>> =
        output.split(|byte| *byte == 0).filter(|entry| !entry.is_empty()).map(<[u8]>::to_vec).collect();
    entries.sort();
    entries
}

const ENV0: [&str; 2] = ["/usr/bin/env", "-0"];

#[test]
fn r1_arguments_arrive_byte_for_byte() {
    let sandbox = Sandbox::new();
    let odd = ["", " ", "a b", "'", "\"", "$(id)", "`id`", "\\", "\n", "*", "-n", "--", ";", "é"];
    let odd: Vec<OsString> = odd.iter().map(OsString::from).chain([OsString::from_vec((1..=255).collect())]).collect();
    // printf(1) would interpret; cat(1) shows the words as the kernel has them.
    let command = |arguments: &[OsString]| {
        let mut words: Vec<OsString> =
            vec!["/bin/sh".into(), "-c".into(), "exec cat /proc/$$/cmdline".into(), "sh".into()];
        words[2] = "tr '\\0' '\\0' < /proc/$$/cmdline".into();
        words.extend_from_slice(arguments);
        words
    };
    let words = command(&odd);
    let expected: Vec<u8> = words.iter().flat_map(|word| [word.as_bytes(), b"\0"].concat()).collect();
    assert_eq!(sandbox.run(&words, b"PATH=/usr/bin:/bin\0").ok(), expected);

    let many: Vec<OsString> = (0..2000).map(|number| format!("argument {number}").into()).collect();
    let words = command(&many);
    let expected: Vec<u8> = words.iter().flat_map(|word| [word.as_bytes(), b"\0"].concat()).collect();
    assert_eq!(sandbox.run(&words, b"PATH=/usr/bin:/bin\0").ok(), expected);

    // Linux takes 128 KiB with the final NUL, and not one byte more: such a wrapper cannot even be started.
    let long = [OsString::from_vec(vec![b'x'; 128 * 1024 - 1])];
    let words = command(&long);
    assert_eq!(sandbox.run(&words, b"PATH=/usr/bin:/bin\0").ok().len(), words.iter().map(|word| word.len() + 1).sum());
}

#[test]
fn r2_secrets_are_dropped_and_the_base_is_overridden() {
    let sandbox = Sandbox::new();
    let out = sandbox.path("job.out");
    let mut wrapper = sandbox.wrapper(["/dev/null", out.to_str().unwrap(), "/dev/null"], ENV0);
    wrapper.env("BASE", "kept").env("BOTH", "base").env("CONDOR_INHERIT", "the switcher's own");
    let sent = b"BOTH=sent 'ODD=a  b''c' CONDOR_PRIVATE_INHERIT=1 CONDOR_PRIVATE_SHARED_PORT_COOKIE=2 CONDOR_INHERIT=3 X=\xff\0";
    let output = sandbox.finish(wrapper, sent).ok();
    let expected: Vec<&[u8]> =
        vec![b"BASE=kept", b"BOTH=sent", b"CONDOR_INHERIT=the switcher's own", b"ODD=a  b'c", b"X=\xff"];
    assert_eq!(environment_of(&output), expected);
}

#[test]
fn ticket_2614_an_odd_entry_of_the_base_is_skipped_alone() {
    let sandbox = Sandbox::new();
    let out = sandbox.path("job.out");
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let mut command = Command::new("/bin/true");
    command.current_dir(&sandbox.0).stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)));
    let text = |words: &[&str]| words.iter().map(|word| CString::new(*word).unwrap()).collect::<Vec<_>>();
    let argv = text(&[WRAPPER, "/dev/null", out.to_str().unwrap(), "/dev/null", ENV0[0], ENV0[1]]);
    let envp = text(&["A=1", "no equals", "=nameless", "B=2"]);
    execute_exactly(&mut command, argv, envp);
    let mut starter = Starter { socket: ours, child: command.spawn().unwrap() };
    drop(command);
    starter.hello();
    starter.environment(b"C=3\0");
    assert_eq!(starter.fresh(), b"");
    assert!(starter.end().success());
    assert_eq!(environment_of(&fs::read(out).unwrap()), [b"A=1", b"B=2", b"C=3"]);
}

/// Lets `command` execute just this, which [`Command`] cannot say.
fn execute_exactly(command: &mut Command, argv: Vec<CString>, envp: Vec<CString>) {
    let program = CString::new(WRAPPER).unwrap();
    let call = move || {
        let pointers = |list: &[CString]| -> Vec<*const libc::c_char> {
            list.iter().map(|word| word.as_ptr()).chain([std::ptr::null()]).collect()
        };
        // SAFETY: the strings and the arrays, which end with null, outlive the call.
        unsafe { libc::execve(program.as_ptr(), pointers(&argv).as_ptr(), pointers(&envp).as_ptr()) };
        Err(std::io::Error::last_os_error())
    };
    // SAFETY: the closure allocates two small arrays after fork in a child of which no other thread's lock is needed by musl's allocator
    // (the test harness forks while no thread is inside it), and makes one system call.
    unsafe { command.pre_exec(call) };
}

#[test]
fn r5_a_bad_environment_is_refused_on_the_fresh_socket() {
    let sandbox = Sandbox::new();
    let mut big = vec![b'A'; 6 << 20];
    big[1] = b'=';
    big.push(0);
    let cases: Vec<(Vec<u8>, &str)> = vec![
        ([&0_i32.to_ne_bytes()[..]].concat(), "does not end with a NUL"),
        ([&(-1_i32).to_ne_bytes()[..]].concat(), "negative"),
        ([&i32::MIN.to_ne_bytes()[..]].concat(), "negative"),
        ([&3_i32.to_ne_bytes()[..], b"A=1"].concat(), "does not end with a NUL"),
        ([&6_i32.to_ne_bytes()[..], b"A=1\0B\0"].concat(), "NUL inside"),
        ([&4_i32.to_ne_bytes()[..], b"bad\0"].concat(), "\"bad\""),
        ([&5_i32.to_ne_bytes()[..], b"A='x\0"].concat(), "\"'x\""),
        ([&8_i32.to_ne_bytes()[..], b"=%s%n\x1b[\0"].concat(), "=%s%n\\x1b["),
        ([&i32::try_from(big.len()).unwrap().to_ne_bytes()[..], &big].concat(), "larger than"),
    ];
    for (bytes, part) in cases {
        let mut starter = Starter::start(&mut sandbox.wrapper(["/dev/null"; 3], ["/bin/true"]));
        starter.hello();
        starter.raw(&bytes);
        let text = starter.fresh();
        Ran { text, status: starter.end(), output: Vec::new() }.refused(&[part]);
    }
}

#[test]
fn r5_what_the_kernel_refuses_is_said() {
    let sandbox = Sandbox::new();
    let long = [b"A=", &vec![b'x'; 200_000][..], b"\0"].concat();
    sandbox.run(["/bin/true"], &long).refused(&["execve error: Argument list too long"]);
    let many = [
        b"A0=1 ".to_vec(),
        (0..300_000).flat_map(|number| format!("B{number}=1 ").into_bytes()).collect(),
        b"\0".to_vec(),
    ]
    .concat();
    sandbox.run(["/bin/true"], &many).refused(&["execve error: Argument list too long"]);
}

#[test]
fn r5_a_channel_that_ends_early_is_an_error_on_the_first_socket() {
    let sandbox = Sandbox::new();
    for bytes in [&b""[..], b"\x04", &10_i32.to_ne_bytes(), &[&10_i32.to_ne_bytes()[..], b"A=1"].concat()] {
        let mut starter = Starter::start(&mut sandbox.wrapper(["/dev/null"; 3], ["/bin/true"]));
        starter.hello();
        starter.raw(bytes);
        starter.socket.shutdown(std::net::Shutdown::Write).unwrap();
        let (text, status) = starter.first_socket();
        Ran { text, status, output: Vec::new() }.refused(&["closed the channel too early"]);
    }
}

#[test]
fn r5_silence_ends_at_the_deadline() {
    let sandbox = Sandbox::new();
    let mut starter = Starter::start(&mut sandbox.wrapper(["/dev/null"; 3], ["/bin/true"]));
    starter.hello();
    let (text, status) = starter.first_socket();
    Ran { text, status, output: Vec::new() }.refused(&["in time"]);
}

#[test]
fn r5_one_byte_at_a_time_is_as_good() {
    let sandbox = Sandbox::new();
    let out = sandbox.path("job.out");
    let mut starter = Starter::start(&mut sandbox.wrapper(["-", out.to_str().unwrap(), "-"], ENV0));
    starter.hello();
    let environment = b"A=1 'B= '\0";
    for byte in [&i32::try_from(environment.len()).unwrap().to_ne_bytes()[..], environment].concat() {
        starter.raw(&[byte]);
    }
    starter.descriptor(File::open("/dev/null").unwrap());
    starter.descriptor(File::create("/dev/null").unwrap());
    assert_eq!(starter.fresh(), b"");
    assert!(starter.end().success());
    assert_eq!(environment_of(&fs::read(out).unwrap()), [&b"A=1"[..], b"B= "]);
}

#[test]
fn r6_a_message_that_is_not_one_descriptor_is_refused_on_the_fresh_socket() {
    let sandbox = Sandbox::new();
    let null = File::options().read(true).write(true).open("/dev/null").unwrap();
    let read_only = File::open("/dev/null").unwrap();
    let handle = rustix::fs::open("/dev/null", OFlags::PATH, Mode::empty()).unwrap();
    let directory = File::open("/").unwrap();
    let many = vec![null.as_fd(); 253];
    let cases: [(&[u8], Vec<_>, &str); 7] = [
        (b"\0", vec![], "no descriptor"),
        (b"\0", vec![null.as_fd(), null.as_fd()], "more than one"),
        (b"\0", many, "more than one"),
        (b"x", vec![null.as_fd()], "not a NUL"),
        (b"\0", vec![handle.as_fd()], "O_PATH"),
        (b"\0", vec![directory.as_fd()], "directory"),
        (b"\0", vec![read_only.as_fd()], "not writable"),
    ];
    for (byte, descriptors, part) in cases {
        let mut starter = Starter::start(&mut sandbox.wrapper(["/dev/null", "-", "/dev/null"], ["/bin/true"]));
        starter.hello();
        starter.environment(b"\0");
        starter.message(byte, &descriptors);
        let text = starter.fresh();
        Ran { text, status: starter.end(), output: Vec::new() }.refused(&[part]);
    }
    // Two bytes: the second one is the next message, which has no descriptor.
    let mut starter = Starter::start(&mut sandbox.wrapper(["/dev/null", "-", "/dev/null"], ["/bin/true"]));
    starter.hello();
    starter.environment(b"\0");
    starter.message(b"\0\0", &[null.as_fd()]);
    let (text, status) = starter.first_socket();
    Ran { text, status, output: Vec::new() }.refused(&["no descriptor"]);
}

#[test]
fn r6_without_a_free_descriptor_there_is_an_error() {
    let sandbox = Sandbox::new();
    let mut wrapper = sandbox.wrapper(["-", "/dev/null", "/dev/null"], ["/bin/true"]);
    // 0, 1, 2 and the socket's duplicate; std opens nothing more.
    limit_descriptors(&mut wrapper, 4);
    let mut starter = Starter::start(&mut wrapper);
    starter.hello();
    starter.environment(b"\0");
    starter.descriptor(File::open("/dev/null").unwrap());
    let (text, status) = starter.first_socket();
    Ran { text, status, output: Vec::new() }.refused(&["no descriptor is free"]);
}

fn limit_descriptors(command: &mut Command, most: u64) {
    let limit = rustix::process::Rlimit { current: Some(most), maximum: Some(most) };
    let set = move || Ok(rustix::process::setrlimit(rustix::process::Resource::Nofile, limit)?);
    // SAFETY: one system call between fork and exec.
    unsafe { command.pre_exec(set) };
}

#[test]
fn r7_any_of_0_1_and_2_may_be_closed() {
    for closed in 0..8_i32 {
        let sandbox = Sandbox::new();
        let out = sandbox.path("job.out");
        let mut wrapper = sandbox.wrapper(["/dev/null", out.to_str().unwrap(), "/dev/null"], ["/bin/echo", "done"]);
        let close = move || {
            for fd in (0..3).filter(|fd| closed & (1 << fd) != 0) {
                // SAFETY: between fork and exec; the child uses none of the three itself.
                unsafe { libc::close(fd) };
            }
            Ok(())
        };
        // SAFETY: as above.
        unsafe { wrapper.pre_exec(close) };
        let mut starter = Starter::start(&mut wrapper);
        if closed & 1 != 0 {
            // There is no channel: all that can be done is to end.
            let (text, status) = starter.first_socket();
            assert_eq!((text.len(), status.code()), (0, Some(1)));
            continue;
        }
        starter.hello();
        starter.environment(b"\0");
        assert_eq!(starter.fresh(), b"", "{closed}");
        assert!(starter.end().success());
        assert_eq!(fs::read(out).unwrap(), b"done\n");
    }
}

#[test]
fn r8_only_regular_files_and_the_null_device_are_opened() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("directory")).unwrap();
    mknodat(CWD, sandbox.path("fifo"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    fs::write(sandbox.path("outside"), b"precious").unwrap();
    symlink(sandbox.path("outside"), sandbox.path("link")).unwrap();
    symlink("nowhere", sandbox.path("dangling")).unwrap();
    let path = |name: &str| sandbox.path(name).into_os_string().into_string().unwrap();
    for bad in [path("directory"), path("fifo"), path("link"), path("dangling"), "/dev/zero".into(), "/dev/tty".into()]
    {
        for place in 0..3 {
            let mut names = ["/dev/null"; 3];
            names[place] = &bad;
            let ran = sandbox.finish(sandbox.wrapper(names, ["/bin/true"]), b"\0");
            ran.refused(&[["standard input", "standard output", "standard error"][place]]);
        }
    }
    assert_eq!(fs::read(sandbox.path("outside")).unwrap(), b"precious");
    assert!(!sandbox.path("nowhere").exists());
    let missing = path("missing");
    sandbox
        .finish(sandbox.wrapper([&missing, "/dev/null", "/dev/null"], ["/bin/true"]), b"\0")
        .refused(&["No such file"]);
}

#[test]
fn files_by_name_are_opened_as_the_original_does() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("in"), b"input").unwrap();
    fs::write(sandbox.path("old"), b"a longer old content").unwrap();
    fs::set_permissions(sandbox.path("old"), Permissions::from_mode(0o640)).unwrap();
    let path = |name: &str| sandbox.path(name).into_os_string().into_string().unwrap();
    let script = "cat; echo error >&2";
    let wrapper = sandbox.wrapper([&path("in"), &path("old"), &path("new")], ["/bin/sh", "-c", script]);
    assert_eq!(sandbox.finish(wrapper, b"PATH=/bin\0").shown(), "");
    let mode = |name: &str| fs::metadata(sandbox.path(name)).unwrap().mode() & 0o7777;
    assert_eq!((fs::read(sandbox.path("old")).unwrap(), mode("old")), (b"input".to_vec(), 0o640));
    assert_eq!((fs::read(sandbox.path("new")).unwrap(), mode("new")), (b"error\n".to_vec(), 0o600));

    // One name for both: opened twice, with offsets of their own.
    let wrapper =
        sandbox.wrapper(["/dev/null", &path("both"), &path("both")], ["/bin/sh", "-c", "echo longer; echo err >&2"]);
    assert_eq!(sandbox.finish(wrapper, b"\0").shown(), "");
    assert_eq!(fs::read(sandbox.path("both")).unwrap(), b"err\ner\n");

    // The null device survives being "truncated".
    assert_eq!(fs::metadata("/dev/null").unwrap().rdev(), rustix::fs::makedev(1, 3));
}

#[test]
fn ticket_2263_any_of_the_streams_can_be_passed() {
    for passed in 0..8_u32 {
        let sandbox = Sandbox::new();
        fs::write(sandbox.path("in"), b"input").unwrap();
        let path = |name: &str| sandbox.path(name).into_os_string().into_string().unwrap();
        let files = [path("in"), path("out"), path("err")];
        let names: Vec<&str> =
            (0..3).map(|place| if passed & (1 << place) != 0 { "-" } else { files[place].as_str() }).collect();
        let names: [&str; 3] = names.try_into().unwrap();
        let mut starter = Starter::start(&mut sandbox.wrapper(names, ["/bin/sh", "-c", "cat; echo error >&2"]));
        starter.hello();
        starter.environment(b"PATH=/bin\0");
        for place in (0..3).filter(|place| passed & (1 << place) != 0) {
            let file = if place == 0 { File::open(&files[0]) } else { File::create(&files[place]) };
            starter.descriptor(file.unwrap());
        }
        assert_eq!(starter.fresh(), b"", "{passed}");
        assert!(starter.end().success());
        assert_eq!(fs::read(&files[1]).unwrap(), b"input");
        assert_eq!(fs::read(&files[2]).unwrap(), b"error\n");
    }
}

#[test]
fn r9_the_job_inherits_exactly_what_it_should() {
    let sandbox = Sandbox::new();
    let out = sandbox.path("job.out");
    let inherit = |program: &[&str]| {
        let mut wrapper = sandbox.wrapper(["/dev/null", out.to_str().unwrap(), "/dev/null"], program);
        let stray = File::open("/").unwrap();
        let set = move || {
            // SAFETY: between fork and exec; every call takes numbers or memory of the child's own stack.
            unsafe {
                for signal in 1..65 {
                    libc::signal(signal, libc::SIG_IGN);
                }
                let mut all = std::mem::zeroed();
                libc::sigfillset(&mut all);
                libc::sigprocmask(libc::SIG_BLOCK, &all, std::ptr::null_mut());
                // Stray descriptors that survive the exec.
                libc::dup2(std::os::fd::AsRawFd::as_raw_fd(&stray), 17);
                libc::dup2(std::os::fd::AsRawFd::as_raw_fd(&stray), 400);
                libc::umask(0o027);
                let limit = libc::rlimit { rlim_cur: 333, rlim_max: 444 };
                libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
            }
            Ok(())
        };
        // SAFETY: as above.
        unsafe { wrapper.pre_exec(set) };
        String::from_utf8(sandbox.finish(wrapper, b"PATH=/usr/bin:/bin\0").ok()).unwrap()
    };
    let status = inherit(&["/bin/cat", "/proc/self/status"]);
    let field = |name: &str| {
        let line =
            status.lines().find(|line| line.starts_with(&format!("{name}:"))).unwrap_or_else(|| panic!("{status}"));
        line.split_once(':').unwrap().1.trim().to_owned()
    };
    for signals in ["SigBlk", "SigIgn", "SigCgt", "SigPnd"] {
        assert_eq!(field(signals), "0000000000000000", "{signals}");
    }
    // Whatever this test runs in, the wrapper adds nothing.
    let own = fs::read_to_string("/proc/self/status").unwrap();
    for same in ["NoNewPrivs", "Seccomp", "Seccomp_filters", "Groups", "Uid", "Gid", "CapEff"] {
        assert!(
            own.lines().any(|line| line.split_once(':').is_some_and(|(n, v)| n == same && v.trim() == field(same))),
            "{same}"
        );
    }
    assert_eq!(field("Umask"), "0027");
    let descriptors = inherit(&["/bin/ls", "/proc/self/fd"]);
    // The fourth one is ls's own, of the directory.
    assert_eq!(descriptors.split_whitespace().collect::<Vec<_>>(), ["0", "1", "2", "3"]);
    let limits = inherit(&["/bin/cat", "/proc/self/limits"]);
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(files.split_whitespace().skip(3).take(2).collect::<Vec<_>>(), ["333", "444"]);
    assert_eq!(inherit(&["/bin/pwd"]).trim_end(), fs::canonicalize(&sandbox.0).unwrap().to_str().unwrap());
    // Dumpable again: its /proc entries are its own.
    assert_eq!(
        inherit(&["/usr/bin/stat", "-c", "%u", "/proc/self/environ"]).trim_end(),
        field("Uid").split_whitespace().next().unwrap()
    );
}

#[test]
fn r9_no_terminal_controls_the_job() {
    let sandbox = Sandbox::new();
    let (master, slave) = {
        let master = rustix::pty::openpt(rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY).unwrap();
        rustix::pty::grantpt(&master).unwrap();
        rustix::pty::unlockpt(&master).unwrap();
        let name = rustix::pty::ptsname(&master, Vec::new()).unwrap();
        (master, rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap())
    };
    let out = sandbox.path("job.out");
    let mut wrapper = sandbox.wrapper(
        ["/dev/null", out.to_str().unwrap(), "/dev/null"],
        ["/bin/sh", "-c", "if (: < /dev/tty); then echo terminal; else echo none; fi; cut -d' ' -f7 /proc/self/stat"],
    );
    let control = move || {
        rustix::process::setsid()?;
        rustix::process::ioctl_tiocsctty(&slave)?;
        Ok(())
    };
    // SAFETY: two system calls between fork and exec.
    unsafe { wrapper.pre_exec(control) };
    let output = sandbox.finish(wrapper, b"PATH=/usr/bin:/bin\0").ok();
    assert_eq!(String::from_utf8(output).unwrap(), "none\n0\n");
    drop(master);
}

#[test]
fn r10_argc_zero_is_refused() {
    let sandbox = Sandbox::new();
    let mut command = Command::new("/bin/true");
    command.current_dir(&sandbox.0).stdout(Stdio::null()).stderr(Stdio::null());
    execute_exactly(&mut command, Vec::new(), Vec::new());
    let starter = Starter::start(&mut command);
    let (text, status) = starter.first_socket();
    // Linux since 5.18 gives a program that is executed without any words one empty word.
    assert_eq!(status.code(), Some(1));
    assert!(text.is_empty() || text.starts_with(b"usage"), "{text:?}");
}

#[test]
fn too_few_words_are_answered_with_the_usage_instead_of_the_hello() {
    let sandbox = Sandbox::new();
    for count in 0..4 {
        let mut wrapper = Command::new(WRAPPER);
        wrapper.args(&["-", "-", "-", "x"][..count.min(3)]).current_dir(&sandbox.0);
        wrapper.stdout(Stdio::null()).stderr(Stdio::null());
        let (text, status) = Starter::start(&mut wrapper).first_socket();
        assert_eq!(status.code(), Some(1));
        assert!(text.starts_with(b"usage: condor_glexec_job_wrapper IN OUT ERR CMD"), "{text:?}");
    }
}

#[test]
fn r11_what_cannot_be_executed_is_said_with_the_errno_text() {
    let sandbox = Sandbox::new();
    let plain = sandbox.path("plain");
    fs::write(&plain, "echo hello\n").unwrap();
    let no_shell = sandbox.script("no-shell", "echo hello\n");
    let bad = sandbox.script("bad", "#!/no/such/interpreter\n");
    for (command, text) in [
        (PathBuf::from("/no/such/file"), "No such file or directory"),
        (plain, "Permission denied"),
        (bad, "No such file or directory"),
        (no_shell, "Exec format error"),
        (sandbox.0.clone(), "Permission denied"),
        (PathBuf::from("true"), "No such file or directory"),
        (PathBuf::from(""), "No such file or directory"),
    ] {
        let ran = sandbox.run([command], b"PATH=/bin\0");
        assert_eq!((ran.shown(), ran.status.code()), (format!("execve error: {text}"), Some(1)));
    }
}

#[test]
fn r12_the_end_of_file_comes_although_an_ancestor_holds_the_first_socket() {
    let sandbox = Sandbox::new();
    let out = sandbox.path("job.out");
    // A lingering switcher: it waits, and keeps what it was given.
    let mut lingering = Command::new("/bin/sh");
    lingering.args([
        "-c",
        "exec 3<&0; \"$@\" <&3 3<&- & wait; sleep 3",
        "sh",
        WRAPPER,
        "/dev/null",
        out.to_str().unwrap(),
        "/dev/null",
    ]);
    lingering.args(["/bin/sleep", "2"]).current_dir(&sandbox.0).stdout(Stdio::null()).stderr(Stdio::null());
    let mut starter = Starter::start(&mut lingering);
    let began = std::time::Instant::now();
    starter.hello();
    starter.environment(b"\0");
    assert_eq!(starter.fresh(), b"");
    // The job sleeps for two seconds more.
    assert!(began.elapsed() < std::time::Duration::from_millis(1900), "{:?}", began.elapsed());
    assert!(starter.end().success());
}

#[test]
fn r4_a_working_directory_of_somebody_else_is_refused() {
    let sandbox = Sandbox::new();
    let elsewhere = if rustix::process::geteuid().is_root() { "/proc/1/task" } else { "/" };
    let mut wrapper = sandbox.wrapper(["/dev/null"; 3], ["/bin/true"]);
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&sandbox.0, Some(65_534), None).unwrap();
    } else {
        wrapper.current_dir(elsewhere);
    }
    sandbox.finish(wrapper, b"\0").refused(&["the working directory belongs to uid"]);
}
