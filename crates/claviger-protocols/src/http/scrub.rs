//! The upstream's credential in what the upstream says: it is not for the client, whatever asked it to quote it.
//!
//! Stars take its place, as many, so that lengths stay as they were declared. What could be the beginning of it waits for what follows.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use claviger_model::Secret;

/// What is shorter occurs by chance.
const SHORTEST: usize = 8;

/// The forms in which the credential is looked for.
#[derive(Clone, Default)]
pub(super) struct Needles(Arc<[Secret]>);

/// Looks through one response.
pub(super) struct Scrub {
    needles: Needles,
    /// The end of what has come, that may be the beginning of a needle.
    held: Bytes,
}

impl Needles {
    pub(super) fn new(forms: impl IntoIterator<Item = Secret>) -> Self {
        Self(forms.into_iter().filter(|form| form.expose().len() >= SHORTEST).collect())
    }

    /// These bytes with stars in the place of all needles.
    pub(super) fn scrub(&self, bytes: Bytes) -> Bytes {
        let mut scrubbed: Option<BytesMut> = None;
        for needle in self.0.iter().map(Secret::expose) {
            let mut from = 0;
            while let Some(at) = find(scrubbed.as_deref().unwrap_or(&bytes), needle, from) {
                let all = scrubbed.get_or_insert_with(|| BytesMut::from(&*bytes));
                all.iter_mut().skip(at).take(needle.len()).for_each(|byte| *byte = b'*');
                from = at + needle.len();
            }
        }
        scrubbed.map_or(bytes, BytesMut::freeze)
    }

    /// How many bytes at the end may be the beginning of a needle.
    fn begun(&self, bytes: &[u8]) -> usize {
        let longest = |needle: &[u8]| {
            let most = (needle.len() - 1).min(bytes.len());
            (1..=most).rev().find(|length| bytes.ends_with(needle.get(..*length).unwrap_or_default())).unwrap_or(0)
        };
        self.0.iter().map(|needle| longest(needle.expose())).max().unwrap_or(0)
    }
}

impl Scrub {
    pub(super) fn new(needles: Needles) -> Self {
        Self { needles, held: Bytes::new() }
    }

    /// What may pass after this piece; empty if nothing may yet.
    pub(super) fn take(&mut self, piece: Bytes) -> Bytes {
        if self.needles.0.is_empty() {
            return piece;
        }
        let all = match self.held.is_empty() {
            true => piece,
            false => [&*std::mem::take(&mut self.held), &*piece].concat().into(),
        };
        let mut all = self.needles.scrub(all);
        self.held = all.split_off(all.len() - self.needles.begun(&all));
        all
    }

    /// What was waiting for more, of which there is none.
    pub(super) fn rest(&mut self) -> Bytes {
        std::mem::take(&mut self.held)
    }
}

fn find(bytes: &[u8], needle: &[u8], from: usize) -> Option<usize> {
    let (first, mut from) = (needle.first()?, from);
    loop {
        let at = from + bytes.get(from..)?.iter().position(|byte| byte == first)?;
        if bytes.get(at..).is_some_and(|rest| rest.starts_with(needle)) {
            return Some(at);
        }
        from = at + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_found_however_it_is_cut() {
        let needles = Needles::new(["sk-sk-secret-key", "short", "c2stc2stc2VjcmV0"].map(|form| Secret::new(form.as_bytes())));
        let text = b"sk-sk-sk-secret-key, c2stc2stc2VjcmV0sk-sk-secret-keysk-sk-secret-ke short s";
        let expected = b"sk-****************, ********************************sk-sk-secret-ke short s";
        assert_eq!(text.len(), expected.len());
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let mut scrub = Scrub::new(needles.clone());
                let (mut said, pieces) = (Vec::new(), [&text[..first], &text[first..second], &text[second..]]);
                for piece in pieces {
                    said.extend_from_slice(&scrub.take(Bytes::copy_from_slice(piece)));
                }
                said.extend_from_slice(&scrub.rest());
                assert_eq!(said, expected, "cut at {first} and {second}");
            }
        }
    }

    #[test]
    fn what_cannot_be_it_does_not_wait() {
        let mut scrub = Scrub::new(Needles::new([Secret::new(*b"sk-secret-key")]));
        assert_eq!(scrub.take(Bytes::from_static(b"data: x\n\n")), "data: x\n\n");
        assert_eq!(scrub.take(Bytes::from_static(b"it is s")), "it is ");
        assert_eq!(scrub.take(Bytes::from_static(b"o")), "so");
    }
}
