//! Two helpers that meet at the worst moment: right before one of them locks the sandbox, another one does all of its
//! work.

use crate::common::{Call, Finished, Sandbox, Site, Snapshot, pem};
use crate::tracing::{Event, Next, trace};

/// A call that finds itself held up right before its first lock until `meanwhile` is done.
fn held_up(call: Call, meanwhile: impl FnOnce()) -> Finished {
    let mut meanwhile = Some(meanwhile);
    let finished = trace(call.traced().start(), |_, event| {
        if let Event::Entry(registers) = event
            && registers.orig_rax == libc::SYS_flock as u64
            && let Some(meanwhile) = meanwhile.take()
        {
            meanwhile();
        }
        if meanwhile.is_some() { Next::Call } else { Next::End }
    });
    assert!(meanwhile.is_none(), "it never locked anything: {finished:?}");
    finished
}

/// The proxy is locked, and whoever renews it leaves the old one, with the lock on it, to nobody.
#[test]
#[ignore = "needs root"]
fn h2_a_proxy_that_was_renewed_before_it_is_locked_locks_nothing() {
    let site = Site::new();
    type Helper = fn(&Site, &Sandbox) -> Call;
    let update: Helper = |site, sandbox| site.update_proxy(sandbox, &site.private_file("new-proxy", &pem(8)));
    let cleanup: Helper = |site, sandbox| site.cleanup(sandbox);
    let setup: Helper = |site, sandbox| site.setup(sandbox);
    for (helper, code) in [(setup, 2), (cleanup, 1), (update, 1)] {
        let sandbox = if code == 2 { site.sandbox() } else { site.handed_over() };
        let home = if code == 2 { &sandbox.path } else { &sandbox.parked };
        let before = sandbox.snapshot();
        let newer = site.private_file("newer-proxy", &pem(9));
        let finished = held_up(helper(&site, &sandbox), || {
            let renewal = site.update_proxy(&sandbox, &newer);
            let renewal = if code == 2 {
                renewal.only_args(["-".as_ref(), newer.as_os_str(), &sandbox.proxy, sandbox.path.as_os_str()])
            } else {
                renewal
            };
            renewal.run().expect_quiet();
        });
        finished.expect_refusal(code, &["another helper is at work"]);
        assert_eq!(std::fs::read(home.join(&sandbox.proxy)).unwrap(), pem(9));
        let changed =
            sandbox.snapshot().without(&sandbox.proxy).below().differences(&before.without(&sandbox.proxy).below());
        assert!(changed.is_empty(), "{changed:?}");
        // Nobody is in the way any more.
        helper(&site, &sandbox).run().expect_quiet();
    }
}

/// What cleanup has found before it had the lock may have changed since.
#[test]
#[ignore = "needs root"]
fn c13_what_another_cleanup_has_done_before_the_lock_is_noticed() {
    let site = Site::new();
    let sandbox = site.sandbox();
    let pilot = sandbox.snapshot();
    site.setup(&sandbox).run().expect_quiet();
    let job = sandbox.snapshot();
    let finished = held_up(site.cleanup(&sandbox), || drop(site.cleanup(&sandbox).run().expect_quiet()));
    finished.expect_refusal(1, &["another helper was at work"]);
    sandbox.assert_taken_back(&job, &pilot);

    // The job has removed its sandbox; the Starter had its own back by then, and a new one has been handed over since.
    let sandbox = site.handed_over();
    std::fs::remove_dir_all(&sandbox.path).unwrap();
    let finished = held_up(site.cleanup(&sandbox), || {
        site.cleanup(&sandbox).run().expect_refusal(1, &["nothing to take back"]);
        site.setup(&sandbox).run().expect_quiet();
    });
    finished.expect_refusal(1, &["another helper was at work"]);
    assert!(Snapshot::of(&sandbox.parked).names().len() == 1 && sandbox.path.is_dir());
    site.cleanup(&sandbox).run().expect_quiet();
}
