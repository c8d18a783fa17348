//! The site's policy against the built programs, with two accounts: what a job sees of it, what cleanup holds to, and that nothing works
//! under a policy that is not exactly right.

#![deny(unsafe_code)]

#[path = "../common/mod.rs"]
mod common;
mod etc;
mod probe;

use common::{Channel, GREG, MALLORY, Sandbox, Site, Snapshot, put_file, put_link};
use std::fs;
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::Path;

/// Prints what the kernel says about the shell that it runs in.
const STATUS: &str = "sed -n 's/^\\(NoNewPrivs\\|Seccomp\\|Seccomp_filters\\):[[:space:]]*/\\1=/p' /proc/self/status";

#[test]
#[ignore = "started by the other tests"]
fn probe() {
    probe::main();
}

/// What became of a job.
struct Job {
    sandbox: Sandbox,
    /// Why it was not started; empty if it was.
    refusal: String,
    /// What it wrote on its standard output and error.
    output: String,
}

/// Starts this job in a sandbox of its own under this policy.
fn job(site: &Site, policy: &str, command: &[&str]) -> Job {
    job_with(site, policy, command, b"")
}

fn job_with(site: &Site, policy: &str, command: &[&str], environment: &[u8]) -> Job {
    let sandbox = site.empty_sandbox();
    fs::copy(std::env::current_exe().unwrap(), sandbox.path.join("probe")).unwrap();
    common::finish(common::PILOT, &sandbox.path.join("probe"), 0o755);
    site.setup(&sandbox).run().expect_quiet();
    let etc = etc::put(site, policy);
    let (channel, theirs) = Channel::open();
    let call = site
        .call("condor_glexec_run")
        .arg(site.switcher())
        .arg(&sandbox.proxy)
        .arg(&sandbox.path)
        .arg(site.program("condor_glexec_job_wrapper"))
        .arg("/dev/null")
        .args([sandbox.path.join("out"), sandbox.path.join("err")])
        .args(command)
        .cwd(&sandbox.parked)
        .input(theirs);
    let refusal = etc::with(&etc, || {
        let running = call.start();
        let refusal = channel.start_job(environment);
        running.finish();
        refusal.trim_end_matches('\0').to_owned()
    });
    let read = |name| fs::read_to_string(sandbox.path.join(name)).unwrap_or_default();
    let output = read("out") + &read("err");
    Job { sandbox, refusal, output }
}

/// The lines that a job which runs this script in a shell prints.
#[track_caller]
fn lines(site: &Site, policy: &str, script: &str) -> Vec<String> {
    let job = job(site, policy, &["/bin/sh", "-c", script]);
    assert_eq!(job.refusal, "");
    job.output.lines().map(str::to_owned).collect()
}

#[test]
fn a_job_sees_exactly_what_the_policy_says() {
    let Some(site) = Site::new() else { return };
    let free = ["NoNewPrivs=0", "Seccomp=0", "Seccomp_filters=0"];
    let locked = ["NoNewPrivs=1", "Seccomp=0", "Seccomp_filters=0"];
    let filtered = ["NoNewPrivs=1", "Seccomp=2", "Seccomp_filters=2"];
    let view = "job-execute = /usr\njob-execute = /bin\njob-read = /proc\n";
    for (policy, expected) in [
        ("", free),
        ("job-no-new-privs = no\njob-seccomp = none\n", free),
        ("cleanup-entries = 1\nsecret-variable = A\nkernel-may-lack = landlock\n", free),
        ("job-no-new-privs = yes\n", locked),
        ("job-seccomp = job\n", filtered),
        (view, locked),
        (&format!("{view}job-seccomp = job\njob-no-new-privs = yes\n"), filtered),
    ] {
        assert_eq!(lines(&site, policy, STATUS), expected, "{policy}");
    }
}

#[test]
fn the_filter_denies_what_it_lists_and_without_it_nothing_is_denied() {
    let Some(site) = Site::new() else { return };
    for (policy, filtered) in [("", false), ("job-no-new-privs = yes\n", false), ("job-seccomp = job\n", true)] {
        let command = [&["./probe"][..], &probe::ARGUMENTS].concat();
        let job = job(&site, policy, &command);
        assert_eq!(job.refusal, "");
        assert_eq!(probe::wrong(&job.output, filtered), Vec::<String>::new(), "{policy}: {}", job.output);
    }
}

#[test]
fn a_job_with_a_view_has_its_sandbox_and_what_the_policy_names() {
    let Some(site) = Site::new() else { return };
    let shared = site.root.join("shared");
    for name in ["read", "execute", "write", "none"] {
        fs::create_dir_all(shared.join(name)).unwrap();
        fs::copy("/bin/true", shared.join(name).join("true")).unwrap();
        put_file(GREG, &shared.join(name).join("file"), b"content\n", 0o644);
        common::finish(GREG, &shared.join(name), 0o755);
    }
    common::finish(GREG, &shared, 0o755);
    let at = shared.display();
    let policy = format!(
        "job-execute = /usr\njob-execute = /bin\njob-execute = /lib\njob-execute = /lib64\njob-write = /dev/null\n\
         job-read = {at}/read\njob-execute = {at}/execute\njob-write = {at}/write\n"
    );
    let script = format!(
        "say() {{ if ( eval \"$2\" ) 2> /dev/null > /dev/null; then echo \"$1 yes\"; else echo \"$1 no\"; fi; }}
         for d in read execute write none; do
           say \"$d read\" \"cat {at}/$d/file\"
           say \"$d list\" \"ls {at}/$d\"
           say \"$d execute\" {at}/$d/true
           say \"$d write\" \"echo x > {at}/$d/file\"
           say \"$d make\" \"echo x > {at}/$d/new && rm {at}/$d/new\"
         done
         say sandbox 'echo x > made && mkdir d && mv made d && cp /usr/bin/true . && ./true && ln -s d l && rm -r d l'
         say outside 'ls / || cat /etc/passwd || ls {}'
         say own 'sleep 9 & kill $!'
         say other \"kill -0 $PPID\"",
        site.execute.display()
    );
    let free = lines(&site, "", &script);
    assert!(free[..20].iter().all(|line| line.ends_with(" yes")), "{free:?}");
    let held: Vec<String> = lines(&site, &policy, &script);
    let expect = |directory: &str, rights: [bool; 5]| {
        ["read", "list", "execute", "write", "make"]
            .into_iter()
            .zip(rights)
            .map(|(right, given)| format!("{directory} {right} {}", if given { "yes" } else { "no" }))
            .collect::<Vec<_>>()
    };
    let expected = [
        expect("read", [true, true, false, false, false]),
        expect("execute", [true, true, true, false, false]),
        expect("write", [true, true, false, true, true]),
        expect("none", [false; 5]),
        ["sandbox yes", "outside no", "own yes", "other no"].map(str::to_owned).to_vec(),
    ]
    .concat();
    assert_eq!(held, expected);
}

#[test]
fn a_view_that_cannot_be_had_starts_no_job() {
    let Some(site) = Site::new() else { return };
    let job = job(&site, "job-read = /nonexistent/\u{e9}\n", &["/bin/sh", "-c", "echo started"]);
    assert!(job.refusal.contains("a part of the job's view of /etc/glexec-rs/policy"), "{}", job.refusal);
    assert!(job.refusal.contains("\"/nonexistent/\\xc3\\xa9\""), "{}", job.refusal);
    assert_eq!(job.output, "");
    // Nor one whose program is not in the view, and the Starter hears why.
    let job = self::job(&site, "job-read = /usr\n", &["/bin/sh", "-c", "echo started"]);
    assert_eq!((job.refusal.as_str(), job.output.as_str()), ("execve error: Permission denied", ""));
}

#[test]
fn secret_variables_are_not_the_jobs_wherever_they_come_from() {
    let Some(site) = Site::new() else { return };
    let sent = b"SITE_TOKEN=1 SITE_TOKENS=2 OTHER=3 CONDOR_INHERIT=4";
    let names = |policy| {
        let job = job_with(&site, policy, &["/usr/bin/env"], sent);
        assert_eq!(job.refusal, "");
        job.output.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(""), ["HOME", "LOGNAME", "OTHER", "PATH", "SITE_TOKEN", "SITE_TOKENS", "USER"]);
    let policy = "secret-variable = SITE_TOKEN\nsecret-variable = OTHER\nsecret-variable = LOGNAME\n";
    assert_eq!(names(policy), ["HOME", "PATH", "SITE_TOKENS", "USER"]);
}

/// A sandbox that a job has left with `fill`'s files in it.
fn left_by_a_job(site: &Site, fill: impl FnOnce(&Path)) -> Sandbox {
    let sandbox = site.empty_sandbox();
    site.setup(&sandbox).run().expect_quiet();
    fill(&sandbox.path);
    sandbox
}

/// Cleanup works at the bound; one past it, it says so, nothing is lost, and with the bound raised it works after all.
#[track_caller]
fn assert_bound(site: &Site, key: &str, bound: u64, fill: impl Fn(&Path), too_much: &str) {
    let sandbox = left_by_a_job(site, &fill);
    etc::with(&etc::put(site, format!("{key} = {bound}\n")), || site.cleanup(&sandbox).run()).expect_quiet();

    let sandbox = left_by_a_job(site, &fill);
    let (job, parked) = (Snapshot::of(&sandbox.path), Snapshot::of(&sandbox.parked));
    let etc = etc::put(site, format!("{key} = {}\n", bound - 1));
    etc::with(&etc, || site.cleanup(&sandbox).run())
        .expect_refusal(1, &[too_much, &(bound - 1).to_string(), key, "/etc/glexec-rs/policy", "it stays as it was"]);
    Snapshot::of(&sandbox.path).assert_same(&job);
    let names = Snapshot::of(&sandbox.parked);
    assert_eq!(names.get(&sandbox.proxy), parked.get(&sandbox.proxy));
    site.cleanup(&sandbox).run().expect_quiet();
    sandbox.assert_taken_back(&job, &parked);
}

#[test]
fn cleanups_bounds_hold_at_the_bound_and_one_past_it() {
    let Some(site) = Site::new() else { return };
    let fill = |root: &Path| {
        put_file(GREG, &root.join("small"), &[1; 1000], 0o644);
        put_file(GREG, &root.join("large"), &[2; 100_000], 0o644);
        put_link(GREG, &root.join("link"), "small");
        let mut deep = root.to_owned();
        for _ in 0..3 {
            deep = deep.join("d");
            fs::create_dir(&deep).unwrap();
            lchown(&deep, Some(GREG.uid()), Some(GREG.gid())).unwrap();
        }
    };
    assert_bound(&site, "cleanup-entries", 6, fill, "has more than");
    assert_bound(&site, "cleanup-depth", 3, fill, "is deeper than");
    assert_bound(&site, "cleanup-bytes", 101_000, fill, "has more than");
}

#[test]
fn the_links_that_come_back_are_those_that_the_site_wants() {
    let Some(site) = Site::new() else { return };
    let fill = |root: &Path| {
        put_file(GREG, &root.join("file"), b"", 0o644);
        put_link(GREG, &root.join("in"), "file");
        put_link(GREG, &root.join("out"), "/etc/passwd");
    };
    for (rule, kept, reason) in [
        ("none", &[][..], "a symbolic link; this site takes none back"),
        ("inside", &["in"], "could lead out"),
        ("all", &["in", "out"], ""),
    ] {
        let sandbox = left_by_a_job(&site, fill);
        let etc = etc::put(&site, format!("cleanup-symlinks = {rule}\n"));
        let finished = etc::with(&etc, || site.cleanup(&sandbox).run()).expect(0);
        assert!(
            finished.said().contains(reason) && finished.said().is_empty() == reason.is_empty(),
            "{rule}: {finished:?}"
        );
        let found: Vec<&str> =
            ["in", "out"].into_iter().filter(|name| sandbox.path.join(name).symlink_metadata().is_ok()).collect();
        assert_eq!(found, kept, "{rule}");
    }
}

#[test]
fn a_policy_that_is_not_right_stops_every_helper_and_says_where() {
    let Some(site) = Site::new() else { return };
    let words = ["/etc/glexec-rs/policy:3: ", "no key is called \"cleanup-byte\""];
    let etc = etc::put(&site, "# a comment\n\ncleanup-byte = 1\n");

    let fresh = site.sandbox();
    let before = fresh.snapshot();
    etc::with(&etc, || site.setup(&fresh).run()).expect_refusal(2, &words);
    fresh.assert_as_before(&before);

    let sandbox = site.handed_over();
    let job = sandbox.snapshot();
    let new = site.private_file("new", &common::pem(2));
    etc::with(&etc, || {
        site.cleanup(&sandbox).run().expect_refusal(1, &words);
        site.update_proxy(&sandbox, &new).run().expect_refusal(1, &words);
    });
    assert!(!new.exists(), "NEW is removed in any case");
    sandbox.snapshot().assert_same(&job);

    let mut sleeper = common::Sleeper::start(GREG);
    let finished = etc::with(&etc, || site.kill(&sandbox, sleeper.pid(), 9).run());
    assert_eq!(finished.code, Some(2));
    sleeper.assert_alive();
    sleeper.end();

    let job = self::job(&site, "# a comment\n\ncleanup-byte = 1\n", &["/bin/sh", "-c", "echo started"]);
    assert!(words.iter().all(|word| job.refusal.contains(word)), "{}", job.refusal);
    assert_eq!(job.output, "");
    drop(job.sandbox);
}

#[test]
fn a_policy_that_another_account_could_change_is_refused() {
    let Some(site) = Site::new() else { return };
    let mode = |path: &Path, mode| fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    let own = |path: &Path| lchown(path, Some(MALLORY.uid()), Some(0)).unwrap();
    let fifo = |path: &Path| {
        fs::remove_file(path).unwrap();
        let done = std::process::Command::new("mkfifo").args(["-m", "644"]).arg(path).status().unwrap();
        assert!(done.success());
    };
    type Change<'a> = &'a dyn Fn(&Path);
    let policy = |etc: &Path| etc.join("glexec-rs/policy");
    let directory = |etc: &Path| etc.join("glexec-rs");
    let table: [(&str, Change<'_>); 12] = [
        ("/etc/glexec-rs/policy belongs to uid", &|etc| own(&policy(etc))),
        ("others can write to /etc/glexec-rs/policy (mode 0664)", &|etc| mode(&policy(etc), 0o664)),
        ("others can write to /etc/glexec-rs/policy (mode 0646)", &|etc| mode(&policy(etc), 0o646)),
        ("mode 0644", &|etc| mode(&policy(etc), 0o600)),
        ("/etc/glexec-rs belongs to uid", &|etc| own(&directory(etc))),
        ("others can write to /etc/glexec-rs (mode 1777)", &|etc| mode(&directory(etc), 0o1777)),
        ("others can write to /etc (mode 0775)", &|etc| mode(etc, 0o775)),
        ("/etc belongs to uid", &own),
        ("it is a symbolic link", &|etc| {
            fs::rename(policy(etc), directory(etc).join("other")).unwrap();
            symlink("other", policy(etc)).unwrap();
        }),
        ("/etc/glexec-rs is not a directory", &|etc| {
            fs::rename(directory(etc), etc.join("other")).unwrap();
            symlink("other", directory(etc)).unwrap();
        }),
        ("it is not a regular file", &|etc| fifo(&policy(etc))),
        ("it is not a regular file", &|etc| {
            fs::remove_file(policy(etc)).unwrap();
            fs::create_dir(policy(etc)).unwrap();
            mode(&policy(etc), 0o755);
        }),
    ];
    let sandbox = site.sandbox();
    let before = sandbox.snapshot();
    for (says, change) in table {
        let etc = etc::put(&site, "");
        change(&etc);
        etc::with(&etc, || site.setup(&sandbox).run()).expect_refusal(2, &["/etc/glexec-rs/policy", says]);
        sandbox.assert_as_before(&before);
    }
    // What the environment says is nobody's policy.
    let bad = site.private_file("bad", b"nonsense\n");
    let call = site.setup(&sandbox).env("GLEXEC_RS_POLICY", &bad).env("HOME", site.root.join("pilot"));
    etc::with(&etc::put(&site, ""), || call.run()).expect_quiet();
}

#[test]
fn in_the_domain_of_the_rootless_switcher_the_policy_is_read_and_adds_to_the_domain() {
    let Some(site) = Site::new() else { return };
    // The switcher's own two filters, and the two of the policy.
    for (policy, filters, refusal) in
        [("", "2", ""), ("job-seccomp = job\n", "4", ""), ("nonsense\n", "", "/etc/glexec-rs/policy:1: ")]
    {
        let sandbox = site.empty_sandbox();
        let (channel, theirs) = Channel::open();
        let call = site
            .call("glexec_rootless")
            .arg(site.program("condor_glexec_job_wrapper"))
            .arg("/dev/null")
            .args([sandbox.path.join("out"), sandbox.path.join("err")])
            .args(["/bin/sh", "-c", "while read -r line; do echo \"$line\"; done < /proc/self/status"])
            .env("GLEXEC_CLIENT_CERT", sandbox.proxy_path())
            .cwd(&sandbox.path)
            .input(theirs);
        let said = etc::with(&etc::put(&site, policy), || {
            let running = call.start();
            let said = channel.start_job(b"");
            running.finish();
            said
        });
        assert!(said.starts_with(refusal) && said.is_empty() == refusal.is_empty(), "{policy}: {said}");
        // The shell itself: what it starts has a directory in /proc that is not in the domain.
        let out = fs::read_to_string(sandbox.path.join("out")).unwrap_or_default();
        let found = out.lines().find_map(|line| line.strip_prefix("Seccomp_filters:")).unwrap_or_default();
        assert_eq!(found.trim(), filters, "{policy}: {out}");
    }
}

#[test]
fn without_a_policy_the_defaults_hold() {
    let Some(site) = Site::new() else { return };
    for remove in ["glexec-rs/policy", "glexec-rs"] {
        let etc = etc::put(&site, "");
        let path = etc.join(remove);
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap()
        } else {
            fs::remove_file(path).unwrap()
        };
        let sandbox = site.sandbox();
        let before = sandbox.snapshot();
        etc::with(&etc, || site.setup(&sandbox).run()).expect_quiet();
        sandbox.assert_handed_over(&before);
    }
}
