//! What a record looks like on standard output.

use base64::Engine;
use std::io::Write;
use waldo::reader::Record;
use waldo_terminal::units;

/// How records are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// The payload and a newline, nothing else.
    Text,
    /// An object a line: seq, prev, time and data (data_base64 if it is not UTF-8).
    Json,
    /// A hexdump under a line with the record's number, time and length.
    Hex,
    /// The payload behind its length (u32 little-endian), as `waldo append --framed` reads it.
    Raw,
}

impl Format {
    /// Puts the record at the end of `out`.
    pub fn render(self, record: &Record<'_>, out: &mut Vec<u8>) {
        match self {
            Format::Text => {
                out.extend_from_slice(record.data());
                out.push(b'\n');
            }
            Format::Raw => {
                // A payload is shorter than 1 MiB.
                out.extend_from_slice(&(record.data().len() as u32).to_le_bytes());
                out.extend_from_slice(record.data());
            }
            Format::Json => {
                json(record.seq_no(), record.prev_seq_no(), record.time_ns(), record.data(), out);
            }
            Format::Hex => {
                let time = units::timestamp(record.time_ns());
                put(
                    out,
                    format_args!("# seq {} time {time} length {}\n", record.seq_no(), record.data().len()),
                );
                hexdump(record.data(), out);
            }
        }
    }
}

fn json(seq_no: u64, prev_seq_no: u64, time_ns: u64, data: &[u8], out: &mut Vec<u8>) {
    let time = units::timestamp(time_ns);
    put(out, format_args!(r#"{{"seq":{seq_no},"prev":{prev_seq_no},"time":"{time}","#));
    match std::str::from_utf8(data) {
        Ok(text) => {
            out.extend_from_slice(br#""data":"#);
            // Writing a string into a vector cannot fail.
            let _ = serde_json::to_writer(&mut *out, text);
        }
        Err(_) => {
            let encoded = base64::engine::general_purpose::STANDARD.encode(data);
            put(out, format_args!(r#""data_base64":"{encoded}""#));
        }
    }
    out.extend_from_slice(b"}\n");
}

/// Sixteen bytes a line: offset, hexadecimal, and what is printable.
pub fn hexdump(data: &[u8], out: &mut Vec<u8>) {
    for (row, line) in data.chunks(16).enumerate() {
        put(out, format_args!("{:08x} ", row * 16));
        for i in 0..16 {
            let gap = if i == 8 { " " } else { "" };
            match line.get(i) {
                Some(byte) => put(out, format_args!("{gap} {byte:02x}")),
                None => put(out, format_args!("{gap}   ")),
            }
        }
        out.extend_from_slice(b"  |");
        out.extend(line.iter().map(|b| if b.is_ascii_graphic() || *b == b' ' { *b } else { b'.' }));
        out.extend_from_slice(b"|\n");
    }
}

fn put(out: &mut Vec<u8>, args: std::fmt::Arguments<'_>) {
    // Writing to a vector cannot fail.
    let _ = out.write_fmt(args);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_json_whatever_the_payload() {
        for payload in [&b""[..], b"a \"quoted\" \\ line\t\x01", "\u{1F9ED} \u{2028}".as_bytes(), b"\xff\x00"]
        {
            let mut out = Vec::new();
            json(7, 3, 1_000_000_000, payload, &mut out);
            let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
            assert_eq!((value["seq"].as_u64(), value["prev"].as_u64()), (Some(7), Some(3)));
            assert_eq!(value["time"], "1970-01-01T00:00:01.000000000Z");
            let data = match value["data"].as_str() {
                Some(text) => text.as_bytes().to_vec(),
                None => base64::engine::general_purpose::STANDARD
                    .decode(value["data_base64"].as_str().unwrap())
                    .unwrap(),
            };
            assert_eq!(data, payload);
        }
    }

    #[test]
    fn hexdump_lines_up() {
        let mut out = Vec::new();
        hexdump(b"0123456789abcdef\n", &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "00000000  30 31 32 33 34 35 36 37  38 39 61 62 63 64 65 66  |0123456789abcdef|\n\
             00000010  0a                                                |.|\n"
        );
    }
}
