//! [`LaneMemory`]: a lane's memory, made by the service and mapped by both sides.
#![allow(unsafe_code, reason = "forms references into the mapped lane")]

use memmap2::{MmapOptions, MmapRaw};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::ptr::NonNull;
use waldo_shm_protocol::lane::{Lane, LaneGeometry};

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

    /// Its size.
    pub fn geometry(&self) -> LaneGeometry {
        self.geometry
    }
}
