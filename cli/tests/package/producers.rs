//! Producers: `waldo append --socket`, each started once, with a name, and fed line by line.

use crate::clean_root::{CleanRoot, PRODUCER};
use crate::service::ended;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

/// Lines that a producer is fed at once.
pub const LINES: u64 = 20;

pub struct Producers {
    children: Vec<Child>,
    feeders: Vec<Sender<()>>,
}

impl Producers {
    /// Starts so many. The service need not be there.
    pub fn start(root: &CleanRoot, place: &Path, count: u64) -> Producers {
        let mut producers = Producers { children: Vec::new(), feeders: Vec::new() };
        let errors = File::create(place.join("producers")).unwrap();
        for index in 0..count {
            let name = format!("producer-{index}");
            let socket = "/run/waldo/orders.sock";
            let args = ["append", "--socket", socket, "--producer", &name, "--wait", "forever", "-q"];
            let mut command = root.command(PRODUCER, "/usr/bin/waldo", &args);
            command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(errors.try_clone().unwrap());
            let mut child = command.spawn().unwrap();
            let stdin = child.stdin.take().unwrap();
            let (feeder, portions) = channel();
            // A producer takes no more while the service is away, which holds up nobody but its own feeder.
            thread::spawn(move || feed(&name, &portions, stdin));
            producers.children.push(child);
            producers.feeders.push(feeder);
        }
        producers
    }

    /// Feeds each of them so many portions of [`LINES`] lines.
    pub fn feed(&self, portions: u64) {
        for feeder in &self.feeders {
            for _ in 0..portions {
                feeder.send(()).unwrap();
            }
        }
    }

    /// Ends their input, and has each say that all of it is acknowledged.
    pub fn finish(self, place: &Path) {
        drop(self.feeders);
        for mut child in self.children {
            let status = ended(&mut child, "a producer ends");
            let said = || std::fs::read_to_string(place.join("producers")).unwrap_or_default();
            assert!(status.success(), "a producer: {status}: {}", said());
        }
    }
}

/// The payload of a producer's record: who, the how many-th, and something that tells a torn one.
pub fn payload(name: &str, number: u64) -> String {
    format!("{name} {number} {:016x}", (number ^ 0x5851).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

fn feed(name: &str, portions: &Receiver<()>, mut stdin: impl Write) {
    let mut number = 0;
    for () in portions {
        let mut text = String::new();
        for _ in 0..LINES {
            number += 1;
            writeln!(text, "{}", payload(name, number)).unwrap();
        }
        // A producer that has ended says so by its exit code.
        if stdin.write_all(text.as_bytes()).is_err() {
            return;
        }
    }
}
