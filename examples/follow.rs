//! Follows a ring from its oldest record on, until interrupted: `cargo run --example follow -- /var/tmp/ring`

use std::process::ExitCode;
use waldo::reader::{Cursor, Ring, Wakeup};

fn main() -> ExitCode {
    run().map_or_else(
        |error| {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    )
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let home = std::env::args().nth(1).ok_or("usage: follow HOME")?;
    let ring = Ring::attach(&home)?;
    let mut reader = ring.reader(Cursor::Oldest)?;
    loop {
        while let Some(batch) = reader.poll()? {
            for record in &batch {
                println!("{:>8}  {}", record.seq_no(), String::from_utf8_lossy(record.data()));
            }
        }
        if let Wakeup::Writer(status) = reader.wait(None)? {
            eprintln!("the writer: {status}");
        }
    }
}
