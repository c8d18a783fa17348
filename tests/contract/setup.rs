//! `condor_glexec_setup` against the built programs, with two accounts: what the Starter gives it and expects of it.

use crate::common::{FileSystem, GREG, PILOT, Sandbox, Seat, Site, Snapshot, finish};
use std::ffi::OsString;
use std::os::unix::fs::FileTypeExt;
use std::time::{Duration, Instant};

#[test]
#[ignore = "needs root"]
fn hands_over_a_classic_sandbox_and_the_starter_stays_in_its_inode() {
    for file_system in [FileSystem::Disk, FileSystem::Tmpfs(64)] {
        let site = Site::on(file_system);
        let sandbox = site.sandbox();
        let seat = Seat::take(&sandbox.path);
        let inode = seat.inode();
        let before = sandbox.snapshot();

        site.setup(&sandbox).run().expect_quiet();

        sandbox.assert_handed_over(&before);
        assert_eq!((seat.path(), seat.inode()), (sandbox.parked.clone(), inode));
    }
}

#[test]
#[ignore = "needs root"]
fn the_parked_proxy_is_the_same_inode() {
    use std::os::unix::fs::MetadataExt;
    let site = Site::new();
    let sandbox = site.empty_sandbox();
    let inode = std::fs::metadata(sandbox.proxy_path()).unwrap().ino();
    site.setup(&sandbox).run().expect_quiet();
    assert_eq!(std::fs::metadata(sandbox.parked_proxy()).unwrap().ino(), inode);
    assert_ne!(std::fs::metadata(sandbox.proxy_path()).unwrap().ino(), inode);
}

#[test]
#[ignore = "needs root"]
fn wrong_arguments_are_answered_with_the_usage_and_touch_nothing() {
    let site = Site::new();
    let sandbox = site.sandbox();
    let before = sandbox.snapshot();
    let g = site.switcher().into_os_string();
    let s = sandbox.path.clone().into_os_string();
    let words = |list: &[&str]| -> Vec<OsString> {
        let word = |word: &&str| match *word {
            "G" => g.clone(),
            "S" => s.clone(),
            other => other.into(),
        };
        list.iter().map(word).collect()
    };
    let long = "x".repeat(256);
    let numbers = ["", "-1", "+1", " 1", "1 ", "1 2", "0x1", "one", "4294967296", "99999999999999999999"];
    let mut wrong = vec![
        words(&[]),
        words(&["G"]),
        words(&["G", "x509up_u1234"]),
        words(&["G", "x509up_u1234", "S"]),
        words(&["G", "x509up_u1234", "S", "0"]),
        words(&["G", "x509up_u1234", "S", "0", "0", "0"]),
        words(&["", "x509up_u1234", "S", "0", "0"]),
        words(&["switcher", "x509up_u1234", "S", "0", "0"]),
        words(&["G", "x509up_u1234", "", "0", "0"]),
        words(&["G", "x509up_u1234", "dir_1", "0", "0"]),
        words(&["G", "", "S", "0", "0"]),
        words(&["G", ".", "S", "0", "0"]),
        words(&["G", "..", "S", "0", "0"]),
        words(&["G", "a/b", "S", "0", "0"]),
        words(&["G", &long, "S", "0", "0"]),
        words(&["-h", "x509up_u1234", "S", "0", "0"]),
    ];
    for number in numbers {
        wrong.push(words(&["G", "x509up_u1234", "S", number, "0"]));
        wrong.push(words(&["G", "x509up_u1234", "S", "0", number]));
    }
    for arguments in wrong {
        site.call("condor_glexec_setup")
            .args(&arguments)
            .cwd(&sandbox.path)
            .separate_errors()
            .run()
            .expect_usage("condor_glexec_setup");
        sandbox.assert_as_before(&before);
    }
    assert!(site.switcher_calls().is_empty());
}

fn with_retries(site: &Site, sandbox: &Sandbox, retries: &str, delay: &str) -> crate::common::Finished {
    let arguments = [site.switcher().into_os_string(), sandbox.proxy.clone(), sandbox.path.clone().into_os_string()];
    site.setup(sandbox).only_args(arguments).args([retries, delay]).run()
}

#[test]
#[ignore = "needs root"]
fn three_retries_are_four_attempts() {
    let site = Site::new();
    for code in [202, 203] {
        let sandbox = site.sandbox();
        let before = sandbox.snapshot();
        let calls = site.switcher_calls().len();

        site.configure_switcher(&format!("fail = {code} always"));
        with_retries(&site, &sandbox, "3", "0").expect_refusal(3, &[&code.to_string()]);
        assert_eq!(site.switcher_calls().len() - calls, 4);
        sandbox.assert_as_before(&before);

        site.configure_switcher(&format!("fail = {code} times 3"));
        with_retries(&site, &sandbox, "3", "0").expect_quiet();
        assert_eq!(site.switcher_calls().len() - calls, 8);
        sandbox.assert_handed_over(&before);
    }
}

#[test]
#[ignore = "needs root"]
fn without_retries_there_is_one_attempt() {
    let site = Site::new();
    let sandbox = site.sandbox();
    let before = sandbox.snapshot();
    site.configure_switcher("fail = 203 times 1");
    with_retries(&site, &sandbox, "0", "0").expect_refusal(3, &["203"]);
    assert_eq!(site.switcher_calls().len(), 1);
    sandbox.assert_as_before(&before);
    with_retries(&site, &sandbox, "0", "0").expect_quiet();
}

#[test]
#[ignore = "needs root"]
fn everything_but_202_and_203_is_final() {
    let site = Site::new();
    let sandbox = site.sandbox();
    let before = sandbox.snapshot();
    for (index, code) in [0, 1, 126, 127, 201, 204, 255].into_iter().enumerate() {
        site.configure_switcher(&format!("fail = {code} always"));
        with_retries(&site, &sandbox, "3", "0").expect_refusal(2, &["switcher"]);
        assert_eq!(site.switcher_calls().len(), index + 1, "{code}");
        sandbox.assert_as_before(&before);
    }
}

#[test]
#[ignore = "needs root"]
fn a_switcher_that_cannot_be_started_is_final() {
    let site = Site::new();
    let sandbox = site.sandbox();
    let before = sandbox.snapshot();
    for switcher in [site.program("absent"), site.root.join("libexec"), site.private_file("not-executable", b"x")] {
        let arguments = [switcher.into_os_string(), sandbox.proxy.clone(), sandbox.path.clone().into_os_string()];
        let call = site.setup(&sandbox).only_args(arguments).args(["3", "0"]);
        call.run().expect_refusal(2, &["switcher"]);
        sandbox.assert_as_before(&before);
    }
}

#[test]
#[ignore = "needs root"]
fn the_delay_is_kept_before_each_retry() {
    let site = Site::new();
    let sandbox = site.empty_sandbox();
    site.configure_switcher("fail = 202 times 1");
    let started = Instant::now();
    with_retries(&site, &sandbox, "1", "1").expect_quiet();
    assert!(started.elapsed() >= Duration::from_secs(1));
}

#[test]
#[ignore = "needs root"]
fn ticket_3794_dev_null_is_intact() {
    let site = Site::new();
    let sandbox = site.handed_over();
    site.cleanup(&sandbox).run().expect_quiet();
    let null = std::fs::symlink_metadata("/dev/null").unwrap();
    assert!(null.file_type().is_char_device());
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&null) & 0o7777, 0o666);
}

#[test]
#[ignore = "needs root"]
fn ticket_3369_a_parent_that_the_target_cannot_pass_is_named() {
    let site = Site::new();
    let execute = site.root.join("pilot").join("execute");
    std::fs::create_dir(&execute).unwrap();
    finish(PILOT, &execute, 0o1777);
    let sandbox = Sandbox::make(execute.join("dir_1"));
    sandbox.fill();
    let before = sandbox.snapshot();
    site.setup(&sandbox).run().expect_refusal(2, &["pilot", "0711"]);
    sandbox.assert_as_before(&before);
}

#[test]
#[ignore = "needs root"]
fn a_parent_of_mode_0711_is_enough() {
    let site = Site::new();
    let execute = site.root.join("passage");
    for (path, mode) in [(&execute, 0o711), (&execute.join("execute"), 0o1777)] {
        std::fs::create_dir(path).unwrap();
        finish(PILOT, path, mode);
    }
    let sandbox = Sandbox::make(execute.join("execute").join("dir_1"));
    sandbox.fill();
    let before = sandbox.snapshot();
    site.setup(&sandbox).run().expect_quiet();
    sandbox.assert_handed_over(&before);
}

#[test]
#[ignore = "needs root"]
fn a_second_call_finds_it_done() {
    let site = Site::new();
    let sandbox = site.sandbox();
    let before = sandbox.snapshot();
    site.setup(&sandbox).run().expect_quiet();
    site.setup(&sandbox).cwd(&sandbox.parked).run().expect(0);
    sandbox.assert_handed_over(&before);
}

#[test]
#[ignore = "needs root"]
fn a_sandbox_that_does_not_exist_is_refused() {
    let site = Site::new();
    let sandbox = site.empty_sandbox();
    let absent = site.execute.join("dir_9");
    let arguments = [site.switcher().into_os_string(), sandbox.proxy.clone(), absent.into_os_string()];
    site.setup(&sandbox).only_args(arguments).args(["0", "0"]).run().expect_refusal(2, &["dir_9"]);
    assert!(site.switcher_calls().is_empty());
}

#[test]
#[ignore = "needs root"]
fn an_execute_of_another_account_is_refused() {
    let site = Site::new();
    for owner in [GREG, crate::common::MALLORY] {
        let sandbox = site.sandbox();
        finish(owner, &site.execute, 0o1777);
        let before = Snapshot::of(&sandbox.path);
        site.setup(&sandbox).run().expect_refusal(2, &["execute"]);
        sandbox.assert_as_before(&before);
    }
    assert!(site.switcher_calls().is_empty());
}
