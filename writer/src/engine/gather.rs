//! Payloads that are written from the caller's memory, without a copy.

use std::io::IoSlice;

/// Payloads in one write at most: with what stands between them below the kernel's limit of 1024 parts.
const PARTS_MAX: usize = 250;

/// Payloads and their places between parts of the buffer being filled, which holds headers and padding.
///
/// ```text
///   buffer   | header | pad header | pad header |
///   payloads          ^            ^            ^
/// ```
pub(crate) struct Gather<'a> {
    /// Made when it is needed: most appends are small and gather nothing.
    parts: Option<[(usize, &'a [u8]); PARTS_MAX]>,
    len: usize,
    bytes: u64,
}

impl<'a> Gather<'a> {
    pub(crate) fn new() -> Gather<'a> {
        Gather { parts: None, len: 0, bytes: 0 }
    }

    /// Adds a payload that follows the first `at` bytes of the buffer. Must not be called when this [is
    /// full](Gather::is_full).
    pub(crate) fn push(&mut self, at: usize, payload: &'a [u8]) {
        self.parts.get_or_insert_with(|| [(0, [].as_slice()); PARTS_MAX])[self.len] = (at, payload);
        self.len += 1;
        self.bytes += payload.len() as u64;
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len == PARTS_MAX
    }

    /// Bytes of all payloads.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes the payloads out; hands `write` the buffer's bytes and the payloads in their order.
    pub(super) fn write<T>(&mut self, buffer: &[u8], write: impl FnOnce(&mut [IoSlice<'_>]) -> T) -> T {
        let mut slices = [IoSlice::new(&[]); 2 * PARTS_MAX + 1];
        let mut from = 0;
        for (pair, (at, payload)) in
            slices.chunks_exact_mut(2).zip(self.parts.iter().flatten().take(self.len))
        {
            pair[0] = IoSlice::new(&buffer[from..*at]);
            pair[1] = IoSlice::new(payload);
            from = *at;
        }
        slices[2 * self.len] = IoSlice::new(&buffer[from..]);
        let count = 2 * self.len + usize::from(from < buffer.len());
        self.len = 0;
        self.bytes = 0;
        write(&mut slices[..count])
    }
}
