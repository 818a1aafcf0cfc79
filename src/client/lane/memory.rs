//! [`LaneMemory`]: a lane's memory, made by the service and mapped by both sides.
#![allow(unsafe_code, reason = "forms references into the mapped lane")]

use memmap2::{MmapOptions, MmapRaw, UncheckedAdvice};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::{SysconfVar, sysconf};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::ptr::NonNull;
use waldo_shm_protocol::lane::{LANE_WORDS_OFFSET, Lane, LaneGeometry};

/// `MFD_NOEXEC_SEAL`, which systems may insist on and older ones do not know (before Linux 6.3).
const NOEXEC: MFdFlags = MFdFlags::from_bits_retain(0x8);

/// A mapped lane. Its memory goes with the last side that maps it.
#[derive(Debug)]
pub struct LaneMemory {
    map: MmapRaw,
    geometry: LaneGeometry,
}

impl LaneMemory {
    /// Makes the memory of a lane, and a descriptor of it for the producer. Pages are taken as they are
    /// written to. Nobody can change the size any more: to cut short what another process has mapped would
    /// end that process.
    ///
    /// # Errors
    /// What the system says.
    pub fn create(geometry: LaneGeometry) -> io::Result<(LaneMemory, OwnedFd)> {
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let made = match memfd_create("waldo-lane", flags | NOEXEC) {
            Err(Errno::EINVAL) => memfd_create("waldo-lane", flags),
            made => made,
        };
        let file = File::from(made?);
        file.set_len(geometry.lane_len())?;
        let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
        fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
        let memory = LaneMemory::over(&file, geometry)?;
        Ok((memory, file.into()))
    }

    /// Maps a lane that a service has passed.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] if it has another length, or somebody could change that; and what the
    /// system says.
    pub fn map(descriptor: OwnedFd, geometry: LaneGeometry) -> io::Result<LaneMemory> {
        let file = File::from(descriptor);
        let seals = SealFlag::from_bits_retain(fcntl(&file, FcntlArg::F_GET_SEALS)?);
        if !seals.contains(SealFlag::F_SEAL_SHRINK) || file.metadata()?.len() != geometry.lane_len() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        LaneMemory::over(&file, geometry)
    }

    fn over(file: &File, geometry: LaneGeometry) -> io::Result<LaneMemory> {
        let map = MmapOptions::new().len(geometry.lane_len() as usize).map_raw(file)?;
        Ok(LaneMemory { map, geometry })
    }

    /// The lane in it.
    pub fn lane(&self) -> Lane<'_> {
        let base = NonNull::new(self.map.as_mut_ptr()).unwrap_or_else(|| unreachable!("a mapping"));
        // SAFETY: the mapping starts at a page, is as long as the geometry says, and stays for as long as
        // `self` is borrowed; the file behind it cannot shrink. It is accessed by nothing else in this type.
        unsafe { Lane::from_raw(base, self.geometry) }
    }

    /// Gives the memory of the words back to the system, though others still have it mapped: they find
    /// zeros, and what they write from then on is theirs. The positions stay as they are, in one page.
    ///
    /// # Errors
    /// What the system says.
    pub fn empty(&self) -> io::Result<()> {
        let system = sysconf(SysconfVar::PAGE_SIZE)?.and_then(|bytes| usize::try_from(bytes).ok());
        // The kernel takes whole pages, and the positions are in front of the words.
        let from = LANE_WORDS_OFFSET.next_multiple_of(system.unwrap_or(LANE_WORDS_OFFSET));
        let Some(len) = self.map.len().checked_sub(from).filter(|len| *len > 0) else { return Ok(()) };
        // SAFETY: this makes zeros of words, as any other process that has mapped the lane may do at any
        // time. Nothing but atomics is ever formed over them, which may change at any time.
        unsafe { self.map.unchecked_advise_range(UncheckedAdvice::Remove, from, len) }
    }

    /// Its size.
    pub fn geometry(&self) -> LaneGeometry {
        self.geometry
    }
}
