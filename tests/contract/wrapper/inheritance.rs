//! What the job inherits, and what it does not.

use crate::common::{GREG, Site};
use crate::starter::Starter;
use crate::wrapper::playground::{
    NOTHING, Sandbox, expect_words, field, job, marking_job, names, output, raw, refusal, start,
};
use rustix::fs::Mode;
use rustix::process::{Gid, Resource, Rlimit, Uid, geteuid, setrlimit};
use rustix::thread::{set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use std::fs::{self};
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

#[test]
fn signals_are_as_a_program_expects_them_and_nothing_is_confined() {
    let sandbox = Sandbox::new();
    let mut call = job(&sandbox, ["/bin/cat", "/proc/self/status"]);
    raw::before_exec(&mut call, || {
        rustix::process::umask(Mode::from_raw_mode(0o013));
        raw::close_ears();
        Ok(())
    });
    let status = output(&sandbox, call);
    for mask in ["SigPnd", "SigBlk", "SigIgn", "SigCgt"] {
        assert_eq!(field(&status, mask), "0000000000000000", "{mask}");
    }
    let own = fs::read_to_string("/proc/self/status").unwrap();
    // As root, the account is another one than the test's; without, the caller has to be confined.
    let of_caller = if crate::common::available() {
        ["NoNewPrivs", "Seccomp"].as_slice()
    } else {
        &["Uid", "Gid", "Groups", "CapPrm", "CapEff"]
    };
    for same in ["CapInh", "CapBnd", "CapAmb", "Cpus_allowed"].iter().chain(of_caller) {
        assert_eq!(field(&status, same), field(&own, same), "{same}");
    }
    assert_eq!(field(&status, "Umask"), "0013");
}

#[test]
#[ignore = "needs root"]
fn account_groups_and_no_new_privs_are_the_callers() {
    let (uid, gid, further) = (Uid::from_raw(GREG.uid()), Gid::from_raw(GREG.gid()), Gid::from_raw(54_321));
    for no_new_privs in [false, true] {
        let sandbox = Sandbox::new();
        let mut call = job(&sandbox, ["/bin/cat", "/proc/self/status"]);
        // Root until it has set the groups: Command leaves no further ones.
        call.uid(0).gid(0);
        raw::before_exec(&mut call, move || {
            set_thread_groups(&[gid, further])?;
            set_thread_res_gid(gid, gid, gid)?;
            set_thread_res_uid(uid, uid, uid)?;
            if no_new_privs {
                set_no_new_privs(true)?;
            }
            Ok(())
        });
        let status = output(&sandbox, call);
        let words = |name: &str| field(&status, name).split_whitespace().collect::<Vec<_>>();
        assert_eq!(words("Uid"), vec![uid.to_string(); 4]);
        assert_eq!(words("Gid"), vec![gid.to_string(); 4]);
        assert_eq!(words("Groups"), [gid.to_string(), further.to_string()]);
        assert_eq!(words("NoNewPrivs"), [u8::from(no_new_privs).to_string()]);
        for none in ["CapPrm", "CapEff"] {
            assert_eq!(words(none), ["0000000000000000"], "{none}");
        }
    }
}

#[test]
fn only_0_1_and_2_are_open() {
    let sandbox = Sandbox::new();
    let mut call = job(&sandbox, ["/bin/ls", "/proc/self/fd"]);
    raw::before_exec(&mut call, || {
        for _ in 0..300 {
            std::mem::forget(rustix::io::dup(rustix::stdio::stdin())?);
        }
        Ok(())
    });
    assert_eq!(output(&sandbox, call), "0\n1\n2\n3\n", "the last one is the directory itself");
}

#[test]
fn process_session_directory_and_limits_stay() {
    let sandbox = Sandbox::new();
    let mut call = job(&sandbox, ["/bin/cat", "/proc/self/stat", "/proc/self/limits"]);
    raw::before_exec(&mut call, || {
        rustix::process::setsid()?;
        for (resource, current, maximum) in
            [(Resource::Nofile, 77, 99), (Resource::Core, 0, 5), (Resource::Fsize, 1 << 20, 1 << 30)]
        {
            setrlimit(resource, Rlimit { current: Some(current), maximum: Some(maximum) })?;
        }
        Ok(())
    });
    let (running, starter) = start(call);
    let pid = running.child.id().to_string();
    assert_eq!(starter.start_job(NOTHING, &[]), Ok(()));
    assert_eq!(running.end().code, Some(0));
    let listed = String::from_utf8(sandbox.read("out")).unwrap();
    let numbers: Vec<_> = listed.lines().next().unwrap().split(' ').collect();
    assert_eq!((numbers[0], numbers[5]), (&pid[..], &pid[..]), "process and session");
    for (limit, expected) in
        [("Max open files", "77 99"), ("Max core file size", "0 5"), ("Max file size", "1048576 1073741824")]
    {
        let words: Vec<_> = field(&listed, limit).split_whitespace().take(2).collect();
        assert_eq!(words.join(" "), expected, "{limit}");
    }
    let where_it_is = output(&sandbox, job(&sandbox, ["/bin/readlink", "/proc/self/cwd"]));
    assert_eq!(Path::new(where_it_is.trim_end()), sandbox.path.canonicalize().unwrap());
}

#[test]
fn the_working_directory_has_to_be_the_accounts_own() {
    let sandbox = Sandbox::new();
    let foreign = if geteuid().is_root() {
        let directory = sandbox.at("foreign");
        fs::create_dir(&directory).unwrap();
        chown(&directory, Some(12345), None).unwrap();
        PathBuf::from(directory)
    } else {
        "/".into()
    };
    let mut call = marking_job(&sandbox, names(["/dev/null"; 3]));
    call.current_dir(foreign);
    expect_words(&refusal(&sandbox, call, NOTHING, &[]), &["working directory", "uid"]);
}

#[test]
#[ignore = "needs root"]
fn nobody_traces_the_wrapper_and_the_job_is_an_ordinary_process() {
    let site = Site::new();
    let sandbox = site.handed_over();
    let (mut starter, theirs) = Starter::new();
    let running = site
        .call("condor_glexec_job_wrapper")
        .account(GREG)
        .args(["/dev/null", "/dev/null", "/dev/null", "/bin/sleep", "600"])
        .cwd(&sandbox.path)
        .input(theirs)
        .start();
    // Whose a process' files in /proc are: root's while it must not be looked into, else its account's.
    let environ = format!("/proc/{}/environ", running.pid());
    starter.expect_hello();
    assert_eq!(fs::metadata(&environ).unwrap().uid(), 0, "the wrapper can be traced");
    starter.send_environment(b"SECRET=1\0");
    assert_eq!(starter.send_fresh_socket().outcome(), Ok(()));
    assert_eq!(fs::metadata(&environ).unwrap().uid(), GREG.uid(), "the job cannot look at itself");
    let mut running = running;
    running.kill();
    assert_eq!(running.finish().signal, Some(9));
}
