//! What a service manager is told: systemd's notifications. Without `NOTIFY_SOCKET` nobody is.
//!
//! A manager that does not read its socket must not stop the service, so a thread of its own sends.

#[cfg(test)]
mod tests;

use sd_notify::NotifyState;
use std::convert::Infallible;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;
use tokio::time::Instant;

/// Messages that wait for the manager, at most. Those beyond are dropped: the next ones say the same.
const QUEUE_MAX: usize = 64;

/// For how long the manager is asked at a time while rings are opened.
const OPENING: Duration = Duration::from_secs(60);
/// For how long in all. Nothing tells from here whether an opening goes on or hangs, and a service that hangs
/// has to end sometime.
const OPENING_MAX: Duration = Duration::from_secs(2 * 3600);

#[derive(Debug)]
enum Message {
    Ready(String),
    Reloading,
    Stopping(Duration),
    Extend(Duration),
    Watchdog,
    Status(String),
}

/// The way to the service manager.
#[derive(Clone, Debug)]
pub struct ServiceManager(Option<SyncSender<Message>>);

impl ServiceManager {
    /// Finds out whether there is one.
    pub fn find() -> ServiceManager {
        if std::env::var_os("NOTIFY_SOCKET").is_none() {
            return ServiceManager(None);
        }
        let (sender, messages) = sync_channel::<Message>(QUEUE_MAX);
        let thread = std::thread::Builder::new().name("waldo-manager".into());
        let started = thread.spawn(move || messages.into_iter().for_each(|message| send(&message)));
        ServiceManager(started.is_ok().then_some(sender))
    }

    fn tell(&self, message: Message) {
        if let Some(sender) = &self.0 {
            let _ = sender.try_send(message);
        }
    }

    /// Everything is served.
    pub fn ready(&self, status: impl Into<String>) {
        self.tell(Message::Ready(status.into()));
    }

    /// A reload begins; [`ServiceManager::ready`] ends it.
    pub fn reloading(&self) {
        self.tell(Message::Reloading);
    }

    /// The end begins, and takes at most this long.
    pub fn stopping(&self, limit: Duration) {
        self.tell(Message::Stopping(limit));
    }

    /// What is being done takes at most this much longer, whatever the unit's own limit.
    pub fn extend(&self, limit: Duration) {
        self.tell(Message::Extend(limit));
    }

    /// Asks again and again, as long as this is waited for, until the limit. A ring that was not closed is
    /// read when it is opened, and takes what it takes: a manager that gave up would only have it read from
    /// the beginning again.
    pub async fn ask_for_time(&self) -> Infallible {
        self.ask(OPENING, OPENING_MAX).await
    }

    async fn ask(&self, at_a_time: Duration, in_all: Duration) -> Infallible {
        let begun = Instant::now();
        let mut ticks = tokio::time::interval(at_a_time / 6);
        while begun.elapsed() < in_all {
            ticks.tick().await;
            self.extend(at_a_time);
        }
        tracing::warn!(
            "rings are being opened for {}: the service manager is asked for no more time",
            humantime::format_duration(in_all)
        );
        std::future::pending().await
    }

    /// The service is alive.
    pub fn watchdog(&self) {
        self.tell(Message::Watchdog);
    }

    /// A status line for people.
    pub fn status(&self, text: impl Into<String>) {
        self.tell(Message::Status(text.into()));
    }

    /// How often [`ServiceManager::watchdog`] should be called, if at all: twice as often as is asked for.
    pub fn watchdog_interval(&self) -> Option<Duration> {
        self.0.as_ref()?;
        sd_notify::watchdog_enabled().map(|limit| limit / 2).filter(|interval| !interval.is_zero())
    }
}

/// An hour at most fits.
fn extension(limit: Duration) -> NotifyState<'static> {
    NotifyState::ExtendTimeoutUsec(u32::try_from(limit.as_micros()).unwrap_or(u32::MAX))
}

fn send(message: &Message) {
    let sent = match message {
        Message::Ready(status) => sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(status)]),
        Message::Reloading => NotifyState::monotonic_usec_now()
            .and_then(|now| sd_notify::notify(&[NotifyState::Reloading, now])),
        Message::Stopping(limit) => sd_notify::notify(&[NotifyState::Stopping, extension(*limit)]),
        Message::Extend(limit) => sd_notify::notify(&[extension(*limit)]),
        Message::Watchdog => sd_notify::notify(&[NotifyState::Watchdog]),
        Message::Status(status) => sd_notify::notify(&[NotifyState::Status(status)]),
    };
    if let Err(error) = sent {
        tracing::debug!("the service manager cannot be told {message:?}: {error}");
    }
}
