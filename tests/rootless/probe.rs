//! What a job might try, each as one function. The probe is this test program itself, copied into the sandbox and
//! started there; it prints what the kernel answered to each attempt.

use crate::call_numbers::{KEXEC_FILE_LOAD, UNREVIEWED};
use crate::{account, set_id};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags};
use std::collections::BTreeMap;
use std::ffi::{CString, c_long};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Error, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt, symlink};
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;

/// How the test program is told to be the probe.
pub const ARGUMENTS: [&str; 3] = ["--ignored", "acts_as_the_probe", "--nocapture"];

/// The bit of the x32 convention's call numbers.
const X32: c_long = 0x4000_0000;

/// Bits of a register that the kernel drops when the argument is an `int`.
pub const HIGH: c_long = 1 << 32;

/// What the attempts are about.
pub struct Aim {
    pid: i32,
    base: PathBuf,
}

type Attempt = fn(&Aim) -> io::Result<()>;

impl Aim {
    fn proc(&self, entry: &str) -> String {
        format!("/proc/{}/{entry}", self.pid)
    }

    pub fn pid(&self) -> c_long {
        self.pid.into()
    }

    pub fn outside(&self, name: &str) -> PathBuf {
        self.base.join(name)
    }
}

/// The abstract name at which the victim listens.
fn abstract_name(base: &Path) -> SocketAddr {
    SocketAddr::from_abstract_name([b"glexec-rs ", base.as_os_str().as_bytes()].concat()).unwrap()
}

/// Plays the part that the environment names.
pub fn main() {
    let part = std::env::var("GLEXEC_ENV").expect("started by the tests of this file only");
    let words: Vec<&str> = part.split(' ').collect();
    match words.as_slice() {
        ["victim", base] => be_victim(Path::new(base)),
        [pid, base, chosen @ ..] => {
            let aim = Aim { pid: pid.parse().unwrap(), base: base.into() };
            println!();
            let say = |name: &str, answer: io::Result<()>| {
                let errno = answer.map_or_else(|error| error.raw_os_error().expect("an errno"), |()| 0);
                println!("attempt {name} {errno}");
            };
            for (name, attempt) in ATTEMPTS {
                if chosen.contains(name) || (chosen.is_empty() && !ALONE.contains(name)) {
                    say(name, attempt(&aim));
                }
            }
            if chosen.is_empty() {
                for (name, number) in UNREVIEWED {
                    say(name, done(number, [-1, 0, 0, 0, 0, 0]));
                }
                for (name, answer) in account::answers(&aim) {
                    say(&name, answer);
                }
                for (name, call, mode) in set_id::attempts() {
                    say(&name, call(mode));
                }
            }
        }
        _ => panic!("{part}"),
    }
}

/// What the probe printed: the errno of each attempt, 0 for success.
pub fn results(printed: &str) -> BTreeMap<String, i32> {
    printed
        .lines()
        .filter_map(|line| {
            let [name, errno] = line.strip_prefix("attempt ")?.split(' ').collect::<Vec<_>>().try_into().ok()?;
            Some((name.to_owned(), errno.parse().unwrap()))
        })
        .collect()
}

fn be_victim(base: &Path) {
    // Where Yama restricts tracing to descendants, the comparison outside the domain needs this.
    call(libc::SYS_prctl, [libc::PR_SET_PTRACER.into(), -1, 0, 0, 0, 0]).ok();
    let _abstract = UnixListener::bind_addr(&abstract_name(base)).unwrap();
    let _path = UnixListener::bind(base.join("stream")).unwrap();
    let _datagram = UnixDatagram::bind(base.join("datagram")).unwrap();
    let _packets = listen_for_packets(&base.join("packets"));
    File::create(base.join("ready")).unwrap();
    io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

fn listen_for_packets(path: &Path) -> OwnedFd {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    bind(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
    listen(&socket, 1).unwrap();
    socket
}

/// A system call with six arguments.
pub fn call(number: c_long, arguments: [c_long; 6]) -> io::Result<c_long> {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: callers pass numbers, and addresses of values that live through the call.
    let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if result == -1 { Err(Error::last_os_error()) } else { Ok(result) }
}

/// One that returns a number nobody needs.
pub fn done(number: c_long, arguments: [c_long; 6]) -> io::Result<()> {
    call(number, arguments).map(drop)
}

/// One that returns a descriptor, which is closed.
pub fn opened(number: c_long, arguments: [c_long; 6]) -> io::Result<OwnedFd> {
    let raw = call(number, arguments)?;
    // SAFETY: the kernel has just made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(i32::try_from(raw).unwrap()) })
}

pub fn path(path: impl AsRef<Path>) -> CString {
    CString::new(path.as_ref().as_os_str().as_bytes()).unwrap()
}

fn address<T>(value: &T) -> c_long {
    std::ptr::from_ref(value) as c_long
}

pub fn text(string: &CString) -> c_long {
    string.as_ptr() as c_long
}

fn read(path: impl AsRef<Path>) -> io::Result<()> {
    File::open(path)?.read(&mut [0; 16]).map(drop)
}

pub fn fresh(name: &str) -> PathBuf {
    let _ = fs::remove_file(name);
    name.into()
}

pub fn at_cwd() -> c_long {
    libc::AT_FDCWD.into()
}

/// Attempts that are only made when they are asked for by name.
const ALONE: &[&str] = &["kill_9", "i386_call", "terminal_tiocsti", "terminal_tiocsti_high", "terminal_tioclinux"];

pub const ATTEMPTS: &[(&str, Attempt)] = &[
    // Reading what is the pilot's.
    ("read_proxy", |_| read("../dir_7.condor/x509up")),
    ("read_proxy_absolute", |aim| read(aim.outside("execute/dir_7.condor/x509up"))),
    ("list_parked", |_| fs::read_dir("../dir_7.condor").map(drop)),
    ("read_outside", |aim| read(aim.outside("secret"))),
    ("list_execute", |_| fs::read_dir("..").map(drop)),
    ("list_tmp", |_| fs::read_dir("/tmp").map(drop)),
    ("follow_link_out", |aim| {
        let link = fresh("link");
        symlink(aim.outside("secret"), &link)?;
        read(link)
    }),
    ("link_in", |aim| fs::hard_link(aim.outside("secret"), fresh("linked"))),
    ("rename_in", |aim| {
        fs::rename(aim.outside("secret"), "renamed").and_then(|()| fs::rename("renamed", aim.outside("secret")))
    }),
    ("exchange", |aim| {
        let swap = || rustix::fs::renameat_with(CWD, "input", CWD, aim.outside("secret"), RenameFlags::EXCHANGE);
        swap().and_then(|()| swap()).map_err(Error::from)
    }),
    ("chdir_and_read", |aim| {
        let here = std::env::current_dir()?;
        std::env::set_current_dir(&aim.base)?;
        let result = read("secret");
        std::env::set_current_dir(here)?;
        result
    }),
    ("o_path_and_reopen", |aim| {
        let handle = rustix::fs::open(aim.outside("secret"), OFlags::PATH, Mode::empty())?;
        read(format!("/proc/self/fd/{}", handle.as_raw_fd()))
    }),
    ("execute_outside", |aim| {
        let program = aim.outside("libexec/condor_glexec_kill");
        Command::new(program).arg("--version").output().map(drop)
    }),
    // Changing what is the pilot's.
    ("write_outside", |aim| OpenOptions::new().write(true).open(aim.outside("secret")).map(drop)),
    ("append_outside", |aim| OpenOptions::new().append(true).open(aim.outside("secret")).map(drop)),
    ("truncate_outside", |aim| {
        let name = path(aim.outside("victim.log"));
        done(libc::SYS_truncate, [text(&name), 0, 0, 0, 0, 0])
    }),
    ("create_outside", |aim| File::create(aim.outside("new")).and_then(|_| fs::remove_file(aim.outside("new")))),
    ("mkdir_outside", |aim| fs::create_dir(aim.outside("newdir")).and_then(|()| fs::remove_dir(aim.outside("newdir")))),
    ("symlink_outside", |aim| {
        symlink("x", aim.outside("newlink")).and_then(|()| fs::remove_file(aim.outside("newlink")))
    }),
    ("fifo_outside", |aim| {
        rustix::fs::mkfifoat(CWD, aim.outside("newfifo"), Mode::RUSR)?;
        fs::remove_file(aim.outside("newfifo"))
    }),
    ("unlink_outside", |aim| {
        fs::remove_file(aim.outside("victim.log")).and_then(|()| fs::write(aim.outside("victim.log"), "again"))
    }),
    ("rmdir_outside", |aim| fs::remove_dir(aim.outside("empty")).and_then(|()| fs::create_dir(aim.outside("empty")))),
    ("rename_out", |aim| {
        fs::rename("input", aim.outside("input")).and_then(|()| fs::rename(aim.outside("input"), "input"))
    }),
    ("link_out", |aim| {
        fs::hard_link("input", aim.outside("input")).and_then(|()| fs::remove_file(aim.outside("input")))
    }),
    // The pilot's processes.
    ("proc_list", |_| fs::read_dir("/proc").map(drop)),
    ("proc_environ", |aim| read(aim.proc("environ"))),
    ("proc_mem", |aim| File::open(aim.proc("mem")).map(drop)),
    ("proc_maps", |aim| read(aim.proc("maps"))),
    ("proc_status", |aim| read(aim.proc("status"))),
    ("proc_cmdline", |aim| read(aim.proc("cmdline"))),
    ("proc_fd", |aim| fs::read_dir(aim.proc("fd")).map(drop)),
    ("proc_exe", |aim| fs::read_link(aim.proc("exe")).map(drop)),
    ("proc_cwd", |aim| read(aim.proc("cwd/secret"))),
    ("proc_root", |aim| read(aim.proc("root/etc/passwd"))),
    ("kill_0", |aim| done(libc::SYS_kill, [aim.pid.into(), 0, 0, 0, 0, 0])),
    ("kill_cont", |aim| done(libc::SYS_kill, [aim.pid.into(), libc::SIGCONT.into(), 0, 0, 0, 0])),
    ("tgkill_cont", |aim| done(libc::SYS_tgkill, [aim.pid.into(), aim.pid.into(), libc::SIGCONT.into(), 0, 0, 0])),
    ("queue_cont", |aim| {
        let mut info = [0_i32; 32];
        info[0] = libc::SIGCONT;
        info[2] = -1; // SI_QUEUE
        done(libc::SYS_rt_sigqueueinfo, [aim.pid.into(), libc::SIGCONT.into(), address(&info), 0, 0, 0])
    }),
    ("pidfd_cont", |aim| {
        let process = opened(libc::SYS_pidfd_open, [aim.pid.into(), 0, 0, 0, 0, 0])?;
        let arguments = [process.as_raw_fd().into(), libc::SIGCONT.into(), 0, 0, 0, 0];
        done(libc::SYS_pidfd_send_signal, arguments)
    }),
    ("kill_9", |aim| done(libc::SYS_kill, [aim.pid.into(), libc::SIGKILL.into(), 0, 0, 0, 0])),
    ("ptrace", |aim| done(libc::SYS_ptrace, [libc::PTRACE_SEIZE.into(), aim.pid.into(), 0, 0, 0, 0])),
    ("read_memory", |aim| {
        let mut taken = [0_u8; 8];
        let local = [std::ptr::from_mut(&mut taken) as usize, taken.len()];
        // Nothing is mapped at 8: outside a domain that is what the kernel complains about.
        let remote = [8_usize, 8];
        let arguments = [aim.pid.into(), address(&local), 1, address(&remote), 1, 0];
        done(libc::SYS_process_vm_readv, arguments)
    }),
    ("take_descriptor", |aim| {
        let process = opened(libc::SYS_pidfd_open, [aim.pid.into(), 0, 0, 0, 0, 0])?;
        opened(libc::SYS_pidfd_getfd, [process.as_raw_fd().into(), 0, 0, 0, 0, 0]).map(drop)
    }),
    ("prlimit", |aim| {
        let mut limit = [0_u64; 2];
        let old = std::ptr::from_mut(&mut limit) as c_long;
        done(libc::SYS_prlimit64, [aim.pid.into(), libc::RLIMIT_CPU.into(), 0, old, 0, 0])
    }),
    ("prlimit_high", |aim| {
        done(libc::SYS_prlimit64, [c_long::from(aim.pid) | HIGH, libc::RLIMIT_CPU.into(), 0, 0, 0, 0])
    }),
    // Sockets. Descriptor 0 is an unconnected one that was made outside.
    ("abstract_by_inherited_socket", |aim| {
        // SAFETY: descriptor 0 stays open as long as the process lives.
        let socket = unsafe { BorrowedFd::borrow_raw(0) };
        let name =
            rustix::net::SocketAddrUnix::new_abstract_name(abstract_name(&aim.base).as_abstract_name().unwrap())?;
        rustix::net::connect(socket, &name).map_err(Error::from)
    }),
    ("abstract_connect", |aim| UnixStream::connect_addr(&abstract_name(&aim.base)).map(drop)),
    ("path_connect", |aim| UnixStream::connect(aim.outside("stream")).map(drop)),
    ("datagram_pair_send", |aim| UnixDatagram::pair()?.0.send_to(b"x", aim.outside("datagram")).map(drop)),
    ("datagram_pair_connect", |aim| UnixDatagram::pair()?.0.connect(aim.outside("datagram"))),
    ("raw_pair", |_| socket_pair(libc::SOCK_RAW.into())),
    ("raw_pair_high", |_| socket_pair(c_long::from(libc::SOCK_RAW | libc::SOCK_CLOEXEC) | HIGH)),
    ("stream_pair_connect", |aim| connect_again(rustix::net::SocketType::STREAM, &aim.outside("stream"))),
    ("packet_pair_connect", |aim| connect_again(rustix::net::SocketType::SEQPACKET, &aim.outside("packets"))),
    ("socket_high", |_| {
        opened(libc::SYS_socket, [c_long::from(libc::AF_UNIX) | HIGH, libc::SOCK_STREAM.into(), 0, 0, 0, 0]).map(drop)
    }),
    // Terminals. Descriptor 1 is a pipe: without the filter the answer is that it is no terminal.
    ("tiocsti", |_| ioctl(libc::SYS_ioctl, 1, libc::TIOCSTI as c_long)),
    ("tiocsti_high", |_| ioctl(libc::SYS_ioctl, 1, libc::TIOCSTI as c_long | HIGH)),
    ("tioclinux", |_| ioctl(libc::SYS_ioctl, 1, libc::TIOCLINUX as c_long)),
    // Where descriptor 0 is one.
    ("terminal_tiocsti", |_| ioctl(libc::SYS_ioctl, 0, libc::TIOCSTI as c_long)),
    ("terminal_tiocsti_high", |_| ioctl(libc::SYS_ioctl, 0, libc::TIOCSTI as c_long | HIGH)),
    ("terminal_tioclinux", |_| ioctl(libc::SYS_ioctl, 0, libc::TIOCLINUX as c_long)),
    ("open_pty", |_| File::open("/dev/ptmx").map(drop)),
    // The x32 convention.
    ("x32_socket", |_| done(libc::SYS_socket | X32, [libc::AF_UNIX.into(), libc::SOCK_STREAM.into(), 0, 0, 0, 0])),
    ("x32_tiocsti", |_| ioctl(514 | X32, 1, libc::TIOCSTI as c_long)),
    ("x32_tiocsti_by_other_number", |_| ioctl(libc::SYS_ioctl | X32, 1, libc::TIOCSTI as c_long)),
    ("x32_prlimit", |aim| done(libc::SYS_prlimit64 | X32, [aim.pid.into(), 0, 0, 0, 0, 0])),
    ("x32_keyctl", |_| done(libc::SYS_keyctl | X32, [-1, 0, 0, 0, 0, 0])),
    // What belongs to the account.
    ("shared_memory", |_| {
        let segment = call(libc::SYS_shmget, [libc::IPC_PRIVATE.into(), 4096, 0o600, 0, 0, 0])?;
        done(libc::SYS_shmctl, [segment, libc::IPC_RMID.into(), 0, 0, 0, 0])
    }),
    ("semaphore", |_| {
        let set = call(libc::SYS_semget, [libc::IPC_PRIVATE.into(), 1, 0o600, 0, 0, 0])?;
        done(libc::SYS_semctl, [set, 0, libc::IPC_RMID.into(), 0, 0, 0])
    }),
    ("message_queue", |_| {
        let queue = call(libc::SYS_msgget, [libc::IPC_PRIVATE.into(), 0o600, 0, 0, 0, 0])?;
        done(libc::SYS_msgctl, [queue, libc::IPC_RMID.into(), 0, 0, 0, 0])
    }),
    ("attach_memory", |_| done(libc::SYS_shmat, [-1, 0, 0, 0, 0, 0])),
    ("keyctl", |_| done(libc::SYS_keyctl, [-1, 0, 0, 0, 0, 0])),
    ("add_key", |_| done(libc::SYS_add_key, [0, 0, 0, 0, 0, 0])),
    ("request_key", |_| done(libc::SYS_request_key, [0, 0, 0, 0, 0, 0])),
    // Parts of the kernel that no job needs.
    ("bpf", |_| done(libc::SYS_bpf, [-1, 0, 0, 0, 0, 0])),
    ("perf_event_open", |_| done(libc::SYS_perf_event_open, [0, 0, 0, 0, 0, 0])),
    ("userfaultfd", |_| opened(libc::SYS_userfaultfd, [-1, 0, 0, 0, 0, 0]).map(drop)),
    ("inotify_outside", |aim| {
        let queue = opened(libc::SYS_inotify_init1, [libc::IN_CLOEXEC.into(), 0, 0, 0, 0, 0])?;
        let directory = path(&aim.base);
        let arguments = [queue.as_raw_fd().into(), text(&directory), libc::IN_ALL_EVENTS.into(), 0, 0, 0];
        done(libc::SYS_inotify_add_watch, arguments)
    }),
    ("inotify_add_watch", |_| done(libc::SYS_inotify_add_watch, [-1, 0, libc::IN_ALL_EVENTS.into(), 0, 0, 0])),
    #[cfg(target_arch = "x86_64")]
    ("inotify_init", |_| opened(libc::SYS_inotify_init, [0; 6]).map(drop)),
    ("fanotify_init", |_| {
        let flags = libc::FAN_CLOEXEC | libc::FAN_REPORT_FID;
        opened(libc::SYS_fanotify_init, [flags.into(), 0, 0, 0, 0, 0]).map(drop)
    }),
    ("fanotify_mark", |_| {
        let mask = libc::FAN_MODIFY as c_long;
        done(libc::SYS_fanotify_mark, [-1, libc::FAN_MARK_ADD.into(), mask, at_cwd(), 0, 0])
    }),
    ("kexec_load", |_| done(libc::SYS_kexec_load, [0, 0, 0, 0, 0, 0])),
    ("kexec_file_load", |_| done(KEXEC_FILE_LOAD, [-1, -1, 0, 0, 0, 0])),
    ("init_module", |_| done(libc::SYS_init_module, [0, 0, 0, 0, 0, 0])),
    ("finit_module", |_| done(libc::SYS_finit_module, [-1, 0, 0, 0, 0, 0])),
    ("delete_module", |_| done(libc::SYS_delete_module, [0, 0, 0, 0, 0, 0])),
    ("io_uring", |_| done(libc::SYS_io_uring_setup, [1, 0, 0, 0, 0, 0])),
    ("openat2", |_| {
        let how = [0_u64; 3];
        opened(libc::SYS_openat2, [at_cwd(), text(&path("input")), address(&how), 24, 0, 0]).map(drop)
    }),
    // The same with all capabilities in a user namespace.
    ("namespace_mount", |aim| {
        let (from, to) = (path(&aim.base), path(std::env::current_dir()?));
        in_namespace(|| done(libc::SYS_mount, [text(&from), text(&to), 0, libc::MS_BIND as c_long, 0, 0]))
    }),
    ("namespace_open", |aim| {
        let secret = path(aim.outside("secret"));
        in_namespace(|| done(libc::SYS_openat, [at_cwd(), text(&secret), 0, 0, 0, 0]))
    }),
    ("namespace_kill", |aim| {
        let pid = aim.pid.into();
        in_namespace(|| done(libc::SYS_kill, [pid, libc::SIGCONT.into(), 0, 0, 0, 0]))
    }),
    ("namespace_socket", |_| {
        in_namespace(|| done(libc::SYS_socket, [libc::AF_UNIX.into(), libc::SOCK_STREAM.into(), 0, 0, 0, 0]))
    }),
    #[cfg(target_arch = "x86_64")]
    ("i386_call", |_| {
        // SAFETY: getpid in the 32 bit convention; it reads no memory. Where the kernel has none, the process dies of
        // SIGSEGV.
        unsafe {
            std::arch::asm!("int 0x80", inout("rax") 20_u64 => _, out("r8") _, out("r9") _, out("r10") _, out("r11") _)
        };
        Ok(())
    }),
    // What a job needs.
    ("job_files", |_| {
        fs::create_dir_all("d/e")?;
        fs::write("d/f", "data")?;
        File::options().write(true).truncate(true).open("d/f")?.write_all(b"more")?;
        fs::rename("d/f", "d/e/g")?;
        fs::hard_link("d/e/g", "d/h")?;
        symlink("e/g", "d/i")?;
        read("d/i")?;
        rustix::fs::mkfifoat(CWD, "d/fifo", Mode::RUSR)?;
        rustix::fs::chmodat(CWD, "d/h", Mode::from_raw_mode(0o755), AtFlags::empty())?;
        fs::remove_dir_all("d")
    }),
    ("job_odd_mode", |_| {
        // Without O_CREAT nobody sets the mode, so anything is in the register.
        opened(libc::SYS_openat, [at_cwd(), text(&path("input")), 0, 0o6777, 0, 0]).map(drop)
    }),
    ("job_new_file", |_| File::options().create(true).append(true).mode(0o777).open("new").map(drop)),
    ("job_null", |_| File::options().read(true).write(true).truncate(true).open("/dev/null")?.write_all(b"x")),
    ("job_random", |_| read("/dev/urandom")),
    ("job_system", |_| {
        ["/etc/passwd", "/proc/cpuinfo", "/proc/self/stat", "/proc/sys/kernel/osrelease"].iter().try_for_each(read)
    }),
    ("job_programs", |_| fs::read_dir("/usr/bin").map(drop)),
    ("job_tcp", |_| {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        TcpStream::connect(listener.local_addr()?)?.write_all(b"x")?;
        listener.accept()?.0.read_exact(&mut [0])
    }),
    ("job_udp", |_| {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.send_to(b"x", socket.local_addr()?).map(drop)
    }),
    ("job_pair", |_| UnixStream::pair()?.0.write_all(b"x")),
    ("job_children", |_| {
        let mut child = Command::new("/bin/sleep").arg("60").spawn()?;
        child.kill()?;
        child.wait().map(drop)
    }),
    ("job_own_limits", |_| done(libc::SYS_prlimit64, [0, libc::RLIMIT_NOFILE.into(), 0, 0, 0, 0])),
    ("job_own_program", |_| {
        fs::copy("/bin/true", "true")?;
        Command::new("./true").status().map(drop)
    }),
    // The newest call that was reviewed: nothing is sealed.
    ("job_newest_call", |_| done(462, [0; 6])),
    ("job_memory_file", |_| {
        let file = opened(libc::SYS_memfd_create, [text(&path("x")), 0, 0, 0, 0, 0])?;
        File::from(file).write_at(b"x", 0).map(drop)
    }),
];

/// Makes one attempt in a user namespace and a mount namespace of its own; `EUSERS` where there are none.
fn in_namespace(attempt: impl Fn() -> io::Result<()>) -> io::Result<()> {
    // SAFETY: the child makes system calls on what was prepared before and ends without running anything else.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let flags = c_long::from(libc::CLONE_NEWUSER | libc::CLONE_NEWNS);
        let errno = match done(libc::SYS_unshare, [flags, 0, 0, 0, 0, 0]) {
            Ok(()) => attempt().map_or_else(|error| error.raw_os_error().unwrap_or(255), |()| 0),
            Err(_) => libc::EUSERS,
        };
        // SAFETY: ends the process.
        unsafe { libc::_exit(errno) };
    }
    let mut status = 0;
    // SAFETY: writes to an int that lives through the call.
    if child < 0 || unsafe { libc::waitpid(child, &raw mut status, 0) } != child {
        return Err(Error::last_os_error());
    }
    match libc::WEXITSTATUS(status) {
        0 if libc::WIFEXITED(status) => Ok(()),
        errno => Err(Error::from_raw_os_error(errno)),
    }
}

fn socket_pair(kind: c_long) -> io::Result<()> {
    let mut pair = [0_i32; 2];
    done(libc::SYS_socketpair, [libc::AF_UNIX.into(), kind, 0, std::ptr::from_mut(&mut pair) as c_long, 0, 0])
}

fn connect_again(kind: rustix::net::SocketType, to: &Path) -> io::Result<()> {
    let flags = rustix::net::SocketFlags::CLOEXEC;
    let (socket, other) = rustix::net::socketpair(rustix::net::AddressFamily::UNIX, kind, flags, None)?;
    drop(other);
    let name = rustix::net::SocketAddrUnix::new(to)?;
    rustix::net::connect(&socket, &name).map_err(Error::from)
}

fn ioctl(number: c_long, descriptor: c_long, request: c_long) -> io::Result<()> {
    // What is typed: a whole line. No pseudo-terminal has anything that TIOCLINUX could do.
    let input = b'\n';
    done(number, [descriptor, request, address(&input), 0, 0, 0])
}
