//! The job's proxy: is it a file that a credential may be in, and is a new one whole?

#![forbid(unsafe_code)]

use crate::files::component::Component;
use crate::files::content::{Copier, Uncopied};
use crate::files::metadata::Metadata;
use crate::ground::limits::{self, INLINE_BYTES};
use crate::ground::outcome::{Failure, OrFail, Outcome};
use core::convert::Infallible;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, chmod, openat, renameat, unlinkat};
use rustix::io::Errno;
use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Opens the proxy `name` in `directory` for reading, without following a link or waiting for a FIFO, and checks that it can only be
/// ours: a regular file of this account with one name, not open to group or others, 1 byte to [`limits::PROXY_BYTES`] long.
///
/// # Errors
/// Says which of these does not hold.
pub fn open(directory: BorrowedFd<'_>, name: &Component) -> Outcome<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file =
        openat(directory, name.c_str(), flags, Mode::empty()).or_fail(|| format!("cannot open the proxy {name}"))?;
    let found = Metadata::of(&file).or_fail(|| format!("cannot look at the proxy {name}"))?;
    let complaint = if found.kind != FileType::RegularFile {
        "is not a regular file"
    } else if found.owner != rustix::process::geteuid().as_raw() {
        "does not belong to this account"
    } else if found.mode & 0o077 != 0 {
        "can be read or written by others; chmod 600"
    } else if found.links != 1 {
        "has more than one name (hard links)"
    } else if found.size == 0 {
        "is empty; get a new one"
    } else if found.size > limits::PROXY_BYTES {
        "is larger than any proxy (1 MiB)"
    } else {
        return Ok(file);
    };
    Err(Failure::permanent(format_args!("the proxy {name} {complaint}")))
}

/// A copy of `proxy`, a file that [`open`] accepted in `directory`, without a name and open for reading; `None` if it is small enough to travel as
/// bytes.
///
/// The pilot's helpers keep each other away by a lock on the pilot's own file: nobody else may get hold of that.
///
/// # Errors
/// When it cannot be copied.
pub fn nameless_copy(directory: BorrowedFd<'_>, proxy: &OwnedFd) -> Outcome<Option<OwnedFd>> {
    let context = || "cannot copy the proxy (the file system must know O_TMPFILE)";
    let source = Metadata::of(proxy).or_fail(context)?;
    if usize::try_from(source.size).is_ok_and(|size| size <= INLINE_BYTES) {
        return Ok(None);
    }
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
    let own = openat(directory, c".", flags, Mode::RUSR | Mode::WUSR).or_fail(context)?;
    fill(directory, proxy, &own, &source, context)?;
    rustix::fs::futimens(&own, &source.mtime.into()).or_fail(context)?;
    let magic = format!("/proc/self/fd/{}", own.as_raw_fd());
    openat(CWD, magic.as_str(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).or_fail(context).map(Some)
}

fn fill(
    directory: BorrowedFd<'_>,
    from: &OwnedFd,
    to: &OwnedFd,
    source: &Metadata,
    context: impl Fn() -> &'static str,
) -> Outcome {
    match Copier::new(directory).copy(from.as_fd(), to.as_fd(), source, |_| Ok::<(), Infallible>(())) {
        Ok(()) => Ok(()),
        Err(Uncopied::System(errno)) => Err(Failure::permanent(format_args!("{}: {errno}", context()))),
        Err(Uncopied::Changed) => Err(Failure::permanent("the proxy changed while it was copied")),
        Err(Uncopied::Stopped(never)) => match never {},
    }
}

/// Gives the proxy `name` in `directory` mode 0600 again if it is a regular file of this account with one name and its mode is why [`open`]
/// would refuse it. Under a switcher that stays in one account the job can take the mode away, and must not keep itself from being
/// ended so. What cannot be repaired is left for [`open`] to refuse.
///
/// Only for those who end a job (kill, cleanup): they give the content to nobody. Whoever could change it meanwhile could at most have
/// the switch go to another account; that one's peer can signal its own processes only and takes no sandbox but its own, and is
/// believed no more than any.
pub fn close_to_others(directory: BorrowedFd<'_>, name: &Component) {
    let handle = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(file) = openat(directory, name.c_str(), handle, Mode::empty()) else { return };
    let unfit = Metadata::of(&file).is_ok_and(|found| {
        found.kind == FileType::RegularFile
            && found.owner == rustix::process::geteuid().as_raw()
            && found.links == 1
            && found.mode & 0o477 != 0o400
    });
    if unfit {
        // By way of /proc, since fchmod takes no handle, and without the right to read there is nothing else to be had.
        let _ = chmod(format!("/proc/self/fd/{}", file.as_raw_fd()), Mode::RUSR | Mode::WUSR);
    }
}

/// The name under which a new proxy waits in a sandbox until it is whole. What an interrupted helper left there may be removed.
pub const STAGED_NAME: &CStr = c".glexec-new-proxy";

/// A new proxy that is whole but not yet in its place. It is removed again unless it gets there.
pub struct Staged<'d> {
    directory: BorrowedFd<'d>,
    installed: bool,
}

impl<'d> Staged<'d> {
    /// Copies `content`, a file that [`open`] accepted, into `directory`, mode 0600.
    ///
    /// # Errors
    /// When it is none any more, or cannot be copied.
    pub fn copy(directory: BorrowedFd<'d>, content: &OwnedFd) -> Outcome<Self> {
        let context = || "cannot copy the new proxy into the sandbox";
        let source = Metadata::of(content).or_fail(context)?;
        if source.kind != FileType::RegularFile || source.size == 0 || source.size > limits::PROXY_BYTES {
            return Err(Failure::permanent("the new proxy is not a file of a proxy's size"));
        }
        match unlinkat(directory, STAGED_NAME, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(Failure::permanent(format_args!("{}: {errno}", context()))),
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let own = openat(directory, STAGED_NAME, flags, Mode::RUSR | Mode::WUSR).or_fail(context)?;
        let staged = Staged { directory, installed: false };
        fill(directory, content, &own, &source, context).map(|()| staged)
    }

    /// Puts it in the place of `name`, atomically. A link that is there is replaced, not followed.
    ///
    /// # Errors
    /// When a directory is there (the job may have made one), or the kernel refuses.
    pub fn install(mut self, name: &Component) -> Outcome {
        renameat(self.directory, STAGED_NAME, self.directory, name.c_str())
            .or_fail(|| format!("cannot put the new proxy in the place of {name}"))?;
        self.installed = true;
        Ok(())
    }
}

impl Drop for Staged<'_> {
    fn drop(&mut self) {
        if !self.installed {
            let _ = unlinkat(self.directory, STAGED_NAME, AtFlags::empty());
        }
    }
}

/// Whether `pem` is a whole proxy credential as far as its form tells: PEM blocks that are all complete, among them at least one
/// certificate and one private key, each holding as many bytes as its own DER header says.
///
/// Nothing is verified; the switcher does that. A file that was cut off or is empty would kill the job, though
/// (HTCondor's delegation can deliver one).
pub fn is_whole(pem: &[u8]) -> bool {
    let (mut certificates, mut keys) = (0_u32, 0_u32);
    let mut open: Option<(&[u8], Base64Body)> = None;
    for line in pem.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii) {
        let label = |front: &[u8]| line.strip_prefix(front).and_then(|rest| rest.strip_suffix(b"-----"));
        match (&mut open, label(b"-----BEGIN "), label(b"-----END ")) {
            (None, Some(begun), _) => open = Some((begun, Base64Body::default())),
            (Some((begun, body)), None, Some(ended)) => {
                if *begun != ended || !body.is_whole() {
                    return false;
                }
                certificates = certificates.saturating_add(u32::from(ended == b"CERTIFICATE"));
                keys = keys.saturating_add(u32::from(ended.ends_with(b"PRIVATE KEY")));
                open = None;
            }
            (Some((_, body)), None, None) => body.line(line),
            // Between blocks there may be text, but not the beginning of what would have been one.
            (None, None, None) if !line.starts_with(b"-") => {}
            _ => return false,
        }
    }
    open.is_none() && certificates > 0 && keys > 0
}

/// Just enough of a Base64 body to compare its length with the DER header in its first bytes.
#[derive(Default)]
struct Base64Body {
    front: Vec<u8>,
    digits: usize,
    padding: usize,
    broken: bool,
}

impl Base64Body {
    fn line(&mut self, line: &[u8]) {
        for byte in line {
            let value = match byte {
                b'A'..=b'Z' => byte.wrapping_sub(b'A'),
                b'a'..=b'z' => byte.wrapping_sub(b'a').wrapping_add(26),
                b'0'..=b'9' => byte.wrapping_sub(b'0').wrapping_add(52),
                b'+' => 62,
                b'/' => 63,
                b'=' => {
                    self.padding = self.padding.saturating_add(1);
                    continue;
                }
                _ => {
                    self.broken = true;
                    continue;
                }
            };
            self.broken |= self.padding > 0;
            self.digits = self.digits.saturating_add(1);
            if self.front.len() < 8 {
                self.front.push(value);
            }
        }
    }

    /// Whether the body is one DER SEQUENCE of exactly the length that its header gives.
    fn is_whole(&self) -> bool {
        let whole_groups = self.digits.saturating_add(self.padding).is_multiple_of(4) && self.padding <= 2;
        if self.broken || !whole_groups {
            return false;
        }
        let bits = self.front.iter().fold(0_u64, |bits, digit| (bits << 6) | u64::from(*digit));
        let [_, _, tag, first, second, third, fourth, _] = (bits << 16 >> 16).to_be_bytes().map(usize::from);
        let (header, body) = match first {
            0..=0x7f => (2_usize, first),
            0x81 => (3, second),
            0x82 => (4, (second << 8) | third),
            0x83 => (5, (second << 16) | (third << 8) | fourth),
            _ => return false,
        };
        let bytes = self.digits.saturating_mul(3) / 4;
        self.front.len() == 8 && tag == 0x30 && header.saturating_add(body) == bytes
    }
}

#[cfg(test)]
mod tests {
    use super::is_whole;

    // A DER SEQUENCE of 5 content bytes, and one of 200, in Base64.
    const SHORT: &str = "MAUCAwEAAQ==";

    fn long() -> String {
        let bytes: Vec<u8> = [0x30, 0x81, 200].into_iter().chain([7; 200]).collect();
        base64(&bytes)
    }

    fn base64(bytes: &[u8]) -> String {
        let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::new();
        for chunk in bytes.chunks(3) {
            let bits = chunk.iter().fold(0_u32, |bits, b| (bits << 8) | u32::from(*b)) << (8 * (3 - chunk.len()));
            for index in 0..=chunk.len() {
                text.push(char::from(digits[(bits >> (18 - 6 * index)) as usize & 63]));
            }
            text.push_str(&"=".repeat(3 - chunk.len()));
        }
        text
    }

    fn block(label: &str, body: &str) -> String {
        format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
    }

    #[test]
    fn whole_proxies_pass() {
        for key in ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"] {
            let pem = block("CERTIFICATE", SHORT) + &block(key, &long()) + &block("CERTIFICATE", &long());
            assert!(is_whole(pem.as_bytes()), "{pem}");
            assert!(is_whole(pem.replace('\n', "\r\n").as_bytes()));
            assert!(is_whole(format!("subject=/CN=x\n{pem}\n\n").as_bytes()));
        }
    }

    #[test]
    fn everything_cut_off_anywhere_in_a_block_is_refused() {
        let pem = block("CERTIFICATE", SHORT) + &block("PRIVATE KEY", &long()) + &block("CERTIFICATE", &long());
        let ends: Vec<usize> =
            pem.match_indices("-----END").map(|(at, _)| at + pem[at..].find('\n').unwrap()).collect();
        for cut in 0..pem.len() {
            // Cut right behind the key, what is left is a whole proxy without its chain; nothing in the file tells.
            let between_blocks = cut == ends[1] || cut == ends[1] + 1;
            assert_eq!(is_whole(&pem.as_bytes()[..cut]), between_blocks || cut == ends[2], "cut at {cut}");
        }
    }

    #[test]
    fn other_forms_are_refused() {
        let certificate = block("CERTIFICATE", SHORT);
        let key = block("PRIVATE KEY", SHORT);
        for bad in [
            String::new(),
            certificate.clone(),
            key.clone(),
            certificate.clone() + &key.replace("END PRIVATE", "END PUBLIC"),
            certificate.clone() + &key.replace("MAUC", "MAYC"),
            certificate.clone() + &key.replace("MAUC", "MQUC"),
            certificate.clone() + &key.replace("==", "="),
            certificate.clone() + &key.replace("AAQ", "A*Q"),
            certificate + "-----BEGIN PRIVATE KEY-----\n" + &key,
        ] {
            assert!(!is_whole(bad.as_bytes()), "{bad}");
        }
    }
}
