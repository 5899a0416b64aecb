//! What HTTP requests mean to the services that they are sent to, and where texts are in what is said.
//!
//! A dialect knows one kind of service: what its paths do to what, which models, tools, prompts and files a request names, and in which
//! places of requests and answers there are words of people and of models. It rewrites these as whoever knows regulated values
//! ([`Texts`]) says, and leaves everything else as it came, byte for byte. Answers come in parts, in events, in words cut anywhere.

mod answer;
mod dialect;
mod json;
mod request;
mod templates;
mod texts;

use std::sync::Arc;

use bytes::Bytes;
use claviger_model::{Effect, Meaning, Object, Verb};

pub use self::answer::Answer;
pub use self::dialect::Dialect;
pub use self::templates::{Described, Templates, WrongTemplate};

/// A request, all of it.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The method, in upper case.
    pub method: &'static str,
    /// The path as policy sees it, without the query.
    pub path: &'a str,
    /// What follows the question mark.
    pub query: Option<&'a str>,
    /// The value of `Content-Type`.
    pub content_type: Option<&'a str>,
    /// The name of the prompt, where a header says it.
    pub prompt: Option<&'a str>,
    /// The content, decoded; empty if there is none.
    pub content: &'a [u8],
}

/// What is known of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// What it does, for policy and the record. Holds `invoke` of its endpoint, or `unknown` of it if the dialect does not know the path.
    pub meaning: Meaning,
    /// The model that it is for, as the client names it.
    pub model: Option<Arc<str>>,
    /// Whether it leaves the service as it was, so that nothing is lost if its record is: a question to a model is a read.
    pub reads: bool,
    /// Whether its content cannot be looked into, though there is some: it is not text, or not of a known form.
    pub opaque: bool,
    /// How its answer is read.
    pub(crate) form: answer::Form,
}

/// Why a request is refused whatever policy says: what is sent could be read in two ways, or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRead {
    /// It is not JSON where it must be, or not UTF-8.
    #[error("the content is not JSON as it must be")]
    Syntax,
    /// Names of members are there twice, so that each reader may take another.
    #[error("the content names a member twice")]
    Twice,
    /// It is nested too deep.
    #[error("the content is nested too deep")]
    TooDeep,
    /// A member that decides is not what it must be: a model that is no text.
    #[error("the content holds `{0}` in a form that is not known")]
    Form(&'static str),
    /// An answer's event is longer than may be kept.
    #[error("a part of the answer is too long to be looked into")]
    TooLong,
}

/// Where a text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// Which members lead to it, with `[]` for elements of lists, and `{}` for the name of a member itself: `messages[].content`,
    /// `arguments{}`. In strings that are JSON it goes on: `messages[].content.mail`. A name that holds any of these signs is in quotes.
    pub path: &'a str,
    /// Whether it is a number, or another word of JSON, as it is written; what takes its place becomes a text.
    pub bare: bool,
}

/// Whoever knows which texts hold regulated values.
pub trait Texts: Send {
    /// What takes the place of a text that is all there; `None` if it stays.
    fn whole(&mut self, place: Place<'_>, text: &str) -> Option<String>;

    /// Begins a text that comes in parts.
    fn parts(&mut self, place: Place<'_>) -> Box<dyn Parts>;
}

/// A text that comes in parts.
pub trait Parts: Send {
    /// Takes more of it, and appends what may leave.
    fn push(&mut self, part: &str, out: &mut String);

    /// There is no more: appends what is left.
    fn finish(&mut self, out: &mut String);
}

/// Lets every text leave as it came.
pub struct Untouched;

impl Texts for Untouched {
    fn whole(&mut self, _place: Place<'_>, _text: &str) -> Option<String> {
        None
    }

    fn parts(&mut self, _place: Place<'_>) -> Box<dyn Parts> {
        Box::new(Self)
    }
}

impl Parts for Untouched {
    fn push(&mut self, part: &str, out: &mut String) {
        out.push_str(part);
    }

    fn finish(&mut self, _out: &mut String) {}
}

/// A piece of an answer, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// For the client.
    Bytes(Bytes),
    /// The model calls a tool. What follows says so to the client, and waits until that is decided.
    Call(Call),
}

/// A model's call of a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The tool's name.
    pub tool: Arc<str>,
    /// What it is called with, as the client gets it: JSON as a rule.
    pub arguments: Arc<str>,
}

impl Call {
    /// What a call of a tool does, for policy and the record.
    pub fn meaning(tool: &Arc<str>) -> Meaning {
        let effects = [Effect { verb: Verb::Invoke, object: Object::Tool(Arc::clone(tool)), through: None }].into();
        Meaning { class: "tool call", effects, ..Meaning::default() }
    }
}

/// What a request has used, as far as the service says so, else as far as it can be counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt, those of them included that the service had kept.
    pub input: u64,
    /// Tokens of the answer.
    pub output: u64,
    /// Whether the service has said so; else they are counted by length.
    pub said: bool,
}

/// The type and subtype that a `Content-Type` names, in lower case.
fn media_type(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}
