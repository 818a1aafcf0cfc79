//! Figures as people read them.

/// A time given in nanoseconds.
pub fn time(ns: f64) -> String {
    match ns {
        ns if ns < 1e3 => format!("{} ns", digits(ns)),
        ns if ns < 1e6 => format!("{} us", digits(ns / 1e3)),
        ns if ns < 1e9 => format!("{} ms", digits(ns / 1e6)),
        ns => format!("{} s", digits(ns / 1e9)),
    }
}

/// A number of things each second.
pub fn rate(per_second: f64) -> String {
    match per_second {
        n if n < 1e3 => format!("{}/s", digits(n)),
        n if n < 1e6 => format!("{} k/s", digits(n / 1e3)),
        n => format!("{} M/s", digits(n / 1e6)),
    }
}

/// An amount of memory given in KiB.
pub fn memory(kib: f64) -> String {
    if kib < 10_240.0 { format!("{kib:.0} KiB") } else { format!("{:.0} MiB", kib / 1024.0) }
}

/// A ratio, to be read as "times Waldo's".
pub fn ratio(value: f64) -> String {
    format!("{} x", digits(value))
}

/// Two or three digits that mean something.
fn digits(value: f64) -> String {
    match value {
        v if v < 10.0 => format!("{v:.2}"),
        v if v < 100.0 => format!("{v:.1}"),
        v => format!("{v:.0}"),
    }
}
