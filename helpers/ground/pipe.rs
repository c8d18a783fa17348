//! What a program that was started prints, kept in part.

use crate::ground::outcome::{OrFail, Outcome};
use rustix::event::PollFlags;
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// How many pieces are read between two looks at the clock: together what a pipe holds.
const PIECES: u32 = 16;

/// One pipe's reading end. Keeps the beginning and drops the rest, so that no writer waits.
pub struct Reader {
    pipe: Option<OwnedFd>,
    most: usize,
    /// What has come so far, at most as much as was asked for.
    pub kept: Vec<u8>,
}

impl Reader {
    /// Makes a pipe and gives its other end, too.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new(most: usize) -> Outcome<(Self, OwnedFd)> {
        let failed = || "cannot make a pipe";
        let (reading, writing) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).or_fail(failed)?;
        rustix::io::ioctl_fionbio(&reading, true).or_fail(failed)?;
        Ok((Reader { pipe: Some(reading), most, kept: Vec::new() }, writing))
    }

    /// What to wait for, unless all has been read.
    pub fn watched(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        self.pipe.as_ref().map(|pipe| (pipe.as_fd(), PollFlags::IN))
    }

    /// Reads what is there, a bounded part at a time: whoever prints without end must not keep us from looking at the
    /// clock.
    pub fn read(&mut self) {
        let mut piece = [0_u8; 4096];
        for _ in 0..PIECES {
            let Some(pipe) = &self.pipe else { return };
            match rustix::io::read(pipe, &mut piece) {
                Ok(count) if count > 0 => {
                    let room = self.most.saturating_sub(self.kept.len()).min(count);
                    self.kept.extend_from_slice(piece.get(..room).unwrap_or_default());
                }
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                _ => self.pipe = None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Reader;

    #[test]
    fn output_without_end_is_not_read_to_its_end() {
        let endless = std::fs::File::open("/dev/zero").unwrap();
        let mut reader = Reader { pipe: Some(endless.into()), most: 100, kept: Vec::new() };
        reader.read();
        assert_eq!(reader.kept.len(), 100);
        assert!(reader.pipe.is_some());
    }

    #[test]
    fn what_a_full_pipe_holds_is_read_at_once() {
        let (mut reader, to) = Reader::new(1 << 20).unwrap();
        rustix::io::ioctl_fionbio(&to, true).unwrap();
        let mut written = 0;
        while let Ok(count) = rustix::io::write(&to, &[b'x'; 4096]) {
            written += count;
        }
        reader.read();
        assert!(written > 0);
        assert_eq!(reader.kept.len(), written);
    }
}
