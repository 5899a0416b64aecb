//! Groups that an issuer tells at its userinfo endpoint, because its tokens do not.

use std::collections::HashMap;
use std::sync::Arc;

use claviger_model::{Secret, Timestamp};
use ring::digest;

use crate::TrustedIssuer;
use crate::denied::Reason;
use crate::token::{GroupsSaid, Unverified, groups, parse_object};

/// For how many seconds an answer counts.
const FRESH_SECS: i64 = 300;
/// For how many seconds nobody asks again after there was no answer.
const NEGATIVE_SECS: i64 = 10;
/// The most answers kept.
const MAX_ANSWERS: usize = 8192;
/// The longest answer that is read.
const MAX_BYTES: usize = 256 * 1024;

/// An answer of a userinfo endpoint that tells no groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUserinfo {
    /// It is not a JSON object, or is longer than any honest one.
    #[error("the userinfo answer is not a JSON object of at most {MAX_BYTES} bytes")]
    Malformed,
    /// It is about somebody else (OpenID Connect Core section 5.3.2).
    #[error("the userinfo answer is not about the token's subject")]
    OtherSubject,
    /// It leaves groups out too, or what it lists are no groups.
    #[error("the userinfo answer does not list the groups in full")]
    Groups,
}

/// Reads the groups of a token's subject from an answer.
pub(crate) fn read(json: &[u8], token: &Secret, trusted: &TrustedIssuer) -> Result<Arc<[Arc<str>]>, InvalidUserinfo> {
    if json.len() > MAX_BYTES {
        return Err(InvalidUserinfo::Malformed);
    }
    let answer = parse_object(json).map_err(|_| InvalidUserinfo::Malformed)?;
    let asked = Unverified::parse(token).ok();
    let asked = asked.as_ref().and_then(|token| token.subject().ok().flatten());
    if asked.is_none() || answer.get("sub").and_then(|sub| sub.as_str()) != asked {
        return Err(InvalidUserinfo::OtherSubject);
    }
    match groups(&answer, &trusted.groups) {
        // Providers leave a claim out for who is in no group.
        Ok(GroupsSaid { listed, left_out: false, .. }) => Ok(listed.into()),
        Ok(_) | Err(_) => Err(InvalidUserinfo::Groups),
    }
}

/// Answers, by token.
#[derive(Default)]
pub(crate) struct Answers(HashMap<TokenDigest, Answer>);

type TokenDigest = [u8; 32];

struct Answer {
    /// `None` if there was no answer, or none that could be believed.
    groups: Option<Arc<[Arc<str>]>>,
    until: Timestamp,
}

impl Answers {
    /// The groups of a token's subject; `None` if they are to be asked for.
    pub(crate) fn get(&self, token: &Secret, now: Timestamp) -> Option<Result<Arc<[Arc<str>]>, Reason>> {
        let answer = self.0.get(&token_digest(token)).filter(|answer| now < answer.until)?;
        Some(answer.groups.clone().ok_or(Reason::GroupsUnavailable))
    }

    /// Keeps an answer, or that there was none.
    pub(crate) fn put(&mut self, token: &Secret, groups: Option<Arc<[Arc<str>]>>, now: Timestamp) {
        if self.0.len() >= MAX_ANSWERS {
            self.0.retain(|_, answer| now < answer.until);
        }
        if self.0.len() >= MAX_ANSWERS {
            let oldest = self.0.iter().min_by_key(|(_, answer)| answer.until).map(|(token, _)| *token);
            oldest.map(|oldest| self.0.remove(&oldest));
        }
        let until = now.plus_secs(if groups.is_some() { FRESH_SECS } else { NEGATIVE_SECS });
        self.0.insert(token_digest(token), Answer { groups, until });
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

fn token_digest(token: &Secret) -> TokenDigest {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest::digest(&digest::SHA256, token.expose()).as_ref());
    bytes
}
