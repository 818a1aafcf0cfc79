//! The machine and the versions that were measured: without them figures mean nothing.

use std::fs;
use std::process::Command;

/// The machine, on one line.
pub fn machine() -> String {
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown", |(_, name)| name);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("?").to_owned();
    format!("{cpus} CPUs ({model}), Linux {}, load average before the start {load}", kernel.trim())
}

/// The peers' versions, on one line.
pub fn versions() -> String {
    let lock = include_str!("../../Cargo.lock");
    let of = |name: &str| {
        let start = lock.find(&format!("name = \"{name}\"\nversion = \""))?;
        lock[start..].split('"').nth(3)
    };
    let crates: Vec<String> = ["iceoryx2", "heed", "redis"]
        .into_iter()
        .filter_map(|name| Some(format!("{name} {}", of(name)?)))
        .collect();
    let server = Command::new("redis-server").arg("--version").output();
    let server =
        server.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let server = server.split(' ').find_map(|word| word.strip_prefix("v=")).unwrap_or("missing").to_owned();
    format!("crates {}; redis-server {server}", crates.join(", "))
}
