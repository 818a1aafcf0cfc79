//! Sizes, counts, times and rates: how they are read from arguments and how they are printed.

use std::time::{Duration, UNIX_EPOCH};

/// Reads a number of bytes: `4096`, `64K`, `64M`, `1G`, `2T` (powers of 1024; `KiB`, `KB` and `k` are
/// the same).
pub fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = text[digits.len()..].trim().to_ascii_lowercase();
    let shift = match unit.trim_end_matches('b').trim_end_matches('i') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err(format!("`{unit}` is no unit of size: use K, M, G or T, as in 64M")),
    };
    let number: u64 =
        digits.parse().map_err(|_| format!("`{text}` is no size: write it like 4096, 512K or 64M"))?;
    number
        .checked_mul(1 << shift)
        .ok_or_else(|| format!("`{text}` is more bytes than this program can count"))
}

/// Bytes for people: three digits and a binary unit.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = n as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    match unit {
        0 => format!("{n} B"),
        _ if value < 10.0 => format!("{value:.2} {}", UNITS[unit]),
        _ if value < 100.0 => format!("{value:.1} {}", UNITS[unit]),
        _ => format!("{value:.0} {}", UNITS[unit]),
    }
}

/// A count with its thousands set apart.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `amount` in `time`, a second; 0 if no time has passed.
pub fn per_second(amount: u64, time: Duration) -> u64 {
    let seconds = time.as_secs_f64();
    if seconds > 0.0 { (amount as f64 / seconds) as u64 } else { 0 }
}

/// A duration with as many digits as matter.
pub fn duration(time: Duration) -> String {
    match time {
        t if t < Duration::from_millis(1) => format!("{} us", t.as_micros()),
        t if t < Duration::from_secs(1) => format!("{:.1} ms", t.as_secs_f64() * 1e3),
        t if t < Duration::from_secs(120) => format!("{:.2} s", t.as_secs_f64()),
        t => humantime::format_duration(Duration::from_secs(t.as_secs())).to_string(),
    }
}

/// A record's time, nanoseconds since 1970, as RFC 3339 in UTC.
pub fn timestamp(time_ns: u64) -> String {
    humantime::format_rfc3339_nanos(UNIX_EPOCH + Duration::from_nanos(time_ns)).to_string()
}

/// An identity, as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_every_common_form() {
        for (text, size) in [
            ("0", 0),
            ("4096", 4096),
            ("64K", 65536),
            ("64KiB", 65536),
            ("1 MB", 1 << 20),
            ("2g", 2 << 30),
            ("3T", 3 << 40),
        ] {
            assert_eq!(parse_size(text), Ok(size), "{text}");
        }
        for wrong in ["", "M", "12Q", "-1", "1.5M", "99999999999G"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!(count(0), "0");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(count(123_456), "123,456");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(64 << 20), "64.0 MiB");
        assert_eq!(per_second(10, Duration::from_millis(500)), 20);
    }

    #[test]
    fn a_timestamp_has_all_its_digits() {
        assert_eq!(timestamp(1_500_000_000), "1970-01-01T00:00:01.500000000Z");
    }
}
