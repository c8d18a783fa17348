//! The attacks on `condor_glexec_run` against the built programs. The numbers are those of the ledger in `audit/`;
//! those on the wrapper behind it are in the wrapper's own tests.

use crate::common::{
    Call, Channel, Finished, GREG, MALLORY, PILOT, Sandbox, Site, Sleeper, as_account, finish, pem, put_file, put_link,
    write_program,
};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::ffi::{CString, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

/// A call with `/bin/true` as the wrapper: it exits with 0 if the switcher was reached.
fn run(site: &Site, sandbox: &Sandbox) -> Call {
    site.call("condor_glexec_run")
        .arg(site.switcher())
        .arg(&sandbox.proxy)
        .arg(&sandbox.path)
        .args(["/bin/true", "-", "-", "-", "/bin/true"])
        .cwd(&sandbox.parked)
        .ignore_sigpipe()
}

fn refused(site: &Site, sandbox: &Sandbox) -> Finished {
    let calls = site.switcher_calls().len();
    let finished = run(site, sandbox).run().expect_refusal(1, &[]);
    assert_eq!(site.switcher_calls().len(), calls, "the switcher was called");
    finished
}

#[test]
#[ignore = "needs root"]
fn r2_no_secret_of_the_pilots_reaches_the_switcher_or_the_job() {
    let site = Site::new();
    let sandbox = site.handed_over();
    let arguments = [site.switcher().into_os_string(), sandbox.proxy.clone(), sandbox.path.clone().into()];
    let words = ["/usr/bin/env", "-0", "-0", "-0", "-0"];
    let finished = run(&site, &sandbox).only_args(arguments).args(words).run().expect(0);
    assert!(!finished.said().contains("secret"), "{finished:?}");
    assert!(finished.said().contains("HOME="), "{finished:?}");
    for (name, value) in &site.switcher_calls().last().unwrap().environment {
        assert!(!value.to_string_lossy().contains("secret"), "{name:?}");
    }
}

/// The description of a key that the caller has in its session keyring.
const KEY: &str = "of-the-pilots-session";

/// Gives the caller a session keyring with a key in it, as `pam_keyinit`, `kinit` or `aklog` do.
#[allow(unsafe_code)]
fn with_key(call: Call) -> Call {
    const JOIN_SESSION_KEYRING: i32 = 1;
    const SESSION_KEYRING: i32 = -3;
    let description = CString::new(KEY).unwrap();
    call.last(move || {
        let none = std::ptr::null::<u8>();
        let mut patience = 1000;
        loop {
            // SAFETY: numbers, no name for the keyring, and two strings and a byte that live through the call.
            let made = unsafe {
                libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, none) >= 0
                    && libc::syscall(
                        libc::SYS_add_key,
                        c"user".as_ptr(),
                        description.as_ptr(),
                        c"x".as_ptr(),
                        1,
                        SESSION_KEYRING,
                    ) >= 0
            };
            if made {
                return Ok(());
            }
            let why = std::io::Error::last_os_error();
            // The keyrings of those that have ended count until the kernel gets round to them.
            if why.raw_os_error() != Some(libc::EDQUOT) || patience == 0 {
                return Err(why);
            }
            patience -= 1;
            std::thread::sleep(Duration::from_millis(10));
        }
    })
}

/// Whoever possesses a key can read it, whatever account it becomes.
#[test]
#[ignore = "needs root"]
fn r2_the_callers_session_keyring_goes_no_further_than_the_helper() {
    let site = Site::new();
    let sandbox = site.handed_over();
    let own = with_key(Call::new("/bin/cat")).arg("/proc/keys").run().expect(0);
    assert!(own.output.contains(KEY), "the pilot has no such key: {own:?}");

    let arguments = [site.switcher().into_os_string(), sandbox.proxy.clone(), sandbox.path.clone().into()];
    let call = run(&site, &sandbox).only_args(arguments).arg("/bin/cat").args(["/proc/keys"; 4]);
    let seen = with_key(call).run().expect(0);
    assert!(seen.output.contains("keyring") && !seen.output.contains(KEY), "the job: {seen:?}");

    let (peer, keys) = (site.program("condor_glexec_peer"), site.execute.join("keys"));
    site.expect_left("keys");
    fs::remove_file(&peer).unwrap();
    write_program(&peer, format!("#!/bin/sh\ncat /proc/keys > {}\n", keys.display()));
    finish(PILOT, &peer, 0o755);
    with_key(site.cleanup(&sandbox)).run().expect_refusal(1, &[]);
    let seen = fs::read_to_string(keys).unwrap();
    assert!(seen.contains("keyring") && !seen.contains(KEY), "the peer: {seen}");
}

#[test]
#[ignore = "needs root"]
fn r3_the_proxy_is_something_else_than_the_pilots_own() {
    let site = Site::new();
    let sandbox = site.handed_over();
    let p = sandbox.parked_proxy();
    let secret = site.private_file("secret", &pem(9));
    type Make<'a> = &'a dyn Fn(&Path);
    let makes: [Make; 11] = [
        &|_| {},
        &|at| put_link(PILOT, at, &secret),
        &|at| put_link(GREG, at, sandbox.proxy_path()),
        &|at| put_file(MALLORY, at, &pem(1), 0o600),
        &|at| put_file(GREG, at, &pem(1), 0o600),
        &|at| put_file(PILOT, at, &pem(1), 0o640),
        &|at| put_file(PILOT, at, &pem(1), 0o604),
        &|at| put_file(PILOT, at, b"", 0o600),
        &|at| fs::create_dir(at).unwrap(),
        &|at| mknodat(CWD, at, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap(),
        &|at| fs::hard_link(&secret, at).unwrap(),
    ];
    run(&site, &sandbox).run().expect(0);
    for make in makes {
        let _ = fs::remove_file(&p).or_else(|_| fs::remove_dir(&p));
        make(&p);
        let finished = refused(&site, &sandbox);
        assert!(finished.said().contains("proxy"), "{finished:?}");
    }
}

#[test]
#[ignore = "needs root"]
fn r3_the_parked_directory_is_not_the_pilots() {
    let site = Site::new();
    for owner in [GREG, MALLORY] {
        let sandbox = site.handed_over();
        finish(owner, &sandbox.parked, 0o755);
        refused(&site, &sandbox);
        fs::rename(&sandbox.parked, site.root.join("aside")).unwrap();
        as_account(owner, || symlink(site.root.join("aside"), &sandbox.parked).unwrap());
        finish(PILOT, &site.root.join("aside"), 0o755);
        let calls = site.switcher_calls().len();
        run(&site, &sandbox).cwd("/").run().expect_refusal(1, &[]);
        assert_eq!(site.switcher_calls().len(), calls);
        fs::remove_dir_all(site.root.join("aside")).unwrap();
    }
}

#[test]
#[ignore = "needs root"]
fn r4_the_sandbox_is_a_link_a_file_or_nothing() {
    let site = Site::new();
    let other = site.handed_over();
    type Make<'a> = &'a (dyn Fn(&Path) + Sync);
    let makes: [Make; 5] = [
        &|_| {},
        &|at| symlink(&other.path, at).unwrap(),
        &|at| symlink("/", at).unwrap(),
        &|at| fs::write(at, b"x").unwrap(),
        &|at| mknodat(CWD, at, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap(),
    ];
    for make in makes {
        let sandbox = site.handed_over();
        as_account(GREG, || {
            fs::remove_dir_all(&sandbox.path).unwrap();
            make(&sandbox.path);
        });
        refused(&site, &sandbox);
    }
}

/// With the real wrapper, and a Starter that does its part: the job must not be started anywhere but in a directory of
/// the target account.
#[test]
#[ignore = "needs root"]
fn r4_the_sandbox_is_a_directory_of_somebody_else() {
    let site = Site::new();
    for owner in [PILOT, MALLORY, GREG] {
        let sandbox = site.handed_over();
        fs::rename(&sandbox.path, site.root.join("aside")).unwrap();
        fs::create_dir(&sandbox.path).unwrap();
        finish(owner, &sandbox.path, 0o777);
        let (channel, theirs) = Channel::open();
        let arguments = [site.switcher().into_os_string(), sandbox.proxy.clone(), sandbox.path.clone().into()];
        let call = run(&site, &sandbox).only_args(arguments).arg(site.program("condor_glexec_job_wrapper"));
        let call = call.args(["/dev/null", "/dev/null", "/dev/null", "/bin/touch", "started"]).input(theirs);
        let running = call.start();
        let answer = channel.start_job(b"");
        let finished = running.finish();
        if owner == GREG {
            assert_eq!((finished.code, answer.as_str()), (Some(0), ""), "the same with a directory of the target's");
            assert!(sandbox.path.join("started").exists());
        } else {
            assert_eq!(finished.code, Some(1), "{finished:?}");
            assert!(!answer.is_empty(), "the Starter must hear the reason");
            assert_eq!(fs::read_dir(&sandbox.path).unwrap().count(), 0);
        }
        fs::remove_dir_all(site.root.join("aside")).unwrap();
    }
}

#[test]
#[ignore = "needs root"]
fn r4_a_path_in_which_others_could_swap_a_directory() {
    let site = Site::new();
    let sandbox = site.handed_over();
    finish(PILOT, &site.execute, 0o777);
    refused(&site, &sandbox);
    finish(MALLORY, &site.execute, 0o1777);
    refused(&site, &sandbox);
}

#[test]
#[ignore = "needs root"]
fn r7_works_with_any_of_0_1_and_2_closed() {
    let site = Site::new();
    let sandbox = site.handed_over();
    for closed in crate::common::subsets_of_0_1_2() {
        run(&site, &sandbox).closed(&closed).run().expect(0);
        let calls = site.switcher_calls();
        let numbers: Vec<u32> = calls.last().unwrap().descriptors.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, [0, 1, 2], "{closed:?} was closed");
        for number in closed {
            let (_, target) = &calls.last().unwrap().descriptors[usize::try_from(number).unwrap()];
            assert_eq!(target, "/dev/null");
        }
    }
}

#[test]
#[ignore = "needs root"]
fn r10_without_even_a_name() {
    let site = Site::new();
    for (name, path) in crate::common::built() {
        // Linux gives the program one empty argument since 5.18, and none before.
        let finished = without_a_name(site.call(name), &path).separate_errors().cwd("/").run();
        let usage = if name == "glexec_rootless" { 201 } else { 1 };
        assert_eq!(finished.code, Some(usage), "{name}: {finished:?}");
        assert!(finished.errors.starts_with(&format!("{name}: ")), "{name}: {finished:?}");
        let plain = site.call(name).separate_errors().cwd("/").run();
        assert_eq!(plain.code, Some(usage), "{name}: {plain:?}");
    }
    assert!(site.switcher_calls().is_empty());
}

/// Executes a program with an empty list of arguments, which `Command` does not do.
#[allow(unsafe_code)]
fn without_a_name(call: Call, program: &Path) -> Call {
    let program = CString::new(program.as_os_str().as_bytes()).unwrap();
    call.last(move || {
        let none = [std::ptr::null()];
        // SAFETY: a path that lives as long as the closure, and two lists that end with a null pointer.
        unsafe { libc::execve(program.as_ptr(), none.as_ptr(), none.as_ptr()) };
        Err(std::io::Error::last_os_error())
    })
}

#[test]
#[ignore = "needs root"]
fn j8_a_switcher_that_maps_to_the_pilots_own_account_starts_no_job() {
    let site = Site::new();
    // Each helper that asks the target side hears it from there, and nothing is touched.
    site.configure_switcher("account = pilot");
    let sandbox = site.sandbox();
    let before = sandbox.snapshot();
    site.setup(&sandbox).run().expect_refusal(2, &["pilot's own account", "glexec_rootless"]);
    assert_eq!(sandbox.snapshot(), before);
    assert!(!sandbox.parked.exists());
    // Where the mapping has changed only after setup.
    site.configure_switcher("");
    site.setup(&sandbox).run().expect_quiet();
    finish(PILOT, &sandbox.path, 0o755);
    site.configure_switcher("account = pilot");
    let mut process = Sleeper::start(PILOT);
    site.kill(&sandbox, process.pid(), 9).closed(&[]).run().expect_refusal(2, &["pilot's own account"]);
    process.assert_alive();
    let (channel, theirs) = as_account(PILOT, Channel::open);
    let arguments = [site.switcher().into_os_string(), sandbox.proxy.clone(), sandbox.path.clone().into()];
    let wrapper = site.program("condor_glexec_job_wrapper").into_os_string();
    let words = ["/dev/null", "/dev/null", "/dev/null", "/usr/bin/touch", "ran"].map(Into::into);
    let call = run(&site, &sandbox).only_args(arguments).arg(wrapper).args::<OsString>(words).input(theirs).start();
    let told = channel.start_job(b"");
    assert!(told.contains("pilot's own account"), "{told}");
    call.finish().expect(1);
    assert!(!sandbox.path.join("ran").exists());
}
