//! The machine, as far as it explains the figures.

use crate::args::Plan;
use crate::scratch::Scratch;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Names and values.
pub struct Facts(Vec<(&'static str, String)>);

impl Facts {
    pub fn iter(&self) -> impl Iterator<Item = &(&'static str, String)> {
        self.0.iter()
    }

    pub fn to_json(&self) -> Value {
        self.0.iter().map(|(name, value)| (name.to_string(), Value::from(value.as_str()))).collect()
    }
}

/// What cannot be found out is left out.
pub fn gather(scratch: &Scratch, plan: &Plan) -> Facts {
    let mut facts = Vec::new();
    let mut fact = |name, value: Option<String>| facts.extend(value.map(|value| (name, value)));
    fact("commit", commit());
    fact("kernel", nix::sys::utsname::uname().ok().map(|u| u.release().to_string_lossy().into_owned()));
    fact("processor", processor());
    fact("cores", std::thread::available_parallelism().ok().map(|n| n.to_string()));
    fact("memory", memory());
    fact("file system", file_system(scratch.path()));
    fact("load", fs::read_to_string("/proc/loadavg").ok().map(|text| text.trim().to_owned()));
    fact("ring", Some(format!("{} pages of {} MiB", plan.ring_size, plan.page_len >> 20)));
    Facts(facts)
}

fn commit() -> Option<String> {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).current_dir(env!("CARGO_MANIFEST_DIR")).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let hash = git(&["rev-parse", "--short", "HEAD"])?;
    let dirty = git(&["status", "--porcelain", "--untracked-files=no"])?;
    Some(if dirty.is_empty() { hash } else { format!("{hash}, with changes") })
}

fn processor() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn memory() -> Option<String> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let kib: u64 = text.lines().next()?.split_whitespace().nth(1)?.parse().ok()?;
    Some(format!("{:.1} GiB", kib as f64 / 1048576.0))
}

/// Type, device and mount options of the file system that holds `path`.
fn file_system(path: &Path) -> Option<String> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let holds = |line: &&str| line.split(' ').nth(1).is_some_and(|point| path.starts_with(point));
    // Of several on one another the last one counts.
    let line = mounts.lines().filter(holds).max_by_key(|line| line.split(' ').nth(1).map(str::len))?;
    let mut fields = line.split(' ');
    let (device, _, kind, options) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    Some(format!("{kind} on {device} ({options})"))
}
