//! `--watch`: shows the same output again and again.

use std::io::IsTerminal;
use std::time::Duration;

/// Whether a command shows what it shows more than once.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct Repeat {
    /// Repeat the output until Ctrl-C.
    #[arg(short, long)]
    pub watch: bool,
    /// Seconds between two updates of --watch.
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = parse_interval)]
    interval: f64,
}

impl Repeat {
    /// Time between two looks.
    pub fn interval(&self) -> Duration {
        Duration::from_secs_f64(self.interval)
    }

    /// `text` as what is shown at one look: of several, in the same place on a terminal, and below the last
    /// one elsewhere.
    pub fn frame(&self, text: String, is_first: bool) -> String {
        match (self.watch && std::io::stdout().is_terminal(), is_first) {
            // Home, the text, and clear what an earlier and longer one left behind.
            (true, _) => format!("\x1b[H{}\x1b[J", text.replace('\n', "\x1b[K\n")),
            (false, true) => text,
            (false, false) => format!("\n{text}"),
        }
    }
}

/// Reads a number of seconds between two looks, for clap.
///
/// # Errors
/// What is wrong with it.
pub fn parse_interval(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("`{text}` is no number of seconds"))?;
    if (0.01..=86400.0).contains(&seconds) {
        Ok(seconds)
    } else {
        Err("the interval must be between 0.01 and 86400 seconds".to_owned())
    }
}
