//! Where the record is written, when all else is over.

use super::options::Destination;
use super::shown::shown;
use crate::files::metadata::Metadata;
use crate::ground::limits;
use crate::ground::outcome::{Failure, OrFail, Outcome};
use crate::ground::wait::wait_for;
use rustix::event::PollFlags;
use rustix::fs::FileType;
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

/// How much a pipe takes for certain when it takes anything (`PIPE_BUF`).
const PIECE: usize = 4096;

/// An open file or stream for the record.
pub(super) struct Sink {
    file: Arc<File>,
    /// Whether it is a file by its name, and holds the record and nothing else in the end.
    is_named: bool,
}

impl Sink {
    /// Opens what was asked for. A name in the sandbox is refused: that is the job's.
    pub(super) fn open(destination: &Destination, sandbox: Option<&Path>) -> Outcome<Self> {
        let path = match destination {
            Destination::Stdout => {
                let own = std::io::stdout().as_fd().try_clone_to_owned().or_fail(|| "stdout")?;
                return Ok(Sink { file: Arc::new(own.into()), is_named: false });
            }
            Destination::File(path) => path,
        };
        let failed = || format!("cannot write {} (--json)", shown(path));
        let place = std::path::absolute(path).or_fail(failed)?;
        let above = place.parent().and_then(|above| above.canonicalize().ok());
        let sandbox = sandbox.and_then(|sandbox| sandbox.canonicalize().ok());
        if let (Some(above), Some(sandbox)) = (above, sandbox)
            && above.starts_with(sandbox)
        {
            return Err(Failure::usage(format_args!("{}: it is in the sandbox; name a file outside", failed())));
        }
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path).or_fail(failed)?;
        let found = Metadata::of(&file).or_fail(failed)?;
        let is_named = found.kind == FileType::RegularFile;
        // Another name of it may be in the sandbox.
        if is_named && found.links == 1 {
            file.set_len(0).or_fail(failed)?;
        }
        Ok(Sink { file: Arc::new(file), is_named })
    }

    /// What is open.
    pub(super) fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// Writes the record. Whoever does not read it is waited for only so long.
    pub(super) fn write(&self, record: &[u8]) -> Outcome {
        let failed = || "cannot write the record (--json)";
        let mut rest = record;
        while !rest.is_empty() {
            if !wait_for(self.file.as_fd(), PollFlags::OUT, limits::RECORD_DEADLINE).or_fail(failed)? {
                return Err("nobody reads it").or_fail(failed);
            }
            match rustix::io::write(&self.file, rest.get(..PIECE).unwrap_or(rest)) {
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(error) => return Err(error).or_fail(failed),
            }
        }
        if self.is_named {
            self.file.set_len(u64::try_from(record.len()).or_fail(failed)?).or_fail(failed)?;
        }
        Ok(())
    }
}
