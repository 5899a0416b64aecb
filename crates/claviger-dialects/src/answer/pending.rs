//! A call that comes in parts.

use super::turn::Turn;
use crate::Call;
use crate::json::{Edits, Value, decode, quoted};
use crate::texts::{Rules, rewrite_arguments, rewrite_text, rewrite_value};

/// What has come of a call.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// What it has beside the function: its name, and the member as it leaves.
    others: Vec<(String, String)>,
    /// Where the function is: `function`, `custom`, or in the old form `function_call`.
    holder: &'static str,
    /// What is handed to it: `arguments`, which are JSON, or `input`.
    given_as: &'static str,
    name: String,
    given: String,
    half: Option<u16>,
    /// Whether that is JSON itself, and not a string of it.
    bare: bool,
}

impl Pending {
    /// Takes a part: an element of `tool_calls`, or a `function_call`.
    pub(super) fn add(&mut self, part: Value<'_>, turn: &mut Turn<'_>) {
        let inner = ["function", "custom"].into_iter().find_map(|holder| part.get(holder).map(|inner| (holder, inner)));
        match inner {
            Some((holder, function)) => {
                self.holder = holder;
                self.function(function, turn);
                for (name, value) in part.members() {
                    let name = name.text().unwrap_or_default();
                    if name != holder && name != "index" {
                        self.other(&name, value, turn);
                    }
                }
            }
            None if self.holder.is_empty() && (part.get("name").is_some() || part.get("arguments").is_some()) => {
                self.holder = "function_call";
                self.function(part, turn);
            }
            None if self.holder == "function_call" => self.function(part, turn),
            None => {
                for (name, value) in part.members() {
                    let name = name.text().unwrap_or_default();
                    if name != "index" {
                        self.other(&name, value, turn);
                    }
                }
            }
        }
    }

    fn function(&mut self, function: Value<'_>, turn: &mut Turn<'_>) {
        if let Some(name) = function.str("name") {
            self.name.push_str(&name);
        }
        let given = ["arguments", "input"].into_iter().find_map(|name| function.get(name).map(|given| (name, given)));
        let Some((given_as, given)) = given else { return };
        self.given_as = given_as;
        if given.is_string() {
            let part = decode(given.inner(), &mut self.half);
            turn.hear(part.len());
            self.given.push_str(&part);
        } else if matches!(given.kind(), crate::json::Kind::Object | crate::json::Kind::Array) {
            self.bare = true;
            self.given.push_str(given.raw());
        }
    }

    fn other(&mut self, name: &str, value: Value<'_>, turn: &mut Turn<'_>) {
        if self.others.iter().any(|(other, _)| other == name) {
            return;
        }
        let mut edits = Edits::default();
        rewrite_value(value, &format!("tool_calls[].{name}"), Rules::Answers, turn.texts, &mut edits);
        let value = edits.apply_in(value).unwrap_or_else(|| value.raw().to_owned());
        self.others.push((name.to_owned(), format!("{}:{value},", quoted(name))));
    }

    pub(super) fn size(&self) -> usize {
        self.given.len() + self.name.len() + self.others.iter().map(|(name, other)| name.len() + other.len()).sum::<usize>()
    }

    /// It is all there: tells of it, and gives the members that it leaves as.
    pub(super) fn complete(mut self, turn: &mut Turn<'_>) -> String {
        if self.half.take().is_some() {
            self.given.push('\u{fffd}');
        }
        let put = match self.given_as {
            "input" => rewrite_text(&self.given, "input", turn.texts),
            _ => rewrite_arguments(&self.given, "arguments", turn.texts),
        };
        let given = put.unwrap_or(self.given);
        let others: String = self.others.into_iter().map(|(_, other)| other).collect();
        let holder = if self.holder.is_empty() { "function" } else { self.holder };
        let given_as = if self.given_as.is_empty() { "arguments" } else { self.given_as };
        let written = if self.bare { given.clone() } else { quoted(&given) };
        let name = quoted(&self.name);
        turn.call(Call { tool: self.name.into(), arguments: given.into() });
        format!("{others}\"{holder}\":{{\"name\":{name},\"{given_as}\":{written}}}")
    }
}
