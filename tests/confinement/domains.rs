//! What every phase of every helper reaches in the file system, once it is confined: calls on names in four places are
//! put into the running program and are done, are Landlock's to refuse, or are none of its profile's. Each would be
//! done without confinement: the places are open to all, and what is in them belongs to whoever makes the call.

#![allow(unsafe_code)] // the same call without confinement

use crate::common::{Account, GREG, PILOT, Sandbox, Site, Sleeper, as_account, finish, put_file};
use crate::phases::{Helper, PHASES, foreign, forget};
use crate::tracer::{Answer, Foreign, inject};
use crate::tracing::Side;
use libc::c_long;
use std::cell::Cell;
use std::ffi::CString;
use std::fmt::Write;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// For each call: `+` it is done, `-` Landlock refuses it (EACCES), `x` the profile has no such call, and kills. The
/// places: the sandbox S, `S.condor`, EXECUTE itself, and a directory elsewhere; a dot where there is none yet. What is
/// granted for EXECUTE holds for what is below it as well.
const EXPECTED: &str = "
Setup Pilot                   S  S.condor  EXECUTE  elsewhere
    read                      +  .         -        -
    list                      +  .         -        -
    handle                    +  .         +        +
    chmod                     +  .         +        +
    create                    x  x         x        x
    mkdir                     x  x         x        x
    symlink                   x  x         x        x
    link                      x  x         x        x
    unlink                    +  .         -        -
    rmdir                     +  .         +        -
    rename                    x  x         x        x
    exchange                  +  .         +        -
Setup Target                  S  S.condor  EXECUTE  elsewhere
    read                      -  +         -        -
    list                      -  +         -        -
    handle                    +  +         +        +
    chmod                     +  +         +        +
    create                    -  +         -        -
    mkdir                     -  +         -        -
    symlink                   -  +         -        -
    link                      -  +         -        -
    unlink                    -  +         -        -
    rmdir                     +  +         +        -
    rename                    x  x         x        x
    exchange                  x  x         x        x
Cleanup Pilot                 S  S.condor  EXECUTE  elsewhere
    read                      -  +         -        -
    list                      -  +         -        -
    handle                    +  +         +        +
    chmod                     +  +         +        +
    create                    -  +         -        -
    mkdir                     +  +         +        -
    symlink                   -  +         -        -
    link                      -  +         -        -
    unlink                    -  +         -        -
    rmdir                     +  +         +        -
    rename                    -  +         -        -
    exchange                  +  +         +        -
Cleanup Target                S  S.condor  EXECUTE  elsewhere
    read                      +  -         -        -
    list                      +  -         -        -
    handle                    +  +         +        +
    chmod                     +  +         +        +
    create                    x  x         x        x
    mkdir                     x  x         x        x
    symlink                   x  x         x        x
    link                      x  x         x        x
    unlink                    +  -         -        -
    rmdir                     +  +         +        -
    rename                    x  x         x        x
    exchange                  x  x         x        x
Kill Pilot                    S  S.condor  EXECUTE  elsewhere
    read                      -  -         -        -
    list                      -  -         -        -
    handle                    x  x         x        x
    chmod                     x  x         x        x
    create                    x  x         x        x
    mkdir                     x  x         x        x
    symlink                   x  x         x        x
    link                      x  x         x        x
    unlink                    x  x         x        x
    rmdir                     x  x         x        x
    rename                    x  x         x        x
    exchange                  x  x         x        x
Kill Target                   S  S.condor  EXECUTE  elsewhere
    read                      -  -         -        -
    list                      -  -         -        -
    handle                    x  x         x        x
    chmod                     x  x         x        x
    create                    x  x         x        x
    mkdir                     x  x         x        x
    symlink                   x  x         x        x
    link                      x  x         x        x
    unlink                    x  x         x        x
    rmdir                     x  x         x        x
    rename                    x  x         x        x
    exchange                  x  x         x        x
UpdateProxy Pilot             S  S.condor  EXECUTE  elsewhere
    read                      x  x         x        x
    list                      x  x         x        x
    handle                    x  x         x        x
    chmod                     x  x         x        x
    create                    x  x         x        x
    mkdir                     x  x         x        x
    symlink                   x  x         x        x
    link                      x  x         x        x
    unlink                    -  +         -        -
    rmdir                     -  +         -        -
    rename                    -  +         -        -
    exchange                  x  x         x        x
UpdateProxy Target            S  S.condor  EXECUTE  elsewhere
    read                      x  x         x        x
    list                      x  x         x        x
    handle                    x  x         x        x
    chmod                     x  x         x        x
    create                    +  -         -        -
    mkdir                     x  x         x        x
    symlink                   x  x         x        x
    link                      x  x         x        x
    unlink                    +  -         -        -
    rmdir                     +  -         -        -
    rename                    +  -         -        -
    exchange                  x  x         x        x
";

/// A call, with the numbers and texts that it takes.
struct Attempt {
    name: &'static str,
    number: c_long,
    /// Directory descriptors, flags and modes; the texts come in their place.
    arguments: [u64; 6],
    /// Which argument is which of the names below.
    texts: &'static [(usize, &'static str)],
}

/// A file and two directories that are there, one with nothing in it, and a name that is free.
const FILE: &str = "bait.file";
const DIRECTORY: &str = "bait.directory";
const OTHER: &str = "bait.other";
const FREE: &str = "bait.free";

const HERE: u64 = libc::AT_FDCWD as u64;
const READ: u64 = (libc::O_RDONLY | libc::O_CLOEXEC) as u64;
const HANDLE: u64 = (libc::O_PATH | libc::O_CLOEXEC) as u64;
const CREATE: u64 = (libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL | libc::O_CLOEXEC) as u64;

const ATTEMPTS: [Attempt; 12] = [
    Attempt { name: "read", number: libc::SYS_openat, arguments: [HERE, 0, READ, 0, 0, 0], texts: &[(1, FILE)] },
    Attempt { name: "list", number: libc::SYS_openat, arguments: [HERE, 0, READ, 0, 0, 0], texts: &[(1, DIRECTORY)] },
    // Landlock knows of neither: where a profile has them, they reach everything that the account does. The mode is the
    // only one there is.
    Attempt { name: "handle", number: libc::SYS_openat, arguments: [HERE, 0, HANDLE, 0, 0, 0], texts: &[(1, FILE)] },
    Attempt { name: "chmod", number: libc::SYS_fchmodat, arguments: [HERE, 0, 0o700, 0, 0, 0], texts: &[(1, FILE)] },
    Attempt {
        name: "create",
        number: libc::SYS_openat,
        arguments: [HERE, 0, CREATE, 0o600, 0, 0],
        texts: &[(1, FREE)],
    },
    Attempt { name: "mkdir", number: libc::SYS_mkdirat, arguments: [HERE, 0, 0o700, 0, 0, 0], texts: &[(1, FREE)] },
    Attempt {
        name: "symlink",
        number: libc::SYS_symlinkat,
        arguments: [0, HERE, 0, 0, 0, 0],
        texts: &[(0, FILE), (2, FREE)],
    },
    Attempt {
        name: "link",
        number: libc::SYS_linkat,
        arguments: [HERE, 0, HERE, 0, 0, 0],
        texts: &[(1, FILE), (3, FREE)],
    },
    Attempt { name: "unlink", number: libc::SYS_unlinkat, arguments: [HERE, 0, 0, 0, 0, 0], texts: &[(1, FILE)] },
    Attempt {
        name: "rmdir",
        number: libc::SYS_unlinkat,
        arguments: [HERE, 0, libc::AT_REMOVEDIR as u64, 0, 0, 0],
        texts: &[(1, DIRECTORY)],
    },
    Attempt {
        name: "rename",
        number: libc::SYS_renameat,
        arguments: [HERE, 0, HERE, 0, 0, 0],
        texts: &[(1, FILE), (3, FREE)],
    },
    Attempt {
        name: "exchange",
        number: libc::SYS_renameat2,
        arguments: [HERE, 0, HERE, 0, libc::RENAME_EXCHANGE as u64, 0],
        texts: &[(1, DIRECTORY), (3, OTHER)],
    },
];

impl Attempt {
    /// The call on names in this place.
    fn at(&self, place: &Path) -> Foreign {
        let text = |name: &str| [place.join(name).as_os_str().as_bytes(), b"\0"].concat();
        let texts = self.texts.iter().map(|(index, name)| (*index, text(name))).collect();
        Foreign { texts, ..foreign(self.number, self.arguments) }
    }
}

/// Opens a place to all, and puts there what the calls are about.
fn bait(place: &Path, account: Account) {
    let mode = fs::metadata(place).unwrap().permissions().mode();
    fs::set_permissions(place, PermissionsExt::from_mode(mode & 0o1000 | 0o777)).unwrap();
    for name in [FILE, DIRECTORY, OTHER, FREE] {
        let path = place.join(name);
        let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir(&path));
    }
    put_file(account, &place.join(FILE), b"bait", 0o644);
    for name in [DIRECTORY, OTHER] {
        fs::create_dir(place.join(name)).unwrap();
        finish(account, &place.join(name), 0o755);
    }
}

/// Makes the call as this account, without confinement.
fn is_possible(call: &Foreign, account: Account) -> bool {
    let texts: Vec<CString> =
        call.texts.iter().map(|(_, text)| CString::from_vec_with_nul(text.clone()).unwrap()).collect();
    let mut arguments = call.arguments;
    for ((index, _), text) in call.texts.iter().zip(&texts) {
        arguments[*index] = text.as_ptr() as u64;
    }
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: numbers, and paths that live through the call.
    let result = as_account(account, || unsafe { libc::syscall(call.number, a, b, c, d, e, f) });
    // What it opened stays open until this program ends; there are few.
    result >= 0
}

/// What becomes of one call in one phase, in one place.
fn outcome(site: &Site, (helper, side): (Helper, Side), attempt: &Attempt, place: usize) -> char {
    let account = if side == Side::Pilot { PILOT } else { GREG };
    let sandbox = helper.sandbox(site);
    let place = places(site, &sandbox)[place].clone();
    let call = attempt.at(&place);
    let to_kill = Sleeper::start(GREG);
    let running = helper.call(site, &sandbox, &to_kill).traced().start();
    let exists = Cell::new(false);
    let (answer, _) = inject(running, side, Some(call.clone()), |_| {
        exists.set(place.exists());
        if exists.get() {
            bait(&place, account);
            assert!(is_possible(&call, account), "{} in {}", attempt.name, place.display());
            bait(&place, account);
        }
    });
    forget(site, sandbox);
    match answer {
        Some(Answer::Returned(0..)) => '+',
        Some(Answer::Returned(errno)) if errno == -i64::from(libc::EACCES) => '-',
        Some(Answer::Returned(errno)) if errno == -i64::from(libc::ENOENT) && !exists.get() => '.',
        Some(Answer::Killed(libc::SIGSYS)) => 'x',
        other => panic!("{helper:?} {side:?}: {}: {other:?}", attempt.name),
    }
}

fn places(site: &Site, sandbox: &Sandbox) -> [PathBuf; 4] {
    [sandbox.path.clone(), sandbox.parked.clone(), site.execute.clone(), site.root.join("elsewhere")]
}

#[test]
#[ignore = "needs root"]
fn every_phase_reaches_exactly_what_it_needs() {
    let site = Site::new();
    fs::create_dir(site.root.join("elsewhere")).unwrap();
    for name in [FILE, DIRECTORY, OTHER, FREE] {
        site.expect_left(name);
    }
    let mut found = String::from("\n");
    for (helper, side) in PHASES {
        writeln!(found, "{:<30}S  S.condor  EXECUTE  elsewhere", format!("{helper:?} {side:?}")).unwrap();
        for attempt in &ATTEMPTS {
            let first = outcome(&site, (helper, side), attempt, 0);
            // A profile does not look at places.
            let rest =
                (1..4).map(|place| if first == 'x' { 'x' } else { outcome(&site, (helper, side), attempt, place) });
            let row: Vec<char> = std::iter::once(first).chain(rest).collect();
            writeln!(found, "    {:<26}{}  {}         {}        {}", attempt.name, row[0], row[1], row[2], row[3])
                .unwrap();
        }
    }
    assert!(found == EXPECTED, "this is what they reach:{found}");
}
