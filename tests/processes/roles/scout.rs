//! A process that says how a ring looks from where it is.

use crate::support::args::Args;
use crate::support::child::tell;
use crate::support::ring::attach;
use std::path::Path;
use waldo::reader::{ControlKind, RingStatus, WriterStatus};

/// Says `attached`, and for each line `status SOURCE WRITER TIP`: of the attachment of before for `again`,
/// else of a new one.
pub fn play(args: &Args) {
    let home = Path::new(args.get("home"));
    let ring = attach(home);
    tell("attached");
    for line in std::io::stdin().lines() {
        let ring = if line.unwrap() == "again" { ring.clone() } else { attach(home) };
        let status = ring.status().unwrap();
        let tip = status.tip_seq_no.unwrap_or(0);
        tell(format!("status {} {} {tip}", source(&status), writer(&status)));
    }
}

fn source(status: &RingStatus) -> &'static str {
    match status.control {
        ControlKind::Files => "files",
        _ => "segment",
    }
}

fn writer(status: &RingStatus) -> &'static str {
    match status.writer {
        WriterStatus::Live => "live",
        WriterStatus::Recovering => "recovering",
        WriterStatus::Closed => "closed",
        WriterStatus::Stalled { .. } => "stalled",
        WriterStatus::Absent => "absent",
        _ => "other",
    }
}
