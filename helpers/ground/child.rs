//! How a child is set up between its birth and its program.

use crate::ground::resources::limit;
use crate::sys::{self, exec::Setting};
use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit};
use std::io;
use std::os::fd::BorrowedFd;
use std::process::Command;

/// How a child stands to the terminal of its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leader {
    /// A session of its own: no terminal controls it.
    Session,
    /// A process group of its own: the terminal's interrupt key does not reach it.
    Group,
}

/// Lets `command` start its program in `directory`, with umask 022, no core files and, if one is given, this limit of
/// its account's processes, as the leader of a session or group.
///
/// # Errors
/// When there is no descriptor left.
pub(crate) fn set_child_up(
    command: &mut Command,
    directory: BorrowedFd<'_>,
    leader: Leader,
    processes: Option<Rlimit>,
) -> io::Result<()> {
    let directory = directory.try_clone_to_owned()?;
    let core = Rlimit { current: Some(0), maximum: limit(Resource::Core)?.maximum };
    let setting = Setting {
        directory,
        leads_session: leader == Leader::Session,
        umask: Mode::from_raw_mode(0o022),
        limits: [processes.map(|processes| (Resource::Nproc, processes)), Some((Resource::Core, core))],
    };
    sys::exec::set_child_up(command, setting);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Leader, set_child_up};
    use crate::ground::resources::limit;
    use rustix::process::{Resource, Rlimit};
    use std::os::fd::AsFd;
    use std::process::Command;

    #[test]
    fn a_child_starts_in_the_setting_that_was_asked_for() {
        let directory = std::fs::File::open("/proc").unwrap();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "pwd; umask; ulimit -c; grep processes /proc/$$/limits; cut -d' ' -f1,5,6 /proc/$$/stat"]);
        let maximum = limit(Resource::Nproc).unwrap().maximum;
        let processes = Rlimit { current: maximum.or(Some(12_345)), maximum };
        set_child_up(&mut command, directory.as_fd(), Leader::Session, Some(processes)).unwrap();
        let said = String::from_utf8(command.output().unwrap().stdout).unwrap();
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(&lines[..3], ["/proc", "0022", "0"]);
        assert_eq!(lines[3].split_ascii_whitespace().nth(2), processes.current.map(|most| most.to_string()).as_deref());
        let numbers: Vec<&str> = lines[4].split(' ').collect();
        assert!(numbers.iter().all(|number| *number == numbers[0]), "{numbers:?}");
    }
}
