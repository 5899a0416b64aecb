//! Lower-case hexadecimal.

/// Lower-case hexadecimal.
pub fn encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    out.extend(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).map(char::from));
    out
}

/// The bytes of exactly `2 * N` lower-case hexadecimal digits.
pub fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut out = [0; N];
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in out.iter_mut().zip(pairs) {
        *byte = value(*high)? << 4 | value(*low)?;
    }
    Some(out)
}

pub(crate) fn write(bytes: &[u8], out: &mut Vec<u8>) {
    // Digits go out in pieces: one by one they would each ask for room.
    const PIECE: usize = 32;
    for piece in bytes.chunks(PIECE) {
        let mut digits = [[0; 2]; PIECE];
        for (pair, byte) in digits.iter_mut().zip(piece) {
            *pair = [digit(byte >> 4), digit(byte & 15)];
        }
        out.extend_from_slice(digits.as_flattened().get(..piece.len() * 2).unwrap_or_default());
    }
}

fn digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }
}

fn value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}
