//! Which writes are faster in place than through io_uring: measured at open, since it depends on the file
//! system (ext4 and tmpfs hand every buffered write of io_uring to a kernel thread, XFS does not).

use super::PIECE_IN_PLACE;
use super::buffer::Buffers;
use super::uring::Uring;
use crate::disk::DiskFile;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The longest is the piece that streams are written in where that is done in place.
const SIZES: [usize; 4] = [128, 4096, 64 << 10, PIECE_IN_PLACE];
const ROUNDS: usize = 5;
/// Pieces in flight and rounds for the question whether streams go in place: enough to tell, and no more,
/// since these bytes are most of what the probe costs.
const STREAM_PIECES: usize = 4;
const STREAM_ROUNDS: usize = 3;
/// Bytes of the scratch file.
pub(crate) const SCRATCH_LEN: usize = 1 << 20;

/// What is to be done in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InPlace {
    /// A single piece, up to this many bytes; 0 for none.
    pub(super) alone: usize,
    /// Several pieces one after the other, too.
    pub(super) streams: bool,
}

/// Up to which size one `pwrite` takes no longer than one write through io_uring, and whether several at once
/// do.
pub(super) fn measure(
    uring: &mut Uring,
    buffers: &Buffers,
    scratch: &Arc<dyn DiskFile>,
    depth: usize,
) -> io::Result<InPlace> {
    let len = buffers.get(0).len();
    let mut alone = 0;
    for size in SIZES.into_iter().filter(|size| *size <= len) {
        let in_place = median::<ROUNDS>(|| scratch.write_all_at(&buffers.get(0)[..size], 0))?;
        let through_ring = median::<ROUNDS>(|| uring.write_alone(scratch, buffers, size, 0))?;
        if in_place > through_ring {
            break;
        }
        alone = size;
    }
    // Nothing larger is ever sent, so the largest size stands for all beyond it.
    if SIZES.into_iter().rfind(|size| *size <= len) == Some(alone) {
        alone = usize::MAX;
    }
    let len = len.min(PIECE_IN_PLACE);
    let pieces = depth.min(buffers.count()).min(STREAM_PIECES);
    let in_place = median::<STREAM_ROUNDS>(|| {
        (0..pieces).try_for_each(|n| scratch.write_all_at(&buffers.get(n)[..len], place(n, len)))
    })?;
    let through_ring = median::<STREAM_ROUNDS>(|| {
        for n in 0..pieces {
            uring.write(scratch, n, buffers, 0..len, place(n, len), n as u64)?;
        }
        (0..pieces).try_for_each(|_| uring.await_any())
    })?;
    Ok(InPlace { alone, streams: in_place <= through_ring })
}

/// Pieces go to different places of a scratch file that need not be as long as all of them.
fn place(number: usize, len: usize) -> u64 {
    (number * len % SCRATCH_LEN.max(len)) as u64
}

fn median<const ROUNDS: usize>(mut write: impl FnMut() -> io::Result<()>) -> io::Result<Duration> {
    write()?;
    let mut times = [Duration::ZERO; ROUNDS];
    for time in &mut times {
        let start = Instant::now();
        write()?;
        *time = start.elapsed();
    }
    times.sort_unstable();
    Ok(times[ROUNDS / 2])
}
