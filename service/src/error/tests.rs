//! Each error is in the document for operators.

/// The longest piece of each message that is the same each time.
fn fixed_pieces(source: &str) -> Vec<String> {
    let messages = source.split("#[error(").skip(1).map(|rest| rest.split(")]").next().unwrap());
    let longest = |message: &str| {
        let text = message.trim().trim_matches('"').replace("\\\n", " ");
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let pieces = text.split(['{', '}']).step_by(2).map(|piece| piece.trim().to_owned());
        pieces.max_by_key(String::len).unwrap_or_default()
    };
    messages.map(longest).filter(|piece| piece.len() > 8).collect()
}

#[test]
fn the_document_says_of_each_error_what_to_do() {
    let document =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/OPERATIONS.md")).unwrap();
    let pieces = fixed_pieces(include_str!("../error.rs"));
    assert!(pieces.len() > 8, "{pieces:?}");
    for piece in pieces {
        // A message may go on behind what the document quotes.
        let told = document.split('`').skip(1).step_by(2).flat_map(|quote| quote.split("..."));
        let found = told.map(str::trim).any(|quote| quote.len() > 7 && piece.contains(quote));
        assert!(found, "docs/OPERATIONS.md does not say what to do about: {piece}");
    }
}
