//! The dialects.

use bytes::Bytes;

use crate::texts::Rules;
use crate::{Answer, NotRead, Reading, Request, Texts, request};

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
        request::read(self, request)
    }

    /// The content with its texts as they say; `None` if all stays as it is.
    pub fn rewrite(self, request: &Request<'_>, _reading: &Reading, texts: &mut dyn Texts) -> Result<Option<Bytes>, NotRead> {
        request::rewritten(self, request, texts)
    }

    /// What reads and rewrites the answer, whose event or whole may be so long, in bytes.
    pub fn answer(self, reading: &Reading, longest: usize) -> Answer {
        Answer::new(self, reading, longest)
    }

    /// What it knows of the JSON of answers.
    pub(crate) fn answers(self) -> Rules {
        match self.rules() {
            Rules::Models => Rules::Answers,
            rules => rules,
        }
    }

    /// What it knows of the JSON of requests.
    pub(crate) fn rules(self) -> Rules {
        match self {
            Self::OpenAi | Self::Anthropic => Rules::Models,
            Self::Qdrant | Self::Chroma => Rules::Vectors,
            Self::Plain => Rules::Every,
        }
    }
}
