//! `waldo-service`: the writer of one or several rings, to which any number of programs append over a Unix
//! socket each.
//!
//! Reading order: `args` and `config` (what to do), `supervisor` (doing it, until a signal comes), `hosted`
//! (one ring), `retry`, `views` and `http` (what others see of it), then `logging`, `journald`, `signals`,
//! `exit` and `notify` (systemd).

mod args;
mod config;
mod exit;
mod hosted;
mod http;
mod journald;
mod logging;
mod notify;
mod process;
mod retry;
mod signals;
mod supervisor;
mod views;

use clap::Parser;
use config::Config;
use std::process::ExitCode;
use waldo::writer::{group_id, why_not_given};
use waldo_terminal::escape::harmless_lines;
use waldo_terminal::failure::{self, Outcome, Usage};
use waldo_terminal::notice;

fn main() -> ExitCode {
    match args::Args::try_parse() {
        Ok(args) => failure::exit_code_by(run(&args), exit::code_of),
        Err(error) => failure::usage(&error),
    }
}

fn run(args: &args::Args) -> anyhow::Result<Outcome> {
    let config = args.config().map_err(|error| Usage(error.to_string()))?;
    if args.check {
        warn_of_groups(&config);
        print_plan(&config)?;
        return Ok(Outcome::Done);
    }
    process::run(args, config)
}

/// Says which groups the service could not give to rings and sockets. The file may be in order all the same:
/// the service may be another user's than whoever checks it.
fn warn_of_groups(config: &Config) {
    for ring in &config.rings {
        let socket_group = ring.socket_group.as_deref().and_then(|name| group_id(name).ok());
        for (key, group) in [("group", ring.group.map(|group| group.0)), ("socket_group", socket_group)] {
            if let Some(reason) = group.and_then(why_not_given) {
                let name = ring.name();
                notice!(
                    "waldo-service: warning: ring {name}: run by this user, the service would refuse `{key}`: {reason}"
                );
            }
        }
    }
}

/// What `--check` says if everything is in order.
fn print_plan(config: &Config) -> anyhow::Result<()> {
    use std::io::Write;
    let mut text = String::new();
    for ring in &config.rings {
        text.push_str(&ring.describe());
        text.push('\n');
    }
    match &config.http.listen {
        Some(address) => text.push_str(&format!("metrics and status: http://{address}/\n")),
        None => {
            text.push_str("metrics and status: none ([http] listen = \"127.0.0.1:9464\" turns them on)\n")
        }
    }
    let mut out = std::io::stdout().lock();
    out.write_all(harmless_lines(&text).as_bytes()).and_then(|()| out.flush()).map_err(failure::output_error)
}
