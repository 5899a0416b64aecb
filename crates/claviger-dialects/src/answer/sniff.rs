//! What content is by how it begins, whatever it is said to be: clients that know what they have asked for do not look at its type.

use super::document::MARK;

/// What is said of content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Json,
    Events,
    Lines,
    Text,
    /// Something that nobody knows here.
    Other,
    Nothing,
}

/// What it looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Looks {
    /// Too little of it has come.
    Unclear,
    Json,
    Events,
    /// None of these.
    Else,
}

/// What lines of events begin with.
const FIELDS: [&[u8]; 5] = [b"data:", b"event:", b":", b"id:", b"retry:"];

/// What content looks like that begins so, or that is this if it is the last.
pub(super) fn looks(begun: &[u8], last: bool) -> Looks {
    let unclear = if last { Looks::Else } else { Looks::Unclear };
    let mark = MARK.as_bytes();
    if begun.len() < mark.len() && mark.starts_with(begun) {
        return unclear;
    }
    let visible = begun.strip_prefix(mark).unwrap_or(begun).trim_ascii_start();
    match visible.split_first() {
        None => unclear,
        Some((first @ (b'{' | b'['), rest)) => match (first, rest.trim_ascii_start().first()) {
            (_, None) => unclear,
            (b'{', Some(b'"' | b'}')) => Looks::Json,
            (b'[', Some(b'{' | b'[' | b']' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n')) => Looks::Json,
            _ => Looks::Else,
        },
        Some(_) if FIELDS.iter().any(|field| visible.starts_with(field)) => Looks::Events,
        Some(_) if FIELDS.iter().any(|field| field.starts_with(visible)) => unclear,
        Some(_) => Looks::Else,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beginnings_say_what_follows() {
        let table: [(&str, Looks); 14] = [
            ("", Looks::Unclear),
            ("\u{feff}", Looks::Unclear),
            (" \n{", Looks::Unclear),
            ("\u{feff} {\n\"a", Looks::Json),
            ("[{", Looks::Json),
            ("[INFO] up", Looks::Else),
            ("{x}", Looks::Else),
            ("da", Looks::Unclear),
            ("data:", Looks::Events),
            ("\u{feff}data: x", Looks::Events),
            (": up", Looks::Events),
            ("event: x", Looks::Events),
            ("dates", Looks::Else),
            ("hello", Looks::Else),
        ];
        for (begun, expected) in table {
            assert_eq!(looks(begun.as_bytes(), false), expected, "{begun:?}");
            assert_ne!(looks(begun.as_bytes(), true), Looks::Unclear, "{begun:?}");
        }
    }
}
