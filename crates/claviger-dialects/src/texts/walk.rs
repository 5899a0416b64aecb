//! Going over all that is in a value.

use super::rules::{Is, Rules, Zone, known};
use crate::json::{Kind, Value};

/// Whoever wants to know of the strings and numbers in a value.
pub(crate) trait Visitor {
    /// A text.
    fn text(&mut self, spot: &Spot<'_>, value: Value<'_>);

    /// A number, or whether something is so, that may tell something of somebody.
    fn bare(&mut self, _spot: &Spot<'_>, _value: Value<'_>) {}

    /// The name of a member, where clients and models make names up.
    fn name(&mut self, _path: &str, _value: Value<'_>, _name: &str) {}

    /// Something that is no text, written as one: an image.
    fn media(&mut self, _spot: &Spot<'_>) {}

    /// Whether what is in an object or list is to be gone over.
    fn enter(&mut self, _value: Value<'_>) -> bool {
        true
    }

    /// How much has been changed so far.
    fn edits(&self) -> usize {
        0
    }

    /// The tokens of a text that stands beside them and has been changed, or a text below that.
    fn tokens(&mut self, _value: Value<'_>) {}
}

/// Where a value stands.
pub(crate) struct Spot<'a> {
    /// Which members lead to it.
    pub(crate) path: &'a str,
    /// The last of them.
    pub(super) name: &'a str,
    pub(super) zone: Zone,
}

impl Spot<'_> {
    /// Whether a signature says that it is as it was.
    pub(crate) fn signed(&self) -> bool {
        self.zone == Zone::Known && self.name == "thinking"
    }
}

/// Goes over a value and all that is in it. The path is that of the value, and is so again at the end.
pub(crate) fn walk(value: Value<'_>, path: &mut String, rules: Rules, visitor: &mut dyn Visitor) {
    let name = path.rsplit('.').next().unwrap_or_default().trim_end_matches("[]").to_owned();
    let zone = if rules == Rules::Every { Zone::Free } else { Zone::Known };
    let zone = if path.is_empty() { zone } else { zone.within(path, &name, value.kind()) };
    step(value, path, &name, zone, rules == Rules::Answers, visitor);
}

fn step(value: Value<'_>, path: &mut String, name: &str, zone: Zone, answer: bool, visitor: &mut dyn Visitor) {
    let length = path.len();
    match value.kind() {
        Kind::Object | Kind::Array if !visitor.enter(value) => {}
        Kind::Object => {
            let before = visitor.edits();
            for (key, value) in value.members() {
                let name = key.text().unwrap_or_default();
                if answer && zone == Zone::Known && name == "logprobs" {
                    continue;
                }
                if zone == Zone::Free {
                    path.push_str("{}");
                    visitor.name(path, key, &name);
                    path.truncate(length);
                }
                member(path, &name);
                step(value, path, &name, zone.within(path, &name, value.kind()), answer, visitor);
                path.truncate(length);
            }
            if answer
                && zone == Zone::Known
                && visitor.edits() > before
                && let Some(tokens) = value.get("logprobs").filter(|tokens| tokens.kind() != Kind::Null)
            {
                visitor.tokens(tokens);
            }
        }
        Kind::Array => {
            path.push_str("[]");
            for element in value.elements() {
                step(element, path, name, zone, answer, visitor);
            }
            path.truncate(length);
        }
        Kind::String | Kind::Escaped => {
            let spot = Spot { path, name, zone };
            match zone.is(&spot, value) {
                Is::Text => visitor.text(&spot, value),
                Is::Fixed => {}
                Is::Media => visitor.media(&spot),
            }
        }
        Kind::Number | Kind::Word if zone == Zone::Free => visitor.bare(&Spot { path, name, zone }, value),
        Kind::Number | Kind::Word | Kind::Null => {}
    }
}

/// Whether a string of an API of models is a text.
pub(crate) fn is_text(path: &str, name: &str, value: Value<'_>) -> bool {
    Zone::Known.is(&Spot { path, name, zone: Zone::Known }, value) == Is::Text
}

/// Whether a field of a form is one.
pub(crate) fn is_field_text(name: &str, text: &str) -> bool {
    known(&Spot { path: name, name, zone: Zone::Known }, text) == Is::Text
}

/// Appends a member's name to a path, so that it cannot be taken for several, nor for anything else.
pub(crate) fn member(path: &mut String, name: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    if name.is_empty() || name.contains(['.', '[', ']', '{', '}', '"']) {
        crate::json::quote(name, path);
    } else {
        path.push_str(name);
    }
}
