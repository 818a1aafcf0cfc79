//! What a resize needs from its writer.

use super::{Writer, start};
use crate::disk::Disk;
use crate::error::OpenError;
use crate::options::WriterOptions;
use crate::poison::Failure;
use std::path::Path;
use std::sync::Arc;
use waldo_shm_protocol::meta::Meta;
use waldo_shm_protocol::recovery::Survey;

impl Writer {
    /// Opens the ring if `look` accepts what the files hold. `look` is called under the lock, before anything
    /// is changed.
    pub(crate) fn open_if<E: From<OpenError>>(
        home: &Path,
        disk: Arc<dyn Disk>,
        options: WriterOptions,
        look: impl FnOnce(&Meta, &Survey) -> Result<(), E>,
    ) -> Result<Writer, E> {
        start::open_if(home, disk, options, look)
    }

    /// Trims the pages beyond the size of the ring; [`Writer::close`] makes that durable. For a writer
    /// without a thread that prepares ahead.
    pub(crate) fn trim_now(&self) -> Result<(), Failure> {
        self.preparer.trim()
    }
}
