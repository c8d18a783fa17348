//! Every number that bounds what comes from outside, decided here and nowhere else.

use core::time::Duration;

/// The longest path that is taken as an argument, in bytes, with the final NUL (Linux's `PATH_MAX`).
pub const PATH_BYTES: usize = 4096;

/// The longest single file name, in bytes (Linux's `NAME_MAX`).
pub(crate) const NAME_BYTES: usize = 255;

/// The longest symbolic link target, in bytes, without a final NUL.
pub const LINK_BYTES: usize = PATH_BYTES - 1;

/// Files up to this size travel as bytes in a packet of the copy, larger ones as descriptors.
pub const INLINE_BYTES: usize = 16 * 1024;

/// The deepest directory below a sandbox that is copied; a directory in the sandbox itself has depth 1.
///
/// The kernel checks a confined process's every access against all directories above (Landlock), so that a tree takes
/// time in proportion to the square of its depth: seconds at this one.
pub const DEPTH: usize = 4096;

/// The deepest directory that is removed: a tree that arrives lies one level below its staging directory.
pub(crate) const REMOVAL_DEPTH: usize = DEPTH + 1;

/// The most entries of a sandbox (files, directories, links, things left out together).
pub const ENTRIES: u64 = 10_000_000;

/// The most bytes of data of a sandbox, holes not counted.
pub const DATA_BYTES: u64 = 16 << 40;

/// The longest line that a helper reports, in bytes.
pub(crate) const REPORT_BYTES: usize = 1024;

/// How many things that were left out are named one by one in a report; the rest is only counted.
pub(crate) const LEFT_OUT_NAMED: usize = 20;

/// The largest errno of any Linux kernel (`MAX_ERRNO`).
pub const ERRNO: u16 = 4095;

/// How much of what the switcher prints is kept for the report, in bytes.
pub(crate) const SWITCHER_OUTPUT_BYTES: usize = 512;

/// How long a switcher may take until the peer's greeting arrives. Mapping services can be slow.
pub const GREETING_DEADLINE: Duration = Duration::from_secs(60);

/// How long the other side of a copy may be silent before it is given up.
pub const SILENCE_DEADLINE: Duration = Duration::from_secs(120);

/// How long a process may keep others from opening files by leases (`fcntl(2)`, F_SETLEASE), in one copy. The kernel
/// takes a lease away after 45 seconds (`/proc/sys/fs/lease-break-time`); shorter than [`SILENCE_DEADLINE`].
pub(crate) const LEASE_DEADLINE: Duration = Duration::from_secs(60);

/// How long a helper may be without a sign of life, and how long one system call of a receiver may take, whole
/// seconds; longer than [`SILENCE_DEADLINE`], which covers mere waiting.
pub const STUCK_DEADLINE: Duration = Duration::from_secs(180);

/// How long a worker that has done its work may take to end before its watchdog ends without it.
pub(crate) const WORKER_END_DEADLINE: Duration = Duration::from_secs(1);

/// How long the target side may take to remove its own copy after a cleanup; nothing is heard from it meanwhile.
pub const REMOVAL_DEADLINE: Duration = Duration::from_secs(1800);

/// How long the target side may take to undo its part after a failure.
pub const UNDO_DEADLINE: Duration = Duration::from_secs(60);

/// How long a file system may take to get a sandbox onto its disk, if the site asks for that.
pub(crate) const DISK_DEADLINE: Duration = Duration::from_secs(1800);

/// How long a whole setup or cleanup may take.
pub const COPY_DEADLINE: Duration = Duration::from_secs(24 * 3600);

/// How long a switcher may take to end after its peer has done its work.
pub const SWITCHER_END_DEADLINE: Duration = Duration::from_secs(10);

/// The most retries (the argument R) that a caller may ask for.
pub(crate) const RETRIES: u32 = 1000;

/// The largest least delay between two tries (the argument D), in seconds.
pub(crate) const RETRY_DELAY_SECONDS: u32 = 3600;

/// The longest pause between two tries, whatever the back-off says.
pub(crate) const RETRY_DELAY_MOST: Duration = Duration::from_secs(600);

/// The largest process id of any Linux kernel (`PID_MAX_LIMIT`).
pub(crate) const PID_MAX: u32 = 4_194_304;

/// The longest `/proc/<pid>/status`, in bytes. It has about 1,500, and 11 more for each supplementary group at the
/// most.
pub(crate) const STATUS_BYTES: usize = 64 * 1024;

/// The longest table of mounts, in bytes: some hundred thousand of them.
pub(crate) const MOUNTS_BYTES: u64 = 32 << 20;

/// How much of `/etc/passwd` is searched for an account, in bytes.
pub(crate) const PASSWD_BYTES: u64 = 16 << 20;

/// The largest signal number; 0 asks only whether the process could be signalled.
pub(crate) const SIGNAL_MAX: u32 = 64;

/// The largest proxy credential, in bytes. Real ones have 3 to 30 KiB.
pub(crate) const PROXY_BYTES: u64 = 1 << 20;

/// The most bytes of environment on the channel, final NUL included: what Linux gives argv and environment together
/// at the most (three quarters of the 8 MiB default stack), so that nothing larger could be executed anyway.
pub const ENVIRONMENT_BYTES: usize = 6 << 20;

/// The most variables on the channel: each costs the kernel a pointer out of the same 6 MiB.
pub const ENVIRONMENT_ENTRIES: usize = ENVIRONMENT_BYTES / 8;

/// The longest error text on the environment channel, final NUL not counted (what the Starter reads).
pub const CHANNEL_ERROR_BYTES: usize = 255;

/// How long the Starter may take for its part of the environment channel.
pub const CHANNEL_DEADLINE: Duration = Duration::from_secs(30);

/// The longest line of `/proc/<pid>/stat`; with 52 numbers of at most 20 digits and a name of 64 bytes none is as long.
pub(crate) const STAT_BYTES: usize = 2048;

/// How long a process may take to end after SIGKILL before that counts as failed. With the tries of `15 3 5` it stays
/// below the 30 s after which HTCondor gives a kill up.
pub(crate) const KILL_DEADLINE: Duration = Duration::from_secs(10);

/// How many processes a switcher that stays may have between its caller and the job, itself included.
pub(crate) const SWITCHER_CHAIN: u32 = 8;

/// How long a family of processes is stopped before it is killed in whatever state it is.
pub(crate) const FAMILY_STOP_DEADLINE: Duration = Duration::from_secs(10);

/// How long a family of processes may take to end after SIGKILL.
pub(crate) const FAMILY_KILL_DEADLINE: Duration = Duration::from_secs(30);

/// How many looks at `/proc` in a row must find nobody of a family: one alone can miss who forks and ends in a loop.
pub(crate) const FAMILY_EMPTY_LOOKS: u32 = 3;

/// How many ancestors between a process and one that was seen already are kept in one reading of `/proc`. There are
/// more than a few only where the numbers of processes have started again from the beginning.
pub(crate) const FAMILY_WAY: usize = 4096;

/// How long nobody is sent SIGKILL again: its number may have become another's.
pub(crate) const FAMILY_KILL_AGAIN: Duration = Duration::from_millis(250);

/// The least and the most time between two looks at processes that were sent SIGKILL.
pub(crate) const FAMILY_PAUSE_LEAST: Duration = Duration::from_millis(1);
/// See [`FAMILY_PAUSE_LEAST`].
pub(crate) const FAMILY_PAUSE_MOST: Duration = Duration::from_millis(50);

/// The longest record of one helper that `condor_glexec_job` takes over, in bytes, with its final newline.
pub const RECORD_BYTES: usize = 64 << 10;

/// How long the reader of `condor_glexec_job`'s own record may take for each piece of it.
pub(crate) const RECORD_DEADLINE: Duration = Duration::from_secs(30);

/// How many entries of a caller's sandbox that would not come back as they are are named one by one.
pub(crate) const UNKEPT_NAMED: usize = 3;

/// The most input files of `condor_glexec_job`.
pub(crate) const INPUTS: usize = 10_000;

/// The longest time limit and grace period of `condor_glexec_job`, in seconds (about 31 years).
pub const JOB_SECONDS: u32 = 1_000_000_000;

/// How many of the processes that its account may have a job under `condor_glexec_job` cannot use: room for the
/// helpers that end it.
pub(crate) const PROCESSES_KEPT: u64 = 16;

/// The least limit of processes of which that many are kept; a job needs some, too.
pub(crate) const PROCESSES_SHARED: u64 = 64;

/// How often `condor_glexec_job` tries to end the job's processes before it says that it cannot.
pub(crate) const FAMILY_TRIES: u32 = 3;

/// How long the rest of a job may take to end by itself when its first process has ended.
pub(crate) const FAMILY_OWN_END: Duration = Duration::from_millis(100);

/// The longest policy file, in bytes. The example, which explains every key, has about 5,000.
pub const POLICY_BYTES: u64 = 64 << 10;

/// The most lines of one key in the policy file.
pub const POLICY_LIST: usize = 100;
