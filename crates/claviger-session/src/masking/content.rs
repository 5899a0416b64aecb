//! Masking what HTTP requests and answers hold: where texts are is for the dialect to say, what is in them for the labels of their places and
//! the detectors.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use claviger_dialects::{Answer, NotRead, Parts, Piece, Place, Reading, Texts, Untouched};
use claviger_mask::detect::{self, Context, Counts, Detectors};
use claviger_mask::methods::{Form, Masks, Type};
use claviger_mask::swap::{Restoring, Swaps};
use claviger_model::{Labels, Masked, Mode, Refusal, RefusalKind, Tokens};
use claviger_protocols::{Content, Exchange, Forward, Said};

use super::parts::{Collected, Counted, Restored, Searched};
use super::{Fields, Setting};
use crate::connection::Sent;
use crate::understanding::request;

/// The longest answer, or part of one, that is kept to be looked into, in bytes.
const LONGEST: usize = 16 << 20;

/// The most tokens that a service is believed to have used for one request.
const MOST_TOKENS: u64 = 1 << 40;

/// The number that PostgreSQL has for texts, by which masks know what they make.
const TEXT: u32 = 25;

/// What becomes of a request's content, and what reads the answer.
pub(crate) struct Contents {
    pub(crate) forward: Forward,
    pub(crate) reader: Box<dyn Content>,
}

/// What becomes of an exchange's content; or why it cannot be what it should. `hides` says whether whoever asks may not see regulated values.
pub(crate) fn contents(
    setting: &Setting<'_>,
    exchange: &Exchange,
    reading: &Reading,
    hides: bool,
) -> Result<Contents, (&'static str, Refusal)> {
    let (connection, rules) = (setting.connection, &setting.connection.contents);
    let enforced = connection.mode == Mode::Enforce;
    let finder = |does| Finder {
        does,
        detectors: connection.detect.as_ref().map(|detecting| Arc::clone(detecting.shared())),
        fields: Arc::clone(&rules.fields),
        masks: Arc::clone(setting.masks),
        session: setting.session,
        tally: Arc::default(),
    };
    let finds = connection.detect.is_some() || !rules.fields.is_empty();
    let (mut forward, mut sent, mut swaps) = (Forward::Original, None, None);
    if finds && rules.sent != Sent::Plain {
        if reading.opaque && enforced && hides {
            let why = "what is sent cannot be looked into, and may hold values that must not leave";
            return Err(("mask.opaque", Refusal::new(RefusalKind::NotPermitted, why)));
        }
        let swapped = setting.masks.key().filter(|_| rules.sent == Sent::Swapped).map(|key| Swaps::new(key, None));
        let mut texts = finder(swapped.map_or(Does::Mask, |swaps| Does::Swap(Arc::new(Mutex::new(swaps)))));
        let rewritten = rules.dialect.rewrite(&request(exchange), reading, &mut texts);
        let rewritten = rewritten.map_err(|error| ("content.not_read", not_read(error, RefusalKind::NotUnderstood)))?;
        if let Some(content) = rewritten.filter(|_| enforced) {
            forward = Forward::Replace(content);
        }
        if let Does::Swap(swapped) = texts.does {
            let swapped = Arc::into_inner(swapped).map(|swaps| swaps.into_inner().unwrap_or_else(PoisonError::into_inner));
            swaps = swapped.filter(|swaps| !swaps.is_empty() && enforced);
        }
        sent = Some(texts.tally);
    }
    let texts = finder(match (finds && hides, enforced) {
        (false, _) => swaps.map_or(Does::Pass, |swaps| Does::Restore(Arc::new(swaps))),
        (true, true) => Does::Mask,
        (true, false) => Does::Count,
    });
    let answer = rules.dialect.answer(reading, LONGEST);
    let asks_a_model = reading.model.is_some();
    Ok(Contents { forward, reader: Box::new(Reader { answer, texts, sent, asks_a_model, observes: !enforced }) })
}

/// Reads one answer.
struct Reader {
    answer: Answer,
    texts: Finder,
    /// What was found in the request.
    sent: Option<Arc<Mutex<Tally>>>,
    asks_a_model: bool,
    observes: bool,
}

impl Content for Reader {
    fn begin(&mut self, status: u16, content_type: Option<&str>) -> bool {
        self.answer.begin(status, content_type)
    }

    fn push(&mut self, content: Bytes, out: &mut Vec<Said>) -> Result<(), Refusal> {
        let mut pieces = Vec::new();
        let result = self.answer.push(content, &mut self.texts, &mut pieces);
        out.extend(pieces.into_iter().map(said));
        result.map_err(|error| not_read(error, RefusalKind::UpstreamUnavailable))
    }

    fn finish(&mut self, out: &mut Vec<Said>) -> Result<(), Refusal> {
        let mut pieces = Vec::new();
        let result = self.answer.finish(&mut self.texts, &mut pieces);
        out.extend(pieces.into_iter().map(said));
        result.map_err(|error| not_read(error, RefusalKind::UpstreamUnavailable))
    }

    fn refused(&mut self, refusal: &Refusal) -> Option<Bytes> {
        let message = match &refusal.detail {
            Some(detail) => format!("{} ({detail})", refusal.message),
            None => refusal.message.clone(),
        };
        self.answer.refused(&message)
    }

    fn remark(&self, words: &str) -> Option<Bytes> {
        self.answer.comment(words)
    }

    fn masked(&mut self) -> Option<Masked> {
        let tallies = self.sent.iter().chain([&self.texts.tally]);
        let mut masked = Masked { observed: self.observes, ..Masked::default() };
        for tally in tallies {
            let tally = std::mem::take(&mut *tally.lock().unwrap_or_else(PoisonError::into_inner));
            masked.made += tally.labelled;
            masked.withheld += tally.withheld;
            for (entity, count) in tally.found.iter() {
                let name = self.texts.detectors.as_ref().map_or(entity.name(), |detectors| detectors.name(entity));
                match masked.found.iter_mut().find(|(known, _)| **known == *name) {
                    Some((_, known)) => *known += count,
                    None => masked.found.push((name.into(), count)),
                }
            }
        }
        (masked.made + masked.withheld > 0 || !masked.found.is_empty()).then_some(masked)
    }

    fn tokens(&self) -> Option<Tokens> {
        let used = self.answer.usage();
        self.asks_a_model.then_some(Tokens {
            input: used.input.min(MOST_TOKENS),
            output: used.output.min(MOST_TOKENS),
            said: used.said,
        })
    }
}

fn said(piece: Piece) -> Said {
    match piece {
        Piece::Bytes(bytes) => Said::Bytes(bytes),
        Piece::Call(call) => Said::Call { tool: call.tool, arguments: call.arguments },
    }
}

fn not_read(error: NotRead, kind: RefusalKind) -> Refusal {
    Refusal::new(kind, error.to_string())
}

/// What is done with values that are found.
#[derive(Clone)]
enum Does {
    /// Nothing is looked for.
    Pass,
    /// They are counted.
    Count,
    /// They are masked.
    Mask,
    /// Tokens take their places, which are remembered here.
    Swap(Arc<Mutex<Swaps>>),
    /// They take the places of tokens that stand for them.
    Restore(Arc<Swaps>),
}

/// What was found.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) found: Counts,
    /// In places with labels.
    pub(super) labelled: u64,
    /// Texts, or parts of them, that could not be cleared.
    pub(super) withheld: u64,
}

/// Finds values in the texts of one request or answer.
#[derive(Clone)]
pub(super) struct Finder {
    does: Does,
    detectors: Option<Arc<Detectors>>,
    fields: Arc<Fields>,
    masks: Arc<Masks>,
    session: [u8; 16],
    tally: Arc<Mutex<Tally>>,
}

impl Finder {
    /// What is known of a text by the name of its place.
    fn context(&self, path: &str) -> Context {
        let name = path.rsplit('.').next().unwrap_or_default().trim_end_matches("[]");
        self.detectors.as_ref().map_or_else(Context::default, |detectors| detectors.column(name, []))
    }

    /// What takes the place of a value of a place with labels.
    fn labelled(&self, labels: &Labels, text: &str) -> String {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).labelled += 1;
        let form = Form { kind: Type::of(TEXT, -1), binary: false, iso_dates: true };
        let mask = self.masks.mask(labels, form, &self.session).unwrap_or_else(|_| Masks::made(form));
        let mut out = BytesMut::new();
        // A text that becomes none is an empty one.
        let is_some = mask.put(Some(text.as_bytes()), &mut out);
        if is_some { characters(out.into()) } else { String::new() }
    }

    fn found(&self, context: Context, text: &str) -> Option<String> {
        let detectors = self.detectors.as_ref()?;
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        if let Does::Swap(swaps) = &self.does {
            let mut swaps = swaps.lock().unwrap_or_else(PoisonError::into_inner);
            return detectors.swap(text, context, &mut swaps, &mut tally.found);
        }
        match detectors.mask(text.as_bytes(), context, &mut tally.found) {
            Cow::Borrowed(_) => None,
            Cow::Owned(masked) => Some(characters(masked)),
        }
    }
}

/// What a mask has made of characters.
fn characters(masked: Vec<u8>) -> String {
    String::from_utf8(masked).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

impl Texts for Finder {
    fn whole(&mut self, place: Place<'_>, text: &str) -> Option<String> {
        match &self.does {
            Does::Pass => return None,
            Does::Restore(swaps) => return swaps.restore(text),
            Does::Count | Does::Mask | Does::Swap(_) => {}
        }
        let replaced = match self.fields.labels(place.path) {
            Some(labels) => Some(self.labelled(labels, text)),
            None => self.found(self.context(place.path), text),
        };
        replaced.filter(|_| !matches!(self.does, Does::Count))
    }

    fn parts(&mut self, place: Place<'_>) -> Box<dyn Parts> {
        let is_labelled = self.fields.labels(place.path).is_some();
        match (&self.does, &self.detectors) {
            (Does::Pass, _) => Box::new(Untouched),
            (Does::Restore(swaps), _) => Box::new(Restored(Restoring::new(Arc::clone(swaps)))),
            // Nothing is looked for here.
            (Does::Count | Does::Mask, None) if !is_labelled => Box::new(Untouched),
            (Does::Mask, Some(detectors)) if !is_labelled => {
                let parts = detect::Parts::new(Arc::clone(detectors), self.context(place.path));
                Box::new(Searched { parts, tally: Arc::clone(&self.tally) })
            }
            // What is labelled is masked as a whole, and what is counted only need not hurry.
            (Does::Count, _) => Box::new(Counted { finder: self.clone(), path: place.path.to_owned(), text: String::new() }),
            _ => Box::new(Collected { finder: self.clone(), path: place.path.to_owned(), text: String::new() }),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_nobody_looks_into_flows_however_long_it_is() {
        let fields = [("**.ssn".parse().unwrap(), Labels::from(["pii".into()]))].into_iter().collect();
        let (masks, tally) = (Arc::default(), Arc::default());
        let mut finder = Finder { does: Does::Mask, detectors: None, fields: Arc::new(fields), masks, session: [0; 16], tally };
        let mut told = |path| {
            let (mut parts, mut out) = (finder.parts(Place { path, bare: false }), String::new());
            parts.push(&"x".repeat(3 << 20), &mut out);
            let at_once = out.len();
            parts.finish(&mut out);
            (at_once, out)
        };
        assert_eq!(told("choices[].delta.content").0, 3 << 20);
        assert_eq!(told("customer.ssn"), (0, "[masked]".to_owned()), "what has a label is masked as a whole");
    }
}
