//! How the program ends, and what that is on the command line.

use std::fmt;
use std::process::ExitCode;

/// A signal with this number ended it, cleanly.
#[derive(Debug)]
pub struct Interrupted(pub i32);

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted; all processes have ended and nothing is left behind")
    }
}

impl std::error::Error for Interrupted {}

/// Reports an error, and turns it into an exit code: 1, or 128 and the signal's number. (Bad arguments are
/// clap's: 2.)
pub fn exit_code(result: anyhow::Result<()>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    eprintln!("waldo-compare: {error:#}");
    match error.downcast_ref::<Interrupted>() {
        Some(Interrupted(signal)) => ExitCode::from(u8::try_from(128 + signal).unwrap_or(u8::MAX)),
        None => ExitCode::FAILURE,
    }
}
