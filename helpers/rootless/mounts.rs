//! What has several paths because it is mounted several times.

use super::fault::site_fault;
use super::system::Allowed;
use crate::ground::escape::Escaped;
use crate::ground::limits;
use crate::ground::outcome::{Failure, Kind, Outcome};
use rustix::fs::{AtFlags, CWD, StatxFlags, readlinkat, statx};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// All mounts that this process sees.
pub(super) struct Mounts(Vec<Mount>);

/// A mount: which directory of which file system is where.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    id: u64,
    device: Vec<u8>,
    root: Vec<u8>,
    point: Vec<u8>,
}

/// Where an open file or directory is: its path, and its path in its file system.
struct Place<'m> {
    path: Vec<u8>,
    device: &'m [u8],
    inside: Vec<u8>,
}

impl Mounts {
    /// Those of this moment.
    ///
    /// # Errors
    /// The administrator's: no `/proc`, or a table beyond all measure.
    pub(super) fn read() -> Outcome<Self> {
        let context = "cannot read /proc/self/mountinfo";
        let mut table = Vec::new();
        File::open("/proc/self/mountinfo")
            .and_then(|file| file.take(limits::MOUNTS_BYTES).read_to_end(&mut table))
            .map_err(site_fault(context))?;
        // A table that was cut off ends within a line.
        let lines = table.strip_suffix(b"\n").ok_or("it is too long or has no lines").map_err(site_fault(context))?;
        let mounts = lines.split(|byte| *byte == b'\n').map(mount).collect::<Option<_>>();
        mounts.ok_or("a line has another form").map_err(site_fault(context)).map(Mounts)
    }

    /// Where the file system's directory of `private`, or a part of it, is seen in what is `allowed`.
    ///
    /// # Errors
    /// The administrator's: something is where this process cannot tell.
    pub(super) fn showing(&self, allowed: &[Allowed], private: BorrowedFd<'_>) -> Outcome<Option<Vec<u8>>> {
        let private = self.place(private)?;
        for one in allowed {
            let granted = self.place(one.object.as_fd())?;
            if granted.device == private.device && is_below(&private.inside, &granted.inside) {
                return Ok(Some(granted.path));
            }
            let shows = |mount: &&Mount| {
                is_below(&mount.point, &granted.path)
                    && mount.device == private.device
                    && (is_below(&private.inside, &mount.root) || is_below(&mount.root, &private.inside))
            };
            if let Some(mount) = self.0.iter().find(shows) {
                return Ok(Some(mount.point.clone()));
            }
        }
        Ok(None)
    }

    fn place(&self, object: BorrowedFd<'_>) -> Outcome<Place<'_>> {
        let context = "cannot tell where something is mounted";
        let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
        let id = statx(object, c"", flags, StatxFlags::MNT_ID).map_err(site_fault(context))?.stx_mnt_id;
        let magic = format!("/proc/self/fd/{}", object.as_raw_fd());
        let path = readlinkat(CWD, magic, Vec::new()).map_err(site_fault(context))?.into_bytes();
        let inside = self.0.iter().find(|mount| mount.id == id).and_then(|mount| {
            let below = below(&path, &mount.point)?;
            Some((mount, joined(&mount.root, below)))
        });
        match inside {
            Some((mount, inside)) => Ok(Place { path, device: &mount.device, inside }),
            None => Err(Failure::new(
                Kind::SiteFault,
                format_args!(
                    "{context}: no line of /proc/self/mountinfo is for {}; a root directory must be a mount",
                    Escaped(&path)
                ),
            )),
        }
    }
}

/// Reads a line of mountinfo (proc(5)): id, parent, device, root, mount point, and more.
fn mount(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let id = core::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let device = fields.nth(1)?.to_vec();
    let (root, point) = (unescaped(fields.next()?)?, unescaped(fields.next()?)?);
    (root.starts_with(b"/") && point.starts_with(b"/")).then_some(Mount { id, device, root, point })
}

/// The kernel writes blanks, newlines and backslashes as three octal digits.
fn unescaped(field: &[u8]) -> Option<Vec<u8>> {
    let mut pieces = field.split(|byte| *byte == b'\\');
    let mut text = pieces.next()?.to_vec();
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(3)?;
        text.push(u8::from_str_radix(core::str::from_utf8(digits).ok()?, 8).ok()?);
        text.extend_from_slice(rest);
    }
    Some(text)
}

/// What is left of `path` behind `above`, if it is that or lies below it; begins with a slash or is empty.
fn below<'p>(path: &'p [u8], above: &[u8]) -> Option<&'p [u8]> {
    let above = above.strip_suffix(b"/").unwrap_or(above);
    path.strip_prefix(above).filter(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

fn is_below(path: &[u8], above: &[u8]) -> bool {
    below(path, above).is_some()
}

fn joined(root: &[u8], below: &[u8]) -> Vec<u8> {
    let joined = [root.strip_suffix(b"/").unwrap_or(root), below].concat();
    if joined.is_empty() { b"/".to_vec() } else { joined }
}

#[cfg(test)]
mod tests {
    use super::{Mount, is_below, joined, mount};

    #[test]
    fn lines_are_read_with_what_the_kernel_escapes() {
        let found = mount(br"36 35 98:0 /a\040b /mnt\134x\012 rw,noatime master:1 - ext3 /dev/root rw").unwrap();
        let expected = Mount { id: 36, device: b"98:0".to_vec(), root: b"/a b".to_vec(), point: b"/mnt\\x\n".to_vec() };
        assert_eq!(found, expected);
        for bad in [&b""[..], b"x 35 98:0 / / rw", b"36 35 98:0 /", b"36 35 98:0 a / rw", br"36 35 98:0 /\04 / rw"] {
            assert_eq!(mount(bad), None);
        }
    }

    #[test]
    fn a_path_is_below_itself_and_the_root_and_no_namesake() {
        for (path, above) in [("/", "/"), ("/a", "/"), ("/a", "/a"), ("/a/b", "/a")] {
            assert!(is_below(path.as_bytes(), above.as_bytes()), "{path} {above}");
        }
        for (path, above) in [("/ab", "/a"), ("/", "/a"), ("/b/a", "/a")] {
            assert!(!is_below(path.as_bytes(), above.as_bytes()), "{path} {above}");
        }
        assert_eq!(
            [joined(b"/", b""), joined(b"/", b"/x"), joined(b"/r", b""), joined(b"/r", b"/x")].concat(),
            b"//x/r/r/x"
        );
    }
}
