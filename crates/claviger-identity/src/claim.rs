//! Where in a token something is said: a claim, or a member deep inside one.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::denied::Reason;
use crate::token::is_plain;

/// The most names in a path.
const MAX_NAMES: usize = 8;

/// The place of a claim: its name, or names parted by dots that lead into objects, such as `realm_access.roles`.
///
/// Names may hold dots themselves (`kubernetes.io.namespace` is `namespace` in `kubernetes.io`, `https://example.com/groups`
/// one name). A token in which a path can be read in two ways is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimPath(Arc<str>);

/// A text that cannot be the place of a claim.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a claim: it needs a name, or at most {MAX_NAMES} names parted by dots")]
pub struct InvalidPath(String);

impl ClaimPath {
    /// What stands there.
    pub(crate) fn find<'a>(&self, claims: &'a Map<String, Value>) -> Result<Option<&'a Value>, Reason> {
        let mut found = Vec::new();
        walk(claims, &self.0, &mut found);
        match found.as_slice() {
            [] => Ok(None),
            [only] => Ok(Some(only)),
            _ => Err(Reason::Malformed),
        }
    }

    /// Whether the path leads to this claim or into it.
    pub(crate) fn begins_with(&self, claim: &str) -> bool {
        self.0.strip_prefix(claim).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

fn walk<'a>(object: &'a Map<String, Value>, path: &str, found: &mut Vec<&'a Value>) {
    found.extend(object.get(path));
    for (at, _) in path.match_indices('.') {
        let (name, rest) = path.split_at(at);
        if let (Some(Value::Object(inner)), Some(rest)) = (object.get(name), rest.strip_prefix('.')) {
            walk(inner, rest, found);
        }
    }
}

impl FromStr for ClaimPath {
    type Err = InvalidPath;

    fn from_str(text: &str) -> Result<Self, InvalidPath> {
        let names = text.split('.').count() <= MAX_NAMES && !text.starts_with('.') && !text.ends_with('.');
        if is_plain(text) && names { Ok(Self(text.into())) } else { Err(InvalidPath(text.chars().take(80).collect())) }
    }
}

impl fmt::Display for ClaimPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a claim must say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// The claim.
    pub claim: ClaimPath,
    /// The texts of which it must say one; one that ends in `*` stands for all that begin so.
    pub allowed: Vec<String>,
}

impl Requirement {
    /// Whether the claims say so. A number or a truth value counts by its text, of a list one item is enough.
    pub(crate) fn is_met(&self, claims: &Map<String, Value>) -> Result<bool, Reason> {
        Ok(match self.claim.find(claims)? {
            Some(Value::Array(list)) => list.iter().any(|item| self.allows(item)),
            Some(value) => self.allows(value),
            None => false,
        })
    }

    fn allows(&self, value: &Value) -> bool {
        let said = match value {
            Value::String(text) => text.clone(),
            Value::Bool(_) | Value::Number(_) => value.to_string(),
            _ => return false,
        };
        self.allowed.iter().any(|allowed| match allowed.strip_suffix('*') {
            Some(beginning) => said.starts_with(beginning),
            None => said == *allowed,
        })
    }
}

/// How a subject is made from claims: text with claims in braces, such as `{sub}` or `repository:{repository_id}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectTemplate(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Claim(ClaimPath),
}

/// A text that is not a subject template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a subject template: it needs at least one claim in braces, such as `{{sub}}`")]
pub struct InvalidTemplate(String);

impl SubjectTemplate {
    /// The claims that it takes.
    pub(crate) fn claims(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Text(_) => None,
            Part::Claim(claim) => Some(&*claim.0),
        })
    }

    /// The subject that these claims make; every claim must be text or a whole number.
    pub(crate) fn fill(&self, claims: &Map<String, Value>) -> Result<String, Reason> {
        let mut subject = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => subject.push_str(text),
                Part::Claim(claim) => match claim.find(claims)? {
                    Some(Value::String(text)) if !text.is_empty() => subject.push_str(text),
                    Some(Value::Number(number)) if number.is_i64() || number.is_u64() => subject.push_str(&number.to_string()),
                    _ => return Err(Reason::ClaimMissing),
                },
            }
        }
        Ok(subject)
    }
}

impl Default for SubjectTemplate {
    fn default() -> Self {
        Self(vec![Part::Claim(ClaimPath("sub".into()))])
    }
}

impl FromStr for SubjectTemplate {
    type Err = InvalidTemplate;

    fn from_str(text: &str) -> Result<Self, InvalidTemplate> {
        let invalid = || InvalidTemplate(text.chars().take(80).collect());
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (claim, after) = after.split_once('}').ok_or_else(invalid)?;
            if claim.contains('{') || before.contains('}') {
                return Err(invalid());
            }
            if !before.is_empty() {
                parts.push(Part::Text(before.into()));
            }
            parts.push(Part::Claim(claim.parse().map_err(|_| invalid())?));
            rest = after;
        }
        if parts.is_empty() || rest.contains('}') {
            return Err(invalid());
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.into()));
        }
        Ok(Self(parts))
    }
}

impl fmt::Display for SubjectTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(text),
            Part::Claim(claim) => write!(f, "{{{claim}}}"),
        })
    }
}
