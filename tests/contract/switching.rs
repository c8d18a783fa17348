//! The helpers that switch, one like the other: what the switcher is given, and what of a caller's state makes no
//! difference.

use super::cleanup::job;
use super::update_proxy::assert_proxy;
use crate::common::{
    Call, Finished, GREG, PILOT, Sandbox, Site, Sleeper, Snapshot, SwitcherCall, bytes, pem, subsets_of_0_1_2,
};
use std::ffi::OsString;
use std::path::Path;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Helper {
    Setup,
    Cleanup,
    Kill,
    UpdateProxy,
}

const HELPERS: [(Helper, &str); 4] = [
    (Helper::Setup, "setup"),
    (Helper::Cleanup, "cleanup"),
    (Helper::Kill, "kill"),
    (Helper::UpdateProxy, "update_proxy"),
];

/// What one call works on.
struct Work {
    helper: Helper,
    sandbox: Sandbox,
    given: Snapshot,
    left: Snapshot,
    process: Sleeper,
}

impl Work {
    fn prepare(site: &Site, helper: Helper) -> Self {
        let sandbox = site.sandbox();
        let given = sandbox.snapshot();
        if helper != Helper::Setup {
            site.setup(&sandbox).run().expect_quiet();
        }
        if helper == Helper::Cleanup {
            job(&sandbox);
        }
        let left = sandbox.snapshot();
        Work { helper, sandbox, given, left, process: Sleeper::start(GREG) }
    }

    fn call(&self, site: &Site) -> Call {
        match self.helper {
            Helper::Setup => site.setup(&self.sandbox),
            Helper::Cleanup => site.cleanup(&self.sandbox),
            Helper::Kill => site.kill(&self.sandbox, self.process.pid(), 9),
            Helper::UpdateProxy => site.update_proxy(&self.sandbox, &site.private_file("new", &pem(2))),
        }
    }

    /// The test goes on only if the call did all of its work.
    #[track_caller]
    fn assert_done(mut self, finished: Finished) {
        let sandbox = &self.sandbox;
        finished.expect_quiet();
        match self.helper {
            Helper::Setup => sandbox.assert_handed_over(&self.given),
            Helper::Cleanup => sandbox.assert_taken_back(&self.left, &self.given),
            Helper::Kill => assert_eq!(self.process.ended_by(), 9),
            Helper::UpdateProxy => {
                assert_proxy(&sandbox.proxy_path(), GREG, &pem(2));
                assert_proxy(&sandbox.parked_proxy(), PILOT, &pem(2));
            }
        }
    }

    /// The test goes on only if this is the proxy that the switcher should get: it is the pilot's, where nobody else
    /// can put another one.
    #[track_caller]
    fn assert_proxy_of(&self, call: &SwitcherCall) -> OsString {
        let proxy = call.variable("GLEXEC_CLIENT_CERT").unwrap().clone();
        match self.helper {
            Helper::Setup => assert_eq!(Path::new(&proxy), self.sandbox.proxy_path()),
            Helper::Cleanup | Helper::Kill => assert_eq!(Path::new(&proxy), self.sandbox.parked_proxy()),
            // The new one, which is not in its place yet.
            Helper::UpdateProxy => {
                assert_eq!(Path::new(&proxy).parent(), Some(self.sandbox.parked.as_path()));
                assert_ne!(Path::new(&proxy), self.sandbox.parked_proxy());
            }
        }
        proxy
    }
}

#[test]
#[ignore = "needs root"]
fn the_switcher_gets_the_peer_the_allow_list_and_nothing_else() {
    let site = Site::new();
    let odd = bytes(b"blank \xff\nnewline");
    for (helper, operation) in HELPERS {
        for closed in subsets_of_0_1_2() {
            let work = Work::prepare(&site, helper);
            let before = site.switcher_calls().len();
            let finished = work
                .call(&site)
                .env("GLEXEC_MODE", "lcmaps_verify_account")
                .env("GLEXEC_ENV", "opaque")
                .env("GLEXEC_ID", &odd)
                .env("GLEXEC_TARGET_PROXY", "/tmp/elsewhere")
                .env("GLEXEC_CLIENT_CERT", "/home/pilot/pilot-proxy")
                .env("LD_PRELOAD", "/nonexistent.so")
                .env("BASH_ENV", "/nonexistent")
                .env("IFS", "x")
                .env("PATH", "/nonexistent")
                .closed(&closed)
                .extra_descriptors(300)
                .run();

            let calls = site.switcher_calls();
            let [call] = &calls[before..] else { panic!("{helper:?}: {} calls of the switcher", calls.len() - before) };
            assert_eq!(call.arguments, [site.program("condor_glexec_peer").into_os_string(), operation.into()]);
            let proxy = work.assert_proxy_of(call);
            let expected: [(OsString, OsString); 7] = [
                ("GLEXEC_CLIENT_CERT".into(), proxy.clone()),
                ("GLEXEC_ENV".into(), "opaque".into()),
                ("GLEXEC_ID".into(), odd.clone()),
                ("GLEXEC_MODE".into(), "lcmaps_verify_account".into()),
                ("GLEXEC_SOURCE_PROXY".into(), proxy),
                ("GLEXEC_TARGET_PROXY".into(), "/dev/null".into()),
                ("X509_USER_PROXY".into(), "/home/pilot/pilot-proxy".into()),
            ];
            assert_eq!(call.environment, expected, "{helper:?}");
            call.assert_only_a_socket_and_pipes();
            work.assert_done(finished);
        }
    }
}

#[test]
#[ignore = "needs root"]
fn what_is_not_set_is_not_invented_for_the_switcher() {
    let site = Site::new();
    for (helper, _) in HELPERS {
        let work = Work::prepare(&site, helper);
        let finished = work.call(&site).without_env("X509_USER_PROXY").run();
        let calls = site.switcher_calls();
        let names: Vec<_> = calls.last().unwrap().environment.iter().map(|(name, _)| name.to_str().unwrap()).collect();
        assert_eq!(names, ["GLEXEC_CLIENT_CERT", "GLEXEC_SOURCE_PROXY", "GLEXEC_TARGET_PROXY"], "{helper:?}");
        work.assert_done(finished);
    }
}

/// In the one case all that a descriptor can be duplicated from is closed.
#[test]
#[ignore = "needs root"]
fn k6_works_with_any_of_0_1_and_2_closed_and_with_many_more_open() {
    let site = Site::new();
    for (helper, _) in HELPERS {
        for closed in subsets_of_0_1_2() {
            for extra in [0, 300] {
                let work = Work::prepare(&site, helper);
                let finished = work.call(&site).closed(&closed).extra_descriptors(extra).run();
                work.assert_done(finished);
                site.switcher_calls().last().unwrap().assert_only_a_socket_and_pipes();
            }
        }
    }
}

#[test]
#[ignore = "needs root"]
fn s6_ticket_2907_the_umask_makes_no_difference() {
    let site = Site::new();
    for (helper, _) in HELPERS {
        for umask in [0, 0o022, 0o077, 0o777] {
            let work = Work::prepare(&site, helper);
            let finished = work.call(&site).umask(umask).run();
            work.assert_done(finished);
        }
    }
}

#[test]
#[ignore = "needs root"]
fn works_with_a_switcher_that_stays() {
    let site = Site::new();
    for (helper, _) in HELPERS {
        let work = Work::prepare(&site, helper);
        site.configure_switcher("linger = yes");
        let finished = work.call(&site).run();
        site.configure_switcher("");
        work.assert_done(finished);
    }
}
