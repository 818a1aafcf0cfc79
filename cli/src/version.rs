//! The output of `waldo --version`. `build.rs` finds the commit.

/// Version and commit.
pub const SHORT: &str = env!("WALDO_VERSION");

/// The same, and what it works with.
pub const LONG: &str = concat!(
    env!("WALDO_VERSION"),
    "\nrings of format version 1, as https://github.com/waldo-log/waldo describes it\nbuilt for ",
    env!("WALDO_TARGET"),
    "; appends through io_uring, or pwrite where that is forbidden"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_version_is_that_of_the_protocol() {
        let version = format!("rings of format version {},", waldo_shm_protocol::FORMAT_VERSION);
        assert!(LONG.contains(&version), "{LONG}");
    }
}
