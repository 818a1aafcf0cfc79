//! Values that a person writes as text: sizes, times, permission bits, groups.

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::time::Duration;
use waldo::writer::group_id;
use waldo_terminal::capacity;
use waldo_terminal::permissions;
use waldo_terminal::units::parse_size;

/// The interval of `durability = "interval"` if none is given.
pub const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// Longer times are a slip, and clocks cannot be set so far ahead.
const TIME_MAX: Duration = Duration::from_secs(100 * 366 * 24 * 3600);

/// A number of bytes: `4096`, or `"64M"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes(pub u64);

/// A time: `"100ms"`, `"10s"`, `"7days"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time(pub Duration);

/// Bytes a second: `"10M"`, `"10M/s"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate(pub u64);

/// Permission bits: `"0660"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode(pub u32);

/// The number of a group, which may be told by its name: `"log"`, `"4"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupId(pub u32);

/// Reads permission bits, octal as in chmod.
pub fn parse_mode(text: &str) -> Result<Mode, String> {
    permissions::parse_mode(text).map(Mode)
}

/// Finds a group by its name or number.
pub fn parse_group(text: &str) -> Result<GroupId, String> {
    group_id(text).map(GroupId).map_err(|error| error.to_string())
}

/// Reads a time.
pub fn parse_duration(text: &str) -> Result<Time, String> {
    let time = humantime::parse_duration(text)
        .map_err(|error| format!("`{text}` is no time: write it like 100ms, 10s or 7days ({error})"))?;
    if time > TIME_MAX {
        return Err(format!("`{text}` is too long: at most 100years"));
    }
    Ok(Time(time))
}

/// Reads a number of bytes.
pub fn parse_bytes(text: &str) -> Result<Bytes, String> {
    parse_size(text).map(Bytes)
}

/// Reads a rate.
pub fn parse_rate(text: &str) -> Result<Rate, String> {
    capacity::parse_rate(text).map(Rate)
}

/// Reads a time to keep records for.
pub fn parse_keep(text: &str) -> Result<Time, String> {
    capacity::parse_keep(text).map(Time)
}

/// Takes a string, and for sizes a number.
struct Text<T> {
    parse: fn(&str) -> Result<T, String>,
    number: Option<fn(u64) -> T>,
    expected: &'static str,
}

impl<T> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text).map_err(E::custom)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        match (self.number, u64::try_from(number)) {
            (Some(make), Ok(number)) => Ok(make(number)),
            _ => Err(E::invalid_type(Unexpected::Signed(number), &self)),
        }
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Bytes, D::Error> {
        let expected = "a size: a number of bytes, or a string like \"64M\"";
        from.deserialize_any(Text { parse: parse_bytes, number: Some(Bytes), expected })
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Time, D::Error> {
        let expected = "a time: a string like \"100ms\" or \"10s\"";
        from.deserialize_any(Text { parse: parse_duration, number: None, expected })
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Rate, D::Error> {
        let expected = "a rate: a number of bytes a second, or a string like \"10M\"";
        from.deserialize_any(Text { parse: parse_rate, number: Some(Rate), expected })
    }
}

impl<'de> Deserialize<'de> for Mode {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Mode, D::Error> {
        let expected = "permission bits: a string like \"0660\"";
        from.deserialize_any(Text { parse: parse_mode, number: None, expected })
    }
}

impl<'de> Deserialize<'de> for GroupId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<GroupId, D::Error> {
        let expected = "a group: a string, with its name or its number";
        from.deserialize_any(Text { parse: parse_group, number: None, expected })
    }
}
