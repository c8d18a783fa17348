//! `glexec_rs::job::run`, called from Rust as another pilot framework would. The call takes the whole process, its
//! signals and all its children: the test program runs itself once more to make it, as root as the pilot.

use crate::common::PILOT;
use crate::turn;
use glexec_rs::files::component::Component;
use glexec_rs::job::environment::Variable;
use glexec_rs::job::{EndedBy, Input, News, Request, Status, run};
use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Set for the test program that is the framework.
const DIRECTORY: &str = "JOB_LIBRARY_DIRECTORY";

fn request(directory: &Path, script: &str) -> Request {
    Request {
        helpers: directory.join("libexec"),
        switcher: None,
        proxy: None,
        sandbox: None,
        execute: None,
        output: Some(directory.join("home/output")),
        inputs: vec![Input { file: directory.join("home/data"), name: Component::new(b"input").unwrap() }],
        environment: vec![Variable::new(b"GREETING=hello".to_vec()).unwrap()],
        stdin: Some("/dev/null".into()),
        stdout: Some(directory.join("home/stdout")),
        stderr: None,
        record: None,
        allow_root: false,
        time_limit: None,
        grace: Duration::from_secs(1),
        retries: 0,
        delay: 0,
        command: ["/bin/sh", "-c", script].map(|argument| argument.as_bytes().to_vec()).to_vec(),
    }
}

fn framework(directory: &Path) {
    let output = directory.join("home/output");
    let mut steps = Vec::new();
    let record =
        run(&request(directory, "echo $GREETING; cat input; echo x > file; sleep 1000 & exit 3"), &mut |news| {
            if let News::Step(step) = news {
                steps.push(step.to_owned());
            }
        });
    assert_eq!(record.failure, None);
    assert_eq!((record.status, record.ended_by), (Some(Status::Exited(3)), Some(EndedBy::Itself)));
    assert_eq!(record.output.as_deref(), Some(output.as_os_str().as_encoded_bytes()));
    assert_eq!(std::fs::read(directory.join("home/stdout")).unwrap(), b"hello\nsome data\n");
    assert!(output.join("file").exists() && steps.len() >= 4, "{steps:?}");
    std::fs::remove_dir_all(&output).unwrap();

    // Once more in the same process, and this time it is too long.
    let limited = Request { time_limit: Some(Duration::from_millis(300)), ..request(directory, "sleep 1000") };
    let record = run(&limited, &mut |_| {});
    assert_eq!((record.status, record.ended_by), (Some(Status::Killed(15)), Some(EndedBy::TimeLimit)));
    assert_eq!(record.failure, None);
    std::fs::remove_dir_all(&output).unwrap();

    // A child of the framework's own could not be told from the job's.
    let mut child = Command::new("/bin/sleep").arg("1000").spawn().unwrap();
    let record = run(&request(directory, "exit 0"), &mut |_| {});
    assert!(record.failure.unwrap().to_string().contains("has children already"));
    assert!(child.try_wait().unwrap().is_none() && !output.exists());
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
#[ignore = "started by the other test"]
fn acts_as_the_framework() {
    framework(Path::new(&std::env::var_os(DIRECTORY).expect("started by the other test only")));
}

#[test]
fn a_framework_runs_jobs() {
    let _turn = turn();
    let root = crate::common::available();
    let directory = crate::common::new_directory(&std::env::temp_dir(), "glexec-rs-tests.library.");
    let home = directory.join("home");
    for path in [&directory.join("libexec"), &home] {
        std::fs::create_dir(path).unwrap();
        std::fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    }
    let own: (&str, PathBuf) = ("framework", std::env::current_exe().unwrap());
    for (name, built) in crate::common::built().chain([own]) {
        crate::common::install_built(&built, &directory.join("libexec").join(name));
    }
    std::fs::write(home.join("data"), "some data\n").unwrap();
    let mut framework = Command::new(directory.join("libexec/framework"));
    framework.args(["--ignored", "acts_as_the_framework", "--nocapture"]).env(DIRECTORY, &directory);
    if root {
        chown(&home, Some(PILOT.uid()), Some(PILOT.gid())).unwrap();
        framework.uid(PILOT.uid()).gid(PILOT.gid());
    }
    let ended = framework.current_dir(&home).output().unwrap();
    std::fs::remove_dir_all(&directory).unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&[ended.stdout, ended.stderr].concat()));
}
