//! `waldo serve --socket` and `--config`: becoming the program `waldo-service`.
//!
//! The command has no async runtime and no HTTP server; the service has both, and is installed separately.

use crate::writer_args::WriterArgs;
use anyhow::anyhow;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use waldo_terminal::failure::Usage;

const PROGRAM: &str = "waldo-service";

/// What is for the service alone.
#[derive(clap::Args, Debug)]
pub struct ServiceArgs {
    /// Take records from producers that connect to this Unix socket, instead of from standard input.
    #[arg(long, value_name = "PATH", conflicts_with = "fifo")]
    socket: Option<PathBuf>,
    /// Serve the rings of this TOML file: one or several, each with its socket.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["fifo", "home", "socket"])]
    config: Option<PathBuf>,
    /// With --config or --socket: only check whether the configuration would work.
    #[arg(long)]
    check: bool,
    /// With --socket: the socket's permission bits; 0660 by default.
    #[arg(long, value_name = "MODE", requires = "socket")]
    socket_mode: Option<String>,
    /// With --socket: the socket's group.
    #[arg(long, value_name = "GROUP", requires = "socket")]
    socket_group: Option<String>,
    /// With --config or --socket: metrics, health and a status page over HTTP on this address.
    #[arg(long, value_name = "ADDRESS:PORT")]
    http: Option<String>,
    /// With --config or --socket: the level of the log (error, warn, info, debug, trace).
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// With --config or --socket: the format of the log: text, json or journald.
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
}

impl ServiceArgs {
    /// Whether this is not about standard input or a FIFO.
    pub fn is_wanted(&self) -> bool {
        let others = self.http.is_some() || self.log_level.is_some() || self.log_format.is_some();
        self.socket.is_some() || self.config.is_some() || self.check || others
    }

    /// Replaces this process by the service. Returns only if that is not possible, with the reason.
    pub fn become_it(&self, home: Option<&Path>, writer: &WriterArgs) -> anyhow::Error {
        if self.socket.is_none() && self.config.is_none() {
            let text =
                "--check, --http and --log-... are for the service: name --socket PATH or --config FILE, too";
            return Usage(text.to_owned()).into();
        }
        let arguments = match self.arguments(home, writer) {
            Ok(arguments) => arguments,
            Err(usage) => return usage.into(),
        };
        let beside = std::env::current_exe().ok().and_then(|path| path.parent().map(|dir| dir.join(PROGRAM)));
        // The one that was installed with this command counts for more than what else is in PATH.
        let program = beside.filter(|path| path.is_file()).unwrap_or_else(|| PROGRAM.into());
        let error = Command::new(&program).args(arguments).exec();
        match error.kind() {
            ErrorKind::NotFound => anyhow!(
                "--socket and --config need the program {PROGRAM}, which is neither beside this one nor in PATH. Install it: \
                 `cargo install --path service` in the source of Waldo, or copy it there"
            ),
            _ => anyhow!("cannot start {}: {error}", program.display()),
        }
    }

    fn arguments(&self, home: Option<&Path>, writer: &WriterArgs) -> Result<Vec<OsString>, Usage> {
        let mut arguments = writer.for_service()?;
        if self.config.is_some() && !arguments.is_empty() {
            return Err(Usage(
                "--config says how its rings are made and written: leave the other flags out".to_owned(),
            ));
        }
        let mut add = |flag: &str, value: Option<OsString>| {
            if let Some(value) = value {
                arguments.extend([flag.into(), value]);
            }
        };
        add("--socket", self.socket.clone().map(Into::into));
        add("--config", self.config.clone().map(Into::into));
        add("--socket-mode", self.socket_mode.clone().map(Into::into));
        add("--socket-group", self.socket_group.clone().map(Into::into));
        add("--http", self.http.clone().map(Into::into));
        add("--log-level", self.log_level.clone().map(Into::into));
        add("--log-format", self.log_format.clone().map(Into::into));
        if self.check {
            arguments.push("--check".into());
        }
        if let Some(home) = home {
            arguments.extend(["--".into(), home.into()]);
        }
        Ok(arguments)
    }
}
