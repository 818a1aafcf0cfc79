//! What can be wrong with a configuration although each value by itself is in order.

use super::{Config, DurabilityKind, RingConfig};
use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use waldo::writer::group_id;
use waldo_service::Service;

/// A fault, and the bytes of the file that it is about.
type Fault = (Range<usize>, String);

/// Everything that is wrong.
pub fn check(config: &Config) -> Vec<Fault> {
    let mut faults = Vec::new();
    if config.rings.is_empty() {
        faults.push((0..0, "no ring is named: add [[ring]] with home and socket".to_owned()));
    }
    check_twice(&mut faults, config, "home", |ring| Some((real(ring.home()), ring.home.span())));
    check_twice(&mut faults, config, "socket", |ring| {
        let socket = ring.socket.as_ref()?;
        Some((real(socket.as_ref()), socket.span()))
    });
    check_twice(&mut faults, config, "control", |ring| {
        Some((real(ring.control.as_ref()?), ring.home.span()))
    });
    let mut names = HashMap::new();
    for ring in &config.rings {
        if names.insert(ring.name(), ()).is_some() {
            let text = format!("two rings are called {:?}: give one of them another `name`", ring.name());
            faults.push((ring.home.span(), text));
        }
        check_ring(&mut faults, ring);
    }
    if let Some(address) = config.http.listen
        && !address.ip().is_loopback()
        && !config.http.remote
    {
        faults.push((
            0..0,
            format!(
                "[http] listen = \"{address}\" can be reached from other machines, and asks nobody who they are: use \
                 127.0.0.1, or allow it by remote = true"
            ),
        ));
    }
    faults
}

fn check_ring(faults: &mut Vec<Fault>, ring: &RingConfig) {
    let span = ring.home.span();
    let mut fault = |text: String| faults.push((span.clone(), format!("ring {}: {text}", ring.name())));
    let options = ring.writer_options_for(ring.meta().as_ref());
    match ring.chosen_pages(&options) {
        Ok(_) => {
            if let Err(error) = ring.writer_options().check() {
                fault(error.to_string());
            }
        }
        Err(text) => fault(text),
    }
    if let Err(error) = ring.service_options().check() {
        fault(error.to_string());
    }
    if ring.sync_interval.is_some() && ring.durability != DurabilityKind::Interval {
        fault("sync_interval is for durability = \"interval\"".to_owned());
    }
    if let Some(Err(error)) = ring.socket_group.as_deref().map(group_id) {
        fault(error.to_string());
    }
    if let Some(path) = ring.socket()
        && let Err(error) = Service::check_path(path)
    {
        fault(error.to_string());
    }
    if ring.name().is_empty() || ring.name().chars().any(char::is_control) {
        fault("name is empty, or holds a control character".to_owned());
    }
    if ring.home().as_os_str().is_empty() {
        fault("home is empty".to_owned());
    }
    if ring.home().exists() && !ring.home().is_dir() {
        fault(format!("{} is no directory", ring.home().display()));
    }
}

/// Two rings may not share a thing.
fn check_twice(
    faults: &mut Vec<Fault>,
    config: &Config,
    what: &str,
    of: impl Fn(&RingConfig) -> Option<(PathBuf, Range<usize>)>,
) {
    let mut seen: HashMap<PathBuf, String> = HashMap::new();
    for ring in &config.rings {
        let Some((path, span)) = of(ring) else { continue };
        let path_text = path.display().to_string();
        if let Some(other) = seen.insert(path, ring.name()) {
            let text =
                format!("{what} {path_text} belongs to the ring {other} already: each ring has its own");
            faults.push((span, text));
        }
    }
}

/// The path without links and detours, as far as it is there: two names of one directory are one.
fn real(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut rest = PathBuf::new();
    let mut there = path.as_path();
    loop {
        if let Ok(found) = there.canonicalize() {
            return if rest.as_os_str().is_empty() { found } else { found.join(rest) };
        }
        let (Some(parent), Some(name)) = (there.parent(), there.file_name()) else { return path };
        rest = if rest.as_os_str().is_empty() { name.into() } else { Path::new(name).join(rest) };
        there = parent;
    }
}
