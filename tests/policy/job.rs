//! What a job sees of the site's policy.

use crate::common::{Channel, GREG, Site, put_file};
use crate::etc;
use crate::playground::{job, job_with};
use crate::probe;
use std::fs;
use std::path::Path;

/// Prints what the kernel says about the shell that it runs in.
const STATUS: &str = "sed -n 's/^\\(NoNewPrivs\\|Seccomp\\|Seccomp_filters\\):[[:space:]]*/\\1=/p' /proc/self/status";

#[test]
#[ignore = "started by the other tests"]
fn acts_as_the_probe() {
    probe::main();
}

/// The lines that a job which runs this script in a shell prints.
#[track_caller]
fn lines(site: &Site, policy: &str, script: &str) -> Vec<String> {
    let job = job(site, policy, &["/bin/sh", "-c", script]);
    assert_eq!(job.refusal, "");
    job.output.lines().map(str::to_owned).collect()
}

#[test]
#[ignore = "needs root"]
fn a_job_sees_exactly_what_the_policy_says() {
    let site = Site::new();
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
#[ignore = "needs root"]
fn the_filter_denies_what_it_lists_and_without_it_nothing_is_denied() {
    let site = Site::new();
    for (policy, filtered) in [("", false), ("job-no-new-privs = yes\n", false), ("job-seccomp = job\n", true)] {
        let command = [&["./probe"][..], &probe::ARGUMENTS].concat();
        let job = job(&site, policy, &command);
        assert_eq!(job.refusal, "");
        assert_eq!(probe::wrong(&job.output, filtered), Vec::<String>::new(), "{policy}: {}", job.output);
    }
}

#[test]
#[ignore = "needs root"]
fn a_job_with_a_view_has_its_sandbox_and_what_the_policy_names() {
    let site = Site::new();
    let shared = site.root.join("shared");
    for name in ["read", "execute", "write", "none"] {
        fs::create_dir_all(shared.join(name)).unwrap();
        crate::common::copy_program(Path::new("/bin/true"), &shared.join(name).join("true"), "755");
        put_file(GREG, &shared.join(name).join("file"), b"content\n", 0o644);
        crate::common::finish(GREG, &shared.join(name), 0o755);
    }
    crate::common::finish(GREG, &shared, 0o755);
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
#[ignore = "needs root"]
fn a_view_that_cannot_be_had_starts_no_job() {
    let site = Site::new();
    let job = job(&site, "job-read = /nonexistent/\u{e9}\n", &["/bin/sh", "-c", "echo started"]);
    assert!(job.refusal.contains("a part of the job's view of /etc/glexec-rs/policy"), "{}", job.refusal);
    assert!(job.refusal.contains("\"/nonexistent/\\xc3\\xa9\""), "{}", job.refusal);
    assert_eq!(job.output, "");
    // Nor one whose program is not in the view, and the Starter hears why.
    let job = self::job(&site, "job-read = /usr\n", &["/bin/sh", "-c", "echo started"]);
    assert_eq!((job.refusal.as_str(), job.output.as_str()), ("execve error: Permission denied", ""));
}

#[test]
#[ignore = "needs root"]
fn secret_variables_are_not_the_jobs_wherever_they_come_from() {
    let site = Site::new();
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

#[test]
#[ignore = "needs root"]
fn in_the_domain_of_the_rootless_switcher_the_policy_is_read_and_adds_to_the_domain() {
    let site = Site::new();
    // The switcher's own three filters, and the two of the policy.
    for (policy, filters, refusal) in
        [("", "3", ""), ("job-seccomp = job\n", "5", ""), ("nonsense\n", "", "/etc/glexec-rs/policy:1: ")]
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
