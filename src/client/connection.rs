//! One connection: HELLO, WELCOME, and frames as they come from the socket.

use super::connect::connect_at_once;
use super::lane::{LaneGeometry, LaneMemory, LaneSender, Receiving};
use super::wire::{
    ErrorCode, ErrorFrame, FRAME_HEADER_LEN, FrameHeader, Hello, Kind, LaneOffer, REPLY_LEN_MAX, Welcome,
    WireFault,
};
use super::{ProducerError, ProducerOptions};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A connection after WELCOME.
pub(super) struct Opened {
    /// To write to.
    pub(super) stream: UnixStream,
    /// To read from; may hold frames already.
    pub(super) frames: Frames<Receiving>,
    pub(super) welcome: Welcome,
    pub(super) lane: Option<LaneSender>,
}

/// Connects and exchanges HELLO and WELCOME, with so much time `left` to reach the service; `None`: any. A
/// service that knows nothing of lanes is not asked for one.
pub(super) fn open(
    path: &Path,
    options: &ProducerOptions,
    left: Option<Duration>,
) -> Result<Opened, ProducerError> {
    let timeout = options.welcome_timeout(left);
    match open_once(path, options, timeout, options.lane) {
        Err(ProducerError::Refused { code: ErrorCode::Malformed, .. }) if options.lane => {
            open_once(path, options, timeout, false)
        }
        outcome => outcome,
    }
}

fn open_once(
    path: &Path,
    options: &ProducerOptions,
    timeout: Duration,
    lane: bool,
) -> Result<Opened, ProducerError> {
    let broken = |source| connect_error(path, source);
    // What the system calls it tells nobody what has happened.
    let told = |error| match error {
        ProducerError::Connect { source, .. } if source.kind() == io::ErrorKind::WouldBlock => {
            let text = format!("it has taken the connection, and not answered for {timeout:?}");
            broken(io::Error::new(io::ErrorKind::TimedOut, text))
        }
        error => error,
    };
    let mut stream = connect_at_once(path).map_err(broken)?;
    stream.set_read_timeout(Some(timeout)).map_err(broken)?;
    stream.set_write_timeout(Some(timeout)).map_err(broken)?;
    let ProducerOptions { name, durable, checksums, .. } = options.clone();
    let hello = Hello { name, durable, checksums, lane };
    let mut out = Vec::new();
    hello.encode(&mut out)?;
    // A service that refuses the connection may have closed it already; its answer is there to be read.
    let written = stream.write_all(&out);
    let mut frames = Frames::new(Receiving::new(stream.try_clone().map_err(broken)?, lane), path);
    let welcome = match frames.next() {
        Ok(Some((Kind::Welcome, body))) => Welcome::check(body)?,
        Ok(Some((Kind::Error, body))) => return Err(refused(ErrorFrame::check(body)?)),
        Ok(Some((kind, _))) => return Err(WireFault::Kind(kind as u8).into()),
        Ok(None) => return Err(broken(written.err().unwrap_or(io::ErrorKind::UnexpectedEof.into()))),
        Err(error) => return Err(told(error)),
    };
    let memory = if lane { accept_lane(&mut frames, path).map_err(told)? } else { None };
    let socket = stream.try_clone().map_err(broken)?;
    let lane = memory.map(|memory| LaneSender::new(memory, socket, path, checksums));
    stream.set_read_timeout(None).map_err(broken)?;
    stream.set_write_timeout(None).map_err(broken)?;
    Ok(Opened { stream, frames, welcome, lane })
}

/// Reads LANE and maps what came with it. `None`: the service offers none, or this process cannot use it.
/// That needs no word: whoever does not use a lane sends over the socket.
fn accept_lane(frames: &mut Frames<Receiving>, path: &Path) -> Result<Option<LaneMemory>, ProducerError> {
    let offer = match frames.next()? {
        Some((Kind::Lane, body)) => LaneOffer::check(body)?,
        Some((Kind::Error, body)) => return Err(refused(ErrorFrame::check(body)?)),
        Some((kind, _)) => return Err(WireFault::Kind(kind as u8).into()),
        None => return Err(connect_error(path, io::ErrorKind::UnexpectedEof.into())),
    };
    let descriptor = frames.source.finish();
    if offer.capacity == 0 {
        return Ok(None);
    }
    let geometry = LaneGeometry::new(offer.capacity).map_err(WireFault::from)?;
    Ok(descriptor.and_then(|descriptor| LaneMemory::map(descriptor, geometry).ok()))
}

pub(super) fn connect_error(path: &Path, source: io::Error) -> ProducerError {
    ProducerError::Connect { path: path.to_owned(), source: Arc::new(source) }
}

/// What a service's ERROR is to the program.
pub(super) fn refused(error: ErrorFrame) -> ProducerError {
    match error.code {
        ErrorCode::Fenced => ProducerError::Fenced,
        code => ProducerError::Refused { code, detail: error.detail, text: error.text },
    }
}

/// Frames from the service, one after the other.
pub(super) struct Frames<R> {
    source: R,
    path: PathBuf,
    buffer: Vec<u8>,
    /// What is read and not taken yet: `start..end` of the buffer.
    start: usize,
    end: usize,
}

impl<R: Read> Frames<R> {
    pub(super) fn new(source: R, path: &Path) -> Frames<R> {
        Frames { source, path: path.to_owned(), buffer: vec![0; 16 << 10], start: 0, end: 0 }
    }

    /// The next frame; `None` at the end of the connection.
    pub(super) fn next(&mut self) -> Result<Option<(Kind, &[u8])>, ProducerError> {
        if !self.fill(FRAME_HEADER_LEN)? {
            return Ok(None);
        }
        let head: &[u8; FRAME_HEADER_LEN] = self.buffer[self.start..]
            .first_chunk()
            .unwrap_or_else(|| unreachable!("the buffer has been filled to this length"));
        let header = FrameHeader::read(head, REPLY_LEN_MAX)?;
        let len = FRAME_HEADER_LEN + header.body_len();
        if !self.fill(len)? {
            return Ok(None);
        }
        let body = &self.buffer[self.start + FRAME_HEADER_LEN..self.start + len];
        self.start += len;
        header.verify(body)?;
        Ok(Some((header.kind(), body)))
    }

    /// Whether the next frame is there as a whole.
    pub(super) fn has_next(&self) -> bool {
        let there = &self.buffer[self.start..self.end];
        let len = there.first_chunk().map(|len| u32::from_le_bytes(*len) as usize);
        len.is_some_and(|len| there.len() >= FRAME_HEADER_LEN.saturating_add(len))
    }

    /// Reads until `len` bytes are there; `false` if the connection ends before.
    fn fill(&mut self, len: usize) -> Result<bool, ProducerError> {
        while self.end - self.start < len {
            if self.buffer.len() - self.start < len || self.start == self.end {
                self.buffer.copy_within(self.start..self.end, 0);
                (self.start, self.end) = (0, self.end - self.start);
            }
            match self.source.read(&mut self.buffer[self.end..]) {
                Ok(0) => return Ok(false),
                Ok(read) => self.end += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(connect_error(&self.path, error)),
            }
        }
        Ok(true)
    }
}
