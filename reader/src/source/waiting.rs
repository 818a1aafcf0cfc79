//! Sleeping until a source has news.

use super::attachment::{Attachment, Source};
use super::standing::settling;
use crate::clock::{jittered, process_number};
use crate::futex;
use std::time::Duration;

/// Time between two looks for the successor of a retired segment, give or take half of it.
const SUCCESSOR_PAUSE: Duration = Duration::from_millis(100);
/// Longest sleep while a writer reads the files, give or take half of it.
const SETTLING_PAUSE: Duration = Duration::from_secs(1);

impl Attachment {
    /// Must be taken before looking for news: a change after that look changes this value, or wakes the
    /// sleeper.
    pub(crate) fn wake_token(&self) -> u32 {
        match &self.source {
            Source::Control(control) => control.segment().wake_token(process_number()),
            Source::Files(_) => 0,
        }
    }

    /// Sleeps until woken, for at most `limit`, and for at most about `slice`, so that a dead writer does not
    /// go unnoticed.
    pub(crate) fn sleep(&self, token: u32, slice: Duration, limit: Option<Duration>) {
        match &self.source {
            Source::Control(control) => {
                let slice = self.slice(slice);
                let slice = limit.map_or(slice, |limit| limit.min(slice));
                futex::wait(control.segment().wake_word(process_number()), token, slice);
            }
            Source::Files(files) => {
                let pause = files.pause();
                std::thread::sleep(limit.map_or(pause, |limit| limit.min(pause)));
            }
        }
    }

    /// How long to sleep at most where `most` is usual: nothing wakes readers that sleep on a retired
    /// segment, nor those that wait for a writer that dies during recovery.
    fn slice(&self, most: Duration) -> Duration {
        match &self.source {
            _ if self.awaits_successor() => jittered(most.min(SUCCESSOR_PAUSE)),
            Source::Control(control) if settling(control) => most.min(jittered(SETTLING_PAUSE)),
            _ => most,
        }
    }
}
