//! What the exit code says of a failure: whether starting the service again is of use, and whether a person
//! is.
//!
//! The unit's `RestartPreventExitStatus=` and the table in `docs/OPERATIONS.md` say the same; a test compares
//! them.

#[cfg(test)]
mod tests;

use std::error::Error;
use std::io::{self, ErrorKind};
use waldo::writer::OpenError;
use waldo_service::ServiceError;
use waldo_terminal::failure::Usage;

/// It may pass by itself: a full disk, too few descriptors, a ring that has failed.
pub const FAILURE: u8 = 1;
/// Flags, environment or file are wrong.
pub const USAGE: u8 = 2;
/// Damage, missing permissions, something in the way: the next start would fail in the same way.
pub const PERSON: u8 = 3;
/// Another process has the ring, a socket or the port, and may give it back.
pub const IN_USE: u8 = 4;

/// The code for an error that ended the process.
pub fn code_of(error: &anyhow::Error) -> u8 {
    error.chain().find_map(code_of_cause).unwrap_or(FAILURE)
}

/// Whether trying again is of use, without anybody doing anything.
pub fn may_pass(error: &anyhow::Error) -> bool {
    [FAILURE, IN_USE].contains(&code_of(error))
}

/// What one of the causes says; `None` if it says nothing.
fn code_of_cause(cause: &(dyn Error + 'static)) -> Option<u8> {
    if cause.is::<Usage>() {
        return Some(USAGE);
    }
    if let Some(error) = cause.downcast_ref() {
        return code_of_opening(error);
    }
    if let Some(error) = cause.downcast_ref() {
        return code_of_serving(error);
    }
    cause.downcast_ref().map(code_of_system)
}

fn code_of_opening(error: &OpenError) -> Option<u8> {
    match error {
        OpenError::Options { .. } => Some(USAGE),
        OpenError::Locked { .. } => Some(IN_USE),
        OpenError::NoMeta { .. }
        | OpenError::Meta { .. }
        | OpenError::Page { .. }
        | OpenError::MissingPage { .. }
        | OpenError::Corrupt { .. }
        | OpenError::EpochsExhausted
        | OpenError::ControlTaken { .. }
        | OpenError::FileLength { .. }
        | OpenError::Rights { .. }
        | OpenError::FileSystem { .. } => Some(PERSON),
        // The system's answer, which is the next cause, decides.
        _ => None,
    }
}

fn code_of_serving(error: &ServiceError) -> Option<u8> {
    match error {
        ServiceError::Options { .. } | ServiceError::PathTooLong { .. } | ServiceError::Group { .. } => {
            Some(USAGE)
        }
        ServiceError::SocketHeld { .. } => Some(IN_USE),
        ServiceError::NotASocket { .. }
        | ServiceError::Activation { .. }
        | ServiceError::JournalDamaged { .. } => Some(PERSON),
        _ => None,
    }
}

fn code_of_system(error: &io::Error) -> u8 {
    match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem | ErrorKind::NotADirectory => PERSON,
        ErrorKind::AddrInUse => IN_USE,
        // A path that is not there may be on a disk that is yet to be mounted.
        _ => FAILURE,
    }
}
