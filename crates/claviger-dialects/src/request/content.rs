//! What requests bring along.

use bytes::Bytes;

use super::Found;
use super::multipart::Multipart;
use super::urlencoded;
use crate::json::{Document, Edits, Rigor, Value};
use crate::texts::{Rules, Spot, Visitor, is_field_text, rewrite_text, rewrite_value, walk};
use crate::{Dialect, NotRead, Request, Texts, media_type};

/// The content of a request.
pub(crate) enum Content<'a> {
    None,
    Json(&'a str, Document<'a>),
    /// JSON, one value a line.
    Lines(&'a str),
    /// Pairs of names and values, as forms have them.
    Pairs(&'a str),
    Parts(Multipart<'a>),
    Text(&'a str),
    /// What cannot be looked into.
    Opaque,
}

impl<'a> Content<'a> {
    pub(super) fn of(dialect: Dialect, request: &Request<'a>) -> Result<Self, NotRead> {
        let content_type = request.content_type.unwrap_or_default();
        let kind = media_type(content_type);
        let content = request.content;
        if content.is_empty() {
            return Ok(Self::None);
        }
        if kind == "multipart/form-data" {
            return match Multipart::read(content, content_type) {
                Ok(parts) => Ok(Self::Parts(parts)),
                Err(_) if dialect == Dialect::Plain => Ok(Self::Opaque),
                Err(error) => Err(error),
            };
        }
        let text = std::str::from_utf8(content);
        if dialect != Dialect::Plain {
            // Some servers take whatever has this word in its type for a form.
            if content_type.to_ascii_lowercase().contains("form") {
                return Err(NotRead::Form("content-type"));
            }
            // Some servers of models and vectors take JSON for JSON whatever it is said to be.
            return match text.map_err(|_| NotRead::Syntax).and_then(|text| Ok((text, Document::read(content, Rigor::Strict)?))) {
                Ok((text, document)) => Ok(Self::Json(text, document)),
                Err(NotRead::Syntax) if !is_json(&kind) => Ok(Self::Opaque),
                Err(error) => Err(error),
            };
        }
        // Characters of two bytes or four are for others to read.
        let text = text.ok().filter(|text| !text.contains('\0'));
        // Of a service that nobody knows, nothing is decided by what is sent: what cannot be read is opaque.
        let Some(text) = text else { return Ok(Self::Opaque) };
        Ok(match &*kind {
            kind if is_json(kind) => match Document::read(content, Rigor::Lenient) {
                Ok(document) => Self::Json(text, document),
                Err(_) => lines(text),
            },
            "application/x-ndjson" | "application/jsonl" | "application/x-jsonlines" => lines(text),
            "application/x-www-form-urlencoded" => Self::Pairs(text),
            "application/xml" | "application/graphql" | "application/sql" | "application/yaml" => Self::Text(text),
            kind if kind.starts_with("text/") || kind.ends_with("+xml") || kind.ends_with("+yaml") => Self::Text(text),
            _ => Self::Opaque,
        })
    }

    /// What is written in JSON, if it is.
    pub(super) fn json(&self) -> Option<Value<'_>> {
        match self {
            Self::Json(_, document) => Some(document.root()),
            _ => None,
        }
    }

    /// How long the texts are, and whether there is what cannot be looked into.
    pub(super) fn survey(&self, rules: Rules, found: &mut Found) {
        match self {
            Self::None => {}
            Self::Json(_, document) => walk(document.root(), &mut String::new(), rules, &mut Survey(found)),
            Self::Text(text) | Self::Lines(text) | Self::Pairs(text) => found.hear(text.len()),
            Self::Parts(parts) => {
                for part in parts.iter() {
                    match part.text() {
                        Some(text) => found.hear(text.len()),
                        None => found.opaque = true,
                    }
                }
            }
            Self::Opaque => found.opaque = true,
        }
    }

    /// The content with its texts as they say; `None` if all stays as it is.
    pub(super) fn rewritten(&self, rules: Rules, texts: &mut dyn Texts) -> Result<Option<Bytes>, NotRead> {
        let put = match self {
            Self::None | Self::Opaque => None,
            Self::Json(text, document) => {
                let mut edits = Edits::default();
                rewrite_value(document.root(), "", rules, texts, &mut edits);
                edits.apply(text)
            }
            Self::Lines(text) => rewrite_each(text, "", rules, texts),
            Self::Pairs(text) => urlencoded::rewritten(text, texts),
            Self::Text(text) => rewrite_text(text, "", texts),
            Self::Parts(parts) => {
                return parts.rewritten(|part, text| {
                    let name = &*part.name;
                    if part.is_file {
                        let rules = if is_asked(text) { rules } else { Rules::Every };
                        return rewrite_lines(text, name, rules, texts);
                    }
                    (rules == Rules::Every || is_field_text(name, text)).then(|| rewrite_text(text, name, texts))?
                });
            }
        };
        Ok(put.map(Bytes::from))
    }
}

fn is_json(kind: &str) -> bool {
    matches!(kind, "application/json" | "text/json") || kind.ends_with("+json")
}

/// Whether a file holds requests to models, one a line, or what they are trained with.
fn is_asked(text: &str) -> bool {
    let first = text.lines().next().unwrap_or_default();
    let document = Document::read(first.as_bytes(), Rigor::Lenient);
    document.is_ok_and(|document| ["body", "messages", "input"].iter().any(|name| document.root().get(name).is_some()))
}

fn lines(text: &str) -> Content<'_> {
    let read = |line: &str| line.trim().is_empty() || Document::read(line.as_bytes(), Rigor::Lenient).is_ok();
    if text.lines().all(read) { Content::Lines(text) } else { Content::Opaque }
}

/// A text whose lines are JSON, as far as they are; else one text.
fn rewrite_lines(text: &str, place: &str, rules: Rules, texts: &mut dyn Texts) -> Option<String> {
    let json = |line: &str| line.trim_start().starts_with('{') && Document::read(line.as_bytes(), Rigor::Lenient).is_ok();
    if text.lines().any(json) { rewrite_each(text, place, rules, texts) } else { rewrite_text(text, place, texts) }
}

fn rewrite_each(text: &str, place: &str, rules: Rules, texts: &mut dyn Texts) -> Option<String> {
    let mut changed = false;
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let put = match Document::read(line.as_bytes(), Rigor::Lenient) {
            Ok(document) => {
                let mut edits = Edits::default();
                rewrite_value(document.root(), "", rules, texts, &mut edits);
                edits.apply(line)
            }
            Err(_) => rewrite_text(line, place, texts),
        };
        changed |= put.is_some();
        out.push_str(put.as_deref().unwrap_or(line));
    }
    changed.then_some(out)
}

struct Survey<'f>(&'f mut Found);

impl Visitor for Survey<'_> {
    fn text(&mut self, _spot: &Spot<'_>, value: Value<'_>) {
        self.0.hear(value.inner().len());
    }

    fn media(&mut self, _spot: &Spot<'_>) {
        self.0.opaque = true;
    }
}
