//! Appends its arguments to a ring, a record each: `cargo run --example append -- /var/tmp/ring one two
//! three`

use std::process::ExitCode;
use waldo::writer::{Writer, WriterOptions};

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
    let mut args = std::env::args().skip(1);
    let home = args.next().ok_or("usage: append HOME RECORD...")?;
    let records: Vec<String> = args.collect();
    let mut writer = Writer::open(&home, WriterOptions::default())?;
    let appended = writer.append_payloads(&records)?;
    println!("{} records, the last is number {}", appended.records, appended.last_seq_no);
    writer.close()?;
    Ok(())
}
