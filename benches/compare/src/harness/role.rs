//! The other processes of a round: this program, started again in a hidden role, which its first argument
//! names.

use super::notes::Note;
use super::spec::Spec;
use anyhow::{Context, bail};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use waldo_harness::processes::child::die_with;
use waldo_harness::processes::event_log::EventWriter;

/// First argument of the publisher. Then: the round's description.
pub const PUBLISH: &str = "compare-publish";
/// First argument of a subscriber. Then: the round's description, and which one it is.
pub const SUBSCRIBE: &str = "compare-subscribe";
/// First argument of what becomes a server. Then: process id of the harness, and the server's command.
pub const SERVE: &str = "compare-serve";

/// If this process is one of those, does its work and gives its exit code.
pub fn main() -> Option<ExitCode> {
    let words: Vec<String> = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into()).collect();
    let (role, rest) = words.split_first()?;
    let result = match role.as_str() {
        PUBLISH | SUBSCRIBE => take_part(rest),
        SERVE => serve(rest),
        _ => return None,
    };
    Some(match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("waldo-compare: {role}: {error:#}");
            ExitCode::FAILURE
        }
    })
}

fn take_part(words: &[String]) -> anyhow::Result<()> {
    let path = words.first().context("this is for the harness alone")?;
    let spec = Spec::read(Path::new(path))?;
    die_with(spec.harness)?;
    let subscriber = words.get(1).map(|word| word.parse::<usize>()).transpose()?;
    let mut events = EventWriter::open(&spec.board())?;
    let result = match subscriber {
        None => super::publisher::publish(&spec, &mut events),
        Some(_) => super::subscriber::subscribe(&spec, &mut events),
    };
    // Told to the harness, which tells the user.
    result.or_else(|error| Note::Failed { subscriber, error: format!("{error:#}") }.post(&mut events))
}

/// Becomes the server. The request for a death signal outlives the change of program.
fn serve(words: &[String]) -> anyhow::Result<()> {
    let [harness, program, arguments @ ..] = words else { bail!("this is for the harness alone") };
    die_with(harness.parse()?)?;
    Err(Command::new(program).args(arguments).exec()).with_context(|| format!("cannot start {program}"))
}
