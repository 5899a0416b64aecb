//! What stands in place of a value.

use std::ops::Range;

use super::Entity;
use super::text::Text;
use crate::swap;

/// The longest that stands between brackets.
const LONGEST: usize = 48;

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

/// Whether this is a placeholder, or a part of one or of a token's name, of something that is built in or `known`.
pub(super) fn is_placeholder(text: Text<'_>, span: &Range<usize>, known: impl Fn(&str) -> bool) -> bool {
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let start = text.run_start(span.start, span.start.saturating_sub(LONGEST), is_name);
    if text.before(start) != b'[' {
        return false;
    }
    let end = text.run_end(span.end, is_name);
    let name = std::str::from_utf8(text.slice(start..end)).unwrap_or_default();
    let known = |name: &str| name.parse::<Entity>().is_ok() || known(name) || name == "withheld";
    let token = || swap::name(name).is_some_and(|name| span.end <= start + name.len() && known(name));
    text.at(end) == b']' && (known(name) || token())
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
