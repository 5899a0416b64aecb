//! Pairs of names and values (WHATWG, URL Standard, section 5).

use crate::Texts;
use crate::texts::{member, rewrite_text};

/// The pairs with their values as texts say; `None` if all stay.
pub(super) fn rewritten(content: &str, texts: &mut dyn Texts) -> Option<String> {
    let mut changed = false;
    let mut put = |text: &str, path: &str| {
        let put = rewrite_text(&decoded(text), path, texts);
        changed |= put.is_some();
        put.map_or_else(|| text.to_owned(), |put| encoded(&put))
    };
    let mut pairs = Vec::new();
    for pair in content.split('&') {
        let (name, value) = pair.split_once('=').map_or((pair, None), |(name, value)| (name, Some(value)));
        let mut path = String::new();
        member(&mut path, &decoded(name));
        let name = put(name, "{}");
        pairs.push(value.map_or_else(|| name.clone(), |value| format!("{name}={}", put(value, &path))));
    }
    changed.then(|| pairs.join("&"))
}

/// Bytes that are not UTF-8 become U+FFFD: whoever looks for something in them looks for characters.
pub(super) fn decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let escape = || {
            let mut ahead = rest.clone();
            let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
            let byte = digit(ahead.next())? * 16 + digit(ahead.next())?;
            Some((u8::try_from(byte).ok()?, ahead))
        };
        match byte {
            b'+' => out.push(b' '),
            b'%' => match escape() {
                Some((byte, after)) => {
                    out.push(byte);
                    rest = after;
                }
                None => out.push(byte),
            },
            byte => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'*' | b'-' | b'.' | b'_' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
