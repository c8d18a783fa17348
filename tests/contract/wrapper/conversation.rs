//! The environment channel as a conversation: who says what, when, and with which descriptors.

use crate::starter::{Starter, text};
use crate::wrapper::playground::{NOTHING, Sandbox, job, marking_job, names, set_of, start, start_with, wrapper};
use glexec_rs::ground::limits;
use std::ffi::OsString;
use std::fs::File;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

#[test]
fn any_subset_of_the_streams_can_be_passed() {
    for passed in crate::common::subsets_of_0_1_2() {
        let sandbox = Sandbox::new();
        let files = ["in", "out", "err"];
        sandbox.write("in", "question");
        let words: Vec<OsString> =
            (0..3).map(|fd| if passed.contains(&fd) { "-".into() } else { sandbox.at(files[fd as usize]) }).collect();
        let mut call = wrapper(&sandbox, words);
        call.args(["/bin/sh", "-c", "cat; echo complaint >&2; exit 5"]);
        let opened = |fd: i32| match fd {
            0 => File::open(sandbox.at("in")).unwrap(),
            fd => sandbox.create(files[fd as usize]),
        };
        let descriptors: Vec<File> = passed.iter().map(|fd| opened(*fd)).collect();
        let (running, starter) = start(call);
        let borrowed: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
        assert_eq!(starter.start_job(NOTHING, &borrowed), Ok(()), "{passed:?}");
        let ended = running.end();
        assert_eq!((ended.code, ended.printed.as_str()), (Some(5), ""), "{passed:?}");
        assert_eq!((sandbox.read("out"), sandbox.read("err")), (b"question".to_vec(), b"complaint\n".to_vec()));
    }
}

#[test]
fn the_job_ends_as_itself() {
    let sandbox = Sandbox::new();
    for (script, code, signal) in
        [("exit 0", Some(0), None), ("exit 255", Some(255), None), ("kill -9 $$", None, Some(9))]
    {
        let (running, starter) = start(job(&sandbox, ["/bin/sh", "-c", script]));
        assert_eq!(starter.start_job(NOTHING, &[]), Ok(()));
        let ended = running.end();
        assert_eq!((ended.code, ended.signal), (code, signal), "{script}");
    }
}

#[test]
fn the_environment_may_come_byte_by_byte_and_the_descriptors_too() {
    let sandbox = Sandbox::new();
    let mut call = job(&sandbox, ["/usr/bin/env", "-0"]);
    call.env("A", "base").env("B", "base");
    let (running, mut starter) = start(call);
    starter.expect_hello();
    let raw = b"A=sent C='it''s two words' D=\0";
    starter.drip_bytes(&(raw.len() as i32).to_ne_bytes());
    starter.drip_bytes(raw);
    running.await_sleep();
    assert_eq!(starter.send_fresh_socket().outcome(), Ok(()));
    assert_eq!(running.end().code, Some(0));
    assert_eq!(set_of(&sandbox.read("out")), set_of(b"A=sent\0B=base\0C=it's two words\0D=\0"));
}

#[test]
fn everything_may_have_been_sent_before_it_is_read() {
    let sandbox = Sandbox::new();
    sandbox.write("in", "abc");
    let (mut starter, theirs) = Starter::new();
    starter.send_environment(b"A=1\0");
    starter.send_descriptor(&File::open(sandbox.at("in")).unwrap());
    starter.send_descriptor(&sandbox.create("out"));
    let fresh = starter.send_fresh_socket();
    starter.fall_silent();
    let mut call = wrapper(&sandbox, ["-", "-", "/dev/null"]);
    call.args(["/bin/sh", "-c", "cat; echo $A"]);
    let running = start_with(call, theirs);
    starter.expect_hello();
    assert_eq!(fresh.outcome(), Ok(()));
    assert_eq!(running.end().code, Some(0));
    assert_eq!(sandbox.read("out"), b"abc1\n");
}

#[test]
fn the_end_of_file_comes_at_exec_although_an_ancestor_holds_the_first_socket() {
    let sandbox = Sandbox::new();
    let (starter, theirs) = Starter::new();
    let held = theirs.try_clone().unwrap();
    let mut running = start_with(job(&sandbox, ["/bin/sleep", "600"]), theirs);
    assert_eq!(starter.start_job(NOTHING, &[]), Ok(()));
    assert!(running.is_alive(), "the job goes on");
    drop(held);
}

#[test]
fn a_starter_that_goes_away_leaves_no_job_behind() {
    type Step = fn(&mut Starter);
    let steps: [(&str, Step); 5] = [
        ("at once", |_| {}),
        ("within the length", |starter| starter.send_bytes(&[9, 0])),
        ("before the environment", |starter| starter.send_length(9)),
        ("within the environment", |starter| {
            starter.send_length(9);
            starter.send_bytes(b"A=1");
        }),
        ("before the descriptors", |starter| starter.send_environment(b"A=1\0")),
    ];
    for (when, step) in steps {
        let sandbox = Sandbox::new();
        let (running, mut starter) = start(marking_job(&sandbox, names(["/dev/null"; 3])));
        starter.expect_hello();
        step(&mut starter);
        drop(starter);
        let ended = running.end();
        assert_eq!(ended.code, Some(1), "{when}");
        assert!(ended.printed.contains("closed the channel"), "{when}: {:?}", ended.printed);
        assert!(!sandbox.has("started"), "{when}");
    }
}

#[test]
fn a_silent_or_slow_starter_is_given_up_with_a_text_on_the_first_socket() {
    type Step = fn(&mut Starter);
    let steps: [(&str, Step); 6] = [
        ("nothing at all", |_| {}),
        ("half a length", |starter| starter.send_bytes(&[9, 0])),
        ("a length", |starter| starter.send_length(9)),
        ("half an environment", |starter| {
            starter.send_length(9);
            starter.send_bytes(b"A=1");
        }),
        ("no fresh socket", |starter| starter.send_environment(b"A=1\0")),
        ("a byte a second", |starter| {
            starter.send_length(1000);
            let begin = Instant::now();
            while begin.elapsed() < limits::CHANNEL_DEADLINE + Duration::from_secs(5) {
                starter.send_bytes(b"A");
                std::thread::sleep(Duration::from_secs(1));
            }
        }),
    ];
    std::thread::scope(|scope| {
        for (what, step) in steps {
            scope.spawn(move || {
                let sandbox = Sandbox::new();
                let begin = Instant::now();
                let (running, mut starter) = start(marking_job(&sandbox, names(["/dev/null"; 3])));
                starter.expect_hello();
                std::thread::scope(|scope| {
                    let ended = scope.spawn(|| (running.end(), begin.elapsed()));
                    step(&mut starter);
                    let (ended, took) = ended.join().unwrap();
                    assert_eq!(ended.code, Some(1), "{what}");
                    assert!(ended.printed.contains("in time"), "{what}: {:?}", ended.printed);
                    // Each on a machine that other tests keep busy; but not the deadline twice.
                    let late = limits::CHANNEL_DEADLINE * 2;
                    assert!(took >= limits::CHANNEL_DEADLINE && took < late, "{what}: {took:?}");
                });
                assert!(text(&starter.rest()).contains("in time"), "{what}");
                assert!(!sandbox.has("started"), "{what}");
            });
        }
    });
}
