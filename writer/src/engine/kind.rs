//! Which engine a writer uses.

/// The engine that the writer uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EngineKind {
    /// io_uring, with single writes of up to `inline_max` bytes done in place.
    Uring {
        /// Largest single write in bytes that is done with `pwrite`; 0 if none is.
        inline_max: usize,
        /// Whether several writes one behind the other go through the ring.
        streams: bool,
        /// Whether buffers and files are registered with the kernel.
        registered: bool,
    },
    /// `pwrite` and `fdatasync`.
    Pwrite,
}
