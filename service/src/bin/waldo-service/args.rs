//! The command line.

use crate::config::{
    self, Bytes, Config, ConfigError, DurabilityKind, GroupId, LogFormat, Mode, OnFullKind, Rate, RingConfig,
    Time,
};
use crate::config::{parse_bytes, parse_group, parse_keep, parse_mode, parse_rate};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The file, if neither a ring nor `--config` is given.
const CONFIG_VARIABLE: &str = "WALDO_SERVICE_CONFIG";
/// Instead of `[http] listen`.
const HTTP_VARIABLE: &str = "WALDO_SERVICE_HTTP";
/// Instead of `[log] format`.
const FORMAT_VARIABLE: &str = "WALDO_SERVICE_LOG_FORMAT";

/// Run the writer of one or several rings, for many programs that append.
///
/// Each ring has a Unix socket. Programs connect to it by the library (`waldo::client`), by `waldo append
/// --socket PATH`, or by any program that speaks the frames of docs/PRODUCERS.md. Readers do not need this
/// program: they read the ring itself, as ever.
///
/// What to serve is named by flags, for one ring, or by a TOML file. A second writer of a ring is refused.
///
/// Signals: SIGTERM and SIGINT end the service in good order, with everything acknowledged stored and
/// durable; a second one ends it at once, which loses nothing that was acknowledged. SIGHUP reads the file
/// again: the log's level, rings that are new, gone or have failed take effect, and the log says what needs
/// a restart. A signal that was ignored at the start stays ignored (nohup). Nobody needs to read standard
/// error.
#[derive(clap::Parser, Clone, Debug)]
#[command(
    name = "waldo-service",
    version,
    after_help = "\
Examples:
  waldo-service /var/tmp/ring --socket /tmp/ring.sock     and then: echo hello | waldo append --socket /tmp/ring.sock
  waldo-service --config /etc/waldo/service.toml --check  is the file in order?
  waldo-service --config /etc/waldo/service.toml --http 127.0.0.1:9464

A file:
  [log]
  level = \"info\"
  [http]
  listen = \"127.0.0.1:9464\"
  [[ring]]
  home = \"/var/lib/waldo/orders\"
  socket = \"/run/waldo/orders.sock\"
  socket_group = \"producers\"
  durability = \"interval\"
Every key is in docs/OPERATIONS.md.

Environment: WALDO_SERVICE_CONFIG (the file, if neither HOME nor --config is given), WALDO_SERVICE_HTTP,
WALDO_SERVICE_LOG_FORMAT and RUST_LOG (the log's level) count for more than the file, and flags for more than these.

Exit codes (standard error says why):
  0    ended in good order by SIGTERM
  1    a failure that may pass: the disk is full, a ring has failed. Start it again
  2    wrong usage or configuration
  3    a person is needed: damage, no permission, something is in the way. Starting again does not help
  4    another process has the ring, a socket or the port. Start it again
  130  ended in good order by SIGINT (Ctrl-C); 128 + n at once by a second signal"
)]
pub struct Args {
    /// Directory of the ring. Made if it is not there.
    #[arg(conflicts_with = "config")]
    home: Option<PathBuf>,
    /// Read what to serve from this TOML file.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Only say whether that would work, and what would be served.
    #[arg(long)]
    pub check: bool,
    #[command(flatten)]
    ring: RingArgs,
    /// Serve metrics (/metrics), health (/healthz) and a status page (/) on this address.
    #[arg(long, value_name = "ADDRESS:PORT")]
    http: Option<SocketAddr>,
    /// Let --http be an address that other machines reach. Whoever reaches it can read it.
    #[arg(long)]
    http_remote: bool,
    /// What the log tells: error, warn, info, debug, trace, or directives as in RUST_LOG. info by default.
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// How the log is written: to standard error as text or JSON, or to systemd's journal.
    #[arg(long, value_enum, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
}

/// The ring of the command line. A file can say more: see docs/OPERATIONS.md.
#[derive(clap::Args, Clone, Debug)]
#[group(conflicts_with = "config", multiple = true)]
struct RingArgs {
    /// Path of the producers' socket. Not needed with socket activation.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Permission bits of the socket: who may write to it may append. 0660 by default.
    #[arg(long, value_name = "MODE", value_parser = parse_mode)]
    socket_mode: Option<Mode>,
    /// Group of the socket; this process's own by default.
    #[arg(long, value_name = "GROUP")]
    socket_group: Option<String>,
    /// Pages in a ring that is made; beyond that the oldest is dropped. 8 by default. A ring that is there
    /// keeps its own.
    #[arg(long, value_name = "PAGES")]
    ring_size: Option<u32>,
    /// The same in bytes of all pages together, like 10G: as many whole pages as fit.
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    size: Option<Bytes>,
    /// The same as a time for which records stay, like 6h, at the rate that --rate states: rounded up to
    /// whole pages, and one more for the page that is being filled.
    #[arg(long, value_name = "TIME", requires = "rate", conflicts_with = "size", value_parser = parse_keep)]
    keep: Option<Time>,
    /// Bytes that are appended in a second, like 10MB: payloads, and 48 bytes, and up to 7 more, with each
    /// record.
    #[arg(long, value_name = "SIZE", requires = "keep", value_parser = parse_rate)]
    rate: Option<Rate>,
    /// Bytes of one page file of a ring that is made. 64M by default. A ring that is there keeps its own.
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    page_size: Option<Bytes>,
    /// What to do when the disk has no room for another page: refuse what producers send, or go on with the
    /// pages that there are, as a ring of fewer pages, until there is room again. `stop` by default.
    #[arg(long, value_enum, value_name = "WHAT")]
    on_full: Option<OnFullKind>,
    /// Drop pages of which all records are older than this, like 6h, though the ring is not full: a look when
    /// a page is full, and each minute. The page that is being filled stays.
    #[arg(long, value_name = "TIME", value_parser = parse_keep)]
    keep_for: Option<Time>,
    /// Permission bits of the ring's files and its control segment: who may read them may follow. Those of a
    /// ring that is there are changed. Without this flag they stay, and a ring that is made gets 0640.
    #[arg(long, value_name = "MODE", value_parser = parse_mode)]
    mode: Option<Mode>,
    /// Group of the ring's directory, its files and its control segment, by name or number; this process must
    /// be a member of it, or have the capability CAP_CHOWN. That of a ring that is there is changed. Without
    /// this flag it stays, and the files of a ring that is made have the group of this process, or of the
    /// directory if that has the set-group-id bit.
    #[arg(long, value_name = "GROUP", value_parser = parse_group)]
    group: Option<GroupId>,
    /// Do not wait for the disk, ever: records survive this process, and no power cut is promised anything.
    #[arg(long, conflicts_with = "sync_interval")]
    no_sync: bool,
    /// Do not wait for the disk with each append: a flush every so many milliseconds.
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..))]
    sync_interval: Option<u64>,
    /// Connections at once of one user; 0: as many as there are. Three quarters of all by default, which are
    /// 4096.
    #[arg(long, value_name = "N")]
    connections_per_user: Option<usize>,
    /// Put the control segment into this file (on a tmpfs) instead of POSIX shared memory.
    #[arg(long, value_name = "FILE")]
    control: Option<PathBuf>,
}

impl RingArgs {
    fn ring(&self, home: PathBuf) -> RingConfig {
        let mut ring = RingConfig::at(home, self.socket.clone());
        ring.socket_mode = self.socket_mode;
        ring.socket_group = self.socket_group.clone();
        ring.ring_size = self.ring_size;
        ring.size = self.size;
        ring.keep = self.keep;
        ring.rate = self.rate;
        ring.page_size = self.page_size;
        ring.keep_for = self.keep_for;
        ring.on_full = self.on_full.unwrap_or_default();
        ring.mode = self.mode;
        ring.group = self.group;
        ring.connections_per_user = self.connections_per_user;
        ring.control = self.control.as_ref().map(|path| std::path::absolute(path).unwrap_or(path.clone()));
        if self.no_sync {
            ring.durability = DurabilityKind::PageCache;
        }
        if let Some(ms) = self.sync_interval {
            ring.durability = DurabilityKind::Interval;
            ring.sync_interval = Some(Time(Duration::from_millis(ms)));
        }
        ring
    }
}

impl Args {
    /// The file that says what to serve, if one does.
    pub fn file(&self) -> Option<PathBuf> {
        match &self.home {
            Some(_) => None,
            None => self.config.clone().or_else(|| variable(CONFIG_VARIABLE).map(PathBuf::from)),
        }
    }

    /// Whether the command line or the environment says what is told, so that a file does not.
    pub fn log_level(&self) -> Option<String> {
        self.log_level.clone().or_else(|| variable("RUST_LOG"))
    }

    /// What to do: the file, with what the environment and the command line say in its place. A second call
    /// reads the file again.
    ///
    /// # Errors
    /// What is wrong, with lines.
    pub fn config(&self) -> Result<Config, ConfigError> {
        let wrong = |text: String| ConfigError::of_arguments(vec![text]);
        let mut config = match (self.file(), &self.home) {
            (Some(file), _) => config::read(&file)?,
            (None, Some(home)) => Config { rings: vec![self.ring.ring(home.clone())], ..Config::default() },
            (None, None) => {
                let text = "name a ring (waldo-service HOME --socket PATH) or a file (--config FILE)";
                return Err(wrong(text.to_owned()));
            }
        };
        if let Some(address) = variable(HTTP_VARIABLE) {
            let parsed = address.parse().map_err(|_| {
                wrong(format!(
                    "{HTTP_VARIABLE} is `{address}`: write an address and a port, like 127.0.0.1:9464"
                ))
            })?;
            config.http.listen = Some(parsed);
        }
        config.http.listen = self.http.or(config.http.listen);
        config.http.remote |= self.http_remote;
        if let Some(text) = variable(FORMAT_VARIABLE) {
            let format = clap::ValueEnum::from_str(&text, true);
            let format = format.map_err(|_| {
                wrong(format!("{FORMAT_VARIABLE} is `{text}`: it may be text, json or journald"))
            })?;
            config.log.format = Some(format);
        }
        config.log.format = self.log_format.or(config.log.format);
        config.log.level = self.log_level().or(config.log.level);
        if let Some(level) = &config.log.level {
            crate::logging::parse(level).map_err(|error| wrong(format!("log level `{level}`: {error}")))?;
        }
        let faults = config::check(&config);
        if !faults.is_empty() {
            return Err(ConfigError::of_arguments(faults.into_iter().map(|(_, text)| text).collect()));
        }
        Ok(config)
    }
}

/// A variable that is set to something.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
