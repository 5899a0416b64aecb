//! Searching values for what nobody has labelled.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use claviger_mask::detect::{Context, Counts, DetectorConfig, DetectorError, Detectors, Style};
use claviger_mask::methods::{Type, has_stars};

/// How deep values in values are searched.
const DEPTH: usize = 8;

/// The detectors of a connection.
#[derive(Clone, Debug)]
pub struct Detecting {
    config: DetectorConfig,
    detectors: Arc<Detectors>,
}

impl Detecting {
    /// Those of this configuration.
    pub fn new(config: DetectorConfig) -> Result<Self, DetectorError> {
        Ok(Self { detectors: Arc::new(Detectors::new(&config)?), config })
    }

    /// Whether what one of them puts in a value's place is in a text.
    pub(crate) fn is_ours(&self, text: &[u8]) -> bool {
        // Stars, perhaps with the last four characters.
        if self.config.styles.iter().any(|(_, style)| *style != Style::Placeholder) && has_stars(text) {
            return true;
        }
        let mut rest = text;
        while let Some(at) = rest.iter().position(|byte| *byte == b'[') {
            rest = rest.get(at + 1..).unwrap_or_default();
            let name = rest.split(|byte| *byte == b']').next().filter(|name| name.len() < rest.len());
            if name.is_some_and(|name| self.detectors.names().any(|known| known.as_bytes() == name)) {
                return true;
            }
        }
        false
    }

    /// What they were made of.
    pub fn config(&self) -> &DetectorConfig {
        &self.config
    }

    /// They themselves.
    pub fn detectors(&self) -> &Detectors {
        &self.detectors
    }

    pub(super) fn shared(&self) -> &Arc<Detectors> {
        &self.detectors
    }

    pub(super) fn search(&self) -> Search {
        Search { detectors: Arc::clone(&self.detectors), counts: Counts::default() }
    }
}

impl PartialEq for Detecting {
    fn eq(&self, other: &Self) -> bool {
        self.config == other.config
    }
}

impl Eq for Detecting {}

/// Where texts are in the values of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// The value is one.
    Text,
    /// The value is one, and stays JSON.
    Json,
    /// The same behind a byte of version.
    Jsonb,
    /// In its elements, each with its length: an array in binary form.
    Elements,
    /// In its fields, each with its type and length: a row in binary form.
    Fields,
}

impl Content {
    /// Of a type by its number, which is 0 if it is not known. `None` if texts cannot be in its values, or not be replaced.
    pub(super) fn of(kind: u32, binary: bool) -> Option<Self> {
        const RECORD: u32 = 2249;
        const XML: u32 = 142;
        Some(match (Type::of(kind, -1), binary) {
            (Type::Text { .. }, _) => Self::Text,
            (Type::Json, _) | (Type::Jsonb, false) => Self::Json,
            (Type::Jsonb, true) => Self::Jsonb,
            (Type::Array { element, .. }, true) => Self::of(element, true).map(|_| Self::Elements)?,
            (Type::Array { element, .. }, false) => Self::of(element, false).map(|_| Self::Text)?,
            (Type::Other, true) if kind == RECORD => Self::Fields,
            (Type::Other, true) if kind != XML => return None,
            (Type::Other, _) => Self::Text,
            _ => return None,
        })
    }
}

/// A search, and what it has found.
pub(super) struct Search {
    pub(super) detectors: Arc<Detectors>,
    pub(super) counts: Counts,
}

impl Search {
    /// What becomes of a value; `None` if it stays as it is.
    pub(super) fn value(&mut self, content: Content, context: Context, value: &[u8]) -> Option<BytesMut> {
        self.inside(content, context, value, DEPTH)
    }

    /// What becomes of a text; `None` if it stays as it is.
    pub(super) fn text(&mut self, context: Context, text: &[u8]) -> Option<Vec<u8>> {
        match self.detectors.mask(text, context, &mut self.counts) {
            Cow::Borrowed(_) => None,
            Cow::Owned(masked) => Some(masked),
        }
    }

    fn inside(&mut self, content: Content, context: Context, value: &[u8], depth: usize) -> Option<BytesMut> {
        let depth = depth.checked_sub(1)?;
        match content {
            Content::Text => self.text(context, value).map(|masked| masked[..].into()),
            Content::Json => self.text(context.json(), value).map(|masked| masked[..].into()),
            Content::Jsonb => {
                let (version, text) = value.split_first()?;
                let masked = self.text(context.json(), text)?;
                Some([&[*version], &masked[..]].concat()[..].into())
            }
            Content::Elements => self.elements(context, value, depth),
            Content::Fields => self.fields(context, value, depth),
        }
    }

    /// The form of `array_send`: dimensions, whether there are NULLs, the elements' type, two words for each dimension, elements.
    fn elements(&mut self, context: Context, value: &[u8], depth: usize) -> Option<BytesMut> {
        let dimensions = usize::try_from(word(value, 0)?).ok().filter(|dimensions| *dimensions <= 6)?;
        let content = Content::of(word(value, 8)?, true)?;
        let (head, mut rest) = value.split_at_checked(12 + 8 * dimensions)?;
        let (mut out, mut changed) = (BytesMut::from(head), false);
        while !rest.is_empty() {
            rest = self.one(content, context, rest, depth, &mut out, &mut changed)?;
        }
        changed.then_some(out)
    }

    /// The form of `record_send`: how many fields, and of each the type, and the value.
    fn fields(&mut self, context: Context, value: &[u8], depth: usize) -> Option<BytesMut> {
        let (head, mut rest) = value.split_at_checked(4)?;
        let (mut out, mut changed) = (BytesMut::from(head), false);
        while !rest.is_empty() {
            let kind = word(rest, 0)?;
            out.put_u32(kind);
            let field = rest.get(4..)?;
            rest = match Content::of(kind, true) {
                Some(content) => self.one(content, context, field, depth, &mut out, &mut changed)?,
                None => {
                    let (_, after) = split(field)?;
                    out.put_slice(field.get(..field.len() - after.len())?);
                    after
                }
            };
        }
        changed.then_some(out)
    }

    /// Appends a value that has its length before it, searched; gives what follows it.
    fn one<'a>(
        &mut self,
        content: Content,
        context: Context,
        rest: &'a [u8],
        depth: usize,
        out: &mut BytesMut,
        changed: &mut bool,
    ) -> Option<&'a [u8]> {
        let (value, after) = split(rest)?;
        match value.and_then(|value| self.inside(content, context, value, depth)) {
            Some(masked) => {
                out.put_u32(u32::try_from(masked.len()).ok()?);
                out.put_slice(&masked);
                *changed = true;
            }
            None => out.put_slice(rest.get(..rest.len() - after.len())?),
        }
        Some(after)
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk::<4>().map(|word| u32::from_be_bytes(*word))
}

/// A value with its length before it, -1 being NULL, and what follows it.
fn split(rest: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let (len, rest) = rest.split_first_chunk::<4>()?;
    match i32::from_be_bytes(*len) {
        -1 => Some((None, rest)),
        len => rest.split_at_checked(usize::try_from(len).ok()?).map(|(value, rest)| (Some(value), rest)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use claviger_mask::detect::Entity;
    use proptest::prelude::*;

    use super::*;

    const CARD: &str = "4111 1111 1111 1111";

    fn search() -> Search {
        Detecting::new(DetectorConfig::default()).unwrap().search()
    }

    fn values(values: &[Option<&str>]) -> Vec<u8> {
        let mut out = Vec::new();
        for value in values {
            out.extend(value.map_or(-1, |value| i32::try_from(value.len()).unwrap()).to_be_bytes());
            out.extend(value.unwrap_or_default().as_bytes());
        }
        out
    }

    #[test]
    fn values_are_searched_where_their_types_have_texts() {
        for (kind, binary, expected) in [
            (25, true, Some(Content::Text)),
            (23, false, None),
            (1700, false, None),
            (2950, true, None),
            (3802, true, Some(Content::Jsonb)),
            (3802, false, Some(Content::Json)),
            (1009, true, Some(Content::Elements)),
            (1009, false, Some(Content::Text)),
            (1007, false, None),
            (2249, true, Some(Content::Fields)),
            (2249, false, Some(Content::Text)),
            (0, false, Some(Content::Text)),
            (16_400, true, None),
        ] {
            assert_eq!(Content::of(kind, binary), expected, "{kind} {binary}");
        }
    }

    #[test]
    fn texts_inside_of_values_are_replaced() {
        let mut search = search();
        let mut of = |content, value: &[u8]| search.value(content, Context::default(), value).map(|masked| masked.to_vec());
        assert_eq!(of(Content::Text, CARD.as_bytes()).unwrap(), b"[credit_card]");
        assert_eq!(of(Content::Jsonb, b"\x01{\"a\": 4111111111111111}").unwrap(), b"\x01{\"a\": \"[credit_card]\"}");
        let head = [[0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 25], [0, 0, 0, 3], [0, 0, 0, 1]].concat();
        let array = |elements| [&head[..], &values(elements)].concat();
        assert_eq!(
            of(Content::Elements, &array(&[Some("x"), None, Some(CARD)])).unwrap(),
            array(&[Some("x"), None, Some("[credit_card]")])
        );
        assert_eq!(of(Content::Elements, &array(&[Some("x"), None, Some("y")])), None);
        let row =
            |text| [&[0, 0, 0, 2, 0, 0, 0, 23][..], &values(&[Some("1234")]), &[0, 0, 0, 25], &values(&[Some(text)])].concat();
        assert_eq!(of(Content::Fields, &row(CARD)).unwrap(), row("[credit_card]"));
        let found: Vec<_> = search.counts.iter().map(|(entity, count)| (entity.name(), count)).collect();
        assert_eq!(found, [("credit_card", 4)]);
    }

    #[test]
    fn what_detectors_put_in_place_is_known_again() {
        let detecting = Detecting::new(DetectorConfig::default()).unwrap();
        assert!(detecting.is_ours(b"insert into t values ('call [ssn] [credit_card]')"));
        for text in ["", "[", "[ssn", "a[1]", "[note]", "array[ssn, 1]"] {
            assert!(!detecting.is_ours(text.as_bytes()), "{text}");
        }
        let styles = vec![(Entity::Ssn, Style::LastFour)];
        let stars = Detecting::new(DetectorConfig { styles, ..DetectorConfig::default() }).unwrap();
        let masked = stars.search().text(Context::default(), b"536-90-4399").unwrap();
        assert!(stars.is_ours(&masked) && !detecting.is_ours(&masked), "stars are ours where stars are put");
    }

    proptest! {
        #[test]
        fn any_value_is_survived(value in proptest::collection::vec(any::<u8>(), 0..60)) {
            for content in [Content::Text, Content::Json, Content::Jsonb, Content::Elements, Content::Fields] {
                search().value(content, Context::default(), &value);
            }
        }
    }
}
