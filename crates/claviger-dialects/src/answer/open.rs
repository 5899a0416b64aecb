//! A call of the Responses API that has begun.

use std::borrow::Cow;

use super::document::{Known, item_call};
use super::turn::Turn;
use crate::json::{Document, Rigor, Value, quoted};

/// What has come of it that its client hears of.
#[derive(Debug, Default)]
pub(super) struct Open {
    /// What it is, if anything of it waits to leave.
    kind: String,
    name: String,
    label: String,
    /// What it is called with: as which member, and what.
    given: Option<(&'static str, String)>,
}

impl Open {
    /// Its item has begun.
    pub(super) fn begun(item: Value<'_>) -> Self {
        let member = |name| item.str(name).map(Cow::into_owned).unwrap_or_default();
        Self { kind: member("type"), name: member("name"), label: member("server_label"), given: None }
    }

    /// What it is called with is complete, which an event of this kind says.
    pub(super) fn give(&mut self, stem: &str, event: Value<'_>, name: &'static str, given: &str, turn: &mut Turn<'_>) {
        // Of several commands all are in the item.
        if self.given.as_ref().is_some_and(|(_, before)| before != given) && event.get("command_index").is_none() {
            self.tell(turn);
        }
        if self.kind.is_empty() {
            let kind = stem.trim_start_matches("response.");
            self.kind = kind.split_inclusive("_call").next().unwrap_or_default().to_owned();
        }
        if self.name.is_empty() {
            self.name = event.str("name").unwrap_or_default().into_owned();
        }
        self.given = Some((name, given.to_owned()));
    }

    /// Whether an item that is complete is this call.
    pub(super) fn is(&self, item: Value<'_>) -> bool {
        let same = |name: &str, mine: &str| mine.is_empty() || item.get(name).is_some_and(|other| other.is(mine));
        let given = self.given.as_ref().is_none_or(|(name, given)| item.get(name).is_none_or(|other| other.is(given)));
        given && same("type", &self.kind) && same("name", &self.name) && same("server_label", &self.label)
    }

    /// Nothing says that it is complete, but its client may take it for that.
    pub(super) fn tell(&self, turn: &mut Turn<'_>) {
        if self.kind.is_empty() {
            return;
        }
        let mut item =
            format!("{{\"type\":{},\"name\":{},\"server_label\":{}", quoted(&self.kind), quoted(&self.name), quoted(&self.label));
        if let Some((name, given)) = &self.given {
            item.push_str(&format!(",\"{name}\":{}", quoted(given)));
        }
        item.push('}');
        if let Ok(document) = Document::read(item.as_bytes(), Rigor::Answer) {
            item_call(document.root(), &mut Known::new(), turn);
        }
    }

    /// How much is remembered, in bytes.
    pub(super) fn size(&self) -> usize {
        self.kind.len() + self.name.len() + self.label.len() + self.given.as_ref().map_or(0, |(_, given)| given.len())
    }
}
