//! Ctrl-C and progress, looked after between rounds, where they disturb no figure.

use indicatif::{ProgressBar, ProgressStyle};
use std::fmt;
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::time::Duration;
use waldo_terminal::interrupt::{Interrupt, Ready};

/// A signal has come: everything is given up, and removed on the way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped(pub i32);

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ended by signal {}", self.0)
    }
}

impl std::error::Error for Stopped {}

/// Sees whether the user wants to go on, and shows what is being done.
#[derive(Clone)]
pub struct Watch {
    interrupt: Rc<Interrupt>,
    bar: ProgressBar,
}

impl Watch {
    /// Installs the signal handlers. `steps` is how many times [`Watch::step`] will be called.
    pub fn install(steps: usize) -> anyhow::Result<Watch> {
        let interrupt = Rc::new(Interrupt::install()?);
        // Drawn between rounds and by no thread of its own, which would take its share of a core.
        let bar = ProgressBar::new(steps as u64);
        let style = ProgressStyle::with_template("{elapsed:>4} [{bar:20}] {pos} of {len}  {wide_msg}");
        // The template is a constant that indicatif understands.
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
        Ok(Watch { interrupt, bar })
    }

    /// Fails with [`Stopped`] after a signal.
    pub fn check(&self) -> anyhow::Result<()> {
        self.bar.tick();
        match self.interrupt.signal() {
            Some(signal) => Err(Stopped(signal).into()),
            None => Ok(()),
        }
    }

    /// Waits until `input` has something to read or is at its end; says whether that came in time.
    pub fn wait_readable(&self, input: BorrowedFd<'_>, limit: Duration) -> anyhow::Result<bool> {
        match self.interrupt.wait_readable(Some(input), Some(limit))? {
            Ready::Input => Ok(true),
            Ready::TimedOut => Ok(false),
            Ready::Signal(signal) => Err(Stopped(signal).into()),
        }
    }

    /// What is being measured now.
    pub fn show(&self, what: &str) {
        self.bar.set_message(what.to_owned());
    }

    /// One of the steps is done.
    pub fn step(&self) {
        self.bar.inc(1);
    }

    /// Takes the progress off the screen.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}
