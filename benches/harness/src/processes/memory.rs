//! What processes take of the machine's memory.

use anyhow::Context;
use std::io;

/// Memory of one process in KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Its heap, stacks and the like: what files and shared memory have no part in.
    pub own: u64,
    /// Its own pages, which no other process shares.
    pub private: u64,
    /// Its own pages and its share of the shared ones.
    pub proportional: u64,
    /// Page tables.
    pub tables: u64,
}

impl Memory {
    /// Of a process: a number, or `self`.
    pub fn of(process: &str) -> io::Result<Memory> {
        let maps = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
        let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
        Ok(Memory {
            own: kib(&maps, "Anonymous:"),
            private: kib(&maps, "Private_Clean:") + kib(&maps, "Private_Dirty:"),
            proportional: kib(&maps, "Pss:"),
            tables: kib(&status, "VmPTE:"),
        })
    }
}

/// Memory of the whole machine in KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MachineMemory {
    /// What a program could get without swapping.
    pub available: u64,
    /// Page tables, kernel stacks and what the kernel's allocators hold.
    pub kernel: u64,
}

impl MachineMemory {
    /// As it is now.
    pub fn now() -> anyhow::Result<MachineMemory> {
        let info = std::fs::read_to_string("/proc/meminfo").context("cannot read /proc/meminfo")?;
        let kernel = ["PageTables:", "KernelStack:", "Slab:", "Percpu:", "SecPageTables:"];
        Ok(MachineMemory {
            available: kib(&info, "MemAvailable:"),
            kernel: kernel.iter().map(|name| kib(&info, name)).sum(),
        })
    }
}

/// The number behind `name`; 0 if the kernel does not tell.
fn kib(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_found_by_its_name() {
        assert_eq!(kib("Rss: 5 kB\nPss:   12 kB\nPss_Dirty: 7 kB\n", "Pss:"), 12);
        assert_eq!(kib("Rss: 5 kB\n", "Pss:"), 0);
        assert!(Memory::of("self").unwrap().private > 0);
        assert!(MachineMemory::now().unwrap().kernel > 0);
    }
}
