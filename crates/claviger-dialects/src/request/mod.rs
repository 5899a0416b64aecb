//! What requests do.

mod content;
mod inference;
mod models;
mod multipart;
mod stored;
mod urlencoded;
mod vectors;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use claviger_model::{Definition, Effect, Endpoint, Hazard, Meaning, Object, Verb};

use self::content::Content;
use crate::answer::{Api, Form};
use crate::json::{Kind, Value};
use crate::{Dialect, NotRead, Reading, Request, Texts};

/// The longest name of something that a request does something to, in bytes.
const LONGEST_NAME: usize = 256;
/// What stands for a name where there is none yet, or for all of a kind.
const ANY: &str = "*";

/// What a request does, and how its answer is to be read.
pub(crate) fn read(dialect: Dialect, request: &Request<'_>) -> Result<Reading, NotRead> {
    let mut found = Found::new(request);
    let content = Content::of(dialect, request)?;
    match dialect {
        Dialect::OpenAi | Dialect::Anthropic => models::read(request, &content, &mut found)?,
        Dialect::Qdrant => vectors::qdrant(request, &content, &mut found)?,
        Dialect::Chroma => vectors::chroma(request, &content, &mut found)?,
        Dialect::Plain => found.known = true,
    }
    if let Some(name) = request.prompt {
        found.prompt(name)?;
    }
    content.survey(dialect.rules(), &mut found);
    Ok(found.reading(request))
}

/// The content with its texts as they say; `None` if all stays as it is.
pub(crate) fn rewritten(dialect: Dialect, request: &Request<'_>, texts: &mut dyn Texts) -> Result<Option<Bytes>, NotRead> {
    Content::of(dialect, request)?.rewritten(dialect.rules(), texts)
}

/// What has been found in a request so far.
pub(crate) struct Found {
    pub(crate) class: &'static str,
    effects: BTreeSet<Effect>,
    hazards: BTreeSet<Hazard>,
    model: Option<Arc<str>>,
    /// Whether the path is known to the dialect.
    pub(crate) known: bool,
    pub(crate) reads: bool,
    pub(crate) opaque: bool,
    pub(crate) api: Api,
    /// How long its texts are, in bytes.
    asked: u64,
}

impl Found {
    fn new(request: &Request<'_>) -> Self {
        Self {
            class: request.method,
            effects: BTreeSet::new(),
            hazards: BTreeSet::new(),
            model: None,
            known: false,
            reads: matches!(request.method, "GET" | "HEAD" | "OPTIONS"),
            opaque: false,
            api: Api::Any,
            asked: 0,
        }
    }

    fn reading(mut self, request: &Request<'_>) -> Reading {
        let (method, path) = (request.method, request.path.into());
        let endpoint = Object::Endpoint(Endpoint { method, path, template: None, operation: None }.into());
        let verb = if self.known { Verb::Invoke } else { Verb::Unknown };
        if !self.known {
            self.hazards.insert(Hazard::Unknown);
        }
        self.put(verb, endpoint);
        Reading {
            meaning: Meaning { class: self.class, effects: self.effects, hazards: self.hazards, ..Meaning::default() },
            model: self.model,
            reads: self.reads,
            opaque: self.opaque,
            form: Form { api: self.api, asked: self.asked },
        }
    }

    fn put(&mut self, verb: Verb, object: Object) {
        self.effects.insert(Effect { verb, object, through: None });
    }

    pub(crate) fn hazard(&mut self, hazard: Hazard) {
        self.hazards.insert(hazard);
    }

    /// There is a text in it.
    pub(crate) fn hear(&mut self, length: usize) {
        self.asked = self.asked.saturating_add(length as u64);
    }

    /// It is for this model.
    pub(crate) fn model(&mut self, name: &str) -> Result<(), NotRead> {
        self.beside(name)?;
        self.model.get_or_insert(named(name, "model")?);
        Ok(())
    }

    /// It may be for this model, too.
    pub(crate) fn beside(&mut self, name: &str) -> Result<(), NotRead> {
        // Some servers ask several that stand side by side.
        let parts = name.split(',').map(str::trim).filter(|part| name.contains(',') && !part.is_empty());
        for name in parts.chain([name]) {
            self.put(Verb::Invoke, Object::Model(named(name, "model")?));
        }
        Ok(())
    }

    /// A model may call this tool.
    pub(crate) fn tool(&mut self, name: &str) -> Result<(), NotRead> {
        self.put(Verb::Offer, Object::Tool(named(name, "tools")?));
        Ok(())
    }

    /// It is made from this prompt.
    pub(crate) fn prompt(&mut self, name: &str) -> Result<(), NotRead> {
        self.put(Verb::Invoke, Object::Prompt(named(name, "prompt")?));
        Ok(())
    }

    /// Something is done to a thing that the service keeps.
    pub(crate) fn define(&mut self, verb: Verb, kind: &'static str, name: &str) -> Result<(), NotRead> {
        let name = named(name, kind)?;
        self.put(verb, Object::Definition(Definition { kind, schema: None, name }.into()));
        Ok(())
    }
}

/// A name of something, if it can be one.
fn named(name: &str, what: &'static str) -> Result<Arc<str>, NotRead> {
    let fits = !name.is_empty() && name.len() <= LONGEST_NAME && !name.chars().any(char::is_control);
    if fits { Ok(name.into()) } else { Err(NotRead::Form(what)) }
}

/// A member that must be a text if it is there.
pub(crate) fn text_of<'a>(object: Value<'a>, name: &'static str) -> Result<Option<Cow<'a, str>>, NotRead> {
    match object.get(name) {
        None => Ok(None),
        Some(value) if value.kind() == Kind::Null => Ok(None),
        Some(value) => value.text().map(Some).ok_or(NotRead::Form(name)),
    }
}
