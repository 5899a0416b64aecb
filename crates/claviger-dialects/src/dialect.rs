//! The dialects.

use bytes::Bytes;
use claviger_model::{Effect, Endpoint, Meaning, Object, Verb};

use crate::answer::Form;
use crate::{Answer, NotRead, Reading, Request, Texts};

/// A kind of service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// Any: JSON is looked into, and every path is an endpoint.
    #[default]
    Plain,
    /// OpenAI's API, and that of every server that is compatible with it; also where Anthropic's is spoken under the paths of that.
    OpenAi,
    /// Anthropic's.
    Anthropic,
    /// Qdrant's REST API.
    Qdrant,
    /// Chroma's REST API.
    Chroma,
}

impl Dialect {
    /// All of them, by their words in configuration.
    pub const WORDS: [(&'static str, Self); 5] = [
        ("plain", Self::Plain),
        ("openai", Self::OpenAi),
        ("anthropic", Self::Anthropic),
        ("qdrant", Self::Qdrant),
        ("chroma", Self::Chroma),
    ];

    /// What a request does, and how its answer is to be read.
    pub fn read(self, request: &Request<'_>) -> Result<Reading, NotRead> {
        let object = Object::Endpoint(Endpoint { method: request.method, path: request.path.into() }.into());
        let effects = [Effect { verb: Verb::Invoke, object, through: None }].into();
        Ok(Reading {
            meaning: Meaning { class: request.method, effects, ..Meaning::default() },
            model: None,
            reads: matches!(request.method, "GET" | "HEAD" | "OPTIONS"),
            opaque: !request.content.is_empty(),
            form: Form::default(),
        })
    }

    /// The content with its texts as they say; `None` if all stays as it is.
    pub fn rewrite(self, _request: &Request<'_>, _reading: &Reading, _texts: &mut dyn Texts) -> Result<Option<Bytes>, NotRead> {
        Ok(None)
    }

    /// What reads and rewrites the answer, whose event or whole may be so long, in bytes.
    pub fn answer(self, reading: &Reading, longest: usize) -> Answer {
        Answer::new(self, reading, longest)
    }
}
