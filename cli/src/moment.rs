//! Times as people write them on a command line.

use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ZonedDateTime};
use std::time::{Duration, SystemTime};

/// For the `--help` of the options that take a moment.
pub const FORMS: &str = "\
Moments (--since, --until, --from):
  2026-01-31T12:00:00Z, 2026-01-31 14:00:00.5+02:00   RFC 3339 with any offset
  2026-01-31, 2026-01-31 12:00, 12:00                 in this machine's time zone (or TZ); a date is its midnight
  10 min ago, 2h 30m, 1 day ago, -5m                  so long before now; +5m is after now
  @1769860800, @1769860800.25                         seconds since 1970
  now, today, yesterday, tomorrow";

/// Reads a moment, for clap.
///
/// # Errors
/// What is wrong with the text, and how moments are written.
pub fn parse(text: &str) -> Result<SystemTime, String> {
    parse_at(text, &ZonedDateTime::now()).ok_or_else(|| {
        format!(
            "`{text}` is no moment: write 2026-01-31T12:00:00Z, `2026-01-31 12:00`, `10 min ago`, @1769860800, \
             or yesterday"
        )
    })
}

/// A record's time in nanoseconds since 1970 that is this moment.
pub fn to_ns(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// A record's time as RFC 3339 with the offset of `zone`.
pub fn local(time_ns: u64, zone: &TimeZone) -> String {
    let time = Timestamp::from_nanosecond(i128::from(time_ns)).unwrap_or(Timestamp::MAX);
    time.to_zoned_datetime(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%.9f%:z").to_string()
}

fn parse_at(text: &str, now: &ZonedDateTime) -> Option<SystemTime> {
    let text = text.trim();
    if let Some(seconds) = text.strip_prefix('@') {
        return unix(seconds);
    }
    let moment = absolute(text, now).or_else(|| relative(text, now))?;
    SystemTime::try_from(moment).ok()
}

fn absolute(text: &str, now: &ZonedDateTime) -> Option<Timestamp> {
    let midnight = || now.start_of_day().ok();
    let day = match text {
        "now" => Some(now.clone()),
        "today" => midnight(),
        "yesterday" => midnight()?.yesterday().ok(),
        "tomorrow" => midnight()?.tomorrow().ok(),
        _ => None,
    };
    if let Some(day) = day {
        return Some(day.timestamp());
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    // With the name of a zone in brackets.
    if let Ok(time) = text.parse::<ZonedDateTime>() {
        return Some(time.timestamp());
    }
    let zoned = |time: DateTime| time.to_zoned_datetime(now.time_zone().clone()).ok();
    if let Ok(time) = text.parse::<DateTime>() {
        return Some(zoned(time)?.timestamp());
    }
    // A number alone would pass for an hour.
    let time: Time = text.contains(':').then(|| text.parse().ok()).flatten()?;
    Some(zoned(now.date().to_datetime(time))?.timestamp())
}

/// So long before now, or after now if it says so.
fn relative(text: &str, now: &ZonedDateTime) -> Option<Timestamp> {
    let later = text.strip_prefix('+').or_else(|| text.strip_prefix("in "));
    let (length, later) = match later {
        Some(length) => (length, true),
        None => (text.strip_prefix('-').unwrap_or(text), false),
    };
    let length = length.strip_suffix("ago").unwrap_or(length).trim();
    let span: Span = length.parse().ok()?;
    let moment = if later { now.checked_add(span) } else { now.checked_sub(span) };
    Some(moment.ok()?.timestamp())
}

/// Seconds since 1970, with a fraction or without.
fn unix(text: &str) -> Option<SystemTime> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || !(1..=9).contains(&fraction.len()) {
        return None;
    }
    let nanos = format!("{fraction:0<9}").parse().ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::new(whole.parse().ok()?, nanos))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz;

    /// Half past twelve on a Saturday, two hours east of Greenwich.
    fn noon() -> ZonedDateTime {
        let time = jiff::civil::date(2026, 1, 31).at(12, 30, 0, 0);
        time.to_zoned_datetime(tz::offset(2).to_time_zone()).unwrap()
    }

    fn seconds(text: &str) -> Option<i64> {
        let time = parse_at(text, &noon())?;
        Some(Timestamp::try_from(time).unwrap().as_second())
    }

    fn utc(text: &str) -> Option<i64> {
        Some(text.parse::<Timestamp>().unwrap().as_second())
    }

    #[test]
    fn moments_are_read_in_every_form() {
        for (text, meant) in [
            ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z"),
            ("2026-01-31T12:00:00+02:00", "2026-01-31T10:00:00Z"),
            ("2026-01-31 12:00:00-0730", "2026-01-31T19:30:00Z"),
            ("2026-01-31T12:00:00.25Z", "2026-01-31T12:00:00Z"),
            ("2026-01-31 12:00", "2026-01-31T10:00:00Z"),
            ("2026-01-31", "2026-01-30T22:00:00Z"),
            ("07:15", "2026-01-31T05:15:00Z"),
            ("@1769860800", "2026-01-31T12:00:00Z"),
            ("@1769860800.125", "2026-01-31T12:00:00Z"),
            ("now", "2026-01-31T10:30:00Z"),
            ("today", "2026-01-30T22:00:00Z"),
            ("yesterday", "2026-01-29T22:00:00Z"),
            ("tomorrow", "2026-01-31T22:00:00Z"),
            ("10 min ago", "2026-01-31T10:20:00Z"),
            ("10m", "2026-01-31T10:20:00Z"),
            ("-10m", "2026-01-31T10:20:00Z"),
            ("2h 30m ago", "2026-01-31T08:00:00Z"),
            ("1 day ago", "2026-01-30T10:30:00Z"),
            ("2 weeks", "2026-01-17T10:30:00Z"),
            ("+5m", "2026-01-31T10:35:00Z"),
            ("in 5 min", "2026-01-31T10:35:00Z"),
        ] {
            assert_eq!(seconds(text), utc(meant), "{text}");
        }
        for wrong in ["", "nowhere", "5", "12", "@", "@x", "@1.", "2026-13-01", "ago", "5 parsecs ago"] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn nanoseconds_survive() {
        assert_eq!(unix("1.000000001").map(to_ns), Some(1_000_000_001));
        assert_eq!(unix("1.5").map(to_ns), Some(1_500_000_000));
        assert_eq!(to_ns(SystemTime::UNIX_EPOCH - Duration::from_secs(5)), 0);
        assert_eq!(
            local(1_769_860_800_000_000_001, &tz::offset(-3).to_time_zone()),
            "2026-01-31T09:00:00.000000001-03:00"
        );
    }
}
