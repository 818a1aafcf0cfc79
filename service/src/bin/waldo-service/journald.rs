//! The log to systemd's journal, by its native protocol: one datagram for each entry, or a sealed file in
//! memory for an entry that is too long for a datagram.
//!
//! Nothing here waits. The journal may be stopped, slow or gone, and whoever logs may be the thread that
//! appends: an entry that is not taken at once is dropped and counted, and the journal is told of it with the
//! next entry that it takes.

#[cfg(test)]
mod tests;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};
use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{self, ErrorKind, Write as _};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

/// Where journald listens.
pub const SOCKET: &str = "/run/systemd/journal/socket";
/// In front of the names of our own fields, so that none is taken for one of the journal's.
const PREFIX: &str = "WALDO_";
/// The journal drops a field with a longer name.
const NAME_LEN_MAX: usize = 64;

/// Entries that were dropped since the process started. Relaxed: the number stands for itself.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// How many entries were dropped because the journal did not take them.
pub fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// Sends what is logged to the journal.
#[derive(Debug)]
pub struct Journald {
    socket: UnixDatagram,
    path: PathBuf,
    /// Dropped entries that the journal has not been told of. Relaxed, as above.
    untold: AtomicU64,
}

impl Journald {
    /// The journal that listens at `path`, which is [`SOCKET`] but in tests.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn at(path: &Path) -> io::Result<Journald> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        let journal = Journald { socket, path: path.to_owned(), untold: AtomicU64::new(0) };
        // The journal passes over an empty datagram. One that is there and takes nothing now may do so later.
        match journal.try_send(&[]) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(journal),
        }
    }

    /// Hands an entry to the journal, or drops it.
    fn send(&self, entry: &[u8]) {
        // Taken away at first, so that of two threads one tells.
        let lost = self.untold.swap(0, Ordering::Relaxed);
        if lost > 0 && self.try_send(&entry_about_lost(lost)).is_err() {
            self.untold.fetch_add(lost, Ordering::Relaxed);
        }
        if self.try_send(entry).is_err() {
            self.untold.fetch_add(1, Ordering::Relaxed);
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn try_send(&self, entry: &[u8]) -> io::Result<()> {
        // By its path each time: a journal that was started anew has a socket of its own there.
        match self.socket.send_to(entry, &self.path) {
            Ok(_) => Ok(()),
            Err(error) if error.raw_os_error() == Some(nix::libc::EMSGSIZE) => self.send_file(entry),
            Err(error) => Err(error),
        }
    }

    /// The journal reads such a file only if nobody can change it any more.
    fn send_file(&self, entry: &[u8]) -> io::Result<()> {
        let file = memfd_create(c"waldo-log", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
        let mut file = File::from(file);
        file.write_all(entry)?;
        fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::all()))?;
        let files = [file.as_raw_fd()];
        let rights = [ControlMessage::ScmRights(&files)];
        let address = UnixAddr::new(&self.path)?;
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        sendmsg(self.socket.as_raw_fd(), &[], &rights, flags, Some(&address))?;
        Ok(())
    }
}

impl<S: Subscriber> Layer<S> for Journald {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let mut entry = Vec::with_capacity(512);
        put(&mut entry, "PRIORITY", priority(*metadata.level()));
        put(&mut entry, "SYSLOG_IDENTIFIER", "waldo-service");
        put(&mut entry, "TARGET", metadata.target());
        if let (Some(file), Some(line)) = (metadata.file(), metadata.line()) {
            put(&mut entry, "CODE_FILE", file);
            put(&mut entry, "CODE_LINE", &line.to_string());
        }
        event.record(&mut Fields(&mut entry));
        self.send(&entry);
    }
}

/// As syslog has them.
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        _ => "7",
    }
}

fn entry_about_lost(count: u64) -> Vec<u8> {
    let mut entry = Vec::new();
    put(&mut entry, "PRIORITY", priority(Level::WARN));
    put(&mut entry, "SYSLOG_IDENTIFIER", "waldo-service");
    put(
        &mut entry,
        "MESSAGE",
        &format!("{count} entries of this log were dropped: the journal did not take them"),
    );
    entry
}

/// Adds a field with its length in front, which lets the value hold anything.
fn put(entry: &mut Vec<u8>, name: &str, value: &str) {
    entry.extend_from_slice(name.as_bytes());
    entry.push(b'\n');
    entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
    entry.extend_from_slice(value.as_bytes());
    entry.push(b'\n');
}

/// What a field of an event is called in the journal, which takes capitals, digits and underscores.
fn name_of(field: &str) -> String {
    if field == "message" {
        return "MESSAGE".to_owned();
    }
    let letters = field.bytes().map(|byte| match byte {
        b'A'..=b'Z' | b'0'..=b'9' => char::from(byte),
        b'a'..=b'z' => char::from(byte.to_ascii_uppercase()),
        _ => '_',
    });
    PREFIX.chars().chain(letters).take(NAME_LEN_MAX).collect()
}

/// Adds the fields of an event to an entry.
struct Fields<'a>(&'a mut Vec<u8>);

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        put(self.0, &name_of(field.name()), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        // Only a value whose own formatting fails fails here: what it has written is better than nothing.
        let _ = write!(text, "{value:?}");
        put(self.0, &name_of(field.name()), &text);
    }
}
