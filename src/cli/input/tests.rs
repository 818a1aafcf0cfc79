//! Lines and frames as they come in pieces.

use super::*;

/// Gives its bytes in pieces of the given size.
struct Dribble<'a>(&'a [u8], usize);

impl Read for Dribble<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let n = self.1.min(self.0.len()).min(buf.len());
        buf[..n].copy_from_slice(&self.0[..n]);
        self.0 = &self.0[n..];
        Ok(n)
    }
}

fn cut(bytes: &[u8], piece: usize, framing: Framing, limit: usize) -> (Vec<Vec<u8>>, Option<String>) {
    let mut input = Input::new(Dribble(bytes, piece), framing, 1, limit);
    let mut out = Vec::new();
    loop {
        let result = input.read();
        assert_eq!(input.first_number(), out.len() as u64 + 1);
        out.extend(input.batch().into_iter().map(<[u8]>::to_vec));
        match result {
            Ok(true) => {}
            Ok(false) => return (out, None),
            Err(error) => return (out, Some(error.to_string())),
        }
    }
}

#[test]
fn lines_come_out_the_same_however_they_arrive() {
    let text = b"one\n\ntwo\r\n\xff\xfe\nan unfinished last line";
    let expected: Vec<Vec<u8>> =
        [&b"one"[..], b"", b"two\r", b"\xff\xfe", b"an unfinished last line"].map(<[u8]>::to_vec).to_vec();
    for piece in 1..=text.len() {
        assert_eq!(cut(text, piece, Framing::Lines, 100), (expected.clone(), None), "pieces of {piece}");
    }
    assert_eq!(cut(b"", 1, Framing::Lines, 10).0.len(), 0);
    assert_eq!(cut(b"\n", 1, Framing::Lines, 10).0, vec![b"".to_vec()]);
}

#[test]
fn a_line_longer_than_the_first_buffer_is_kept_whole() {
    let long = vec![b'x'; 50_000];
    assert_eq!(cut(&long, 1000, Framing::Lines, 50_000), (vec![long.clone()], None));
}

#[test]
fn too_long_a_line_is_named_and_those_before_it_are_kept() {
    for piece in [1, 4, 100] {
        let (records, error) = cut(b"ab\ncd\nefghi\nj\n", piece, Framing::Lines, 4);
        assert_eq!(records, vec![b"ab".to_vec(), b"cd".to_vec()]);
        assert!(error.unwrap().contains("line 3 is too long"), "pieces of {piece}");
    }
    let (records, error) = cut(b"abcd\nefghi", 3, Framing::Lines, 4);
    assert_eq!((records.len(), error.is_some()), (1, true));
}

#[test]
fn framed_records_may_hold_anything() {
    let mut bytes = Vec::new();
    for payload in [&b"a\nb"[..], b"", b"\0\0\0"] {
        bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        bytes.extend_from_slice(payload);
    }
    for piece in 1..=bytes.len() {
        let (records, error) = cut(&bytes, piece, Framing::Lengths, 10);
        assert_eq!(records, vec![b"a\nb".to_vec(), b"".to_vec(), b"\0\0\0".to_vec()]);
        assert_eq!(error, None);
    }
    let (records, error) = cut(&bytes[..bytes.len() - 1], 5, Framing::Lengths, 10);
    assert_eq!(records.len(), 2);
    assert!(error.unwrap().contains("in the middle of record 3"));
    let (_, error) = cut(b"text, not frames\n", 5, Framing::Lengths, 10);
    assert!(error.unwrap().contains("Is the input framed"));
}
