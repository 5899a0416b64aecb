//! What stands around a text in an event, so that more of it can be sent in another.

use super::channel::Shape;
use crate::json::{Value, quote};
use crate::texts::member;

/// The way to a text.
#[derive(Clone, Debug, Default)]
pub(super) struct Frame {
    /// The name of the event, where events have names.
    pub(super) name: Option<String>,
    pub(super) path: String,
    /// What tells it from other texts of the stream.
    pub(super) key: String,
    /// What stands before and behind it.
    pub(super) before: String,
    pub(super) after: String,
    /// Members that say which element of a list the next object is.
    pub(super) which: String,
    /// Whether the event that is being looked at is the last of its texts.
    pub(super) ends: bool,
}

impl Frame {
    /// That of a member, where its object has begun.
    pub(super) fn member(&self, name: &str) -> Self {
        let mut frame = self.clone();
        member(&mut frame.path, name);
        frame.key.push_str(name);
        frame.key.push('/');
        quote(name, &mut frame.before);
        frame.before.push(':');
        frame
    }

    /// That of a member, with its object.
    pub(super) fn inner(&self, name: &str) -> Self {
        let mut frame = self.clone();
        frame.before.push('{');
        frame.before.push_str(&std::mem::take(&mut frame.which));
        frame.after.insert(0, '}');
        frame.member(name)
    }

    /// That of an element, which is known by its `index` if it has one.
    pub(super) fn element(&self, element: Value<'_>, place: usize) -> Self {
        let mut frame = self.clone();
        frame.path.push_str("[]");
        let place = element.get("index").and_then(Value::count).unwrap_or(place as u64);
        frame.key.push_str(&place.to_string());
        frame.key.push('/');
        frame.before.push('[');
        frame.after.insert(0, ']');
        for name in ["index", "type"] {
            if let Some(value) = element.get(name) {
                quote(name, &mut frame.which);
                frame.which.push(':');
                frame.which.push_str(value.raw());
                frame.which.push(',');
            }
        }
        frame
    }

    /// The event that carries more of it.
    pub(super) fn shape(&self) -> Shape {
        Shape { name: self.name.clone(), before: self.before.clone(), after: self.after.clone() }
    }
}
