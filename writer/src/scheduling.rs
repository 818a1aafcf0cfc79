//! How the kernel divides the processor between the appending thread and all other threads.

#![allow(unsafe_code, reason = "one system call without a safe wrapper")]

use std::fmt;
use std::io;
use std::str::FromStr;
use std::time::Duration;

/// A thread's claim to the processor; [`Scheduling::apply`] makes it.
///
/// Tens of thousands of readers that become runnable at once fill the run queue. docs/TUNING.md says what
/// helps the appending thread then, with measurements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scheduling {
    /// As any other thread (SCHED_OTHER, nice value 0). Needs no privilege unless the nice value was raised
    /// before.
    #[default]
    Normal,
    /// Runs in batches and does not interrupt others when it wakes (SCHED_BATCH): for readers. Needs no
    /// privilege.
    Batch,
    /// Only when no other thread wants the processor (SCHED_IDLE): for readers that may starve. Needs no
    /// privilege.
    Idle,
    /// SCHED_OTHER with this nice value, -20 (most) to 19 (least). Below the present one it needs
    /// CAP_SYS_NICE or RLIMIT_NICE.
    Nice(i8),
    /// SCHED_OTHER with time slices of this length, 0.1 to 100 ms, where the kernel supports it (Linux 6.12
    /// and later; ignored before): a thread with a shorter slice gets the processor sooner when it wakes,
    /// with the same share of it. Needs no privilege.
    Slice(Duration),
    /// A real-time thread (SCHED_FIFO) with this priority, 1 to 99: before all that are not. Needs
    /// CAP_SYS_NICE or RLIMIT_RTPRIO.
    Realtime(u8),
}

impl Scheduling {
    /// Makes this the scheduling of the calling thread. Threads that it starts later inherit it.
    ///
    /// # Errors
    /// `PermissionDenied` without the privilege named at the variant; `InvalidInput` for a value out of
    /// range.
    pub fn apply(self) -> io::Result<()> {
        let (policy, nice, priority, slice) = match self {
            Scheduling::Normal => (libc::SCHED_OTHER, 0, 0, Duration::ZERO),
            Scheduling::Batch => (libc::SCHED_BATCH, 0, 0, Duration::ZERO),
            Scheduling::Idle => (libc::SCHED_IDLE, 0, 0, Duration::ZERO),
            Scheduling::Nice(nice @ -20..=19) => (libc::SCHED_OTHER, nice, 0, Duration::ZERO),
            Scheduling::Slice(slice) if SLICE.contains(&slice) => (libc::SCHED_OTHER, 0, 0, slice),
            Scheduling::Realtime(priority @ 1..=99) => (libc::SCHED_FIFO, 0, priority, Duration::ZERO),
            outside => {
                let message = format!("{outside} is out of range");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
            }
        };
        let attr = libc::sched_attr {
            size: size_of::<libc::sched_attr>() as u32,
            sched_policy: policy.unsigned_abs(),
            sched_flags: 0,
            sched_nice: i32::from(nice),
            sched_priority: u32::from(priority),
            sched_runtime: slice.as_nanos() as u64,
            sched_deadline: 0,
            sched_period: 0,
        };
        // SAFETY: `attr` is a structure of the size it names, alive through the call, and only read.
        let result = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

/// What the kernel takes; it would cut others to fit.
const SLICE: std::ops::RangeInclusive<Duration> = Duration::from_micros(100)..=Duration::from_millis(100);

impl fmt::Display for Scheduling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scheduling::Normal => f.write_str("normal"),
            Scheduling::Batch => f.write_str("batch"),
            Scheduling::Idle => f.write_str("idle"),
            Scheduling::Nice(nice) => write!(f, "nice:{nice}"),
            Scheduling::Slice(slice) => write!(f, "slice:{}us", slice.as_micros()),
            Scheduling::Realtime(priority) => write!(f, "realtime:{priority}"),
        }
    }
}

/// A text that is no [`Scheduling`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no scheduling: it can be normal, batch, idle, nice:-20 to nice:19, slice:100us to slice:100000us, \
     realtime:1 to realtime:99"
)]
pub struct SchedulingError(String);

impl FromStr for Scheduling {
    type Err = SchedulingError;

    /// Reads what `Display` writes.
    fn from_str(text: &str) -> Result<Scheduling, SchedulingError> {
        let (name, value) = text.split_once(':').unwrap_or((text, ""));
        let parsed = match name {
            "normal" if value.is_empty() => Some(Scheduling::Normal),
            "batch" if value.is_empty() => Some(Scheduling::Batch),
            "idle" if value.is_empty() => Some(Scheduling::Idle),
            "nice" => value.parse().ok().filter(|n| (-20..=19).contains(n)).map(Scheduling::Nice),
            "realtime" => value.parse().ok().filter(|n| (1..=99).contains(n)).map(Scheduling::Realtime),
            "slice" => {
                let us = value.strip_suffix("us").and_then(|us| us.parse().ok());
                us.map(Duration::from_micros).filter(|slice| SLICE.contains(slice)).map(Scheduling::Slice)
            }
            _ => None,
        };
        parsed.ok_or_else(|| SchedulingError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_value_are_the_same() {
        let all = [
            Scheduling::Normal,
            Scheduling::Batch,
            Scheduling::Idle,
            Scheduling::Nice(-5),
            Scheduling::Slice(Duration::from_micros(300)),
            Scheduling::Realtime(1),
        ];
        for scheduling in all {
            assert_eq!(scheduling.to_string().parse(), Ok(scheduling));
        }
        for nonsense in
            ["", "nice", "nice:20", "nice:x", "realtime:0", "realtime:100", "slice:1us", "batch:1"]
        {
            let error = nonsense.parse::<Scheduling>().unwrap_err();
            assert!(error.to_string().contains("realtime:1 to realtime:99"), "{nonsense}");
        }
        assert_eq!(Scheduling::Realtime(0).apply().unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn the_kernel_knows_of_it() {
        let policy_of_this_thread = || {
            let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
            let behind_name = stat.rsplit_once(')').unwrap().1;
            // Fields 19 (nice) and 41 (policy) of proc(5); the first one behind the name is field 3.
            let fields: Vec<&str> = behind_name.split_whitespace().collect();
            (fields[19 - 3].to_owned(), fields[41 - 3].to_owned())
        };
        std::thread::spawn(move || {
            Scheduling::Batch.apply().unwrap();
            assert_eq!(policy_of_this_thread().1, "3");
            Scheduling::Nice(7).apply().unwrap();
            assert_eq!(policy_of_this_thread(), ("7".into(), "0".into()));
            // Kernels before 6.12 take it, and ignore the slice.
            Scheduling::Slice(Duration::from_millis(1)).apply().unwrap();
            assert_eq!(policy_of_this_thread(), ("0".into(), "0".into()));
        })
        .join()
        .unwrap();
    }
}
