//! Taking completions from the ring.

use super::buffer::Buffers;
use super::uring::{self, Uring, is_refusal};
use super::{Engine, Piece};
use std::collections::VecDeque;
use std::io;
use std::time::Instant;

impl<T> Engine<T> {
    /// Takes completions; short writes and interrupted ones are sent again for what is left.
    pub(super) fn reap(
        uring: &mut Uring,
        pieces: &mut VecDeque<Piece<T>>,
        front: u64,
        buffers: &Buffers,
        wait: bool,
    ) -> io::Result<()> {
        uring.submit(wait)?;
        while let Some((number, result)) = uring.completion() {
            let index = number.checked_sub(front).and_then(|index| usize::try_from(index).ok());
            let Some(piece) = index.and_then(|index| pieces.get_mut(index)) else { continue };
            let mut give_up = false;
            match result {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    piece.done += n;
                    piece.refused = None;
                }
                Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
                Err(error) if is_refusal(&error) => {
                    let since = piece.refused.get_or_insert_with(Instant::now).elapsed();
                    give_up = error.raw_os_error() == Some(libc::ECANCELED) || since > uring::PATIENCE;
                }
                Err(error) => return Err(error),
            }
            if give_up && let Some(buffer) = piece.buffer {
                // No threads are left for io_uring, or no memory. This thread is there.
                let rest = &buffers.get(buffer)[piece.done..piece.len];
                piece.page.file.write_all_at(rest, piece.offset + piece.done as u64)?;
                piece.done = piece.len;
            }
            if piece.done >= piece.len {
                piece.complete = true;
            } else if let Some(buffer) = piece.buffer {
                let rest = piece.done..piece.len;
                let at = piece.offset + piece.done as u64;
                uring.write(&piece.page.file, buffer, buffers, rest, at, number)?;
            }
        }
        Ok(())
    }
}
