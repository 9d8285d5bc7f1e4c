//! Lines of the socket.

/// A field of an event, as it stands there.
pub(super) fn field<'a>(fields: &'a str, name: &str) -> Option<&'a str> {
    fields.split('&').find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
}

/// Undoes `%xx`.
pub(super) fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let hex = |at: usize| char::from(*after.get(at)?).to_digit(16);
        match (byte, hex(0), hex(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                rest = &after[2..];
            }
            _ => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
