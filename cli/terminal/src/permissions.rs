//! Permission bits as people write them.

/// Reads permission bits, octal as in chmod: `0640`, `640`, `0o640`.
pub fn parse_mode(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    match u32::from_str_radix(digits, 8) {
        Ok(mode) if mode <= 0o777 => Ok(mode),
        _ => Err(format!("`{text}` are no permission bits: write them as for chmod, like 0660")),
    }
}
