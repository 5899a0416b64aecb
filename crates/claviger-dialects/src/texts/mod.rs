//! Where in JSON there are words of people and of models, and putting others in their place.
//!
//! Every string is a text, except those that are known to be words of the API itself: safer than a list of places, as
//! services take new members every month.

mod rules;
mod tokens;
mod walk;

use std::collections::BTreeMap;

pub(crate) use self::rules::Rules;
pub(crate) use self::tokens::{hush, is_tokens};
pub(crate) use self::walk::{Spot, Visitor, is_field_text, is_text, member, walk};
use crate::json::{Document, Edits, Kind, Rigor, Value, quoted};
use crate::{Place, Texts};

/// How deep JSON may stand inside strings of JSON and still be looked into as such.
const INSIDE: u8 = 3;

/// Notes what is to be put in the place of all texts of a value.
pub(crate) fn rewrite_value(value: Value<'_>, path: &str, rules: Rules, texts: &mut dyn Texts, edits: &mut Edits) {
    rewrite_rest(value, path, rules, &BTreeMap::new(), texts, edits);
}

/// The same, where of some texts, and of objects as they are written, by where they begin, it is known what takes their place, if anything.
pub(crate) fn rewrite_rest(
    value: Value<'_>,
    path: &str,
    rules: Rules,
    known: &BTreeMap<usize, Option<String>>,
    texts: &mut dyn Texts,
    edits: &mut Edits,
) {
    walk(value, &mut path.to_owned(), rules, &mut Rewriter { texts, edits, known, inside: 0 });
}

/// What takes the place of a text that is all there: where it is JSON, its strings, numbers and names are texts of their own.
pub(crate) fn rewrite_text(text: &str, place: &str, texts: &mut dyn Texts) -> Option<String> {
    inner(text, place, texts, 0)
}

/// What takes the place of what a tool is called with, which is JSON unless it has been cut.
pub(crate) fn rewrite_arguments(text: &str, place: &str, texts: &mut dyn Texts) -> Option<String> {
    let document = Document::read(text.as_bytes(), Rigor::Lenient);
    if document.is_ok() || !text.contains('\\') {
        return inner(text, place, texts, 0);
    }
    // Cut: whoever reads on nevertheless will resolve what escapes there are.
    let mut half = None;
    let resolved = crate::json::decode(text, &mut half);
    inner(&resolved, place, texts, 0).or_else(|| inner(text, place, texts, 0))
}

fn inner(text: &str, place: &str, texts: &mut dyn Texts, inside: u8) -> Option<String> {
    let container = inside < INSIDE && text.trim_start_matches([' ', '\n', '\r', '\t']).starts_with(['{', '[']);
    let Some(document) = container.then(|| Document::read(text.as_bytes(), Rigor::Lenient).ok()).flatten() else {
        return texts.whole(Place { path: place, bare: false }, text);
    };
    let mut edits = Edits::default();
    let mut rewriter = Rewriter { texts, edits: &mut edits, known: &BTreeMap::new(), inside: inside + 1 };
    walk(document.root(), &mut place.to_owned(), Rules::Every, &mut rewriter);
    edits.apply(text)
}

struct Rewriter<'t> {
    texts: &'t mut dyn Texts,
    edits: &'t mut Edits,
    known: &'t BTreeMap<usize, Option<String>>,
    inside: u8,
}

impl Visitor for Rewriter<'_> {
    fn text(&mut self, spot: &Spot<'_>, value: Value<'_>) {
        let known = self.known.get(&value.span().start).cloned();
        let put = known.unwrap_or_else(|| inner(&value.text()?, spot.path, self.texts, self.inside));
        let Some(put) = put else { return };
        // A model's thoughts are signed as they are: other words under the same signature would be an error.
        let put = if spot.signed() { String::new() } else { put };
        self.edits.replace(value, quoted(&put));
    }

    fn bare(&mut self, spot: &Spot<'_>, value: Value<'_>) {
        if let Some(put) = self.texts.whole(Place { path: spot.path, bare: true }, value.raw()) {
            self.edits.replace(value, quoted(&put));
        }
    }

    fn enter(&mut self, value: Value<'_>) -> bool {
        let Some(known) = self.known.get(&value.span().start) else { return true };
        if let Some(put) = known {
            self.edits.replace(value, put.clone());
        }
        false
    }

    fn edits(&self) -> usize {
        self.edits.len()
    }

    fn tokens(&mut self, value: Value<'_>) {
        // They say once more what has been said.
        let nothing = if value.kind() == Kind::Array { "[]" } else { "null" };
        self.edits.replace(value, nothing.to_owned());
    }

    fn name(&mut self, path: &str, value: Value<'_>, name: &str) {
        if let Some(put) = self.texts.whole(Place { path, bare: false }, name) {
            self.edits.replace(value, quoted(&put));
        }
    }
}
