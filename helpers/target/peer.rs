//! The frame of the target side: what the switcher starts as the target account, and which of its parts that is.
//!
//! It is told what to do by the pilot over the socket that it finds as fd 0, and acts only on what belongs to its own
//! account. When the pilot goes away before the commit, it removes what it has made.

use crate::ground::argv::Arguments;
use crate::ground::escape::Escaped;
use crate::ground::outcome::{Failure, OrFail, Outcome};
use crate::ground::program::Program;
use crate::ground::{frame, limits, signals};
use crate::policy::{self, Policy};
use crate::protocol::answer::Failed;
use crate::protocol::connection::Connection;
use crate::protocol::greeting::{GREETING, Operation};
use crate::target::{cleanup, kill, setup, switched, update_proxy};
use rustix::fs::{Mode, OFlags};
use std::process::ExitCode;

const HELP: &str = include_str!("peer.txt");

/// The program.
pub fn main() -> ExitCode {
    frame::run(Program::Peer, HELP, work)
}

/// What the program is called with.
///
/// # Errors
/// Usage.
pub fn parse(mut arguments: Arguments) -> Outcome<Operation> {
    let word = arguments.take("OPERATION")?;
    arguments.end()?;
    Operation::ALL
        .into_iter()
        .find(|operation| operation.word().as_bytes() == word)
        .ok_or_else(|| Failure::usage(format_args!("OPERATION is {}", Escaped(&word))))
}

fn work(arguments: Arguments) -> Outcome<ExitCode> {
    let operation = parse(arguments)?;
    frame::guard_memory()?;
    let Policy { may_lack, durable, .. } = policy::load()?;
    signals::ignore_write_signals();
    let connection = take_connection()?;
    connection.send(GREETING, &[]).or_fail(|| "cannot greet the pilot side")?;
    let switched = switched::require(&connection, switched::is_started_without_privileges);
    let refused = switched.is_err();
    let result = switched.and_then(|()| match operation {
        Operation::Setup => setup::receive(&connection, may_lack, durable),
        Operation::Cleanup => cleanup::give_back(&connection, may_lack),
        Operation::Kill => kill::signal_all(&connection, may_lack),
        Operation::UpdateProxy => update_proxy::install(&connection, may_lack),
    });
    if let Err(failure) = &result {
        // The pilot may be gone; then nobody is left to tell.
        let _ = connection.send(&Failed(failure.to_string().as_bytes()).encode(), &[]);
        if refused {
            // Its request, which nobody reads, must not meet a closed socket, or it hears of that instead.
            connection.wait_for_end(limits::UNDO_DEADLINE);
        }
    }
    result.map(|()| ExitCode::SUCCESS)
}

/// Takes the socket away from fd 0, and the switcher's output away from 1 and 2.
fn take_connection() -> Outcome<Connection> {
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3).or_fail(|| "cannot take the socket")?;
    let kind = rustix::net::sockopt::socket_type(&socket);
    if kind != Ok(rustix::net::SocketType::SEQPACKET) {
        return Err(Failure::usage("standard input is not the socket of a condor_glexec helper"));
    }
    let null = rustix::fs::open(c"/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).or_fail(|| "/dev/null")?;
    rustix::stdio::dup2_stdin(&null)
        .and_then(|()| rustix::stdio::dup2_stdout(&null))
        .and_then(|()| rustix::stdio::dup2_stderr(&null))
        .or_fail(|| "cannot replace the standard descriptors")?;
    Ok(Connection::new(socket))
}
