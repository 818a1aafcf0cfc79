//! The child that writes.

use crate::args::Args;
use crate::child::tell;
use crate::dice::Dice;
use crate::payload::{self, Origin};
use crate::plan;
use crate::points;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use std::collections::VecDeque;
use std::thread;
use std::time::{Duration, Instant};
use waldo::writer::{AppendError, ControlPlace, SharedWriter, Ticket, Writer};

const IN_FLIGHT: usize = 8;

/// Says `opening`, then `live TIP` or `refused ERROR`; `acked N` after each append; after `load_ms`
/// milliseconds makes everything durable, says `idle TIP`, and waits to be killed. Says `failed ERROR` if an
/// append fails. With `die_at` and `die_after_us`, dies by itself at a point.
pub fn play(args: &Args) {
    if args.has("private_shm") {
        private_shm();
    }
    let mut options = plan::options(args);
    if args.has("control") {
        options.control = ControlPlace::Path(args.get("control").into());
    }
    tell("opening");
    if args.has("die_at") {
        points::die_at(args.number("die_at") as usize, Duration::from_micros(args.number("die_after_us")));
    }
    let writer = match Writer::open(args.get("home"), options) {
        Ok(writer) => writer,
        Err(error) => return tell(format!("refused {error}")),
    };
    let tip = writer.tip().unwrap_or(0);
    tell(format!("live {tip}"));
    let load = Load {
        dice: Dice::new(args.number("seed")),
        life: args.number("life"),
        max: args.number("max") as usize,
        batch: args.number("batch"),
        pause: Duration::from_micros(args.number("pause_us")),
        end: Instant::now() + Duration::from_millis(args.number("load_ms")),
        next: tip + 1,
    };
    let outcome = match args.number("shared") {
        1 => load.shared(SharedWriter::new(writer)),
        _ => load.alone(writer),
    };
    if let Err(error) = outcome {
        tell(format!("failed {error}"));
    }
    thread::sleep(Duration::from_secs(3600));
}

/// As in a container, or a service with a /dev/shm of its own.
fn private_shm() {
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    let no: Option<&str> = None;
    mount(no, "/", no, MsFlags::MS_REC | MsFlags::MS_PRIVATE, no).unwrap();
    mount(Some("tmpfs"), "/dev/shm", Some("tmpfs"), MsFlags::empty(), no).unwrap();
}

struct Load {
    dice: Dice,
    life: u64,
    max: usize,
    batch: u64,
    /// Between two appends, at most.
    pause: Duration,
    end: Instant,
    next: u64,
}

impl Load {
    fn payloads(&mut self) -> Vec<Vec<u8>> {
        if !self.pause.is_zero() {
            let pause = self.dice.time(self.pause);
            // A part of the load, not a wait for something.
            thread::sleep(pause);
        }
        let most = if self.dice.chance(2) { 300 } else { self.batch };
        let first = self.next;
        self.next += self.dice.within(1..=most);
        (first..self.next).map(|seq_no| payload::make(Origin { seq_no, life: self.life }, self.max)).collect()
    }

    fn alone(mut self, mut writer: Writer) -> Result<(), AppendError> {
        loop {
            let payloads = self.payloads();
            let appended = writer.append_payloads(&payloads)?;
            tell(format!("acked {}", appended.last_seq_no));
            if Instant::now() > self.end {
                writer.sync()?;
                tell(format!("idle {}", self.next - 1));
                std::mem::forget(writer);
                return Ok(());
            }
        }
    }

    fn shared(mut self, writer: SharedWriter) -> Result<(), AppendError> {
        let mut tickets: VecDeque<Ticket> = VecDeque::new();
        loop {
            let payloads = self.payloads();
            tickets.push_back(writer.try_append_payloads(&payloads)?);
            let over = Instant::now() > self.end;
            while tickets.len() >= if over { 1 } else { IN_FLIGHT } {
                let Some(ticket) = tickets.pop_front() else { break };
                tell(format!("acked {}", ticket.wait()?.last_seq_no));
            }
            if over {
                writer.sync()?;
                tell(format!("idle {}", self.next - 1));
                std::mem::forget(writer);
                return Ok(());
            }
        }
    }
}
