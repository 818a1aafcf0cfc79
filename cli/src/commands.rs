//! The subcommands, and how they end.

use crate::version;
use crate::{
    append, bench, completions, demo, gc, inspect, lag, ls, man, repair, replay, resize, rm, serve, snapshot,
    stat, tail, top, verify,
};
use clap::{CommandFactory, Parser, Subcommand};
use std::process::ExitCode;
use waldo_terminal::{failure, notice};

/// A persistent ring buffer of log records: one writer process, any number of readers.
///
/// A ring is a directory. One process appends to it; any number of other processes follow it read-only, at
/// memory speed, without ever contacting the writer. Readers need only permission to read the files.
#[derive(Parser)]
#[command(
    name = "waldo",
    version = version::SHORT,
    long_version = version::LONG,
    after_help = "\
Try it:
  waldo demo                                 a thousand readers check every byte of what one writer appends
  journalctl -f | waldo serve /var/tmp/ring  feed a ring
  waldo tail /var/tmp/ring -n 10 -f          follow it, from as many processes as you like
  waldo stat /var/tmp/ring                   how it is
  waldo lag /var/tmp/ring                    how far behind its readers are, those that want to be seen
  waldo top                                  all rings of this machine, live on the whole screen

Exit codes: 0 fine; 1 failure, damage to the ring included; 2 wrong usage; 3 everything was done but for records
of the input that were refused; 4 a limit that was given is exceeded (lag); 128 + n ended by signal n (130 after
Ctrl-C). Standard error says why."
)]
struct Cli {
    /// Report more on stderr; twice for details.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Demo(demo::Args),
    Append(append::Args),
    Serve(serve::Args),
    Tail(tail::Args),
    Stat(stat::Args),
    Lag(lag::Args),
    Top(top::Args),
    Verify(verify::Args),
    Repair(repair::Args),
    Inspect(inspect::Args),
    Snapshot(snapshot::Args),
    Replay(replay::Args),
    Resize(resize::Args),
    Ls(ls::Args),
    Rm(rm::Args),
    Gc(gc::Args),
    Completions(completions::Args),
    Man(man::Args),
    #[command(hide = true)]
    Bench(bench::Args),
}

/// Runs the command line.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return failure::usage(&error),
    };
    log_to_stderr(cli.verbose);
    let result = match cli.command {
        Command::Demo(args) => demo::run(args),
        Command::Append(args) => append::run(args),
        Command::Serve(args) => serve::run(args),
        Command::Tail(args) => tail::run(args),
        Command::Stat(args) => stat::run(args),
        Command::Lag(args) => lag::run(args),
        Command::Top(args) => top::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Repair(args) => repair::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Replay(args) => replay::run(args),
        Command::Resize(args) => resize::run(args),
        Command::Snapshot(args) => snapshot::run(args),
        Command::Ls(args) => ls::run(args),
        Command::Rm(args) => rm::run(args),
        Command::Gc(args) => gc::run(args),
        Command::Completions(args) => completions::run(args, &mut Cli::command()),
        Command::Man(args) => man::run(&args, Cli::command()),
        Command::Bench(args) => bench::run(args),
    };
    failure::exit_code(result)
}

fn log_to_stderr(verbose: u8) {
    use tracing_subscriber::filter::LevelFilter;
    let level = match verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(|| notice::LogLines::Text)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .init();
}
