//! Where the bytes come from.

use core::convert::Infallible;

/// The page files of a ring.
pub trait RingFiles {
    /// What can go wrong when they are read.
    type Error;
    /// An open page file.
    type Page: PageBytes<Error = Self::Error>;

    /// The ids of all files that have a page's name, in any order.
    ///
    /// # Errors
    /// What the system says.
    fn page_ids(&self) -> Result<Vec<u64>, Self::Error>;

    /// Opens the file of page `id`; `None` if it has lost its name meanwhile.
    ///
    /// # Errors
    /// What the system says; also if the name belongs to something that is not a regular file.
    fn open_page(&self, id: u64) -> Result<Option<Self::Page>, Self::Error>;
}

/// An open page file.
pub trait PageBytes {
    /// What can go wrong when it is read.
    type Error;

    /// Its length in bytes.
    ///
    /// # Errors
    /// What the system says.
    fn size(&self) -> Result<u64, Self::Error>;

    /// Fills `bytes` from `offset` on as far as the file goes; returns how many bytes that was.
    ///
    /// # Errors
    /// What the system says.
    fn read_up_to(&self, bytes: &mut [u8], offset: u64) -> Result<usize, Self::Error>;

    /// Where the first byte from `offset` on stands that was ever written: the end of the file if there is
    /// none, `offset` itself where that is not known.
    ///
    /// # Errors
    /// What the system says.
    fn next_written(&self, offset: u64) -> Result<u64, Self::Error> {
        Ok(offset)
    }

    /// Where the first byte from `offset` on stands that was never written: the end of the file if there is
    /// none, or that is not known.
    ///
    /// # Errors
    /// What the system says.
    fn next_unwritten(&self, _offset: u64) -> Result<u64, Self::Error> {
        self.size()
    }
}

/// A file whose bytes are all in memory.
impl PageBytes for &[u8] {
    type Error = Infallible;

    fn size(&self) -> Result<u64, Infallible> {
        Ok(self.len() as u64)
    }

    fn read_up_to(&self, bytes: &mut [u8], offset: u64) -> Result<usize, Infallible> {
        let from = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)).unwrap_or_default();
        let len = from.len().min(bytes.len());
        bytes[..len].copy_from_slice(&from[..len]);
        Ok(len)
    }
}
