//! Makes visible what a terminal would obey: names of files and texts of other processes must neither move
//! the cursor, nor ring the bell, nor reverse the text.

use std::io::Write;

/// Appends `data` to `out`, with each character that a terminal would obey as an escape between `before` and
/// `after`. Bytes that are not UTF-8 are escaped one by one.
pub fn escape_between(data: &[u8], (before, after): (&str, &str), out: &mut Vec<u8>) {
    let escaped = |out: &mut Vec<u8>, text: std::fmt::Arguments<'_>| {
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

/// `text`, escaped so that a terminal only shows it.
pub fn harmless(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    escape_between(text.as_bytes(), ("", ""), &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// Lines with names of files, or with texts of other processes: everything that a terminal would obey is
/// escaped, except newlines.
pub fn harmless_lines(text: &str) -> String {
    text.split('\n').map(harmless).collect::<Vec<_>>().join("\n")
}

/// Lines into which this program itself has put terminal sequences: everything else that a terminal would
/// obey is escaped, except newlines.
pub fn harmless_painted(text: &str) -> String {
    text.split_inclusive('\x1b')
        .map(|part| match part.strip_suffix('\x1b') {
            Some(part) => harmless_lines(part) + "\x1b",
            None => harmless_lines(part),
        })
        .collect()
}

/// Escapes in JSON text the characters that JSON does not escape and a terminal obeys. All of these are in
/// strings.
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

/// Whether a terminal obeys the character instead of showing it: control characters other than the tab, and
/// characters that change the direction or the lines of text.
pub fn is_obeyed(char: char) -> bool {
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

    #[test]
    fn lines_keep_their_ends_and_nothing_else_that_is_obeyed() {
        assert_eq!(
            harmless_lines("/a\x1b[2J\u{9b}31m\r/b\t1\nsch\u{f6}n \u{202e}cod.exe\n"),
            "/a\\x1b[2J\\u{9b}31m\\r/b\t1\nsch\u{f6}n \\u{202e}cod.exe\n"
        );
        assert_eq!(harmless("a\nb"), "a\\nb");
        assert_eq!(harmless_painted("\x1b[2ma\u{202e}\x1b[0m\n"), "\x1b[2ma\\u{202e}\x1b[0m\n");
    }
}
