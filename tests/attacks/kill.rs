//! The attacks on `condor_glexec_kill` against the built programs. The numbers are those of the ledger in `audit/`.

use crate::common::{Call, FileSystem, GREG, MALLORY, PILOT, Sandbox, Site, Sleeper};
use crate::common::{another_round, await_state, await_that, finish, pem, put_file};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A call with any words for PID and SIGNAL.
fn kill(site: &Site, sandbox: &Sandbox, pid: &str, signal: &str) -> Call {
    let arguments = [site.switcher().into_os_string(), sandbox.parked_proxy().into_os_string()];
    site.kill(sandbox, 2, 0).only_args(arguments).args([pid, signal, "0", "0"]).closed(&[]).separate_errors()
}

#[test]
#[ignore = "needs root"]
fn k1_nothing_but_one_decimal_process_id() {
    let site = Site::new();
    let sandbox = site.handed_over();
    let mut witness = Sleeper::start(GREG);
    let calls = site.switcher_calls().len();
    let pid = witness.pid();
    let words = [
        "-1".into(),
        "0".into(),
        "1".into(),
        String::new(),
        format!("{pid} 13"),
        format!("{pid} 1; id"),
        format!("-{pid}"),
        format!("+{pid}"),
        format!(" {pid}"),
        format!("{pid} "),
        format!("{pid}\n"),
        format!("0{pid}"),
        format!("{pid:#x}"),
        format!("{pid}.0"),
        format!("{}", u64::from(pid) + (1 << 32)),
        "2147483648".into(),
        "4294967295".into(),
        "4294967296".into(),
        "18446744073709551615".into(),
        "9".repeat(5000),
        "4194305".into(),
        "sleep".into(),
        "\u{663}".into(),
    ];
    for word in words {
        kill(&site, &sandbox, &word, "9").run().expect_usage("condor_glexec_kill");
    }
    witness.assert_alive();
    assert_eq!(site.switcher_calls().len(), calls);
}

#[test]
#[ignore = "needs root"]
fn k2_nothing_but_a_signal_from_0_to_64() {
    let site = Site::new();
    let sandbox = site.handed_over();
    let mut witness = Sleeper::start(GREG);
    let calls = site.switcher_calls().len();
    let pid = witness.pid().to_string();
    let numbers = ["", "9 -1", "KILL", "SIGKILL", "65", "-9", "+9", " 9", "9 ", "09", "0x9", "255", "256", "265"];
    for signal in numbers.iter().chain(&["4294967305", "18446744073709551625", "9;id", "\n9"]) {
        kill(&site, &sandbox, &pid, signal).run().expect_usage("condor_glexec_kill");
    }
    witness.assert_alive();
    assert_eq!(site.switcher_calls().len(), calls);
}

/// A process of the account with this number; tells the kernel which one to give next.
fn reuse(pid: u32) -> Sleeper {
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).unwrap();
        let process = Sleeper::start(GREG);
        if process.pid() == pid {
            return process;
        }
    }
    panic!("the number {pid} could not be had again");
}

#[test]
#[ignore = "needs root"]
fn k3_the_number_is_reused_between_the_call_and_the_signal() {
    let site = Site::new();
    let sandbox = site.handed_over();
    let mut in_time = 0;
    let mut rounds = 0..;
    while rounds.next().is_some_and(|round| another_round(round, 3, in_time >= 3)) {
        let victim = Sleeper::start(GREG);
        // The switcher is called again a second later: time enough for the process to end and its number to be given
        // away.
        site.configure_switcher("fail = 202 times 1");
        let arguments = [site.switcher().into_os_string(), sandbox.parked_proxy().into_os_string()];
        let words = [victim.pid().to_string(), "9".into(), "1".into(), "1".into()];
        let calls = site.switcher_calls().len();
        let running = site.kill(&sandbox, 2, 0).only_args(arguments).args(words).closed(&[]).start();
        while site.switcher_calls().len() == calls {
            std::thread::sleep(Duration::from_millis(1));
        }
        let mut other = reuse(victim.end());
        in_time += u32::from(site.switcher_calls().len() == calls + 1);
        running.finish().expect_refusal(2, &["no process"]);
        other.assert_alive();
    }
    assert!(in_time >= 3, "the number was given away in time only {in_time} times");
}

#[test]
#[ignore = "needs root"]
fn k4_a_process_of_another_account() {
    let site = Site::new();
    let sandbox = site.handed_over();
    for account in [PILOT, MALLORY] {
        let mut process = Sleeper::start(account);
        for signal in [0, 9, 15, 18, 19] {
            let refused = site.kill(&sandbox, process.pid(), signal).closed(&[]).run();
            refused.expect_refusal(2, &["does not belong"]);
        }
        process.assert_alive();
        // The caller's descriptors make no difference.
        site.kill(&sandbox, process.pid(), 9).run().expect(2);
        process.assert_alive();
    }
    // Root's.
    site.kill(&sandbox, 2, 9).closed(&[]).run().expect_refusal(2, &[]);
    site.kill(&sandbox, std::process::id(), 9).closed(&[]).run().expect_refusal(2, &["does not belong"]);
}

#[test]
#[ignore = "needs root"]
fn k4_the_proxy_decides_whose_processes_can_be_signalled() {
    let site = Site::new();
    let sandbox = site.handed_over();
    site.configure_switcher("account = mallory");
    let mut process = Sleeper::start(GREG);
    site.kill(&sandbox, process.pid(), 9).run().expect(2);
    process.assert_alive();
    let mut process = Sleeper::start(MALLORY);
    site.kill(&sandbox, process.pid(), 9).run().expect(0);
    assert_eq!(process.ended_by(), 9);
}

#[test]
#[ignore = "needs root"]
fn k5_a_process_that_is_gone() {
    let site = Site::new();
    let sandbox = site.handed_over();
    let calls = site.switcher_calls().len();
    let pid = Sleeper::start(GREG).end();
    for signal in [0, 9, 15] {
        site.kill(&sandbox, pid, signal).closed(&[]).run().expect_refusal(2, &["no process"]);
    }
    assert_eq!(site.switcher_calls().len(), calls, "nobody has to be asked about what is not there");
}

#[test]
#[ignore = "needs root"]
fn k5_a_zombie_counts_as_signalled() {
    let site = Site::new();
    let sandbox = site.handed_over();
    let mut process = Sleeper::start(GREG);
    site.kill(&sandbox, process.pid(), 9).run().expect(0);
    process.await_state('Z');
    for signal in [0, 9, 15] {
        site.kill(&sandbox, process.pid(), signal).run().expect(0);
    }
    assert_eq!(process.ended_by(), 9);
}

#[test]
#[ignore = "needs root"]
fn k5_a_stopped_process_is_killed() {
    let site = Site::new();
    let sandbox = site.handed_over();
    let mut process = Sleeper::start(GREG);
    site.kill(&sandbox, process.pid(), 19).run().expect(0);
    process.await_state('T');
    site.kill(&sandbox, process.pid(), 9).run().expect(0);
    assert_eq!(process.ended_by(), 9);
}

#[test]
#[ignore = "needs root"]
fn k5_the_number_of_a_thread_is_not_a_process() {
    let site = Site::new();
    let sandbox = site.handed_over();
    std::thread::scope(|scope| {
        let (tell, told) = std::sync::mpsc::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        scope.spawn(move || {
            tell.send(rustix::thread::gettid()).unwrap();
            let _ = ended.recv();
        });
        let thread = told.recv().unwrap().as_raw_nonzero().get() as u32;
        site.kill(&sandbox, thread, 9).closed(&[]).run().expect_refusal(2, &[]);
        drop(end);
    });
}

#[test]
#[ignore = "needs root"]
fn k7_an_account_that_has_more_processes_than_the_callers_soft_limit() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let site = Site::new();
    let sandbox = site.handed_over();
    // An account as which few tests start anything.
    site.configure_switcher("account = mallory");
    let mut family: Vec<_> = (0..40).map(|_| Sleeper::start(MALLORY)).collect();
    let limited = || Ok(setrlimit(Resource::Nproc, Rlimit { current: Some(30), maximum: Some(1000) })?);
    site.kill(&sandbox, family[0].pid(), 9).last(limited).run().expect(0);
    assert_eq!(family[0].ended_by(), 9);
}

#[test]
#[ignore = "needs root"]
fn k6_the_message_of_a_failure_goes_nowhere_else() {
    // With 1 and 2 closed, the first files that a careless helper opens would become its stderr.
    let site = Site::new();
    let sandbox = site.handed_over();
    let before = fs::read(sandbox.parked_proxy()).unwrap();
    let pid = Sleeper::start(GREG).end();
    site.kill(&sandbox, pid, 9).run().expect(2);
    kill(&site, &sandbox, "-1", "9").closed(&[0, 1, 2]).run().expect(1);
    site.configure_switcher("fail = 201 always\nprint = 100000");
    site.kill(&sandbox, 2, 9).run().expect(2);
    assert_eq!(fs::read(sandbox.parked_proxy()).unwrap(), before);
}

#[test]
#[ignore = "needs root"]
fn the_proxy_is_no_way_to_another_file() {
    let site = Site::on(FileSystem::Disk);
    let sandbox = site.handed_over();
    let calls = site.switcher_calls().len();
    let mut process = Sleeper::start(GREG);
    let refused = |proxy: &Path| {
        let arguments = [site.switcher().into_os_string(), proxy.as_os_str().to_owned()];
        let words = [process.pid().to_string(), "9".into(), "0".into(), "0".into()];
        let finished = site.kill(&sandbox, 2, 0).only_args(arguments).args(words).closed(&[]).run();
        assert!(matches!(finished.code, Some(1 | 2)), "{finished:?}");
    };
    // A link, a directory, another's in the job's own sandbox, one in a directory of another account.
    let secret = site.private_file("secret", &pem(3));
    let link = sandbox.parked.join("link");
    symlink(&secret, &link).unwrap();
    refused(&link);
    refused(&sandbox.parked);
    refused(&sandbox.proxy_path());
    let theirs = site.root.join("theirs");
    fs::create_dir(&theirs).unwrap();
    put_file(PILOT, &theirs.join("proxy"), &pem(3), 0o600);
    finish(MALLORY, &theirs, 0o755);
    refused(&theirs.join("proxy"));
    refused(Path::new("/"));
    refused(&sandbox.parked.join(".."));
    process.assert_alive();
    assert_eq!(site.switcher_calls().len(), calls);
    fs::remove_file(link).unwrap();
}

#[test]
#[ignore = "needs root"]
fn the_target_account_may_kill_the_target_side() {
    // It may: it is of its own account. The pilot side must notice and end.
    let site = Site::new();
    let sandbox = site.handed_over();
    let process = Sleeper::start(GREG);
    let running = site.kill(&sandbox, process.pid(), 0).closed(&[]).time_limit(Duration::from_secs(100)).start();
    site.kill_peers();
    assert!(matches!(running.finish().code, Some(0 | 2)));
}

/// Root's process, and below it, as many root's further down as `between`, `jobs` processes of GREG; their numbers.
fn lingering(between: usize, jobs: usize) -> (std::process::Child, Vec<u32>) {
    let account = format!("--reuid={} --regid={} --clear-groups", GREG.uid(), GREG.gid());
    let job = format!("setpriv {account} sleep 1000 & echo $!; ");
    let mut script = job.repeat(jobs) + if jobs == 0 { "exec sleep 1000" } else { "wait" };
    for _ in 0..between {
        script = format!("sh -c '{}' & wait", script.replace('\'', "'\\''"));
    }
    let mut top = Command::new("sh").args(["-c", &script]).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(top.stdout.take().unwrap()).lines().take(jobs);
    let below: Vec<u32> = lines.map(|line| line.unwrap().parse().unwrap()).collect();
    below.iter().for_each(|pid| await_state(*pid, 'S'));
    await_that("all are the job's account's", || {
        below.iter().all(|pid| fs::metadata(format!("/proc/{pid}")).is_ok_and(|found| found.uid() == GREG.uid()))
    });
    (top, below)
}

#[test]
#[ignore = "needs root"]
fn p5_a_switcher_that_stays_does_not_keep_the_signal_from_the_job() {
    let site = Site::new();
    let sandbox = site.handed_over();
    for (between, jobs, reached) in [(0, 1, true), (2, 1, true), (0, 2, false), (1, 2, false), (0, 0, false)] {
        let (mut top, below) = lingering(between, jobs);
        let finished = site.kill(&sandbox, top.id(), 9).closed(&[]).run();
        if reached {
            // Nothing else is below the switcher, which ends behind the job.
            finished.expect(0);
        } else {
            finished.expect_refusal(2, &["does not belong"]);
            assert!(top.try_wait().unwrap().is_none());
            for pid in below {
                assert!(fs::read_to_string(format!("/proc/{pid}/stat")).unwrap().contains(") S "));
                kill_process(Pid::from_raw(pid as i32).unwrap(), Signal::KILL).unwrap();
            }
        }
        let _ = if jobs == 0 { top.kill() } else { Ok(()) };
        top.wait().unwrap();
    }
}

#[test]
#[ignore = "needs root"]
fn p5_below_another_accounts_process_nobody_is_looked_for() {
    let site = Site::new();
    let sandbox = site.handed_over();
    site.configure_switcher("account = greg");
    let (parent, child) = Sleeper::start_with_child(MALLORY);
    site.kill(&sandbox, parent.pid(), 9).closed(&[]).run().expect_refusal(2, &["does not belong"]);
    assert!(fs::read_to_string(format!("/proc/{child}/stat")).unwrap().contains(") S "));
    kill_process(Pid::from_raw(child as i32).unwrap(), Signal::KILL).unwrap();
}
