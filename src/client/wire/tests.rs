//! Frames there and back, frames of any bytes, and the document.

use super::*;
use proptest::prelude::*;
use std::path::Path;

/// Splits a frame that was just encoded.
fn split(frame: &[u8]) -> (FrameHeader, &[u8]) {
    let head: &[u8; FRAME_HEADER_LEN] = frame.first_chunk().unwrap();
    let header = FrameHeader::read(head, usize::MAX).unwrap();
    let body = &frame[FRAME_HEADER_LEN..];
    assert_eq!(header.body_len(), body.len());
    header.verify(body).unwrap();
    (header, body)
}

#[test]
fn hello_and_welcome_come_back_as_they_were() {
    for name in [None, Some("x".to_owned()), Some("ü".repeat(32))] {
        let hello = Hello { name, durable: true, checksums: false, lane: true };
        let mut out = Vec::new();
        hello.encode(&mut out).unwrap();
        let (header, body) = split(&out);
        assert_eq!(header.kind(), Kind::Hello);
        assert!(body.len() <= HELLO_LEN_MAX);
        assert_eq!(Hello::check(body).unwrap(), hello);
    }
    for name in ["", "a\tb", &"x".repeat(NAME_LEN_MAX + 1)] {
        let hello = Hello { name: Some(name.to_owned()), durable: false, checksums: false, lane: false };
        assert_eq!(hello.encode(&mut Vec::new()), Err(WireFault::Name));
    }
    let welcome = Welcome {
        version: VERSION,
        frame_len_max: 1,
        record_len_max: 2,
        window_batches: 3,
        window_bytes: 4,
        tip: 5,
        last_number: 6,
        epoch: 7,
        durability: 1,
        ring_id: [9; 16],
    };
    let mut out = Vec::new();
    welcome.encode(&mut out, true);
    assert_eq!(Welcome::check(split(&out).1).unwrap(), welcome);
    let offer = LaneOffer { capacity: 1 << 18 };
    let mut lane = Vec::new();
    offer.encode(&mut lane, true);
    assert_eq!(LaneOffer::check(split(&lane).1), Ok(offer));
    out[FRAME_HEADER_LEN] = 9;
    assert!(matches!(Welcome::check(&out[FRAME_HEADER_LEN..]), Err(WireFault::Version { .. })));
}

#[test]
fn answers_come_back_as_they_were() {
    let ack =
        Ack { batch: 1, first_seq_no: 2, last_seq_no: 3, last_number: 4, duplicates: 5, flags: ACK_DURABLE };
    let mut out = Vec::new();
    ack.encode(&mut out, false);
    assert_eq!(Ack::check(split(&out).1).unwrap(), ack);
    for code in ErrorCode::ALL {
        let error = ErrorFrame { batch: 1, detail: 2, code, fatal: true, text: "öl ".repeat(300) };
        let mut out = Vec::new();
        error.encode(&mut out, true);
        let (header, body) = split(&out);
        assert!(header.body_len() <= REPLY_LEN_MAX);
        let back = ErrorFrame::check(body).unwrap();
        assert_eq!((back.code, back.batch, back.detail, back.fatal), (code, 1, 2, true));
        assert!(error.text.starts_with(&back.text) && back.text.len() > TEXT_LEN_MAX - 4);
    }
}

#[test]
fn a_length_is_refused_before_anything_is_done_with_it() {
    let raw = RawFrameHeader { length: 1001, kind: 3, flags: 0, reserved: 0, checksum: 0 };
    assert_eq!(raw.check(1000), Err(WireFault::TooLong { length: 1001, max: 1000 }));
    assert!(raw.check(1001).is_ok());
}

proptest! {
    #[test]
    fn batches_come_back_as_they_were(
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 1..40),
        (batch, first_number, previous) in (any::<u64>(), 0..u64::MAX / 2, any::<u64>()),
        (conditional, checksum) in any::<(bool, bool)>(),
    ) {
        let flags = if conditional { APPEND_CONDITIONAL } else { APPEND_DURABLE };
        let previous = if conditional { previous } else { 0 };
        let fields = AppendFields { batch, first_number, previous, count: 0, flags };
        let mut out = Vec::new();
        encode_append(&mut out, fields, &payloads, checksum);
        let (header, body) = split(&out);
        prop_assert_eq!(header.has_checksum(), checksum);
        let back = Batch::check(body).unwrap();
        prop_assert_eq!(back.fields(), &AppendFields { count: payloads.len() as u32, ..fields });
        prop_assert_eq!(back.is_conditional(), conditional);
        prop_assert_eq!(back.payload_len_max(), payloads.iter().map(Vec::len).max().unwrap());
        prop_assert!(back.payloads().eq(payloads.iter().map(Vec::as_slice)));
    }

    /// Whatever bytes come: a fault, or a value that can be used to its end.
    #[test]
    fn any_bytes_are_a_frame_or_a_fault(head in any::<[u8; FRAME_HEADER_LEN]>(), body in any::<Vec<u8>>()) {
        if let Ok(header) = FrameHeader::read(&head, 1 << 20) {
            prop_assert!(header.body_len() <= 1 << 20);
            let _ = header.verify(&body);
        }
        let _ = (Hello::check(&body), Welcome::check(&body), Ack::check(&body), ErrorFrame::check(&body));
        let _ = LaneOffer::check(&body);
        if let Ok(batch) = Batch::check(&body) {
            prop_assert_eq!(batch.payloads().count(), batch.fields().count as usize);
        }
    }

    /// Bytes that look like a batch: the lengths are what is wrong.
    #[test]
    fn any_lengths_are_a_batch_or_a_fault(
        lengths in prop::collection::vec(prop_oneof![0..40_u32, any::<u32>()], 0..8),
        (count, rest) in (0..10_u32, 0..200_usize),
    ) {
        let mut body = Vec::new();
        encode_append(
            &mut body,
            AppendFields { batch: 0, first_number: 0, previous: 0, count: 0, flags: 0 },
            &[] as &[&[u8]],
            false,
        );
        body.drain(..FRAME_HEADER_LEN);
        body[24..28].copy_from_slice(&count.to_le_bytes());
        lengths.iter().for_each(|length| body.extend_from_slice(&length.to_le_bytes()));
        body.resize(body.len() + rest, 7);
        if let Ok(batch) = Batch::check(&body) {
            let bytes: usize = batch.payloads().map(<[u8]>::len).sum();
            prop_assert_eq!(bytes, body.len() - 32 - 4 * count as usize);
        }
    }

    #[test]
    fn a_changed_byte_does_not_pass_for_a_frame_with_a_checksum(at in 0..80_usize, bit in 0..8_u32) {
        let mut out = Vec::new();
        let fields = AppendFields { batch: 1, first_number: 0, previous: 0, count: 0, flags: 0 };
        encode_append(&mut out, fields, &[[7; 32]], true);
        let at = at % out.len();
        out[at] ^= 1_u8 << bit;
        let head: &[u8; FRAME_HEADER_LEN] = out.first_chunk().unwrap();
        let body = &out[FRAME_HEADER_LEN..];
        let accepted = FrameHeader::read(head, 1000)
            .is_ok_and(|header| header.has_checksum() && header.body_len() == body.len() && header.verify(body).is_ok());
        prop_assert!(!accepted);
    }
}

fn document() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/PRODUCERS.md");
    std::fs::read_to_string(path).unwrap()
}

/// The first two cells of every row of the table under a heading.
fn rows(document: &str, heading: &str) -> Vec<(String, String)> {
    let start = document.find(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no heading {heading}"));
    let table = document[start + 1..].lines().skip_while(|line| !line.starts_with('|'));
    let table = table.take_while(|line| line.starts_with('|')).skip(2);
    table
        .map(|line| {
            let mut cells = line.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', ""));
            (cells.next().unwrap(), cells.next().unwrap())
        })
        .collect()
}

#[test]
fn the_document_describes_every_structure_as_it_is() {
    let document = document();
    for table in tables() {
        table.check_document(&document).unwrap();
    }
}

#[test]
fn the_document_has_every_kind_code_and_limit() {
    let document = document();
    let pairs = |pairs: &[(&str, u64)]| -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    };
    let kinds = Kind::ALL.map(|kind| ((kind as u8).to_string(), kind.name().to_owned()));
    assert_eq!(rows(&document, "### Kinds"), kinds);
    let codes = ErrorCode::ALL.map(|code| ((code as u32).to_string(), format!("{code:?}")));
    assert_eq!(rows(&document, "### Codes"), codes);
    let limits = pairs(&[
        ("VERSION", VERSION.into()),
        ("FRAME_HEADER_LEN", FRAME_HEADER_LEN as u64),
        ("NAME_LEN_MAX", NAME_LEN_MAX as u64),
        ("HELLO_LEN_MAX", HELLO_LEN_MAX as u64),
        ("TEXT_LEN_MAX", TEXT_LEN_MAX as u64),
        ("REPLY_LEN_MAX", REPLY_LEN_MAX as u64),
        ("BATCH_RECORDS_MAX", BATCH_RECORDS_MAX as u64),
    ]);
    assert_eq!(rows(&document, "### Limits of the protocol"), limits);
    let flags = pairs(&[
        ("FRAME_CHECKSUM", FRAME_CHECKSUM.into()),
        ("HELLO_DURABLE", HELLO_DURABLE.into()),
        ("HELLO_CHECKSUMS", HELLO_CHECKSUMS.into()),
        ("HELLO_LANE", HELLO_LANE.into()),
        ("APPEND_CONDITIONAL", APPEND_CONDITIONAL.into()),
        ("APPEND_DURABLE", APPEND_DURABLE.into()),
        ("ACK_DURABLE", ACK_DURABLE.into()),
        ("ERROR_FATAL", ERROR_FATAL.into()),
    ]);
    assert_eq!(rows(&document, "### Flags"), flags);
    assert!(document.contains(&format!("`{}`", std::str::from_utf8(&MAGIC).unwrap())));
    // Which errors a producer may answer by sending again is in the third column.
    for code in ErrorCode::ALL {
        let row =
            document.lines().find(|line| line.starts_with(&format!("| {} | `{code:?}` |", code as u32)));
        let again = row.unwrap().split('|').nth(3).unwrap().trim();
        assert_eq!(again == "yes", code.is_passing(), "{code:?}");
    }
}
