//! What both ends of the channel agree on between the Starter and the job: an environment, descriptors, and one error
//! text.
//!
//! A `SOCK_STREAM` socket pair, native byte order. In order:
//!
//! 1. wrapper → Starter: `u32` 0xdeadbeef, the hello.
//! 2. Starter → wrapper: `i32` length with a final NUL, then that many bytes: the environment, in HTCondor's
//!    "V2 raw" syntax.
//! 3. Starter → wrapper, for each of stdin, stdout, stderr whose argument is `-`: one byte NUL with one descriptor.
//! 4. Starter → wrapper: one byte NUL with one descriptor, a fresh socket.
//! 5. On the fresh socket: end of file when the job has started, else up to 255 bytes of text and a NUL.
//!
//! Source: HTCondor up to 9.10, `condor_glexec_job_wrapper` and `GLexecStarter`.

/// What the wrapper says first.
pub const HELLO: u32 = 0xdead_beef;

/// The value that stands for none in the original: such a variable is in the job's environment as its bare name.
pub(crate) const NO_VALUE: &[u8] = b"\x01\x02\x03\x04\x05\x06";
