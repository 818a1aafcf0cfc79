//! Lines laid out by the user: `{seq} {time} {payload}`.

use std::str::FromStr;

/// For the `--help` of `--format`.
pub const FIELDS: &str = "\
Fields of a template, as in --format '{seq} {time} {payload}' (a newline follows, unless it ends in \\c):
  {seq} {prev}       numbers of the record and of the one before
  {time} {local}     when it was appended, RFC 3339 in UTC, or in this machine's time zone (or TZ)
  {unix}             the same in seconds since 1970, with nine decimals
  {payload} {len}    the payload, and its bytes
  {json} {hex} {base64}  the payload as a JSON string (U+FFFD for what is no UTF-8), in hexadecimal, in base64
  {epoch}            the writer's start that appended it
  {{ }} \\n \\t \\0 \\\\  braces, newline, tab, NUL, backslash";

/// What a template is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Text of the user's.
    Text(String),
    /// Something of the record.
    Field(Field),
}

/// What of a record is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// Sequence number.
    Seq,
    /// That of the record before.
    Prev,
    /// Time in UTC.
    Time,
    /// Time in this machine's zone.
    Local,
    /// Time as seconds.
    Unix,
    /// The payload.
    Payload,
    /// Its length.
    Len,
    /// The payload as a JSON string.
    Json,
    /// In hexadecimal digits.
    Hex,
    /// In base64.
    Base64,
    /// The writer's start.
    Epoch,
}

const NAMES: [(&str, Field); 11] = [
    ("seq", Field::Seq),
    ("prev", Field::Prev),
    ("time", Field::Time),
    ("local", Field::Local),
    ("unix", Field::Unix),
    ("payload", Field::Payload),
    ("len", Field::Len),
    ("json", Field::Json),
    ("hex", Field::Hex),
    ("base64", Field::Base64),
    ("epoch", Field::Epoch),
];

/// A template that has been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// Its pieces in order, the newline at the end included.
    pub pieces: Vec<Piece>,
}

impl FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Template, String> {
        let mut reading = TemplateReader::default();
        let mut chars = text.chars();
        let mut newline = true;
        while let Some(char) = chars.next() {
            match char {
                '\\' => match chars.next() {
                    Some('n') => reading.text.push('\n'),
                    Some('t') => reading.text.push('\t'),
                    Some('0') => reading.text.push('\0'),
                    Some('\\') => reading.text.push('\\'),
                    Some('c') if chars.as_str().is_empty() => newline = false,
                    _ => {
                        return Err(
                            "a backslash stands for \\n, \\t, \\0, \\\\, or \\c at the end".to_owned()
                        );
                    }
                },
                '{' | '}' if chars.as_str().starts_with(char) => {
                    chars.next();
                    reading.text.push(char);
                }
                '{' => {
                    let (name, rest) =
                        chars.as_str().split_once('}').ok_or("a `{` has no `}`; write {{ for a brace")?;
                    reading.field(name)?;
                    chars = rest.chars();
                }
                '}' => return Err("a `}` has no `{`; write }} for a brace".to_owned()),
                char => reading.text.push(char),
            }
        }
        if newline {
            reading.text.push('\n');
        }
        reading.finish_text();
        Ok(Template { pieces: reading.pieces })
    }
}

#[derive(Default)]
struct TemplateReader {
    pieces: Vec<Piece>,
    /// Behind the last piece.
    text: String,
}

impl TemplateReader {
    fn finish_text(&mut self) {
        if !self.text.is_empty() {
            self.pieces.push(Piece::Text(std::mem::take(&mut self.text)));
        }
    }

    fn field(&mut self, name: &str) -> Result<(), String> {
        let found = NAMES.iter().find(|(known, _)| *known == name);
        let Some((_, field)) = found else {
            let known: Vec<String> = NAMES.iter().map(|(name, _)| format!("{{{name}}}")).collect();
            return Err(format!("{{{name}}} is no field; there are {}", known.join(" ")));
        };
        self.finish_text();
        self.pieces.push(Piece::Field(*field));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Piece {
        Piece::Text(text.to_owned())
    }

    #[test]
    fn templates_are_taken_apart() {
        let template: Template = "{seq}\\t{{{payload}}} \\\\".parse().unwrap();
        let expected = [Piece::Field(Field::Seq), text("\t{"), Piece::Field(Field::Payload), text("} \\\n")];
        assert_eq!(template.pieces, expected);
        let bare: Template = "{hex}\\0\\c".parse().unwrap();
        assert_eq!(bare.pieces, [Piece::Field(Field::Hex), text("\0")]);
        for (wrong, says) in
            [("{sequence}", "is no field"), ("{seq", "no `}`"), ("seq}", "no `{`"), ("\\q", "backslash")]
        {
            assert!(wrong.parse::<Template>().unwrap_err().contains(says), "{wrong}");
        }
    }
}
