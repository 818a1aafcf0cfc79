//! [`SharedWriter`]: one writer for many threads and tasks.

use crate::writer::Writer;

/// x
pub struct SharedWriter(Writer);
