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

fn cut_as(
    bytes: &[u8],
    piece: usize,
    framing: Framing,
    limit: usize,
    long: Long,
) -> (Vec<Vec<u8>>, Vec<Trouble>) {
    let mut input = Input::new(Dribble(bytes, piece), framing, 1, limit, long);
    let (mut out, mut troubles) = (Vec::new(), Vec::new());
    loop {
        let more = input.read().unwrap();
        out.extend(input.batch().into_iter().map(<[u8]>::to_vec));
        troubles.extend(input.troubles());
        if !more {
            assert_eq!(input.unfinished(), 0);
            return (out, troubles);
        }
    }
}

fn cut(bytes: &[u8], piece: usize, framing: Framing, limit: usize) -> (Vec<Vec<u8>>, Vec<Trouble>) {
    cut_as(bytes, piece, framing, limit, Long::Error)
}

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn frame(payload: &[u8]) -> Vec<u8> {
    [&(payload.len() as u32).to_le_bytes()[..], payload].concat()
}

#[test]
fn lines_come_out_the_same_however_they_arrive() {
    let text = b"one\n\ntwo\r\n\xff\xfe\nan unfinished last line";
    let expected: Vec<Vec<u8>> =
        [&b"one"[..], b"", b"two\r", b"\xff\xfe", b"an unfinished last line"].map(<[u8]>::to_vec).to_vec();
    for piece in 1..=text.len() {
        assert_eq!(cut(text, piece, Framing::Lines, 100), (expected.clone(), vec![]), "pieces of {piece}");
    }
    assert_eq!(cut(b"", 1, Framing::Lines, 10).0.len(), 0);
    assert_eq!(cut(b"\n", 1, Framing::Lines, 10).0, vec![b"".to_vec()]);
}

#[test]
fn a_line_longer_than_the_first_buffer_is_kept_whole() {
    let long = vec![b'x'; 50_000];
    assert_eq!(cut(&long, 1000, Framing::Lines, 50_000), (vec![long.clone()], vec![]));
}

/// One program's line that was too long ended the service for all that wrote into the same FIFO. Now that
/// line alone is dealt with, and those behind it are appended, however the bytes arrive.
#[test]
fn too_long_a_line_is_dealt_with_and_the_others_are_kept() {
    let text = b"ab\ncd\nefghijklm\nj\nnopqrstu\nv";
    for piece in 1..=text.len() {
        let expected = [
            (Long::Error, texts(&["ab", "cd", "j", "v"])),
            (Long::Split, texts(&["ab", "cd", "efgh", "ijkl", "m", "j", "nopq", "rstu", "v"])),
            (Long::Truncate, texts(&["ab", "cd", "efgh", "j", "nopq", "v"])),
        ];
        for (long, expected) in expected {
            let (records, troubles) = cut_as(text, piece, Framing::Lines, 4, long);
            assert_eq!(records, expected, "{long:?}, pieces of {piece}");
            let kind = TroubleKind::LongLine { limit: 4, long };
            let expected = [Trouble { number: 3, offset: 6, kind }, Trouble { number: 5, offset: 18, kind }];
            assert_eq!(troubles, expected, "{long:?}, pieces of {piece}");
            assert!(troubles.iter().all(|trouble| trouble.refused() == (long == Long::Error)));
        }
    }
    // One that is as long as can be is not too long, and one that never ends is dealt with too.
    for piece in 1..=8 {
        let (records, troubles) = cut(b"abcd\nefghijkl", piece, Framing::Lines, 4);
        assert_eq!((records, troubles.len()), (texts(&["abcd"]), 1), "pieces of {piece}");
        let (records, _) = cut_as(b"abcd\nefghijkl", piece, Framing::Lines, 4, Long::Split);
        assert_eq!(records, texts(&["abcd", "efgh", "ijkl"]), "pieces of {piece}");
    }
}

#[test]
fn a_line_that_never_ends_takes_no_memory() {
    let endless = vec![b'x'; 1 << 20];
    let mut input = Input::new(Dribble(&endless, 1000), Framing::Lines, 1, 5000, Long::Error);
    while input.read().unwrap() {
        assert!(input.buffer.len() <= 16 << 10, "{}", input.buffer.len());
    }
    assert_eq!((input.left_out(), input.troubles().len()), (1 << 20, 1));
}

#[test]
fn framed_records_may_hold_anything() {
    let payloads = [&b"a\nb"[..], b"", b"\0\0\0"].map(<[u8]>::to_vec).to_vec();
    let bytes: Vec<u8> = payloads.iter().flat_map(|payload| frame(payload)).collect();
    for piece in 1..=bytes.len() {
        assert_eq!(cut(&bytes, piece, Framing::Lengths, 10), (payloads.clone(), vec![]));
    }
}

/// Half a frame ended the service, and so did one that was too long.
#[test]
fn a_frame_that_cannot_be_used_is_dealt_with_and_the_others_are_kept() {
    let bytes = [frame(b"ab"), frame(b"efghijklm"), frame(b"j"), frame(b"nopqrstu"), frame(b"v")].concat();
    for piece in 1..=bytes.len() {
        let expected = [
            (Long::Error, texts(&["ab", "j", "v"])),
            (Long::Split, texts(&["ab", "efgh", "ijkl", "m", "j", "nopq", "rstu", "v"])),
            (Long::Truncate, texts(&["ab", "efgh", "j", "nopq", "v"])),
        ];
        for (long, expected) in expected {
            let (records, troubles) = cut_as(&bytes, piece, Framing::Lengths, 4, long);
            assert_eq!(records, expected, "{long:?}, pieces of {piece}");
            let kind = TroubleKind::LongFrame { len: 9, limit: 4, long };
            assert_eq!(troubles[0], Trouble { number: 2, offset: 6, kind });
            assert_eq!(troubles.len(), 2);
        }
        // It ends in the middle of the last one, of its length, or of one that is too long.
        for (cut_off, number, offset, kind) in [
            (1, 5, 36, TroubleKind::HalfFrame { got: 0, len: Some(1) }),
            (2, 5, 36, TroubleKind::HalfFrame { got: 3, len: None }),
            (8, 4, 24, TroubleKind::HalfFrame { got: 5, len: Some(8) }),
        ] {
            let (_, troubles) = cut(&bytes[..bytes.len() - cut_off], piece, Framing::Lengths, 4);
            let last = *troubles.last().unwrap();
            assert_eq!(last, Trouble { number, offset, kind }, "{cut_off} missing, pieces of {piece}");
            assert!(last.refused());
        }
    }
    let (_, troubles) = cut(b"text, not frames\n", 5, Framing::Lengths, 10);
    assert!(troubles[0].to_string().contains("Is the input framed"), "{troubles:?}");
}

/// Behind the end of a FIFO comes the next program's first record, not the rest of the last one's.
#[test]
fn what_comes_behind_an_end_is_a_new_record() {
    struct Ends<'a>(Vec<&'a [u8]>);
    impl Read for Ends<'_> {
        fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
            let bytes = if self.0.is_empty() { &b""[..] } else { self.0.remove(0) };
            buf[..bytes.len()].copy_from_slice(bytes);
            Ok(bytes.len())
        }
    }
    let read = |pieces: &[&'static [u8]], framing| {
        let mut input = Input::new(Ends(pieces.to_vec()), framing, 1, 4, Long::Error);
        let (mut out, mut troubles) = (Vec::new(), 0);
        for _ in 0..=pieces.len() {
            input.read().unwrap();
            out.extend(input.batch().into_iter().map(<[u8]>::to_vec));
            troubles += input.troubles().len();
        }
        (out, troubles)
    };
    assert_eq!(read(&[b"ab", b"", b"cd\n"], Framing::Lines), (texts(&["ab", "cd"]), 0));
    assert_eq!(read(&[b"abcdefg", b"", b"cd\n"], Framing::Lines), (texts(&["cd"]), 1));
    assert_eq!(read(&[b"\x02\0\0\0a", b"", b"\x01\0\0\0b"], Framing::Lengths), (texts(&["b"]), 1));
    assert_eq!(read(&[b"\x09\0\0\0a", b"", b"\x01\0\0\0b"], Framing::Lengths), (texts(&["b"]), 2));
}
