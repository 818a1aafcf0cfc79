//! Signals: those that end the service, and the one that makes it read its file again.

#[cfg(test)]
mod tests;

use anyhow::Context;
use nix::libc::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio::signal::unix::{Signal, SignalKind, signal};
use waldo_terminal::interrupt::is_ignored;

/// A signal that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// End in good order; the signal's number.
    Stop(i32),
    /// Read the configuration again.
    Reload,
}

/// The signals that the service listens to. One that it was started with as ignored is not among them.
#[derive(Debug)]
pub struct Signals {
    terminate: Option<Signal>,
    interrupt: Option<Signal>,
    hangup: Option<Signal>,
    /// A reload was asked for while that could not be.
    reload_later: bool,
}

impl Signals {
    /// Installs the handlers.
    ///
    /// # Errors
    /// The system refuses.
    pub fn install() -> anyhow::Result<Signals> {
        let install = || -> std::io::Result<Signals> {
            // A file that may not grow any more is an error of the write then, and not a signal that kills.
            signal_hook::flag::register(SIGXFSZ, Arc::default())?;
            Ok(Signals {
                terminate: listen_and_exit_at_the_second(SIGTERM)?,
                interrupt: listen_and_exit_at_the_second(SIGINT)?,
                hangup: listen(SIGHUP)?,
                reload_later: false,
            })
        };
        install().context("cannot install a signal handler")
    }

    /// Waits for the next one.
    async fn next(&mut self) -> Order {
        if std::mem::take(&mut self.reload_later) {
            return Order::Reload;
        }
        self.receive().await
    }

    /// Waits for the next one, or as [`Signals::next_stop`] if a reload goes on already.
    pub async fn next_order(&mut self, reloading: bool) -> Order {
        if reloading { Order::Stop(self.next_stop().await) } else { self.next().await }
    }

    /// Waits for one that ends the service, and keeps one that asks for a reload for later.
    pub async fn next_stop(&mut self) -> i32 {
        loop {
            match self.receive().await {
                Order::Stop(signal) => return signal,
                Order::Reload => {
                    tracing::info!("the configuration will be read again when what is under way is done");
                    self.reload_later = true;
                }
            }
        }
    }

    async fn receive(&mut self) -> Order {
        tokio::select! {
            () = receive(&mut self.terminate) => Order::Stop(SIGTERM),
            () = receive(&mut self.interrupt) => Order::Stop(SIGINT),
            () = receive(&mut self.hangup) => Order::Reload,
        }
    }
}

fn listen(number: i32) -> std::io::Result<Option<Signal>> {
    if is_ignored(number) { Ok(None) } else { signal(SignalKind::from_raw(number)).map(Some) }
}

/// The handler itself ends the process at the second SIGTERM or SIGINT: whatever holds up the end cannot hold
/// up that.
fn listen_and_exit_at_the_second(number: i32) -> std::io::Result<Option<Signal>> {
    static SECOND: std::sync::OnceLock<Arc<AtomicBool>> = std::sync::OnceLock::new();
    let second = SECOND.get_or_init(Arc::default);
    if is_ignored(number) {
        return Ok(None);
    }
    signal_hook::flag::register_conditional_shutdown(number, 128 + number, Arc::clone(second))?;
    signal_hook::flag::register(number, Arc::clone(second))?;
    listen(number)
}

async fn receive(signal: &mut Option<Signal>) {
    let received = match signal {
        Some(signal) => signal.recv().await,
        None => None,
    };
    if received.is_none() {
        std::future::pending::<()>().await;
    }
}
