//! Payloads on a terminal: nothing in them moves the cursor, rings the bell or turns the text around.

use crate::tail::paint::{DIM, MATCH, RESET};
use regex::bytes::Regex;
use std::io::Write;

/// Puts `data` behind `out`, with everything escaped that a terminal would obey, and, with `colour`, what
/// `highlight` finds in bold red.
pub fn escape(data: &[u8], colour: bool, highlight: Option<&Regex>, out: &mut Vec<u8>) {
    let Some(regex) = highlight.filter(|_| colour) else {
        escape_part(data, colour.then_some(RESET), out);
        return;
    };
    let mut done = 0;
    for found in regex.find_iter(data).filter(|found| !found.is_empty()) {
        escape_part(&data[done..found.start()], Some(RESET), out);
        out.extend_from_slice(MATCH.as_bytes());
        escape_part(found.as_bytes(), Some(MATCH), out);
        out.extend_from_slice(RESET.as_bytes());
        done = found.end();
    }
    escape_part(&data[done..], Some(RESET), out);
}

/// Text that a terminal only shows.
pub fn harmless(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    escape_part(text.as_bytes(), None, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// Lines that hold names of files, or what other processes have written down: with everything escaped that a
/// terminal would obey, but for the newlines.
pub fn harmless_lines(text: &str) -> String {
    text.split('\n').map(harmless).collect::<Vec<_>>().join("\n")
}

/// `data` as it is, but with what `highlight` finds in bold red.
pub fn highlight(data: &[u8], regex: &Regex, out: &mut Vec<u8>) {
    let mut done = 0;
    for found in regex.find_iter(data).filter(|found| !found.is_empty()) {
        out.extend_from_slice(&data[done..found.start()]);
        out.extend_from_slice(MATCH.as_bytes());
        out.extend_from_slice(found.as_bytes());
        out.extend_from_slice(RESET.as_bytes());
        done = found.end();
    }
    out.extend_from_slice(&data[done..]);
}

/// Escapes; with `after`, escapes are dim, and what follows goes on in that colour.
fn escape_part(data: &[u8], after: Option<&str>, out: &mut Vec<u8>) {
    let escaped = |out: &mut Vec<u8>, text: std::fmt::Arguments<'_>| {
        let (before, after) = after.map_or(("", ""), |after| (DIM, after));
        // Writing to a vector cannot fail.
        let _ = write!(out, "{before}{text}{after}");
    };
    for chunk in data.utf8_chunks() {
        let text = chunk.valid();
        let mut plain = 0;
        for (at, char) in text.char_indices().filter(|(_, char)| is_obeyed(*char)) {
            out.extend_from_slice(&text.as_bytes()[plain..at]);
            plain = at + char.len_utf8();
            match char {
                '\n' => escaped(out, format_args!("\\n")),
                '\r' => escaped(out, format_args!("\\r")),
                char if char.is_ascii() => escaped(out, format_args!("\\x{:02x}", u32::from(char))),
                char => escaped(out, format_args!("\\u{{{:x}}}", u32::from(char))),
            }
        }
        out.extend_from_slice(&text.as_bytes()[plain..]);
        for byte in chunk.invalid() {
            escaped(out, format_args!("\\x{byte:02x}"));
        }
    }
}

/// Escapes in JSON text what JSON leaves as it is and a terminal obeys. All of that stands in strings.
pub fn escape_json(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        if is_obeyed(char) && char != '\n' {
            let mut units = [0; 2];
            for unit in char.encode_utf16(&mut units) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(char);
        }
    }
    out
}

/// Whether a terminal does something else with it than show it: control characters other than the tab, and
/// what changes the direction or the lines of text.
fn is_obeyed(char: char) -> bool {
    match char {
        '\t' => false,
        '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}' => true,
        char => char.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(data: &[u8]) -> String {
        let mut out = Vec::new();
        escape(data, false, None, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn nothing_that_a_terminal_obeys_gets_through() {
        assert_eq!(escaped("ein\tplain \u{1F9ED} text".as_bytes()), "ein\tplain \u{1F9ED} text");
        assert_eq!(escaped(b"\x1b[2Jgone\x07\n"), "\\x1b[2Jgone\\x07\\n");
        assert_eq!(escaped(b"\xff\xc2ab\x9b"), "\\xff\\xc2ab\\x9b");
        assert_eq!(escaped("\u{9b}31m \u{202e}cod.exe".as_bytes()), "\\u{9b}31m \\u{202e}cod.exe");
        let everything: Vec<u8> = (0..=255).collect();
        assert!(escaped(&everything).chars().all(|char| !char.is_control() || char == '\t'));
        for code in (0..0x11_0000).filter_map(char::from_u32).filter(|char| char.is_control()) {
            assert!(is_obeyed(code) || code == '\t');
        }
    }

    #[test]
    fn matches_are_painted_and_escaped_all_the_same() {
        let mut out = Vec::new();
        escape(b"a\x1bXb\x1b", true, Some(&Regex::new("\x1bX").unwrap()), &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            format!("a{MATCH}{DIM}\\x1b{MATCH}X{RESET}b{DIM}\\x1b{RESET}")
        );
        let mut out = Vec::new();
        highlight(b"one two", &Regex::new("o+").unwrap(), &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), format!("{MATCH}o{RESET}ne tw{MATCH}o{RESET}"));
    }

    #[test]
    fn json_stays_json() {
        let text = "{\"data\":\"\u{9b}\u{7f}\u{e0041} ok\"}\n";
        let escaped = escape_json(text);
        assert!(escaped.chars().all(|char| !is_obeyed(char) || char == '\n'), "{escaped}");
        let [before, after] = [text, &escaped].map(serde_json::from_str::<serde_json::Value>);
        assert_eq!(before.unwrap(), after.unwrap());
    }
}
