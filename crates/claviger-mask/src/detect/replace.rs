//! What stands in place of a value.

/// What stands in place of a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// What it was: `[ssn]`.
    #[default]
    Placeholder,
    /// A star for each letter and digit, and what separates them: `***-**-****`.
    Stars,
    /// The same, but for the last four letters and digits: `***-**-4399`.
    LastFour,
}

impl Style {
    /// All of them, by their words in configuration.
    pub const WORDS: [(&'static str, Self); 3] =
        [("placeholder", Self::Placeholder), ("stars", Self::Stars), ("last-four", Self::LastFour)];
}

pub(super) fn replace(value: &[u8], name: &str, style: Style, quote: bool, into: &mut Vec<u8>) {
    if quote {
        into.push(b'"');
    }
    match style {
        Style::Placeholder => {
            into.push(b'[');
            into.extend_from_slice(name.as_bytes());
            into.push(b']');
        }
        Style::Stars => starred(value, 0, into),
        Style::LastFour => starred(value, 4, into),
    }
    if quote {
        into.push(b'"');
    }
}

/// Stars for all but the last `kept` letters and digits. A character beyond ASCII is one.
fn starred(value: &[u8], kept: usize, into: &mut Vec<u8>) {
    let counts = |byte: u8| byte.is_ascii_alphanumeric() || byte >= 0xC0;
    let mut hidden = value.iter().filter(|byte| counts(**byte)).count().saturating_sub(kept);
    for byte in value {
        if counts(*byte) && hidden > 0 {
            into.push(b'*');
            hidden -= 1;
        } else if *byte < 0x80 && (hidden == 0 || !byte.is_ascii_alphanumeric()) {
            into.push(*byte);
        }
    }
}

/// Follows the strings of a JSON text.
#[derive(Clone, Debug, Default)]
pub(super) struct Strings {
    inside: bool,
    escaped: bool,
}

impl Strings {
    /// Reads on; says whether what has been read ends inside a string.
    pub(super) fn ends_inside(&mut self, text: &[u8]) -> bool {
        for byte in text {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = self.inside,
                b'"' => self.inside = !self.inside,
                _ => {}
            }
        }
        self.inside
    }
}
