//! What a job reaches from inside, and what it does not.

use crate::attempts::{ATTACKS, attempts};
use crate::call_numbers::UNREVIEWED;
use crate::playground::{Playground, SECRET, text};
use crate::{account, probe, set_id};
use libc::{ENOSYS, EPERM};
use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Output};

/// Not a test of its own: what the others start, in the domain and outside.
#[test]
#[ignore = "started by the other tests"]
fn acts_as_the_probe() {
    probe::main();
}

const NEEDS: &[&str] = &[
    "job_files",
    "job_odd_mode",
    "job_new_file",
    "job_null",
    "job_random",
    "job_system",
    "job_programs",
    "job_tcp",
    "job_udp",
    "job_pair",
    "job_children",
    "job_own_limits",
    "job_own_program",
    "job_memory_file",
    "job_newest_call",
];

/// Whether this attempt exists on this architecture.
fn applies(name: &str) -> bool {
    let of_x86_64 = name.starts_with("x32") || name.starts_with("inotify_init");
    cfg!(target_arch = "x86_64") || !of_x86_64
}

fn assert_answers(results: &BTreeMap<String, i32>, inside: bool, output: &Output) {
    let mut wrong = Vec::new();
    for (name, expected_outside, expected_inside) in ATTACKS.iter().filter(|(name, ..)| applies(name)) {
        let expected = if inside { expected_inside } else { expected_outside };
        match results.get(*name) {
            Some(errno) if expected.is_empty() || expected.contains(errno) => {}
            other => wrong.push(format!("{name}: {other:?} instead of {expected:?}")),
        }
    }
    for (name, _) in UNREVIEWED.iter().filter(|_| inside) {
        if results.get(*name) != Some(&ENOSYS) {
            wrong.push(format!("{name}: {:?} instead of ENOSYS", results.get(*name)));
        }
    }
    for (name, expected) in account::expected(inside) {
        if results.get(&name) != Some(&expected) {
            wrong.push(format!("{name}: {:?} instead of {expected}", results.get(&name)));
        }
    }
    for (name, ..) in set_id::attempts() {
        let expected = if inside { EPERM } else { 0 };
        if results.get(&name) != Some(&expected) {
            wrong.push(format!("{name}: {:?} instead of {expected}", results.get(&name)));
        }
    }
    wrong.extend(
        NEEDS
            .iter()
            .filter(|name| results.get(**name) != Some(&0))
            .map(|name| format!("{name}: {:?} instead of success", results.get(*name))),
    );
    assert!(wrong.is_empty(), "inside: {inside}\n{}\n{:?}", wrong.join("\n"), text(output));
}

#[test]
fn a_job_reaches_nothing_of_the_pilot_and_all_that_it_needs() {
    let playground = Playground::new();
    playground.directory(&playground.base.join("empty"));
    let mut victim = playground.start_victim();

    let mut outside = playground.pilot(&playground.probe);
    outside.args(probe::ARGUMENTS);
    let (results, output) = attempts(outside, victim.pid(), &playground, "");
    assert_answers(&results, false, &output);
    assert_eq!(fs::read_to_string(playground.base.join("secret")).unwrap(), SECRET);

    let mut inside = playground.switcher();
    inside.arg(&playground.probe).args(probe::ARGUMENTS);
    let (results, output) = attempts(inside, victim.pid(), &playground, "");
    assert_answers(&results, true, &output);

    let mut inside = playground.switcher();
    inside.arg(&playground.probe).args(probe::ARGUMENTS);
    let (results, _) = attempts(inside, victim.pid(), &playground, " kill_9");
    assert_eq!(results.get("kill_9"), Some(&EPERM));
    assert!(victim.lives());
    assert_eq!(fs::read_to_string(playground.base.join("secret")).unwrap(), SECRET);
}

#[test]
#[ignore = "needs root"]
fn a_job_has_none_of_its_callers_capabilities() {
    let playground = Playground::new();
    playground.assert_not_ours();
    let uid = playground.uid().to_string();
    let with_capability = || {
        let mut command = Command::new("/usr/bin/setpriv");
        command.args(["--reuid", &uid, "--clear-groups", "--inh-caps", "+sys_nice", "--ambient-caps", "+sys_nice"]);
        command.current_dir(&playground.sandbox);
        command
    };
    let status = ["/bin/cat", "/proc/self/status"];
    let held = |output: &Output| {
        let sets = ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"];
        let lines = text(output).0;
        let lines = lines.lines().filter_map(|line| line.split_once('\t'));
        lines.filter(|(name, set)| sets.contains(name) && *set != "0000000000000000").count()
    };
    assert_eq!(held(&with_capability().args(status).output().unwrap()), 4);
    let mut inside = with_capability();
    inside.arg(playground.programs.join("glexec_rootless")).env("GLEXEC_CLIENT_CERT", &playground.proxy);
    let output = inside.args(status).output().unwrap();
    assert!(output.status.success() && held(&output) == 0, "{:?}", text(&output));
}

#[test]
#[ignore = "needs user namespaces for everybody"]
fn a_user_namespace_of_its_own_gains_a_job_nothing() {
    let playground = Playground::new();
    playground.directory(&playground.base.join("empty"));
    let victim = playground.start_victim();
    let able = playground.pilot("/usr/bin/unshare").args(["--user", "/bin/true"]).status().unwrap();
    assert!(able.success(), "this system has no user namespaces for everybody");
    let mut inside = playground.switcher();
    inside.args(["/usr/bin/unshare", "--user"]).arg(&playground.probe).args(probe::ARGUMENTS);
    let (results, output) = attempts(inside, victim.pid(), &playground, "");
    assert_answers(&results, true, &output);
}

#[test]
#[cfg(target_arch = "x86_64")]
fn calls_in_the_32_bit_convention_end_the_process() {
    let playground = Playground::new();
    let mut inside = playground.switcher();
    inside.arg(&playground.probe).args(probe::ARGUMENTS);
    let (results, output) = attempts(inside, 1, &playground, " i386_call");
    assert!(results.is_empty());
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&output.status), Some(libc::SIGSYS));
}

#[test]
fn w13_j3_ordinary_tools_do_without_what_is_refused() {
    let playground = Playground::new();
    let script = playground.script(
        "#!/bin/sh
         set -e
         mkdir d; echo x > d/f; ln -s f d/l; chmod 750 d
         ls -lR d; ls -ld / /usr
         cp -a d e; cp -p d/f g; cp --preserve=all -r d h; install -m 755 d/f i; mv d/f d/k; sed -i s/x/y/ e/f
         tar -cf t d; mkdir x; tar -xpf t -C x; touch -r g i; rm -r h
         nice -n 3 true; nice -n 19 ls d; taskset -c \"$(taskset -cp $$ | sed 's/.*: //')\" true
         chrt -o 0 true; chrt -b 0 true; ionice -c 3 true
         timeout 9 true",
    );
    let (stdout, stderr) = text(&playground.run(&script, [""; 0]));
    assert_eq!(stderr, "", "{stdout}");
}
