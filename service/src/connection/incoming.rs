//! Reading frames from a producer, none longer than allowed.

use std::io;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::time::timeout;
use waldo::client::wire::{FRAME_HEADER_LEN, FrameHeader, Kind, WireFault};

/// Memory for a frame is taken as it arrives, beyond this many bytes.
pub(super) const TAKEN_AT_ONCE: usize = 256 << 10;

/// Why no frame was read.
#[derive(Debug)]
pub(super) enum Stop {
    /// The producer has closed its side between two frames.
    Closed,
    /// The connection broke, perhaps in the middle of a frame: nobody is there to be told.
    Broken,
    /// The rest of a frame did not come in time.
    Stalled,
    /// The frame is not of the protocol.
    Fault(WireFault),
}

impl From<io::Error> for Stop {
    fn from(_: io::Error) -> Stop {
        Stop::Broken
    }
}

/// Frames, one after the other.
pub(super) struct Frames<R> {
    source: BufReader<R>,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    pub(super) fn new(source: R) -> Frames<R> {
        Frames { source: BufReader::with_capacity(64 << 10, source) }
    }

    /// Waits until there is a byte, for as long as it takes.
    async fn begin(&mut self) -> Result<(), Stop> {
        if self.source.fill_buf().await?.is_empty() { Err(Stop::Closed) } else { Ok(()) }
    }

    /// The next frame, whose body is at most `body_max` bytes long. The time counts from its first byte.
    pub(super) async fn next(&mut self, body_max: usize, stall: Duration) -> Result<(Kind, Vec<u8>), Stop> {
        self.begin().await?;
        timeout(stall, self.rest(body_max)).await.unwrap_or(Err(Stop::Stalled))
    }

    async fn rest(&mut self, body_max: usize) -> Result<(Kind, Vec<u8>), Stop> {
        let mut head = [0; FRAME_HEADER_LEN];
        self.source.read_exact(&mut head).await?;
        let header = FrameHeader::read(&head, body_max).map_err(Stop::Fault)?;
        let len = header.body_len();
        let mut body = Vec::with_capacity(len.min(TAKEN_AT_ONCE));
        (&mut self.source).take(len as u64).read_to_end(&mut body).await?;
        if body.len() < len {
            return Err(Stop::Broken);
        }
        header.verify(&body).map_err(Stop::Fault)?;
        Ok((header.kind(), body))
    }
}
