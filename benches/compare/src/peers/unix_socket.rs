//! Unix stream sockets, written by hand as a program would do it: the publisher keeps one copy of the records
//! that some subscriber still needs, with a position for each subscriber, and writes without blocking to each
//! subscriber that can take bytes.

use crate::harness::spec::Spec;
use crate::system::{Facts, Publisher, Subscriber};
use anyhow::{Context, bail};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

pub const FACTS: Facts = Facts {
    name: "Unix sockets",
    persists: "nothing: lives in the publisher and in socket buffers",
    slow: "the publisher waits once the slowest is 8 MiB behind",
    wakes: "the kernel, in each write",
};

/// Bytes that the slowest subscriber may be behind.
const WINDOW: usize = 8 << 20;
/// Bytes nobody needs any more that may lie in front before the rest is moved.
const SLACK: usize = 1 << 20;
/// Descriptors that a process has besides.
const OTHER_FILES: u64 = 32;

struct Client {
    stream: UnixStream,
    /// Bytes it has been sent since the beginning.
    sent: u64,
    /// Its socket is full; epoll tells when it is not.
    full: bool,
    gone: bool,
}

struct Hub {
    listener: UnixListener,
    epoll: Epoll,
    clients: Vec<Client>,
    /// What not everybody has been sent yet, length-prefixed records, beginning at byte `base`.
    pending: Vec<u8>,
    base: u64,
}

pub fn publisher(spec: &Spec) -> anyhow::Result<Box<dyn Publisher>> {
    let limit = crate::harness::usage::raise_open_files()?;
    if spec.subscribers as u64 + OTHER_FILES > limit {
        bail!(
            "a descriptor for each of {} subscribers is more than the limit of {limit}: raise it (ulimit -Hn)",
            spec.subscribers
        );
    }
    // The standard library asks for the longest queue of connections that the system grants.
    let listener = UnixListener::bind(socket(spec)).context("cannot listen on the socket")?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).context("cannot make an epoll instance")?;
    Ok(Box::new(Hub { listener, epoll, clients: Vec::new(), pending: Vec::new(), base: 0 }))
}

impl Publisher for Hub {
    fn gather(&mut self, subscribers: usize) -> anyhow::Result<()> {
        while self.clients.len() < subscribers {
            let (stream, _) = self.listener.accept().context("cannot accept a subscriber")?;
            stream.set_nonblocking(true)?;
            // Edge-triggered: told once each time a full socket has room again.
            let event =
                EpollEvent::new(EpollFlags::EPOLLOUT | EpollFlags::EPOLLET, self.clients.len() as u64);
            self.epoll.add(&stream, event).context("cannot watch a subscriber's socket")?;
            self.clients.push(Client { stream, sent: 0, full: false, gone: false });
        }
        Ok(())
    }

    fn publish(&mut self, records: &[Vec<u8>]) -> anyhow::Result<()> {
        for record in records {
            self.pending.extend_from_slice(&u32::try_from(record.len())?.to_le_bytes());
            self.pending.extend_from_slice(record);
        }
        self.note_events(Duration::ZERO)?;
        for at in 0..self.clients.len() {
            self.send(at)?;
        }
        self.forget();
        while self.pending.len() > WINDOW {
            self.serve(Duration::from_secs(1))?;
        }
        Ok(())
    }

    fn idle(&mut self, until: Instant) -> anyhow::Result<()> {
        while !self.pending.is_empty() && Instant::now() < until {
            self.serve(until.saturating_duration_since(Instant::now()))?;
        }
        std::thread::sleep(until.saturating_duration_since(Instant::now()));
        Ok(())
    }

    fn drain(&mut self) -> anyhow::Result<()> {
        while !self.pending.is_empty() {
            self.serve(Duration::from_secs(1))?;
        }
        Ok(())
    }

    fn close(self: Box<Self>) -> anyhow::Result<()> {
        Ok(())
    }
}

impl Hub {
    /// Waits for sockets that have room again, and sends to them.
    fn serve(&mut self, time: Duration) -> anyhow::Result<()> {
        for at in self.note_events(time)? {
            self.send(at)?;
        }
        self.forget();
        Ok(())
    }

    /// Which sockets have room again.
    fn note_events(&mut self, time: Duration) -> anyhow::Result<Vec<usize>> {
        let mut events = [EpollEvent::empty(); 256];
        let timeout = EpollTimeout::try_from(time).unwrap_or(EpollTimeout::MAX);
        let many = match self.epoll.wait(&mut events, timeout) {
            Ok(many) => many,
            Err(Errno::EINTR) => 0,
            Err(errno) => return Err(errno).context("cannot wait for room in the sockets"),
        };
        let ready: Vec<usize> = events[..many].iter().map(|event| event.data() as usize).collect();
        for at in &ready {
            self.clients[*at].full = false;
        }
        Ok(ready)
    }

    /// Sends a subscriber what it has not had, as far as its socket takes it.
    fn send(&mut self, at: usize) -> anyhow::Result<()> {
        let client = &mut self.clients[at];
        let end = self.base + self.pending.len() as u64;
        while !client.full && !client.gone && client.sent < end {
            let from = usize::try_from(client.sent - self.base)?;
            match client.stream.write(&self.pending[from..]) {
                Ok(bytes) => client.sent += bytes as u64,
                Err(error) if error.kind() == ErrorKind::WouldBlock => client.full = true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                    client.gone = true;
                }
                Err(error) => return Err(error).context("cannot write to a subscriber"),
            }
        }
        Ok(())
    }

    /// Lets go of what everybody has been sent.
    fn forget(&mut self) {
        let end = self.base + self.pending.len() as u64;
        let needed = self.clients.iter().filter(|client| !client.gone).map(|client| client.sent).min();
        let done = (needed.unwrap_or(end) - self.base) as usize;
        if done == self.pending.len() {
            self.pending.clear();
        } else if done >= SLACK {
            self.pending.drain(..done);
        } else {
            return;
        }
        self.base += done as u64;
    }
}

struct Peer {
    stream: UnixStream,
    buffer: Vec<u8>,
    filled: usize,
}

pub fn subscriber(spec: &Spec) -> anyhow::Result<Box<dyn Subscriber>> {
    let stream = UnixStream::connect(socket(spec)).context("cannot connect to the publisher")?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    Ok(Box::new(Peer { stream, buffer: vec![0; 256 << 10], filled: 0 }))
}

impl Subscriber for Peer {
    fn receive(&mut self, take: &mut dyn FnMut(&[u8])) -> anyhow::Result<()> {
        match self.stream.read(&mut self.buffer[self.filled..]) {
            Ok(0) => bail!("the publisher has gone away"),
            Ok(bytes) => self.filled += bytes,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return Ok(());
            }
            Err(error) => return Err(error).context("cannot read from the publisher"),
        }
        let mut at = 0;
        while let Some((length, rest)) = self.buffer[at..self.filled].split_first_chunk::<4>() {
            let length = u32::from_le_bytes(*length) as usize;
            let Some(record) = rest.get(..length) else { break };
            take(record);
            at += 4 + length;
        }
        self.buffer.copy_within(at..self.filled, 0);
        self.filled -= at;
        Ok(())
    }
}

fn socket(spec: &Spec) -> PathBuf {
    spec.run.join("socket")
}
