//! How a command ends: outcomes, and their exit codes.

use crate::escape::{harmless_lines, is_obeyed};
use crate::notice;
use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

/// How a command ended when nothing went wrong that it has not reported itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It did what it was asked to.
    Done,
    /// It did, and the answer is bad news that has been printed already (damage found, readers failed).
    Bad,
    /// It did, but for records of the input that it had to refuse and has reported.
    Partly,
    /// It did, and something exceeds the limit that it was given.
    Exceeded,
    /// A signal with this number ended it, cleanly.
    Interrupted(i32),
}

/// The arguments make no sense together, or for this ring: exit code 2.
#[derive(Debug)]
pub struct Usage(pub String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// The reader of our standard output is gone: end quietly, as `head` expects.
#[derive(Debug)]
pub struct OutputClosed;

impl fmt::Display for OutputClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("standard output was closed")
    }
}

impl std::error::Error for OutputClosed {}

/// A signal with this number arrived while the command waited: for the reader of its output, for a ring that
/// does not exist yet, or for a command that it runs.
#[derive(Debug)]
pub struct Ended(pub i32);

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ended by signal {} while waiting", self.0)
    }
}

impl std::error::Error for Ended {}

/// An error of writing to standard output; a closed output becomes [`OutputClosed`].
pub fn output_error(error: io::Error) -> anyhow::Error {
    if error.kind() == io::ErrorKind::BrokenPipe {
        OutputClosed.into()
    } else {
        anyhow::Error::new(error).context("cannot write to standard output")
    }
}

/// Reports an error and turns everything into an exit code.
pub fn exit_code(result: anyhow::Result<Outcome>) -> ExitCode {
    exit_code_by(result, code_of)
}

/// The same for a program that distinguishes more kinds of errors.
pub fn exit_code_by(result: anyhow::Result<Outcome>, of: impl FnOnce(&anyhow::Error) -> u8) -> ExitCode {
    ExitCode::from(code(result, of))
}

/// Reports an error and ends the process, from whatever thread.
pub fn exit(result: anyhow::Result<Outcome>) -> ! {
    std::process::exit(code(result, code_of).into())
}

fn code_of(error: &anyhow::Error) -> u8 {
    if error.is::<Usage>() { 2 } else { 1 }
}

fn code(result: anyhow::Result<Outcome>, of: impl FnOnce(&anyhow::Error) -> u8) -> u8 {
    let interrupted = |signal: i32| u8::try_from(128 + signal).unwrap_or(u8::MAX);
    let code = match result {
        Ok(Outcome::Done) => 0,
        Ok(Outcome::Bad) => 1,
        Ok(Outcome::Partly) => 3,
        Ok(Outcome::Exceeded) => 4,
        Ok(Outcome::Interrupted(signal)) => interrupted(signal),
        Err(error) if error.is::<OutputClosed>() => 0,
        Err(error) => match error.downcast_ref() {
            Some(Ended(signal)) => interrupted(*signal),
            None => {
                notice!("{}: {}", program(), chain(&error));
                of(&error)
            }
        },
    };
    notice::finish(notice::PATIENCE);
    code
}

/// The name that this program was started by.
fn program() -> String {
    let path = std::env::args_os().next().map(std::path::PathBuf::from);
    let name = path.as_deref().and_then(std::path::Path::file_name);
    name.map_or_else(|| "waldo".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// The error and its causes on one line, leaving out causes that a message already quotes.
pub fn chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let next = cause.to_string();
        if text.is_empty() {
            text = next;
        } else if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
    }
    text
}

/// Help and version go to stdout with code 0, everything else to stderr with code 2.
pub fn usage(error: &clap::Error) -> ExitCode {
    let steers = |argument: std::ffi::OsString| argument.to_string_lossy().chars().any(is_obeyed);
    // Nothing is left to do if even this cannot be written.
    let _ = match std::env::args_os().any(steers) {
        // An argument may be the name of somebody else's file, and the message quotes it.
        true => print_unpainted(error),
        false => error.print(),
    };
    ExitCode::from(if error.use_stderr() { 2 } else { 0 })
}

fn print_unpainted(error: &clap::Error) -> io::Result<()> {
    let text = harmless_lines(&error.render().to_string());
    match error.use_stderr() {
        true => io::stderr().write_all(text.as_bytes()),
        false => io::stdout().write_all(text.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn a_chain_does_not_repeat_itself() {
        let inner = io::Error::other("disk on fire");
        let result: Result<(), _> = Err(inner);
        let error = result.context("cannot open: disk on fire").context("cannot append").unwrap_err();
        assert_eq!(chain(&error), "cannot append: cannot open: disk on fire");
    }
}
