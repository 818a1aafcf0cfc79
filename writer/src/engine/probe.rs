//! Which writes are faster in place than through io_uring: measured at open, since it depends on the file system
//! (ext4 and tmpfs hand every buffered write of io_uring to a kernel thread, XFS does not).

use super::buffer::Buffers;
use super::uring::Uring;
use crate::disk::DiskFile;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

const SIZES: [usize; 4] = [128, 4096, 64 << 10, 1 << 20];
const ROUNDS: usize = 5;

/// The largest of a few sizes up to which one `pwrite` takes no longer than one write through io_uring; 0 if
/// there is none. A single write can be done in place up to that size; several at once go through the ring.
pub(super) fn inline_max(
    uring: &mut Uring,
    buffers: &Buffers,
    scratch: &Arc<dyn DiskFile>,
) -> io::Result<usize> {
    let mut inline_max = 0;
    for size in SIZES.into_iter().filter(|size| *size <= buffers.get(0).len()) {
        let in_place = median(|| scratch.write_all_at(&buffers.get(0)[..size], 0))?;
        let through_ring = median(|| uring.write_alone(scratch, buffers, size, 0))?;
        if in_place > through_ring {
            break;
        }
        inline_max = size;
    }
    // Nothing larger is ever sent, so the largest size stands for all beyond it.
    let largest = SIZES.into_iter().rfind(|size| *size <= buffers.get(0).len());
    Ok(if largest == Some(inline_max) { usize::MAX } else { inline_max })
}

fn median(mut write: impl FnMut() -> io::Result<()>) -> io::Result<Duration> {
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
