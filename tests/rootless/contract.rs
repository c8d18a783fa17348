//! What the command gets, and everyday programs.

use crate::playground::{Playground, pipe_with, text};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

#[test]
fn everyday_programs_work() {
    let playground = Playground::new();
    let script = playground.script(
        r#"#!/bin/bash
set -e
cat <(echo process substitution)
cat input > copy; cmp input copy
echo discarded > /dev/null; : > /dev/null
cat <<END
here document
END
sleep 60 & kill $!; wait $! || echo killed
mkdir -p a/b; mv copy a/b/; ln a/b/copy a/c; ln -s b a/d; cat a/d/copy
tar cf a.tar a; rm -r a; tar xf a.tar; test a/c -ef a/b/copy
awk 'BEGIN { print "awk " 6 * 7 }'
perl -MPOSIX -e 'print "perl ", POSIX::floor(42.5), "\n"'
getent passwd 0 | cut -d: -f1
getent hosts localhost > /dev/null
date -u +%Z
test -n "$(nproc)"
timeout 0.3 tail -f input 2> /dev/null || true
cp -p input kept; touch -d 2001-02-03 kept; chmod 700 kept
{ echo 'done' > /dev/stdout; } | cat
"#,
    );
    let output = playground.run(&script, [""; 0]);
    let expected = "process substitution\nhere document\nkilled\ninput\nawk 42\nperl 42\nroot\nUTC\ninput\ndone\n";
    assert_eq!((text(&output).0.as_str(), output.status.code()), (expected, Some(0)), "{:?}", text(&output));
}

#[test]
#[ignore = "needs /usr/bin/python3"]
fn python_works() {
    let playground = Playground::new();
    let python = playground.script(
        "#!/usr/bin/python3\nimport json, os, socket, ssl, subprocess, sys, tempfile, threading\n\
         ssl.create_default_context()\n\
         with tempfile.TemporaryFile() as file: file.write(b'x')\n\
         thread = threading.Thread(target=lambda: None); thread.start(); thread.join()\n\
         answer = subprocess.run(['/bin/echo', *sys.argv[1:]], capture_output=True, check=True).stdout\n\
         print(json.dumps([answer.decode(), os.getcwd() == os.environ['HOME']]))\n",
    );
    let output = playground.run(&python, ["a b", "*"]);
    assert_eq!(text(&output), ("[\"a b *\\n\", true]\n".to_owned(), String::new()));
}

#[test]
fn the_command_gets_what_the_contract_says() {
    let playground = Playground::new();
    let script = playground.script("#!/bin/sh\nexec /usr/bin/env -0\n");
    let run = || {
        let mut command = playground.switcher();
        command.arg(&script).env("GLEXEC_ENV", OsStr::from_bytes(b"e\xff\n")).env("GLEXEC_ID", "i");
        command
            .env("GLEXEC_MODE", "lcmaps_get_account")
            .env("LD_PRELOAD", "/nonexistent")
            .env("X509_USER_PROXY", "/pilots");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{:?}", text(&output));
        let mut lines: Vec<Vec<u8>> = output.stdout.split(|b| *b == 0).map(<[u8]>::to_vec).collect();
        // What dash itself sets.
        lines.retain(|line| !line.is_empty() && !line.starts_with(b"PWD=") && !line.starts_with(b"_="));
        lines.sort();
        lines
    };
    let name = fs::read_to_string("/etc/passwd")
        .unwrap()
        .lines()
        .find(|line| line.split(':').nth(2) == Some(&playground.uid().to_string()))
        .map_or(playground.uid().to_string(), |line| line.split(':').next().unwrap().to_owned());
    let sandbox = playground.sandbox.to_str().unwrap();
    let mut expected: Vec<Vec<u8>> = [
        "GLEXEC_ID=i".to_owned(),
        format!("HOME={sandbox}"),
        format!("LOGNAME={name}"),
        "PATH=/usr/local/bin:/usr/bin:/bin".to_owned(),
        format!("TMPDIR={sandbox}"),
        format!("USER={name}"),
    ]
    .map(String::into_bytes)
    .to_vec();
    expected.push(b"GLEXEC_ENV=e\xff\n".to_vec());
    expected.sort();
    assert_eq!(run(), expected);

    // With a copy of the proxy, the job is told where it is.
    playground.file(&playground.sandbox.join("x509up"), "copy", 0o600);
    expected.push(format!("X509_USER_PROXY={sandbox}/x509up").into_bytes());
    expected.sort();
    assert_eq!(run(), expected);

    // Arguments byte for byte, argv[0] as given.
    let odd = [&b""[..], b" ", b"'\"$(id)`", b"\n\x1b", b"\xff\xfe", b"-h"].map(OsStr::from_bytes);
    let script = playground.script("#!/bin/sh\nfor a in \"$0\" \"$@\"; do printf '%s\\0' \"$a\"; done\n");
    let output = playground.run(&script, odd);
    let expected: Vec<u8> =
        [script.as_os_str()].into_iter().chain(odd).flat_map(|a| [a.as_bytes(), b"\0"].concat()).collect();
    assert_eq!(output.stdout, expected);
}

#[test]
fn descriptors_limits_umask_and_signals_are_the_callers_or_clean() {
    let playground = Playground::new();
    let script = playground.script(
        "#!/bin/bash\numask; ulimit -n; ulimit -c; pwd; ls -1 /proc/self/fd >/dev/null 2>&1 || echo hidden\n\
         for fd in 0 1 2 3 4 5 9 20; do [ -e /proc/$$/fd/$fd ] && echo -n \"$fd \"; done; echo\n",
    );
    let output = with_odd_state(&playground).arg(&script).output().unwrap();
    let lines: Vec<String> = text(&output).0.lines().map(str::to_owned).collect();
    let sandbox = playground.sandbox.to_str().unwrap();
    assert_eq!(lines, ["0027", "77", "0", sandbox, "hidden", "0 1 2 "], "{:?}", text(&output));

    let output = with_odd_state(&playground).args(["/bin/cat", "/proc/self/status"]).output().unwrap();
    let (status, _) = text(&output);
    for line in ["SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000", "NoNewPrivs:\t1"] {
        assert!(status.lines().any(|found| found == line), "{line}: {:?}", text(&output));
    }
}

/// The switcher with a state to be passed on (umask, limits) and one to be cleaned (signals, descriptors).
fn with_odd_state(playground: &Playground) -> Command {
    let mut command = playground.switcher();
    command.stdin(pipe_with(b"in"));
    // SAFETY: system calls only.
    unsafe {
        command.pre_exec(|| {
            libc::umask(0o027);
            libc::setrlimit(libc::RLIMIT_NOFILE, &libc::rlimit { rlim_cur: 77, rlim_max: 99 });
            libc::setrlimit(libc::RLIMIT_CORE, &libc::rlimit { rlim_cur: 0, rlim_max: 0 });
            libc::signal(libc::SIGPIPE, libc::SIG_IGN);
            libc::signal(libc::SIGHUP, libc::SIG_IGN);
            let mut all = std::mem::zeroed();
            libc::sigfillset(&raw mut all);
            libc::sigprocmask(libc::SIG_SETMASK, &raw const all, std::ptr::null_mut());
            for fd in [4, 9, 20] {
                libc::dup2(0, fd);
            }
            Ok(())
        });
    }
    command
}
