//! R15: what becomes of a job that opens its standard streams again by name (`echo > /dev/stderr`), for every kind of
//! stream and both kinds of switcher. `helpers/README.md` says the same.

use crate::common::{PILOT, Site, pem};
use crate::hostile_family;
use crate::playground::User;
use rustix::fs::{CWD, FileType, Gid, Mode, Uid, fchown, mknodat};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// Tries each stream again, both ways, and writes down how it could be opened.
const SCRIPT: &str = "exec 3>verdict; for n in stdin stdout stderr; do for way in '<' '>>'; do \
                      (eval \": $way/dev/$n\") && printf '%s%s ' \"$way\" $n >&3; done; done; exit 0";

/// What may be read and written as it was passed.
const AS_PASSED: &str = "<stdin >>stdout >>stderr ";
const EVERYTHING: &str = "<stdin >>stdin <stdout >>stdout <stderr >>stderr ";
const NOTHING: &str = "";
/// Files of mode 0644.
const FOR_ALL_TO_READ: &str = "<stdin <stdout <stderr ";

/// Three streams of one kind, of the pilot's, and what has to stay open meanwhile.
type Streams = ([OwnedFd; 3], Vec<OwnedFd>);

fn pilots(descriptor: impl Into<OwnedFd>) -> OwnedFd {
    let descriptor = descriptor.into();
    if User::is_root() {
        fchown(&descriptor, Some(Uid::from_raw(PILOT.uid())), Some(Gid::from_raw(PILOT.gid()))).unwrap();
    }
    descriptor
}

fn pipes() -> Streams {
    let [(input, a), (b, output), (c, errors)] = [(); 3].map(|()| std::io::pipe().unwrap());
    ([pilots(input), pilots(output), pilots(errors)], vec![a.into(), b.into(), c.into()])
}

fn sockets() -> Streams {
    let [input, output, errors] = [(); 3].map(|()| UnixStream::pair().unwrap());
    ([input.0.into(), output.0.into(), errors.0.into()], vec![input.1.into(), output.1.into(), errors.1.into()])
}

fn terminal() -> Streams {
    let (ours, theirs) = hostile_family::terminal();
    let theirs = pilots(theirs);
    ([theirs.try_clone().unwrap(), theirs.try_clone().unwrap(), theirs], vec![ours.into()])
}

fn files(directory: &Path) -> Streams {
    let open = |name: &str| {
        let options = File::options().read(name == "in").write(true).create(true).truncate(true).to_owned();
        pilots(options.open(directory.join(name)).unwrap())
    };
    ([open("in"), open("out"), open("err")], Vec::new())
}

fn null() -> Streams {
    ([(); 3].map(|()| File::options().read(true).write(true).open("/dev/null").unwrap().into()), Vec::new())
}

/// How the job could open them.
fn verdict(job: &mut Command, output: &Path, (streams, held): Streams) -> String {
    let [input, out, errors] = streams.map(Stdio::from);
    job.arg("--output").arg(output).args(["--", "/bin/sh", "-c", SCRIPT]);
    let ended = job.stdin(input).stdout(out).stderr(errors).status().unwrap();
    assert!(ended.success(), "{ended:?}");
    drop(held);
    let verdict = std::fs::read_to_string(output.join("verdict")).unwrap();
    std::fs::remove_dir_all(output).unwrap();
    verdict
}

/// The verdict for each kind, where the calls are made in `directory`.
fn check(directory: &Path, job: impl Fn() -> Command, output: &Path, pipes_again: &str, files_again: &str) {
    for (kind, streams, again) in [
        ("pipes", pipes(), pipes_again),
        ("the null device", null(), EVERYTHING),
        ("files outside", files(directory), files_again),
        ("a terminal", terminal(), NOTHING),
        ("sockets", sockets(), NOTHING),
    ] {
        assert_eq!(verdict(&mut job(), output, streams), again, "{kind}");
    }
    let mut inside = job();
    inside.arg("--stdout").arg(output.join("log")).arg("--stderr").arg(output.join("errors"));
    assert_eq!(verdict(&mut inside, output, null()), EVERYTHING, "files in the sandbox");
}

#[test]
fn r15_with_one_account_pipes_the_null_device_and_files_in_the_sandbox_can_be_opened_again() {
    let user = User::new();
    check(&user.home, || user.job().command, &user.home.join("output"), EVERYTHING, NOTHING);
}

/// A call of the pilot's, for a job of the target account.
fn with_two_accounts(site: &Site, pilot: &Path, proxy: &Path) -> Command {
    let mut job = Command::new(site.program("condor_glexec_job"));
    job.current_dir(pilot).env_clear().uid(PILOT.uid()).gid(PILOT.gid()).arg("--switcher").arg(site.switcher());
    job.arg("--proxy").arg(proxy).arg("--execute").arg(&site.execute);
    job
}

#[test]
#[ignore = "needs root"]
fn r15_with_two_accounts_they_can_be_opened_again_for_what_they_are() {
    let site = Site::new();
    let pilot = site.root.join("pilot");
    let proxy = site.private_file("proxy", &pem(9));
    site.expect_left("out");
    let job = || with_two_accounts(&site, &pilot, &proxy);
    check(&pilot, job, &site.execute.join("out"), AS_PASSED, FOR_ALL_TO_READ);
}

/// A FIFO has a name: its mode is its owner's affair.
#[test]
#[ignore = "needs root"]
fn r15_nothing_with_a_name_of_its_own_is_opened_up() {
    let site = Site::new();
    let pilot = site.root.join("pilot");
    let proxy = site.private_file("proxy", &pem(9));
    site.expect_left("out");
    let (fifo, file) = (pilot.join("fifo"), site.private_file("private", b""));
    mknodat(CWD, &fifo, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let held = pilots(File::options().read(true).write(true).open(&fifo).unwrap());
    let private = pilots(File::options().append(true).open(&file).unwrap());
    let mut job = with_two_accounts(&site, &pilot, &proxy);
    let streams = [held.try_clone().unwrap(), private, held];
    assert_eq!(verdict(&mut job, &site.execute.join("out"), (streams, Vec::new())), NOTHING);
    for path in [fifo, file] {
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}
