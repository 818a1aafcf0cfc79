//! What the demo appends: a file's lines, or text of its own.

use anyhow::Context;
use std::fs::File;
use std::io::Read;
use std::path::Path;

const TEXT: &str = include_str!("text.txt");

/// The lines of `input`, or an endless stream of numbered lines.
pub fn source(input: Option<&Path>) -> anyhow::Result<Box<dyn Read>> {
    Ok(match input {
        Some(path) => Box::new(File::open(path).with_context(|| format!("cannot open {}", path.display()))?),
        None => Box::new(Endless { number: 0, lines: TEXT.lines().collect(), line: Vec::new(), given: 0 }),
    })
}

/// Numbered lines of the built-in text, over and over. Always the same.
struct Endless {
    number: usize,
    lines: Vec<&'static str>,
    line: Vec<u8>,
    given: usize,
}

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            if self.given == self.line.len() {
                self.number += 1;
                let text = self.lines[self.number % self.lines.len()];
                self.line = format!("{:>9}  {text}\n", self.number).into_bytes();
                self.given = 0;
            }
            let n = (self.line.len() - self.given).min(buffer.len() - filled);
            buffer[filled..filled + n].copy_from_slice(&self.line[self.given..self.given + n]);
            self.given += n;
            filled += n;
        }
        Ok(filled)
    }
}

/// Bytes of the longest line the built-in text can give, without its newline.
pub fn longest_line() -> u64 {
    22 + TEXT.lines().map(|line| line.len() as u64).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(piece: usize) -> Vec<u8> {
        let mut stream = source(None).unwrap();
        let mut out = Vec::new();
        let mut buffer = vec![0; piece];
        while out.len() < 5000 {
            let n = stream.read(&mut buffer).unwrap();
            out.extend_from_slice(&buffer[..n]);
        }
        out.truncate(5000);
        out
    }

    #[test]
    fn the_built_in_text_is_the_same_every_time() {
        assert_eq!(lines(4096), lines(7));
        let text = String::from_utf8(lines(100)).unwrap();
        assert!(text.lines().all(|line| line.len() as u64 <= longest_line()));
        assert!(text.lines().count() > 20);
    }
}
