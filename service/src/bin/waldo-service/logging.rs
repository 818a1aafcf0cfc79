//! The log: text, JSON or journald, with a level that can be changed while the service runs.
//!
//! Text and JSON go through the queue of [`waldo_terminal::notice`], so that a standard error that nobody
//! reads neither ends nor blocks the service; for the journal see [`crate::journald`].

use crate::config::{LogConfig, LogFormat};
use crate::journald::{self, Journald};
use anyhow::Context;
use std::io::IsTerminal;
use std::path::Path;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};
use waldo_terminal::notice::{self, LogLines};

const LEVEL: &str = "info";

/// Changes what is logged.
#[derive(Clone, Debug)]
pub struct Logging(reload::Handle<EnvFilter, Registry>);

/// Reads a level or directives.
///
/// # Errors
/// What is wrong with them.
pub fn parse(level: &str) -> Result<EnvFilter, String> {
    const HINT: &str =
        "it may be error, warn, info, debug, trace, off, or target=level, with commas between them";
    // A lone word would be taken for a target, all of which is told: nobody means that by a level.
    let lone = level.split(',').map(str::trim).find(|directive| !directive.contains(['=', '[']));
    if let Some(word) = lone
        && word.parse::<LevelFilter>().is_err()
    {
        return Err(format!("`{word}` is no level; {HINT}"));
    }
    EnvFilter::try_new(level).map_err(|error| format!("{error}; {HINT}"))
}

/// Lines and entries of the log that were dropped because nobody took them.
pub fn dropped() -> u64 {
    notice::dropped() + journald::dropped()
}

fn filter(config: &LogConfig) -> anyhow::Result<EnvFilter> {
    parse(config.level.as_deref().unwrap_or(LEVEL)).map_err(anyhow::Error::msg)
}

/// Starts the log.
///
/// # Errors
/// There is no journal to write to.
pub fn start(config: &LogConfig) -> anyhow::Result<Logging> {
    let (filter, handle) = reload::Layer::new(filter(config)?);
    let layer: Box<dyn Layer<_> + Send + Sync> = match config.format.unwrap_or_default() {
        LogFormat::Text => {
            let lines = fmt::layer().with_writer(|| LogLines::Text).with_target(false);
            lines.with_ansi(std::io::stderr().is_terminal()).boxed()
        }
        LogFormat::Json => {
            let lines = fmt::layer().with_writer(|| LogLines::Json).with_target(false);
            lines.json().flatten_event(true).boxed()
        }
        LogFormat::Journald => Journald::at(Path::new(journald::SOCKET))
            .context("there is no systemd journal here: choose the log format text or json")?
            .boxed(),
    };
    tracing_subscriber::registry().with(filter).with(layer).init();
    // The standard library's hook would write to standard error itself, and wait for whoever reads it.
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
        tracing::error!(thread, "{panic}");
    }));
    Ok(Logging(handle))
}

impl Logging {
    /// Logs from now on what `config` says.
    ///
    /// # Errors
    /// The level makes no sense.
    pub fn set_level(&self, config: &LogConfig) -> anyhow::Result<()> {
        self.0.reload(filter(config)?).context("the log's level cannot be changed")
    }
}
