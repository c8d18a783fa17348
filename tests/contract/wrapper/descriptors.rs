//! What comes over the channel as a descriptor, and what stands at 0, 1 and 2.

use crate::starter::{Fresh, MOST_DESCRIPTORS, Starter, text};
use crate::wrapper::playground::{
    NOTHING, Running, STREAMS, Sandbox, expect_no_job, expect_words, job, marking_job, names, raw, refusal, start,
    start_with, terminal, wrapper,
};
use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Resource, Rlimit, setrlimit};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::Command;
use std::time::Duration;

/// It ends with 1 and has printed its reason, because nobody listens any more; there was no job.
#[track_caller]
fn expect_printed(sandbox: &Sandbox, running: Running, words: &str) {
    let ended = running.end();
    assert_eq!(ended.code, Some(1), "{}", ended.printed);
    assert!(ended.printed.starts_with("condor_glexec_job_wrapper: "), "{:?}", ended.printed);
    assert!(ended.printed.contains(words), "{words:?} is missing in {:?}", ended.printed);
    assert!(!sandbox.has("started"), "the job was started");
}

fn limited(mut call: Command, resource: Resource, value: u64) -> Command {
    raw::before_exec(&mut call, move || {
        Ok(setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value) })?)
    });
    call
}

#[test]
fn files_pipes_sockets_and_terminals_can_be_passed() {
    let sandbox = Sandbox::new();
    let (_master, slave) = terminal();
    let (socket, _other) = UnixStream::pair().unwrap();
    let null = File::options().read(true).write(true).open("/dev/null").unwrap();
    let (pipe, _end) = io::pipe().unwrap();
    let (_begin, end) = io::pipe().unwrap();
    let file = sandbox.create("file");
    for descriptor in [slave.as_fd(), socket.as_fd(), null.as_fd()] {
        let (running, starter) = start(wrapper(&sandbox, ["-", "-", "-", "/bin/true"]));
        assert_eq!(starter.start_job(NOTHING, &[descriptor; 3]), Ok(()));
        assert_eq!(running.end().code, Some(0));
    }
    let (running, starter) = start(wrapper(&sandbox, ["-", "-", "-", "/bin/true"]));
    assert_eq!(starter.start_job(NOTHING, &[pipe.as_fd(), end.as_fd(), file.as_fd()]), Ok(()));
    assert_eq!(running.end().code, Some(0));
}

#[test]
fn what_cannot_be_a_standard_stream_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.write("file", "kept");
    let opened = |name: &str, flags: OFlags| open(sandbox.at(name), flags | OFlags::CLOEXEC, Mode::empty()).unwrap();
    let (pipe, end) = io::pipe().unwrap();
    let cases: [(OwnedFd, &[usize], &str); 6] = [
        (opened("file", OFlags::PATH), &[0, 1, 2], "O_PATH"),
        (opened("", OFlags::RDONLY), &[0, 1, 2], "directory"),
        (opened("file", OFlags::WRONLY), &[0], "not readable"),
        (opened("file", OFlags::RDONLY), &[1, 2], "not writable"),
        (pipe.into(), &[1, 2], "not writable"),
        (end.into(), &[0], "not readable"),
    ];
    for (descriptor, places, why) in cases {
        for &place in places {
            let mut words = ["/dev/null"; 3];
            words[place] = "-";
            let text = refusal(&sandbox, marking_job(&sandbox, names(words)), NOTHING, &[descriptor.as_fd()]);
            expect_words(&text, &[STREAMS[place], why]);
        }
    }
    assert_eq!(sandbox.read("file"), b"kept");
}

/// A name, what is sent with this descriptor at hand, and what the wrapper says to it.
type OddMessage = (&'static str, fn(&mut Starter, &OwnedFd), &'static str);

/// What a message can be instead of one NUL with one descriptor.
fn odd_messages() -> [OddMessage; 7] {
    [
        ("no descriptor", |starter, _| starter.send_bytes(&[0]), "has no descriptor"),
        ("two descriptors", |starter, fd| starter.send_message(&[0], &[fd.as_fd(); 2]), "more than one descriptor"),
        (
            "as many as there can be",
            |starter, fd| starter.send_message(&[0], &[fd.as_fd(); MOST_DESCRIPTORS]),
            "more than one descriptor",
        ),
        ("another byte", |starter, fd| starter.send_message(&[1], &[fd.as_fd()]), "is not a NUL"),
        ("two bytes", |starter, fd| starter.send_message(&[0, 0], &[fd.as_fd()]), "descriptor"),
        ("a hundred bytes", |starter, fd| starter.send_message(&[0; 100], &[fd.as_fd()]), "descriptor"),
        ("credentials", |starter, _| starter.send_credentials(), "has no descriptor"),
    ]
}

#[test]
fn a_message_that_is_not_one_nul_with_one_descriptor_is_explained_on_the_fresh_socket() {
    for place in 0..3 {
        for (what, send, why) in odd_messages() {
            let sandbox = Sandbox::new();
            let null: OwnedFd = File::options().read(true).write(true).open("/dev/null").unwrap().into();
            let (running, mut starter) = start(marking_job(&sandbox, names(["-"; 3])));
            starter.expect_hello();
            starter.send_environment(NOTHING);
            for at in 0..3 {
                if at == place {
                    send(&mut starter, &null);
                } else {
                    starter.send_descriptor(&null);
                }
            }
            let text = starter.send_fresh_socket().outcome().expect_err(what);
            assert!(text.contains(why), "{place}, {what}: {text}");
            expect_no_job(&sandbox, running);
        }
    }
}

#[test]
fn an_odd_message_with_the_fresh_socket_starts_no_job() {
    for (what, send, why) in odd_messages() {
        let sandbox = Sandbox::new();
        let (fresh, theirs) = Fresh::new();
        let (running, mut starter) = start(marking_job(&sandbox, names(["/dev/null"; 3])));
        starter.expect_hello();
        starter.send_environment(NOTHING);
        send(&mut starter, &theirs);
        drop(theirs);
        starter.fall_silent();
        // Where a socket came, the text comes there, else on the first one.
        let (heard, first) = (fresh.outcome(), starter.rest());
        let text = match heard {
            Err(heard) => {
                assert_eq!(first, b"", "{what}");
                assert_eq!(running.end().code, Some(1), "{what}");
                heard
            }
            Ok(()) => {
                expect_printed(&sandbox, running, "descriptor");
                text(&first)
            }
        };
        assert!(text.contains(why) || text.contains("more than was agreed"), "{what}: {text}");
        assert!(!sandbox.has("started"), "{what}");
    }
}

#[test]
fn a_fresh_socket_that_is_none_is_explained_on_the_first() {
    let sandbox = Sandbox::new();
    let (datagrams, _) = UnixDatagram::pair().unwrap();
    for other in [OwnedFd::from(File::open("/dev/null").unwrap()), datagrams.into()] {
        let (running, mut starter) = start(marking_job(&sandbox, names(["/dev/null"; 3])));
        starter.expect_hello();
        starter.send_environment(NOTHING);
        starter.send_descriptor(&other);
        starter.fall_silent();
        expect_words(&text(&starter.rest()), &["fresh socket"]);
        expect_printed(&sandbox, running, "fresh socket");
    }
}

/// The reason that no job is started is for the Starter and nobody else, however slow the Starter is.
#[test]
fn a_stream_that_is_a_socket_is_not_taken_for_the_fresh_one() {
    let sandbox = Sandbox::new();
    let (running, mut starter) = start(marking_job(&sandbox, names(["-", "/dev/null", "/dev/null"])));
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    starter.expect_hello();
    starter.send_length(-1);
    starter.send_descriptor(&theirs);
    drop(theirs);
    std::thread::sleep(Duration::from_millis(1500));
    let heard = starter.send_fresh_socket().outcome();
    let mut said = Vec::new();
    ours.read_to_end(&mut said).unwrap();
    assert_eq!(String::from_utf8_lossy(&said), "", "the standard input hears what the Starter should");
    expect_words(&heard.unwrap_err(), &["length"]);
    expect_no_job(&sandbox, running);
}

#[test]
fn descriptors_among_the_environment_are_closed_and_refused() {
    let sandbox = Sandbox::new();
    let (running, mut starter) = start(marking_job(&sandbox, names(["/dev/null"; 3])));
    let (read, write) = io::pipe().unwrap();
    starter.expect_hello();
    starter.send_length(4);
    starter.send_message(b"A=1\0", &[write.as_fd(); 20]);
    drop(write);
    running.await_sleep();
    let mut none = Vec::new();
    (&read).read_to_end(&mut none).expect("nobody holds the pipe any more");
    let text = starter.send_fresh_socket().outcome().expect_err("a text");
    expect_words(&text, &["descriptor"]);
    expect_no_job(&sandbox, running);
}

#[test]
fn a_tight_limit_on_descriptors_is_explained() {
    let null: OwnedFd = File::options().read(true).write(true).open("/dev/null").unwrap().into();
    let passing = names(["-"; 3]);
    let naming = names(["/dev/null"; 3]);
    // 0, 1, 2 and the socket are 4; where the fresh socket still finds a place, the text comes there.
    for (limit, words, passed, why) in [
        (5, passing, 3, "no descriptor is free"),
        (6, passing, 3, "no descriptor is free"),
        (5, naming, 0, "(os error 24)"),
        (6, naming, 0, "(os error 24)"),
        (7, naming, 0, "(os error 24)"),
    ] {
        let sandbox = Sandbox::new();
        let call = limited(marking_job(&sandbox, words), Resource::Nofile, limit);
        expect_words(&refusal(&sandbox, call, NOTHING, &vec![null.as_fd(); passed]), &[why]);
    }
    // Here it is the fresh socket that finds none.
    for (limit, words, passed) in [(4, passing, 3), (7, passing, 3), (4, naming, 0)] {
        let sandbox = Sandbox::new();
        let (running, mut starter) = start(limited(marking_job(&sandbox, words), Resource::Nofile, limit));
        starter.expect_hello();
        starter.send_environment(NOTHING);
        (0..passed).for_each(|_| starter.send_descriptor(&null));
        let fresh = starter.send_fresh_socket();
        starter.fall_silent();
        expect_words(&text(&starter.rest()), &["no descriptor is free"]);
        expect_printed(&sandbox, running, "no descriptor is free");
        drop(fresh);
    }
    let sandbox = Sandbox::new();
    let (running, _starter) = start(limited(marking_job(&sandbox, naming), Resource::Nofile, 3));
    expect_printed(&sandbox, running, "cannot take the socket");
    for words in [passing, naming] {
        let sandbox = Sandbox::new();
        let (running, starter) = start(limited(marking_job(&sandbox, words), Resource::Nofile, 8));
        let passed = if words == passing { 3 } else { 0 };
        assert_eq!(starter.start_job(NOTHING, &vec![null.as_fd(); passed]), Ok(()));
        drop(running);
    }
}

#[test]
fn an_fd_0_that_is_not_the_starters_socket_is_an_error_on_stderr() {
    let sandbox = Sandbox::new();
    let (datagrams, _one) = UnixDatagram::pair().unwrap();
    let (pipe, _two) = io::pipe().unwrap();
    let inputs: [OwnedFd; 3] = [File::open("/dev/null").unwrap().into(), datagrams.into(), pipe.into()];
    for input in inputs {
        let running = start_with(marking_job(&sandbox, names(["/dev/null"; 3])), input);
        expect_printed(&sandbox, running, "standard input is not the Starter's socket");
    }
}

#[test]
fn all_eight_combinations_of_closed_standard_descriptors() {
    for closed in crate::common::subsets_of_0_1_2() {
        for passed in [false, true] {
            let sandbox = Sandbox::new();
            let mut call = if passed {
                let mut call = wrapper(&sandbox, ["-"; 3]);
                call.args(["/bin/ls", "/proc/self/fd"]);
                call
            } else {
                job(&sandbox, ["/bin/ls", "/proc/self/fd"])
            };
            let list = closed.clone();
            raw::before_exec(&mut call, move || {
                list.iter().for_each(|descriptor| raw::close(*descriptor));
                Ok(())
            });
            let (running, starter) = start(call);
            if closed.contains(&0) {
                let ended = running.end();
                assert_eq!(ended.code, Some(1), "{closed:?}");
                assert_eq!(ended.printed.contains("not the Starter's socket"), !closed.contains(&2), "{closed:?}");
                assert_eq!(starter.rest(), b"", "{closed:?}");
                assert!(!sandbox.has("out"), "{closed:?}");
                continue;
            }
            let descriptors = [File::open("/dev/null").unwrap(), sandbox.create("out"), sandbox.create("err")];
            let borrowed: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
            assert_eq!(starter.start_job(NOTHING, if passed { &borrowed } else { &[] }), Ok(()), "{closed:?}");
            let ended = running.end();
            assert_eq!((ended.code, ended.printed.as_str()), (Some(0), ""), "{closed:?}");
            // The last one is the directory itself.
            assert_eq!(sandbox.read("out"), b"0\n1\n2\n3\n", "{closed:?}");
        }
    }
}
