//! The content of one file, by the cheapest way that the file system offers.

use crate::files::metadata::Metadata;
use rustix::fs::{FallocateFlags, SeekFrom, copy_file_range, fallocate, fstatfs, ftruncate, ioctl_ficlone, seek};
use rustix::io::{Errno, pread, pwrite};
use std::os::fd::BorrowedFd;
use zeroize::Zeroize;

/// What is read and written in one piece, where the kernel does not copy by itself. Measured: smaller costs system
/// calls; larger ones make the kernel look for larger pieces of free memory, which where memory is in use takes up to
/// five times as long as the copy.
const BUFFER_BYTES: usize = 64 * 1024;

/// What `fstatfs` calls ext4 and its predecessors.
const EXT4: u64 = 0xef53;

/// From here on the blocks of a piece are asked for before it is written, where that is of use.
const RESERVED_FROM_BYTES: u64 = 1 << 20;

/// Below this a shared extent costs the file system more than it saves.
const REFLINK_FROM_BYTES: u64 = 64 * 1024;

/// How much is copied between two looks at the clock.
const STEP_BYTES: u64 = 32 << 20;

/// Copies contents to one file system, and remembers what that cannot do.
pub(crate) struct Copier {
    buffer: Box<[u8]>,
    used: usize,
    reflink: bool,
    in_kernel: bool,
    reserve: bool,
}

/// Why a content was not copied.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Uncopied<E> {
    /// The source is not what it was when the copy began.
    Changed,
    /// The kernel's word, when the source was read.
    Unreadable(Errno),
    /// The kernel's word, when the copy was written.
    System(Errno),
    /// The caller's step wanted to stop.
    Stopped(E),
}

impl<E> From<Errno> for Uncopied<E> {
    fn from(errno: Errno) -> Self {
        Uncopied::System(errno)
    }
}

impl Copier {
    /// For copies to the file system of `directory`.
    pub(crate) fn new(directory: BorrowedFd<'_>) -> Self {
        let kind = fstatfs(directory).ok().and_then(|found| u64::try_from(found.f_type).ok());
        Copier {
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            used: 0,
            reflink: true,
            in_kernel: true,
            // Measured: saves a quarter of the time. tmpfs would write everything twice.
            reserve: kind == Some(EXT4),
        }
    }

    /// Fills `to`, an empty file, with the content of `from`, a regular file that was just described by `source`.
    /// Holes stay holes. `step` is told of every few megabytes of data and can stop the copy.
    ///
    /// The descriptor may be shared with a process that moves its offset: only explicit offsets are used.
    ///
    /// # Errors
    /// When the source changed meanwhile, the kernel refuses, or `step` does.
    pub(crate) fn copy<E>(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        source: &Metadata,
        mut step: impl FnMut(u64) -> Result<(), E>,
    ) -> Result<(), Uncopied<E>> {
        let small = usize::try_from(source.size).is_ok_and(|size| size < BUFFER_BYTES);
        if small && source.stored >= source.size {
            // One byte more than there should be: an empty file is read, too, so that a descriptor that cannot be read
            // is never taken for one.
            if self.copy_by_hand(from, to, 0, source.size.saturating_add(1))? != source.size {
                return Err(Uncopied::Changed);
            }
            step(source.size).map_err(Uncopied::Stopped)?;
        } else if !self.cloned(from, to, source.size) {
            self.copy_extents(from, to, source.size, &mut step)?;
        } else {
            step(source.stored).map_err(Uncopied::Stopped)?;
        }
        let now = Metadata::of(from).map_err(Uncopied::Unreadable)?;
        if now.has_content_of(source) { Ok(()) } else { Err(Uncopied::Changed) }
    }

    fn cloned(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, size: u64) -> bool {
        if !self.reflink || size < REFLINK_FROM_BYTES {
            return false;
        }
        match ioctl_ficlone(to, from) {
            Ok(()) => true,
            // Out of space or quota may still leave room for a sparser copy; anything else means that it cannot be
            // done here.
            Err(Errno::NOSPC | Errno::DQUOT | Errno::INTR) => false,
            Err(_) => {
                self.reflink = false;
                false
            }
        }
    }

    fn copy_extents<E>(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        size: u64,
        step: &mut impl FnMut(u64) -> Result<(), E>,
    ) -> Result<(), Uncopied<E>> {
        let (mut at, mut written) = (0_u64, 0_u64);
        while at < size {
            let (start, end) = match seek(from, SeekFrom::Data(at)) {
                Ok(start) => (start, seek(from, SeekFrom::Hole(start)).unwrap_or(size).min(size)),
                Err(Errno::NXIO) => break,
                // The file system knows nothing of holes: all is data.
                Err(Errno::INVAL | Errno::OPNOTSUPP) => (at, size),
                Err(errno) => return Err(Uncopied::Unreadable(errno)),
            };
            // A source that is cut or punched meanwhile can give an extent that does not go forward.
            if start < at || end <= start {
                return Err(Uncopied::Changed);
            }
            at = start;
            while at < end {
                let wanted = end.saturating_sub(at).min(STEP_BYTES);
                self.reserve(to, at, wanted);
                let copied = self.copy_piece(from, to, at, wanted)?;
                if copied == 0 {
                    return Err(Uncopied::Changed);
                }
                at = at.saturating_add(copied);
                written = at;
                step(copied).map_err(Uncopied::Stopped)?;
            }
        }
        // A hole at the end.
        if written < size {
            ftruncate(to, size)?;
        }
        Ok(())
    }

    /// Asks for the blocks of what is written next, and no more: the copy may be stopped at any bound. Where it is
    /// refused, writing tells why, or does without.
    fn reserve(&mut self, to: BorrowedFd<'_>, at: u64, count: u64) {
        if self.reserve && count >= RESERVED_FROM_BYTES {
            self.reserve = retry(|| fallocate(to, FallocateFlags::empty(), at, count)).is_ok();
        }
    }

    /// Copies up to `wanted` bytes at `at`; 0 means that there are none any more.
    fn copy_piece<E>(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        at: u64,
        wanted: u64,
    ) -> Result<u64, Uncopied<E>> {
        if self.in_kernel {
            let (mut read_at, mut write_at) = (at, at);
            let count = usize::try_from(wanted).unwrap_or(usize::MAX);
            match retry(|| copy_file_range(from, Some(&mut read_at), to, Some(&mut write_at), count)) {
                Ok(copied) => return Ok(u64::try_from(copied).unwrap_or(wanted)),
                Err(Errno::XDEV | Errno::NOSYS | Errno::PERM | Errno::INVAL | Errno::OPNOTSUPP) => {
                    self.in_kernel = false;
                }
                // By hand it shows which of the two files it is.
                Err(_) => {}
            }
        }
        self.copy_by_hand(from, to, at, wanted)
    }

    /// Reads and writes up to `wanted` bytes at `at`; less means that there are no more.
    fn copy_by_hand<E>(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        at: u64,
        wanted: u64,
    ) -> Result<u64, Uncopied<E>> {
        let mut copied = 0_u64;
        while copied < wanted {
            let position = at.saturating_add(copied);
            let room = usize::try_from(wanted.saturating_sub(copied)).unwrap_or(usize::MAX).min(self.buffer.len());
            let piece = self.buffer.get_mut(..room).unwrap_or_default();
            let count = retry(|| pread(from, &mut *piece, position)).map_err(Uncopied::Unreadable)?;
            self.used = self.used.max(count);
            if count == 0 {
                break;
            }
            write_all(to, piece.get(..count).unwrap_or_default(), position)?;
            copied = copied.saturating_add(u64::try_from(count).unwrap_or(wanted));
        }
        Ok(copied)
    }
}

impl Drop for Copier {
    /// A proxy may have passed through.
    fn drop(&mut self) {
        self.buffer.get_mut(..self.used).unwrap_or_default().zeroize();
    }
}

/// Writes all of `bytes` at `at`.
///
/// # Errors
/// The kernel's.
pub(crate) fn write_all(to: BorrowedFd<'_>, mut bytes: &[u8], mut at: u64) -> Result<(), Errno> {
    while !bytes.is_empty() {
        let written = retry(|| pwrite(to, bytes, at))?;
        if written == 0 {
            return Err(Errno::IO);
        }
        bytes = bytes.get(written..).unwrap_or_default();
        at = at.saturating_add(u64::try_from(written).unwrap_or(u64::MAX));
    }
    Ok(())
}

fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Copier, RESERVED_FROM_BYTES, Uncopied};
    use crate::files::metadata::Metadata;
    use core::convert::Infallible;
    use std::fs::File;
    use std::os::fd::AsFd;
    use std::os::unix::fs::FileExt;
    use std::path::PathBuf;

    fn file(name: &str) -> (PathBuf, File) {
        let path = std::env::temp_dir().join(format!("glexec-rs-content.{}.{name}", std::process::id()));
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        (path, file)
    }

    /// Copies `size` bytes that have data at these places only; in each way.
    fn survives(name: &str, size: u64, data: &[(u64, usize)]) {
        let (path, from) = file(&format!("{name}.from"));
        for (at, count) in data {
            from.write_all_at(&vec![7; *count], *at).unwrap();
        }
        from.set_len(size).unwrap();
        let source = Metadata::of(&from).unwrap();
        for (way, in_kernel, reserve) in
            [("kernel", true, false), ("reserved", true, true), ("buffer", false, false), ("both", false, true)]
        {
            let (copy, to) = file(&format!("{name}.{way}"));
            let mut copier = Copier::new(to.as_fd());
            (copier.reflink, copier.in_kernel, copier.reserve) = (false, in_kernel, reserve);
            let mut told = 0;
            copier
                .copy(from.as_fd(), to.as_fd(), &source, |count| {
                    told += count;
                    Ok::<(), Infallible>(())
                })
                .unwrap();
            let made = Metadata::of(&to).unwrap();
            assert!(std::fs::read(&copy).unwrap() == std::fs::read(&path).unwrap(), "{name} {way}");
            // Holes are holes again, but for what the file system rounds up.
            assert!(made.size == size && made.stored <= source.stored + (64 << 10), "{name} {way} {made:?} {source:?}");
            assert!(told <= source.stored.max(size.min(64 << 10)), "{name} {way} {told}");
            std::fs::remove_file(copy).unwrap();
        }
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn content_and_holes_survive_whichever_way_they_are_copied() {
        let large = usize::try_from(RESERVED_FROM_BYTES).unwrap();
        survives("empty", 0, &[]);
        survives("small", 5, &[(0, 5)]);
        survives("at-the-bound", 65_535, &[(0, 65_535)]);
        survives("past-the-bound", 65_536, &[(0, 65_536)]);
        survives("hole", 1 << 20, &[]);
        survives("odd", RESERVED_FROM_BYTES + 1, &[(0, large + 1)]);
        survives("ends-in-a-hole", 8 << 20, &[(0, large)]);
        survives("begins-with-one", 8 << 20, &[((8 << 20) - RESERVED_FROM_BYTES, large)]);
        survives("has-one", 16 << 20, &[(4096, 10), (6 << 20, 2 * large), ((16 << 20) - 1, 1)]);
    }

    #[test]
    fn a_source_that_has_changed_is_told() {
        let (path, from) = file("changed");
        from.write_all_at(&[7; 100_000], 0).unwrap();
        let source = Metadata::of(&from).unwrap();
        let (copy, to) = file("changed.copy");
        from.set_len(99_999).unwrap();
        let copied = Copier::new(to.as_fd()).copy(from.as_fd(), to.as_fd(), &source, |_| Ok::<(), Infallible>(()));
        assert_eq!(copied, Err(Uncopied::Changed));
        std::fs::remove_file(path).unwrap();
        std::fs::remove_file(copy).unwrap();
    }
}
