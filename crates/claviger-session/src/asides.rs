//! Questions to upstreams beside the sessions of clients. Who asks them is the business of whoever has sockets.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use claviger_protocols::Question;

use crate::Connection;

/// Asks upstreams on sessions of the gateway's own.
pub trait Asides: Send + Sync + 'static {
    /// Asks these questions, one after the other, on one session that has nothing but `pg_catalog` in its search path. Resolves to what came
    /// of it, at the latest after this time from when its turn comes.
    fn ask(self: Arc<Self>, connection: Arc<Connection>, inquiries: Vec<Inquiry>, turn: Turn, within: Duration) -> Answers;

    /// Sees this through beside everything else, as soon as what was given before for an equal connection is done.
    fn spawn(self: Arc<Self>, connection: &Arc<Connection>, look: Pin<Box<dyn Future<Output = ()> + Send>>);
}

/// Whose turn it is to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// That of a look which was [given](Asides::spawn): nobody waits for it.
    Behind,
    /// Somebody waits.
    Ahead,
}

/// One question.
#[derive(Clone, Debug)]
pub struct Inquiry {
    /// What is asked.
    pub question: Question,
    /// What must be the answer's first value if there is to be another question.
    pub expects: Option<Bytes>,
}

impl<T: Into<Question>> From<T> for Inquiry {
    fn from(question: T) -> Self {
        Self { question: question.into(), expects: None }
    }
}

/// What came of questions: the rows of each that was answered, in order, and why there are no more.
pub type Answered = (Vec<Vec<Vec<Option<Bytes>>>>, Result<(), Unanswered>);

/// That is being asked.
pub type Answers = Pin<Box<dyn Future<Output = Answered> + Send>>;

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// The upstream refused it, with this code.
    Refused(String),
    /// The answer was not what was expected.
    Unexpected,
    /// The upstream cannot be asked, in words for people.
    Unavailable(Arc<str>),
}
