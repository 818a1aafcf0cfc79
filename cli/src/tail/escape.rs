//! Escaping payloads on a terminal: nothing in them moves the cursor, rings the bell or reverses the text.

use crate::tail::paint::{DIM, MATCH, RESET};
use regex::bytes::Regex;
use waldo_terminal::escape::escape_between;

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
    escape_between(data, after.map_or(("", ""), |after| (DIM, after)), out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use waldo_terminal::escape::{escape_json, is_obeyed};

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
