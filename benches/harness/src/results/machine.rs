//! The machine, as far as it explains the figures.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use waldo_terminal::units;

const UNKNOWN: &str = "unknown";

/// Where and when something was measured. What cannot be found out is `unknown` or 0.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Machine {
    /// Model of the processor.
    pub cpu: String,
    /// Processors that this process may use.
    pub cores: usize,
    /// All of the memory.
    pub memory_bytes: u64,
    /// Release of the kernel.
    pub kernel: String,
    /// Of the ring's directory: type, device and mount options.
    pub file_system: String,
    /// RFC 3339, UTC.
    pub date: String,
    /// Commit that the program was built from, with `-dirty` if there were changes.
    pub commit: String,
    /// Version of the program.
    pub version: String,
}

impl Machine {
    /// This machine; `dir` is where the ring is, or a directory above it if it does not exist yet.
    pub fn here(dir: &Path) -> Machine {
        let known = |text: Option<String>| text.unwrap_or_else(|| UNKNOWN.to_owned());
        let uname = nix::sys::utsname::uname().ok();
        Machine {
            cpu: known(cpu()),
            cores: std::thread::available_parallelism().map_or(0, |n| n.get()),
            memory_bytes: memory_bytes().unwrap_or(0),
            kernel: known(uname.map(|uname| uname.release().to_string_lossy().into_owned())),
            file_system: known(file_system(dir)),
            date: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            commit: env!("WALDO_COMMIT").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// Names and values for people.
    pub fn lines(&self) -> Vec<(String, String)> {
        let lines = [
            ("processor", self.cpu.clone()),
            ("cores", self.cores.to_string()),
            ("memory", units::bytes(self.memory_bytes)),
            ("kernel", self.kernel.clone()),
            ("file system", self.file_system.clone()),
            ("date", self.date.clone()),
            ("waldo", format!("{} ({})", self.version, self.commit)),
        ];
        lines.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// On AArch64 there is no such line: `unknown` then.
fn cpu() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn memory_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

/// The path itself or what of it exists.
fn existing(path: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    path.ancestors().find_map(|above| fs::canonicalize(above).ok())
}

fn file_system(dir: &Path) -> Option<String> {
    find_mount(&fs::read_to_string("/proc/self/mounts").ok()?, &existing(dir)?)
}

/// Type, device and mount options of the file system that holds `path`.
fn find_mount(mounts: &str, path: &Path) -> Option<String> {
    let holds = |line: &&str| {
        line.split(' ').nth(1).is_some_and(|point| path.starts_with(point.replace("\\040", " ")))
    };
    // Of several on one another the last one counts.
    let line = mounts.lines().filter(holds).max_by_key(|line| line.split(' ').nth(1).map(str::len))?;
    let mut fields = line.split(' ');
    let (device, _, kind, options) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    Some(format!("{kind} on {device} ({options})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_mount_counts() {
        let mounts =
            "/dev/a / ext4 rw,relatime 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/b /my\\040disk xfs ro 0 0\n";
        let found = |path: &str| find_mount(mounts, Path::new(path)).unwrap();
        assert_eq!(found("/home/x"), "ext4 on /dev/a (rw,relatime)");
        assert_eq!(found("/tmp/x"), "tmpfs on tmpfs (rw)");
        assert_eq!(found("/my disk/ring"), "xfs on /dev/b (ro)");
        assert_eq!(found("/tmpx"), "ext4 on /dev/a (rw,relatime)");
    }

    #[test]
    fn this_machine_is_known() {
        let machine = Machine::here(Path::new("/no/such/directory"));
        assert!(machine.cores > 0 && machine.memory_bytes > 0);
        assert_ne!(machine.file_system, UNKNOWN);
        assert!(machine.lines().iter().all(|(name, value)| !name.is_empty() && !value.is_empty()));
    }
}
