//! ACK and ERROR: what became of a batch.

use super::frame::{Kind, begin_frame, finish_frame};
use super::{TEXT_LEN_MAX, WireFault};
use waldo_shm_protocol::layout::describe;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Flag of ACK: the batch is durable.
pub const ACK_DURABLE: u32 = 1;
/// Flag of ERROR: the service closes the connection, and stores nothing of what came after the batch named.
pub const ERROR_FATAL: u32 = 1;

/// ACK's body.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Ack {
    /// As in the APPEND.
    pub batch: u64,
    /// Sequence number of its first record in the ring; 0 if it was stored before and is no longer known.
    pub first_seq_no: u64,
    /// Sequence number of its last record in the ring; 0 if it was stored before and is no longer known.
    pub last_seq_no: u64,
    /// The producer's own number of the last record; 0 for a producer without a name.
    pub last_number: u64,
    /// How many of the records had been stored before and were skipped.
    pub duplicates: u32,
    /// [`ACK_DURABLE`] or 0.
    pub flags: u32,
}

describe! {
    Ack, "ACK", 40, { batch: 0, first_seq_no: 8, last_seq_no: 16, last_number: 24, duplicates: 32, flags: 36, }
}

impl Ack {
    /// Checks a body.
    ///
    /// # Errors
    /// [`WireFault`].
    pub fn check(body: &[u8]) -> Result<Ack, WireFault> {
        let length = WireFault::Length { kind: Kind::Ack.name(), length: body.len() };
        let ack = Ack::read_from_bytes(body).map_err(|_| length)?;
        if ack.flags & !ACK_DURABLE != 0 {
            return Err(WireFault::Flags(ack.flags));
        }
        Ok(ack)
    }

    /// Appends the frame to `out`.
    pub fn encode(&self, out: &mut Vec<u8>, with_checksum: bool) {
        let start = begin_frame(out);
        out.extend_from_slice(self.as_bytes());
        finish_frame(out, start, Kind::Ack, with_checksum);
    }
}

/// Why a batch was not stored, or a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorCode {
    /// A frame that is not of this protocol.
    Malformed = 1,
    /// No version in common; `detail` is the service's.
    Version = 2,
    /// A frame longer than `frame_len_max`, which is `detail`.
    FrameTooLarge = 3,
    /// A record longer than `record_len_max`, which is `detail`.
    RecordTooLarge = 4,
    /// The frame's checksum does not match.
    Checksum = 5,
    /// A name that no producer may have.
    Name = 6,
    /// Another connection uses the producer's name now.
    Fenced = 7,
    /// The batch does not continue the producer's numbers; `detail` is the last one stored.
    OutOfOrder = 8,
    /// The condition does not hold; `detail` is the ring's last sequence number. The connection goes on.
    Conflict = 9,
    /// The ring could not take the batch, say because the disk is full; it can be sent again.
    NotStored = 10,
    /// The ring's writer has failed and takes nothing more until the service is started again.
    WriterFailed = 11,
    /// The service ends; the batch can be sent again when it is back.
    ShuttingDown = 12,
    /// The service has as many connections as it may; `detail` is how many.
    TooManyProducers = 13,
    /// The producer sent half a frame, or did not read its answers, for too long; `detail` is the limit in
    /// ms.
    TooSlow = 14,
    /// A frame that is not allowed at this point.
    Unexpected = 15,
    /// The service remembers as many names as it may, and all of them are in use; `detail` is how many.
    TooManyNames = 16,
    /// The producer's user has as many connections as one user may; `detail` is how many.
    TooManyOfUser = 17,
    /// The lane's positions cannot be right.
    Lane = 18,
}

impl ErrorCode {
    /// All codes.
    pub const ALL: [ErrorCode; 18] = [
        ErrorCode::Malformed,
        ErrorCode::Version,
        ErrorCode::FrameTooLarge,
        ErrorCode::RecordTooLarge,
        ErrorCode::Checksum,
        ErrorCode::Name,
        ErrorCode::Fenced,
        ErrorCode::OutOfOrder,
        ErrorCode::Conflict,
        ErrorCode::NotStored,
        ErrorCode::WriterFailed,
        ErrorCode::ShuttingDown,
        ErrorCode::TooManyProducers,
        ErrorCode::TooSlow,
        ErrorCode::Unexpected,
        ErrorCode::TooManyNames,
        ErrorCode::TooManyOfUser,
        ErrorCode::Lane,
    ];

    /// Whether the same batch may be stored when it is sent again, on another connection and some time later.
    pub fn is_passing(self) -> bool {
        matches!(
            self,
            ErrorCode::NotStored
                | ErrorCode::WriterFailed
                | ErrorCode::ShuttingDown
                | ErrorCode::TooManyProducers
                | ErrorCode::TooSlow
                | ErrorCode::TooManyNames
                | ErrorCode::TooManyOfUser
        )
    }
}

/// The fixed part of ERROR's body; a text in UTF-8 follows, for people.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ErrorFields {
    /// The batch; 0 if the error is about none.
    pub batch: u64,
    /// Depends on the code.
    pub detail: u64,
    /// See [`ErrorCode`].
    pub code: u32,
    /// [`ERROR_FATAL`] or 0.
    pub flags: u32,
}

describe! {
    ErrorFields, "ERROR", 24, { batch: 0, detail: 8, code: 16, flags: 20, }
}

/// An ERROR that has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorFrame {
    /// The batch; 0 if the error is about none.
    pub batch: u64,
    /// Depends on the code.
    pub detail: u64,
    /// What is wrong.
    pub code: ErrorCode,
    /// The service closes the connection.
    pub fatal: bool,
    /// A text for people.
    pub text: String,
}

impl ErrorFrame {
    /// Checks a body.
    ///
    /// # Errors
    /// [`WireFault`].
    pub fn check(body: &[u8]) -> Result<ErrorFrame, WireFault> {
        let length = WireFault::Length { kind: Kind::Error.name(), length: body.len() };
        let (fields, text) = ErrorFields::read_from_prefix(body).map_err(|_| length)?;
        let code = ErrorCode::ALL.into_iter().find(|code| *code as u32 == fields.code);
        let code = code.ok_or(WireFault::Code(fields.code))?;
        if fields.flags & !ERROR_FATAL != 0 {
            return Err(WireFault::Flags(fields.flags));
        }
        if text.len() > TEXT_LEN_MAX {
            return Err(length);
        }
        Ok(ErrorFrame {
            batch: fields.batch,
            detail: fields.detail,
            code,
            fatal: fields.flags & ERROR_FATAL != 0,
            text: String::from_utf8_lossy(text).into_owned(),
        })
    }

    /// Appends the frame to `out`. A long text is cut.
    pub fn encode(&self, out: &mut Vec<u8>, with_checksum: bool) {
        let start = begin_frame(out);
        let flags = if self.fatal { ERROR_FATAL } else { 0 };
        let fields = ErrorFields { batch: self.batch, detail: self.detail, code: self.code as u32, flags };
        out.extend_from_slice(fields.as_bytes());
        let fits = (0..=self.text.len().min(TEXT_LEN_MAX)).rfind(|end| self.text.is_char_boundary(*end));
        out.extend_from_slice(&self.text.as_bytes()[..fits.unwrap_or(0)]);
        finish_frame(out, start, Kind::Error, with_checksum);
    }
}
