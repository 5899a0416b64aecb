//! What requests bring along.

use bytes::Bytes;

use super::Found;
use crate::json::{Document, Rigor, Value};
use crate::texts::{Rules, Spot, Visitor, rewrite_text, rewrite_value, walk};
use crate::{Dialect, NotRead, Request, Texts, media_type};

/// The content of a request.
pub(crate) enum Content<'a> {
    None,
    Json(&'a str, Document<'a>),
    /// A text.
    Text(&'a str),
    /// What cannot be looked into.
    Opaque,
}

impl<'a> Content<'a> {
    pub(super) fn of(dialect: Dialect, request: &Request<'a>) -> Result<Self, NotRead> {
        let kind = request.content_type.map(media_type).unwrap_or_default();
        let content = request.content;
        if content.is_empty() {
            return Ok(Self::None);
        }
        let text = || std::str::from_utf8(content).ok();
        let json = || Ok(Self::Json(text().ok_or(NotRead::Syntax)?, Document::read(content, Rigor::Strict)?));
        match kind.as_str() {
            "multipart/form-data" => Ok(Self::Opaque),
            "application/json" | "text/json" => json(),
            kind if kind.ends_with("+json") => json(),
            // Some servers of models and vectors take JSON for JSON whatever it is said to be.
            _ if dialect != Dialect::Plain => json(),
            kind if kind.starts_with("text/") => Ok(text().map_or(Self::Opaque, Self::Text)),
            _ => Ok(Self::Opaque),
        }
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
            Self::Text(text) => found.asked += text.len() as u64,
            Self::Opaque => found.opaque = true,
        }
    }

    /// The content with its texts as they say; `None` if all stays as it is.
    pub(super) fn rewritten(&self, rules: Rules, texts: &mut dyn Texts) -> Result<Option<Bytes>, NotRead> {
        let put = match self {
            Self::None | Self::Opaque => None,
            Self::Json(text, document) => {
                let mut edits = crate::json::Edits::default();
                rewrite_value(document.root(), "", rules, texts, &mut edits);
                edits.apply(text)
            }
            Self::Text(text) => rewrite_text(text, "", texts),
        };
        Ok(put.map(Bytes::from))
    }
}

struct Survey<'f>(&'f mut Found);

impl Visitor for Survey<'_> {
    fn text(&mut self, _spot: &Spot<'_>, _value: Value<'_>, text: &str) {
        self.0.asked += text.len() as u64;
    }

    fn media(&mut self, _spot: &Spot<'_>) {
        self.0.opaque = true;
    }
}
