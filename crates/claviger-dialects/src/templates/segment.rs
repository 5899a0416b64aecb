//! What stands between two slashes: of a template, and of a path.

use std::borrow::Cow;

use claviger_model::Endpoint;

use super::WrongTemplate;

/// What stands in a path's text for an escape that some servers read as what it escapes, and others do not. No literal has it.
const ESCAPED: char = '\0';

/// A segment of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Segment {
    /// A text, unescaped.
    Literal(Box<str>),
    /// A parameter, by its name.
    Parameter(Box<str>),
    /// Parameters among texts, `{id}.json`, `{id}:cancel`: a text, then each parameter and the text that follows it.
    Mixed { literals: Vec<Box<str>>, folded: Vec<Box<str>>, names: Vec<Box<str>> },
}

impl Segment {
    pub(super) fn read(text: &str, is_last: bool) -> Result<Self, WrongTemplate> {
        let (mut literals, mut names) = (Vec::<Box<str>>::new(), Vec::<Box<str>>::new());
        let mut rest = text;
        while let Some((literal, parameter)) = rest.split_once('{') {
            let (name, after) = parameter.split_once('}').ok_or(WrongTemplate::Braces)?;
            if name.is_empty() || name.contains('{') || name.chars().any(char::is_control) {
                return Err(WrongTemplate::Braces);
            }
            literals.push(literal_text(literal)?.into());
            names.push(name.into());
            rest = after;
        }
        let last: Box<str> = literal_text(rest)?.into();
        match (literals.as_slice(), names.as_mut_slice()) {
            ([], _) if matches!(&*last, "." | "..") => Err(WrongTemplate::Impossible("a segment of dots")),
            ([], _) if last.is_empty() && !is_last => Err(WrongTemplate::Impossible("an empty segment")),
            ([], _) => Ok(Self::Literal(last)),
            ([first], [name]) if first.is_empty() && last.is_empty() => Ok(Self::Parameter(std::mem::take(name))),
            _ => {
                literals.push(last);
                let folded = literals.iter().map(|literal| folded(literal).into()).collect();
                Ok(Self::Mixed { literals, folded, names })
            }
        }
    }

    pub(super) fn fits(&self, part: &Part<'_>) -> bool {
        matches!(self, Self::Mixed { literals, .. } if fits(&part.text, literals))
    }

    pub(super) fn nearly_fits(&self, part: &Part<'_>) -> bool {
        matches!(self, Self::Mixed { folded, .. } if fits(&part.folded, folded))
    }

    /// Whether the same paths fit both, whatever their parameters are called.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        matches!((self, other), (Self::Mixed { literals: a, .. }, Self::Mixed { literals: b, .. }) if a == b)
    }

    /// Whether of two that the same text fits, at least nearly, this one says as much of it as the other.
    pub(super) fn says_as_much_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Literal(_), _) | (_, Self::Parameter(_)) => true,
            (Self::Mixed { folded: a, .. }, Self::Mixed { folded: b, .. }) => a == b,
            _ => false,
        }
    }
}

/// A path that fits what is said to be a template, with values that are literally in none.
pub(super) fn any_of(template: &str) -> String {
    let mut parts = template.split('{');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |path, part| path + "\0" + part.split_once('}').map_or(part, |(_, literal)| literal))
}

/// A template as it is called: literally, it is what policy sees of a path.
pub(super) fn template_text(segments: &[Segment]) -> String {
    let mut text = String::new();
    for segment in segments {
        text.push('/');
        match segment {
            Segment::Literal(literal) => escape(literal, &mut text),
            Segment::Parameter(name) => text.extend(["{", name, "}"]),
            Segment::Mixed { literals, names, .. } => {
                let mut names = names.iter();
                for literal in literals {
                    escape(literal, &mut text);
                    text.extend(names.next().into_iter().flat_map(|name| ["{", name, "}"]));
                }
            }
        }
    }
    text
}

fn escape(literal: &str, out: &mut String) {
    for c in literal.bytes() {
        match Endpoint::keeps(c) {
            true => out.push(char::from(c)),
            false => out.push_str(&format!("%{c:02X}")),
        }
    }
}

/// Whether a text has these literals in this order, the first at its beginning, the last at its end, and something between each two.
fn fits(text: &str, literals: &[Box<str>]) -> bool {
    let [first, middle @ .., last] = literals else { return false };
    let Some(mut rest) = text.strip_prefix(&**first).and_then(|rest| rest.strip_suffix(&**last)) else { return false };
    // Where it first occurs leaves the most for those that follow.
    for literal in middle {
        let mut after = rest.chars();
        let Some((_, next)) = after.next().and_then(|_| after.as_str().split_once(&**literal)) else { return false };
        rest = next;
    }
    !rest.is_empty()
}

/// What a template says literally, unescaped; or why no path could have it.
fn literal_text(text: &str) -> Result<Cow<'_, str>, WrongTemplate> {
    let text = unescaped(text, |_| true).ok_or(WrongTemplate::Impossible("a broken escape"))?;
    for c in text.chars() {
        match c {
            '}' => return Err(WrongTemplate::Braces),
            '?' | '#' => return Err(WrongTemplate::Impossible("a query or a fragment")),
            '/' | '\\' | '%' | ';' => return Err(WrongTemplate::Impossible("what separates or escapes")),
            c if c.is_ascii_control() => return Err(WrongTemplate::Impossible("a control character")),
            _ => {}
        }
    }
    Ok(text)
}

/// A segment of a path, unescaped, and with what servers differ in left out.
pub(super) struct Part<'a> {
    pub(super) text: Cow<'a, str>,
    pub(super) folded: Cow<'a, str>,
}

impl<'a> Part<'a> {
    /// `None` if it is none that policy would see.
    pub(super) fn of(segment: &'a str) -> Option<Self> {
        let text = unescaped(segment, |c| !Endpoint::keeps(c))?;
        let folded = match &text {
            Cow::Borrowed(text) => folded(text),
            Cow::Owned(text) => folded(text).into_owned().into(),
        };
        Some(Self { text, folded })
    }
}

/// A text without its capital letters.
pub(super) fn folded(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|c| c.is_ascii() && !c.is_ascii_uppercase()) {
        return text.into();
    }
    // There are letters that only their capitals have in common.
    text.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect::<String>().into()
}

/// A text with its escapes resolved, those that are to be; in the places of the rest stands [`ESCAPED`].
fn unescaped(text: &str, resolves: impl Fn(u8) -> bool) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(text.into());
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(c) = rest.next() {
        if c != b'%' {
            out.push(c);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let byte = u8::try_from(digit()? * 16 + digit()?).ok()?;
        match resolves(byte) {
            true => out.push(byte),
            false => out.extend_from_slice(ESCAPED.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    String::from_utf8(out).ok().map(Cow::Owned)
}
