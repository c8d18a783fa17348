//! `condor_glexec_kill` against the built programs, with two accounts: what the ProcD gives it and expects of it. Every
//! call is made without any descriptor open and with SIGPIPE ignored, from a directory that has nothing to do with it,
//! as the ProcD does.

use crate::common::{GREG, PILOT, Site, Sleeper, put_file};
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;

#[test]
#[ignore = "needs root"]
fn a_soft_kill() {
    let site = Site::new();
    let sandbox = site.handed_over();
    let mut process = Sleeper::start(GREG);
    site.kill(&sandbox, process.pid(), 15).run().expect(0);
    assert_eq!(process.ended_by(), 15);
}

#[test]
#[ignore = "needs root"]
fn a_hard_kill_of_a_family_one_by_one() {
    let site = Site::new();
    let sandbox = site.handed_over();
    let mut family: Vec<_> = (0..5).map(|_| Sleeper::start(GREG)).collect();
    for process in family.iter_mut().rev() {
        process.assert_alive();
        site.kill(&sandbox, process.pid(), 9).run().expect(0);
        assert_eq!(process.ended_by(), 9);
    }
}

#[test]
#[ignore = "needs root"]
fn suspend_and_continue() {
    let site = Site::new();
    let sandbox = site.handed_over();
    let process = Sleeper::start(GREG);
    site.kill(&sandbox, process.pid(), 19).run().expect(0);
    process.await_state('T');
    site.kill(&sandbox, process.pid(), 18).run().expect(0);
    process.await_state('S');
}

#[test]
#[ignore = "needs root"]
fn signal_0_only_asks() {
    let site = Site::new();
    let sandbox = site.handed_over();
    let mut process = Sleeper::start(GREG);
    site.kill(&sandbox, process.pid(), 0).run().expect(0);
    process.assert_alive();
}

#[test]
#[ignore = "needs root"]
fn every_signal_up_to_64_arrives_as_itself() {
    let site = Site::new();
    let sandbox = site.handed_over();
    // Those that end a process that does nothing about them.
    for signal in [1, 2, 3, 6, 10, 12, 13, 14, 34, 63, 64] {
        let mut process = Sleeper::start(GREG);
        site.kill(&sandbox, process.pid(), signal).run().expect(0);
        assert_eq!(process.ended_by(), signal);
    }
}

#[test]
#[ignore = "needs root"]
fn wrong_arguments_are_answered_with_the_usage_and_signal_nothing() {
    let site = Site::new();
    let sandbox = site.handed_over();
    let mut process = Sleeper::start(GREG);
    let calls = site.switcher_calls().len();
    let g = site.switcher().into_os_string();
    let p = sandbox.parked_proxy().into_os_string();
    let pid: OsString = process.pid().to_string().into();
    let word = |text: &str| OsString::from(text);
    let wrong: Vec<Vec<OsString>> = vec![
        vec![],
        vec![g.clone()],
        vec![g.clone(), p.clone()],
        vec![g.clone(), p.clone(), pid.clone()],
        vec![g.clone(), p.clone(), pid.clone(), word("9")],
        vec![g.clone(), p.clone(), pid.clone(), word("9"), word("0")],
        vec![g.clone(), p.clone(), pid.clone(), word("9"), word("0"), word("0"), word("0")],
        vec![word("switcher"), p.clone(), pid.clone(), word("9"), word("0"), word("0")],
        vec![g.clone(), word("x509"), pid.clone(), word("9"), word("0"), word("0")],
        vec![g.clone(), p.clone(), pid.clone(), word("9"), word("-1"), word("0")],
        vec![g, p, pid, word("9"), word("0"), word("zero")],
    ];
    for arguments in wrong {
        let call = site.call("condor_glexec_kill").args(&arguments).cwd("/").separate_errors();
        call.run().expect_usage("condor_glexec_kill");
    }
    process.assert_alive();
    assert_eq!(site.switcher_calls().len(), calls);
}

#[test]
#[ignore = "needs root"]
fn three_retries_are_four_attempts_and_only_202_and_203_are_retried() {
    let site = Site::new();
    let sandbox = site.handed_over();
    let mut process = Sleeper::start(GREG);
    let g = site.switcher().into_os_string();
    let p = sandbox.parked_proxy().into_os_string();
    let pid = process.pid();
    let call = || {
        let arguments = [g.clone(), p.clone(), pid.to_string().into(), "15".into(), "3".into(), "0".into()];
        site.kill(&sandbox, 2, 0).only_args(arguments)
    };
    for (code, exit, attempts) in [(202, 3, 4), (203, 3, 4), (201, 2, 1), (1, 2, 1), (126, 2, 1), (0, 2, 1)] {
        let calls = site.switcher_calls().len();
        site.configure_switcher(&format!("fail = {code} always"));
        call().run().expect(exit);
        assert_eq!(site.switcher_calls().len() - calls, attempts, "{code}");
        call().closed(&[]).run().expect_refusal(exit, &[&code.to_string()]);
    }
    site.configure_switcher("fail = 203 times 3");
    call().run().expect(0);
    assert_eq!(process.ended_by(), 15);
}

#[test]
#[ignore = "needs root"]
fn a_proxy_with_another_mode_gets_its_own_again() {
    let site = Site::new();
    let sandbox = site.handed_over();
    let process = Sleeper::start(GREG);
    for mode in [0o640, 0o606, 0] {
        crate::common::finish(PILOT, &sandbox.parked_proxy(), mode);
        site.kill(&sandbox, process.pid(), 0).run().expect(0);
        assert_eq!(sandbox.parked_proxy().metadata().unwrap().mode() & 0o7777, 0o600);
    }
}

#[test]
#[ignore = "needs root"]
fn a_proxy_that_is_not_the_pilots_own_is_refused_before_the_switcher_is_called() {
    let site = Site::new();
    let sandbox = site.handed_over();
    let calls = site.switcher_calls().len();
    let mut process = Sleeper::start(GREG);
    let p = sandbox.parked_proxy();
    let refused = |why: &str| {
        site.kill(&sandbox, process.pid(), 9).closed(&[]).run().expect_refusal(2, &[why]);
        assert_eq!(site.switcher_calls().len(), calls);
    };
    crate::common::finish(GREG, &p, 0o600);
    refused("proxy");
    std::fs::remove_file(&p).unwrap();
    refused("proxy");
    process.assert_alive();
}

/// #1717: a job whose proxy had expired could not be ended any more. A helper looks at a proxy's file, never at its
/// dates: whether it is still good for this is the switcher's to say.
#[test]
#[ignore = "needs root"]
fn ticket_1717_a_job_whose_proxy_has_expired_is_killed() {
    let site = Site::new();
    let sandbox = site.handed_over();
    for proxy in [&include_bytes!("../expired-certificate.pem")[..], b"an old one"] {
        put_file(PILOT, &sandbox.parked_proxy(), proxy, 0o600);
        for signal in [15, 9] {
            let mut process = Sleeper::start(GREG);
            site.kill(&sandbox, process.pid(), signal).run().expect(0);
            assert_eq!(process.ended_by(), signal);
        }
    }
}
