//! Members of JSON that are classified, by where they stand.

use std::str::FromStr;
use std::sync::Arc;

use claviger_model::Labels;

/// The longest pattern, in bytes, and the most names in one.
const LONGEST: usize = 512;
const MOST: usize = 32;

/// Which members: names with dots between them, from the document's own down; `*` is any one name, `**` any number of them. Elements of
/// lists have the name of their list: `customers.ssn`, `**.ssn`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FieldPattern(Arc<[Step]>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Name(Box<str>),
    Any,
    Many,
}

/// A text that names no member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a member is named by the names that lead to it, with dots between them; `*` is any name, `**` any number of names")]
pub struct InvalidField;

/// The labels of members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(Vec<(FieldPattern, Labels)>);

impl Fields {
    /// Whether nothing is classified.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The labels of what stands at this path, as dialects write it: `customers[].ssn`.
    pub(super) fn labels(&self, path: &str) -> Option<&Labels> {
        if self.0.is_empty() {
            return None;
        }
        let names: Vec<&str> = path.split('.').map(|name| name.trim_end_matches("[]")).filter(|name| !name.is_empty()).collect();
        // What is inside of a member belongs to it.
        let mut within = (1..=names.len()).filter_map(|length| names.get(..length));
        let fits = |names: &[&str]| self.0.iter().find(|(pattern, _)| fits(&pattern.0, names));
        within.find_map(fits).map(|(_, labels)| labels)
    }
}

impl FromIterator<(FieldPattern, Labels)> for Fields {
    fn from_iter<T: IntoIterator<Item = (FieldPattern, Labels)>>(fields: T) -> Self {
        Self(fields.into_iter().collect())
    }
}

impl FromStr for FieldPattern {
    type Err = InvalidField;

    fn from_str(text: &str) -> Result<Self, InvalidField> {
        let step = |name: &str| match name.trim_end_matches("[]") {
            "" => Err(InvalidField),
            "*" => Ok(Step::Any),
            "**" => Ok(Step::Many),
            name => Ok(Step::Name(name.into())),
        };
        let steps: Vec<Step> = text.split('.').map(step).collect::<Result<_, _>>()?;
        // What begins anywhere more than once would take long to look for.
        let many = steps.iter().filter(|step| **step == Step::Many).count();
        let fits = text.len() <= LONGEST && steps.len() <= MOST && many <= 1 && steps.last() != Some(&Step::Many);
        fits.then(|| Self(steps.into())).ok_or(InvalidField)
    }
}

fn fits(steps: &[Step], names: &[&str]) -> bool {
    match (steps.split_first(), names.split_first()) {
        (None, None) => true,
        (Some((Step::Many, rest)), _) => (0..=names.len()).any(|skip| fits(rest, names.get(skip..).unwrap_or_default())),
        (Some((Step::Any, steps)), Some((_, names))) => fits(steps, names),
        (Some((Step::Name(step), steps)), Some((name, names))) => **step == **name && fits(steps, names),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn members_are_named_by_what_leads_to_them() {
        for (pattern, path, expected) in [
            ("ssn", "ssn", true),
            ("ssn", "customer.ssn", false),
            ("customer.ssn", "customer.ssn", true),
            ("customers.ssn", "customers[].ssn", true),
            ("customers[].ssn", "customers[].ssn", true),
            ("*.ssn", "customer.ssn", true),
            ("*.ssn", "a.b.ssn", false),
            ("**.ssn", "ssn", true),
            ("**.ssn", "a[].b[][].ssn", true),
            ("**.ssn", "a.ssn.last", true),
            ("a.address", "a.address.lines[].street", true),
            ("a.address", "a.addresses.street", false),
            ("a.**.ssn", "a.b.c.ssn", true),
            ("a.**.ssn", "b.c.ssn", false),
        ] {
            let fields = Fields::from_iter([(pattern.parse().unwrap(), Labels::from(["pii".into()]))]);
            assert_eq!(fields.labels(path).is_some(), expected, "{pattern} {path}");
        }
        for text in ["", ".", "a..b", "a.**", "**.a.**.b", "a."] {
            assert!(text.parse::<FieldPattern>().is_err(), "{text}");
        }
    }
}
