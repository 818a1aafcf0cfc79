//! How records are printed: the choice, and printing them.

use crate::moment;
use crate::tail::escape::{escape, highlight};
use crate::tail::paint::{DIM, FIELD, RESET};
use crate::tail::template::{Field, Piece, Template};
use base64::Engine;
use jiff::tz::TimeZone;
use regex::bytes::Regex;
use std::io::Write;
use std::str::FromStr;
use waldo::reader::Record;
use waldo_terminal::escape::escape_json;
use waldo_terminal::units;

/// How records are printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// The payload and a newline, nothing else.
    Text,
    /// An object a line: seq, prev, time and data (data_base64 if it is not UTF-8).
    Json,
    /// A hexdump under a line with the record's number, time and length.
    Hex,
    /// The payload behind its length (u32 little-endian), as `waldo append --framed` reads it.
    Raw,
    /// As the user lays it out.
    Template(Template),
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Format, String> {
        Ok(match text {
            "text" => Format::Text,
            "json" => Format::Json,
            "hex" => Format::Hex,
            "raw" => Format::Raw,
            text if text.contains(['{', '}']) => Format::Template(text.parse()?),
            _ => {
                return Err(
                    "use text, json, hex, raw, or a template like '{seq} {time} {payload}'".to_owned()
                );
            }
        })
    }
}

/// Prints records.
pub struct Renderer {
    /// The layout.
    pub format: Format,
    /// Nothing that a terminal obeys gets through.
    pub escapes: bool,
    /// With colours.
    pub colours: bool,
    /// What is to be seen in payloads.
    pub highlight: Option<Regex>,
    /// The zone of `{local}`.
    pub zone: TimeZone,
}

impl Renderer {
    /// Puts the record at the end of `out`.
    pub fn render(&self, record: &Record<'_>, out: &mut Vec<u8>) {
        match &self.format {
            Format::Text => {
                self.payload(record.data(), out);
                out.push(b'\n');
            }
            Format::Raw => {
                // A payload is shorter than 1 MiB.
                out.extend_from_slice(&(record.data().len() as u32).to_le_bytes());
                out.extend_from_slice(record.data());
            }
            Format::Json => {
                let start = out.len();
                json(record.seq_no(), record.prev_seq_no(), record.time_ns(), record.data(), out);
                self.tame_json(start, out);
            }
            Format::Hex => self.hex(record, out),
            Format::Template(template) => {
                for piece in &template.pieces {
                    match piece {
                        Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                        Piece::Field(field) => self.field(*field, record, out),
                    }
                }
            }
        }
    }

    fn payload(&self, data: &[u8], out: &mut Vec<u8>) {
        match &self.highlight {
            _ if self.escapes => escape(data, self.colours, self.highlight.as_ref(), out),
            Some(regex) if self.colours => highlight(data, regex, out),
            _ => out.extend_from_slice(data),
        }
    }

    fn hex(&self, record: &Record<'_>, out: &mut Vec<u8>) {
        let time = units::timestamp(record.time_ns());
        let (before, after) = if self.colours { (DIM, RESET) } else { ("", "") };
        put(
            out,
            format_args!(
                "{before}# seq {} time {time} length {}{after}\n",
                record.seq_no(),
                record.data().len()
            ),
        );
        hexdump(record.data(), out);
    }

    fn field(&self, field: Field, record: &Record<'_>, out: &mut Vec<u8>) {
        let (data, time) = (record.data(), record.time_ns());
        let base64 = || base64::engine::general_purpose::STANDARD.encode(data);
        match field {
            Field::Seq => self.painted(record.seq_no(), out),
            Field::Prev => self.painted(record.prev_seq_no(), out),
            Field::Time => self.painted(units::timestamp(time), out),
            Field::Local => self.painted(moment::local(time, &self.zone), out),
            Field::Unix => {
                let (seconds, nanos) = (time / 1_000_000_000, time % 1_000_000_000);
                self.painted(format_args!("{seconds}.{nanos:09}"), out);
            }
            Field::Payload => self.payload(data, out),
            Field::Len => put(out, format_args!("{}", data.len())),
            Field::Json => {
                let start = out.len();
                // Writing a string into a vector cannot fail.
                let _ = serde_json::to_writer(&mut *out, &*String::from_utf8_lossy(data));
                self.tame_json(start, out);
            }
            Field::Hex => put(out, format_args!("{}", units::hex(data))),
            Field::Base64 => put(out, format_args!("{}", base64())),
            Field::Epoch => put(out, format_args!("{}", record.epoch())),
        }
    }

    fn painted(&self, value: impl std::fmt::Display, out: &mut Vec<u8>) {
        match self.colours {
            true => put(out, format_args!("{FIELD}{value}{RESET}")),
            false => put(out, format_args!("{value}")),
        }
    }

    /// Escapes what stands behind `start`, if that is wanted.
    fn tame_json(&self, start: usize, out: &mut Vec<u8>) {
        if self.escapes
            && let Ok(text) = std::str::from_utf8(&out[start..])
        {
            let tame = escape_json(text);
            out.truncate(start);
            out.extend_from_slice(tame.as_bytes());
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
fn hexdump(data: &[u8], out: &mut Vec<u8>) {
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
