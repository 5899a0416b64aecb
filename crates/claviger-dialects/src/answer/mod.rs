//! Answers, as they come.
//!
//! A document is kept until its end, and rewritten then. A stream is rewritten event by event: each place in which text comes in
//! parts is a channel of its own, and what may leave of it takes the place of what came; the rest leaves in an event
//! of the same form before the one that ends the channel. What a tool is called with is kept until it is all there, as clients act only then.

mod channel;
mod chat;
mod deltas;
mod document;
mod frame;
mod lines;
mod messages;
mod open;
mod pending;
mod responses;
mod sniff;
mod sse;
mod turn;
mod usage;
mod whole;

use bytes::{Bytes, BytesMut};

use self::chat::Chat;
use self::deltas::Deltas;
use self::document::Each;
use self::lines::Lines;
use self::messages::Messages;
use self::responses::Responses;
use self::sniff::{Looks, Said, looks};
use self::sse::Sse;
use self::turn::{Framing, Outlet, Turn};
use self::whole::Text;
use crate::json::{Document, Edits, Kind, Value};
use crate::texts::{Rules, rewrite_text, rewrite_value};
use crate::{Dialect, NotRead, Piece, Reading, Texts, Usage, media_type};

/// By how much of it content is told for a text or for something else, in bytes.
const BEGINNING: usize = 512;

/// How an answer is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Form {
    pub(crate) api: Api,
    /// How long the texts were that were asked, in bytes.
    pub(crate) asked: u64,
}

/// Whose words an answer is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Api {
    /// Nobody's in particular.
    #[default]
    Any,
    /// One of models, without texts that come in parts.
    Json,
    Chat,
    Completions,
    Responses,
    Messages,
    Images,
    Audio,
    /// Runs of assistants.
    Threads,
    Ollama,
}

/// Reads and rewrites one answer. Sans-io: content goes in as it comes, decoded, and pieces come out.
pub struct Answer {
    form: Form,
    rules: Rules,
    /// The longest event or document.
    longest: usize,
    content: Content,
    outlet: Outlet,
    /// Whether it is said to be JSON.
    json: bool,
    /// Whether it says that nothing was done.
    failed: bool,
    /// What the service has said that was used.
    said: Usage,
}

/// How content is read.
enum Content {
    /// It is not.
    Pass,
    /// When all of it is there. Whether it is lines if its first is a document.
    Whole(BytesMut, bool),
    /// As one text.
    Text(Text),
    /// Event by event.
    Events(Sse, Box<dyn Stream>),
    /// Line by line.
    Lines(Lines, Box<dyn Stream>),
    /// As its beginning looks, of which this has come, and as is said of it.
    Unsaid(BytesMut, Said),
}

/// An event of a stream.
pub(super) struct Event<'a> {
    /// As it came, with the empty line that ends it.
    pub(super) raw: &'a [u8],
    /// Its name, if it has one.
    pub(super) name: Option<&'a str>,
    pub(super) data: &'a str,
}

/// Rewrites the events of one API.
trait Stream: Send {
    /// Takes an event that is an object of JSON.
    fn event(&mut self, event: &Event<'_>, root: Value<'_>, turn: &mut Turn<'_>) -> Result<(), NotRead>;

    /// There are no more: what is left of texts and calls leaves.
    fn finish(&mut self, turn: &mut Turn<'_>) -> Result<(), NotRead>;

    /// What is known of its JSON.
    fn rules(&self) -> Rules {
        Rules::Answers
    }

    /// How much is remembered, in bytes.
    fn kept(&self) -> usize;

    /// The events that tell of an error and end the stream.
    fn error(&self, message: &str) -> String;
}

impl Answer {
    pub(crate) fn new(dialect: Dialect, reading: &Reading, longest: usize) -> Self {
        Self {
            form: reading.form,
            rules: dialect.answers(),
            longest,
            content: Content::Pass,
            outlet: Outlet::default(),
            json: false,
            failed: false,
            said: Usage::default(),
        }
    }

    /// Takes the answer's head. Says whether all of the content is kept until its end, so that its length is known when its head leaves.
    pub fn begin(&mut self, status: u16, content_type: Option<&str>) -> bool {
        self.failed = status >= 400;
        let kind = content_type.map(media_type).unwrap_or_default();
        let said = match kind.as_str() {
            "application/json" | "text/json" => Said::Json,
            "text/event-stream" => Said::Events,
            "application/x-ndjson" | "application/jsonl" | "application/x-jsonlines" | "application/stream+json" => Said::Lines,
            kind if kind.ends_with("+json") => Said::Json,
            kind if kind.starts_with("text/") => Said::Text,
            kind if ["image/", "audio/", "video/", "font/"].iter().any(|media| kind.starts_with(media)) => {
                self.content = Content::Pass;
                return false;
            }
            "" => Said::Nothing,
            _ => Said::Other,
        };
        // Clients of models know what they have asked for.
        let sure = self.rules != Rules::Answers && matches!(said, Said::Json | Said::Events | Said::Lines);
        self.content = if sure { self.read_as(said) } else { Content::Unsaid(BytesMut::new(), said) };
        self.json = said == Said::Json;
        self.json
    }

    /// How content is read that is what is said of it.
    fn read_as(&mut self, said: Said) -> Content {
        match said {
            Said::Json => Content::Whole(BytesMut::new(), false),
            Said::Events => Content::Events(Sse::default(), self.stream()),
            Said::Lines => {
                self.outlet.framing = Framing::Lines;
                Content::Lines(Lines::default(), self.stream())
            }
            Said::Text | Said::Other | Said::Nothing => Content::Text(Text::default()),
        }
    }

    /// What rewrites a stream.
    fn stream(&self) -> Box<dyn Stream> {
        match self.form.api {
            Api::Chat | Api::Completions => Box::new(Chat::default()),
            Api::Messages => Box::new(Messages::default()),
            // Transcripts come as the texts of responses do.
            Api::Responses | Api::Audio => Box::new(Responses::default()),
            Api::Ollama => Box::new(Deltas::of_lines()),
            Api::Threads | Api::Json | Api::Images => Box::new(Deltas::new()),
            Api::Any => Box::new(Each { rules: self.rules }),
        }
    }

    /// Takes content, and appends what comes of it.
    pub fn push(&mut self, content: Bytes, texts: &mut dyn Texts, out: &mut Vec<Piece>) -> Result<(), NotRead> {
        let Some(content) = self.looked_at(content, false)? else { return Ok(()) };
        self.first_line(&content);
        let mut turn = Turn::new(texts, out, &mut self.outlet, &mut self.said, self.longest);
        match &mut self.content {
            Content::Pass | Content::Unsaid(..) => turn.pass(content),
            Content::Whole(kept, _) => {
                if kept.len() + content.len() > self.longest {
                    return Err(NotRead::TooLong);
                }
                kept.extend_from_slice(&content);
            }
            Content::Text(text) => text.push(&content, &mut turn),
            Content::Events(sse, stream) => sse.push(&content, stream.as_mut(), &mut turn)?,
            Content::Lines(lines, stream) => lines.push(&content, stream.as_mut(), &mut turn)?,
        }
        turn.end()
    }

    /// There is no more content: appends the rest.
    pub fn finish(&mut self, texts: &mut dyn Texts, out: &mut Vec<Piece>) -> Result<(), NotRead> {
        if let Some(content) = self.looked_at(Bytes::new(), true)?.filter(|content| !content.is_empty()) {
            self.push(content, texts, out)?;
        }
        // What only begins like JSON may be in other characters.
        if let Content::Whole(kept, _) = &mut self.content
            && !self.json
            && self.rules != Rules::Answers
            && std::str::from_utf8(kept).is_err()
        {
            let kept = std::mem::take(kept).freeze();
            self.content = Content::Text(Text::default());
            self.push(kept, texts, out)?;
        }
        // What is said to be a document may be several.
        if let Content::Whole(kept, _) = &mut self.content
            && document::is_lines(kept)
        {
            let kept = std::mem::take(kept);
            self.outlet.framing = Framing::Lines;
            self.content = Content::Lines(Lines::of(kept), self.stream());
        }
        let mut turn = Turn::new(texts, out, &mut self.outlet, &mut self.said, self.longest);
        match &mut self.content {
            Content::Pass | Content::Unsaid(..) => {}
            Content::Whole(kept, _) => document::whole(kept, self.rules, &mut turn)?,
            Content::Text(text) => text.finish(&mut turn),
            Content::Events(sse, stream) => {
                sse.finish(stream.as_mut(), &mut turn)?;
                stream.finish(&mut turn)?;
            }
            Content::Lines(lines, stream) => {
                lines.take(true, stream.as_mut(), &mut turn)?;
                stream.finish(&mut turn)?;
            }
        }
        turn.release();
        turn.end()
    }

    /// What content there is to be taken, once it is known how.
    fn looked_at(&mut self, content: Bytes, last: bool) -> Result<Option<Bytes>, NotRead> {
        let Content::Unsaid(begun, said) = &mut self.content else { return Ok(Some(content)) };
        begun.extend_from_slice(&content);
        let guessed = matches!(said, Said::Other | Said::Nothing);
        let looks = looks(begun, last);
        if !last && (looks == Looks::Unclear || (guessed && begun.len() < BEGINNING)) {
            return if begun.len() > self.longest { Err(NotRead::TooLong) } else { Ok(None) };
        }
        let (begun, said) = (begun.split().freeze(), *said);
        let beginning = begun.get(..BEGINNING).unwrap_or(&begun);
        self.content = match looks {
            _ if guessed && !whole::is_text(beginning) => Content::Pass,
            Looks::Json if said != Said::Lines => {
                // What nobody knows anything of may be a file.
                if said == Said::Other && matches!(self.form.api, Api::Any | Api::Json) {
                    self.rules = Rules::Every;
                }
                Content::Whole(BytesMut::new(), !matches!(said, Said::Json | Said::Events))
            }
            Looks::Events if self.rules == Rules::Answers => self.read_as(Said::Events),
            _ => self.read_as(said),
        };
        Ok(Some(begun))
    }

    /// Files of lines are too long to be kept: they are read as such from the end of their first line on.
    fn first_line(&mut self, content: &[u8]) {
        let Content::Whole(kept, may @ true) = &mut self.content else { return };
        let Some(end) = content.iter().position(|byte| *byte == b'\n') else { return };
        *may = false;
        let line = [kept, content.get(..end).unwrap_or_default()].concat();
        if !matches!(self.form.api, Api::Any | Api::Json) || !document::is_one(&line) {
            return;
        }
        let kept = std::mem::take(kept);
        self.outlet.framing = Framing::Lines;
        self.content = Content::Lines(Lines::of(kept), Box::new(Each { rules: self.rules }));
    }

    /// What ends the content in place of everything from a refused call on, as the service would say that something went wrong in the middle
    /// of an answer; `None` if it is no stream, so that another answer can take its place.
    pub fn refused(&mut self, message: &str) -> Option<Bytes> {
        match &self.content {
            Content::Events(_, stream) | Content::Lines(_, stream) => Some(stream.error(message).into()),
            Content::Unsaid(_, Said::Events | Said::Lines) => Some(self.stream().error(message).into()),
            _ => None,
        }
    }

    /// A comment between two events of a stream, which its readers pass over (HTML standard, 9.2.6); `None` if it is no such stream.
    pub fn comment(&self, words: &str) -> Option<Bytes> {
        let is_stream = matches!(&self.content, Content::Events(..) | Content::Unsaid(_, Said::Events));
        is_stream.then(|| format!(": {}\n\n", words.replace(['\r', '\n'], " ")).into())
    }

    /// What has been used, as far as is known by now.
    ///
    /// What the service does not say is counted: a token for each four bytes of the texts that were asked and answered, or less than four; nothing, where the
    /// answer says that it went wrong.
    pub fn usage(&self) -> Usage {
        if self.said.said || self.failed {
            return self.said;
        }
        Usage { input: self.form.asked.div_ceil(4), output: self.outlet.heard.div_ceil(4), said: false }
    }
}

/// Takes an event that has data. What is no object stands for itself.
fn take(event: &Event<'_>, stream: &mut dyn Stream, turn: &mut Turn<'_>) -> Result<(), NotRead> {
    if event.data.trim_start().starts_with("[DONE]") {
        stream.finish(turn)?;
        turn.put(event, None);
        return Ok(());
    }
    let rules = stream.rules();
    let put = match Document::read(event.data.as_bytes(), document::rigor(rules)) {
        Ok(document) if document.root().kind() == Kind::Object => {
            if rules == Rules::Answers {
                usage::take(document.root(), turn.usage);
            }
            stream.event(event, document.root(), turn)?;
            // Of what has left it is remembered what will be said again.
            return if stream.kept() > 2 * turn.longest { Err(NotRead::TooLong) } else { Ok(()) };
        }
        Ok(document) => {
            let mut edits = Edits::default();
            rewrite_value(document.root(), "", rules, turn.texts, &mut edits);
            edits.apply(event.data)
        }
        Err(NotRead::Syntax) => rewrite_text(event.data, "", turn.texts),
        Err(error) => return Err(error),
    };
    turn.put(event, put);
    Ok(())
}
