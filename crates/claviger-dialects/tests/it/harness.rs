//! Answers cut in every way, and someone who knows which texts hold what must not leave.

use bytes::Bytes;
pub(crate) use claviger_dialects::Untouched;
use claviger_dialects::{Dialect, NotRead, Parts, Piece, Place, Request, Texts, Usage};
use serde_json::Value;

/// What must not leave, and what does in its place.
pub(crate) const SECRET: &str = "bob.smith@example.com";
pub(crate) const MASK: &str = "<email>";

/// Masks addresses, keeping back words that have not ended.
#[derive(Clone, Default)]
pub(crate) struct Masks {
    /// Where it has been asked.
    pub(crate) places: Vec<String>,
    /// Nothing is masked; words are kept back all the same.
    pub(crate) idle: bool,
}

fn masked(text: &str) -> String {
    text.replace(SECRET, MASK)
}

impl Texts for Masks {
    fn whole(&mut self, place: Place<'_>, text: &str) -> Option<String> {
        self.places.push(format!("{}{}", place.path, if place.bare { " (bare)" } else { "" }));
        let put = match text {
            "536904399" if place.bare => "<ssn>".to_owned(),
            "true" | "false" if place.bare && place.path.ends_with("pregnant") => "<so>".to_owned(),
            text => masked(text),
        };
        (put != text && !self.idle).then_some(put)
    }

    fn parts(&mut self, place: Place<'_>) -> Box<dyn Parts> {
        self.places.push(format!("{}…", place.path));
        Box::new(Words { kept: String::new(), idle: self.idle })
    }
}

struct Words {
    kept: String,
    idle: bool,
}

impl Words {
    fn put(&self, text: &str, out: &mut String) {
        out.push_str(&if self.idle { text.to_owned() } else { masked(text) });
    }
}

impl Parts for Words {
    fn push(&mut self, part: &str, out: &mut String) {
        self.kept.push_str(part);
        let end = self.kept.rfind(' ').map_or(0, |end| end + 1);
        let rest = self.kept.split_off(end);
        let ready = std::mem::replace(&mut self.kept, rest);
        self.put(&ready, out);
    }

    fn finish(&mut self, out: &mut String) {
        let rest = std::mem::take(&mut self.kept);
        self.put(&rest, out);
    }
}

/// What is asked.
#[derive(Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) dialect: Dialect,
    pub(crate) path: &'static str,
    pub(crate) content_type: &'static str,
    pub(crate) status: u16,
}

/// What has come of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answered {
    pub(crate) bytes: String,
    /// Each call, and how many bytes have left before it.
    pub(crate) calls: Vec<(usize, String, String)>,
}

impl Asked {
    pub(crate) fn to(dialect: Dialect, path: &'static str, content_type: &'static str) -> Self {
        Self { dialect, path, content_type, status: 200 }
    }

    /// Answers in these pieces.
    pub(crate) fn answer<'a>(
        self,
        pieces: impl IntoIterator<Item = &'a [u8]>,
        texts: &mut dyn Texts,
    ) -> Result<(Answered, Usage), NotRead> {
        let content: &[u8] = br#"{"model":"m","messages":[],"input":"12345678"}"#;
        let content_type = Some("application/json");
        let method = if self.path.starts_with("GET ") { "GET" } else { "POST" };
        let path = self.path.trim_start_matches("GET ");
        let request = Request { method, path, query: None, content_type, prompt: None, content };
        let reading = self.dialect.read(&request).unwrap();
        let mut answer = self.dialect.answer(&reading, 1 << 20);
        answer.begin(self.status, Some(self.content_type));
        let mut out = Vec::new();
        for piece in pieces {
            answer.push(Bytes::copy_from_slice(piece), texts, &mut out)?;
        }
        answer.finish(texts, &mut out)?;
        let (mut bytes, mut calls) = (Vec::new(), Vec::new());
        for piece in out {
            match piece {
                Piece::Bytes(more) => bytes.extend_from_slice(&more),
                Piece::Call(call) => calls.push((bytes.len(), call.tool.to_string(), call.arguments.to_string())),
            }
        }
        Ok((Answered { bytes: String::from_utf8(bytes).unwrap(), calls }, answer.usage()))
    }

    /// Answers in every way that one can be cut, and finds the same each time.
    pub(crate) fn answer_cut(self, content: &[u8]) -> (Answered, Usage) {
        let whole = self.answer([content], &mut Masks::default()).unwrap();
        let same = |pieces: Vec<&[u8]>, what: &str| {
            let cut = self.answer(pieces, &mut Masks::default()).unwrap();
            assert_eq!(without_beats(&cut.0), without_beats(&whole.0), "{what}");
            assert_eq!(cut.1, whole.1, "{what}");
        };
        for cut in 0..content.len() {
            same(vec![&content[..cut], &content[cut..]], &format!("cut at {cut}"));
        }
        same(content.chunks(1).collect(), "byte by byte");
        let mut seed = 7_u64;
        for round in 0..40 {
            let (mut pieces, mut rest) = (Vec::new(), content);
            while !rest.is_empty() {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let (piece, after) = rest.split_at(rest.len().min((seed >> 33) as usize % 90));
                pieces.push(piece);
                rest = after;
            }
            same(pieces, &format!("round {round}"));
        }
        assert!(!whole.0.bytes.contains(SECRET), "{}", whole.0.bytes);
        for (_, tool, arguments) in &whole.0.calls {
            assert!(!arguments.contains(SECRET), "{tool}");
        }
        whole
    }
}

/// Comments stand between other events wherever pieces end; a client passes over them.
fn without_beats(answered: &Answered) -> (String, Vec<(String, String)>) {
    let calls = answered.calls.iter().map(|(_, tool, arguments)| (tool.clone(), arguments.clone())).collect();
    (answered.bytes.replace(":\n\n", ""), calls)
}

/// The data of a stream's events.
pub(crate) fn events(bytes: &str) -> Vec<Value> {
    let data = bytes.lines().filter_map(|line| line.strip_prefix("data: "));
    data.filter(|data| *data != "[DONE]").map(|data| serde_json::from_str(data).unwrap()).collect()
}

/// A stream of these, as a server frames them that names events by their types.
pub(crate) fn named(events: &[Value]) -> String {
    events.iter().map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap())).collect()
}

/// The calls' tools and what they are called with.
pub(crate) fn called(answered: &Answered) -> Vec<(&str, &str)> {
    answered.calls.iter().map(|(_, tool, arguments)| (&**tool, &**arguments)).collect()
}
