//! What is in a record: when it was appended, what it is for, and bytes that can be checked.

/// Bytes that a payload has at least.
pub const LEN_MIN: usize = 16;

/// What a record is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Purpose {
    /// One of many.
    Load = 1,
    /// The end of the load: a reader that sees it has caught up.
    Mark = 2,
    /// Appended while everybody sleeps.
    Ping = 3,
    /// The last one.
    End = 4,
}

/// Makes a payload of `payload.len()` bytes, at least [`LEN_MIN`].
pub fn fill(payload: &mut [u8], purpose: Purpose, at_ns: u64, seed: u8) {
    payload.fill(seed);
    payload[..8].copy_from_slice(&at_ns.to_le_bytes());
    payload[8] = purpose as u8;
}

/// What is in it; `None` if these are not the bytes that were appended.
pub fn read(payload: &[u8], len: usize) -> Option<(Purpose, u64)> {
    let (at, rest) = payload.split_first_chunk::<8>()?;
    let (purpose, filler) = rest.split_first()?;
    let seed = filler.first()?;
    if payload.len() != len || filler.last()? != seed {
        return None;
    }
    let purpose = [Purpose::Load, Purpose::Mark, Purpose::Ping, Purpose::End]
        .into_iter()
        .find(|p| *p as u8 == *purpose)?;
    Some((purpose, u64::from_le_bytes(*at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_filled_in_is_read() {
        let mut payload = [0; 100];
        fill(&mut payload, Purpose::Ping, 12345, 7);
        assert_eq!(read(&payload, 100), Some((Purpose::Ping, 12345)));
        assert_eq!(read(&payload, 99), None);
        payload[99] = 8;
        assert_eq!(read(&payload, 100), None);
        assert_eq!(read(&[], 0), None);
    }
}
