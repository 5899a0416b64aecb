//! How much is at stake: 0 to 100, the sum of named contributions.
//!
//! A statement is given the points of the gravest thing that it does, of each of its hazards, and of the circumstances. The same
//! statement under the same circumstances always has the same risk, and the record says what it is made of.

use claviger_model::{Hazard, Meaning, Object, Verb};

use crate::{Moment, Party};

/// The most that a risk can be.
const MOST: u8 = 100;
/// The label of connections that are in earnest.
const PRODUCTION: &str = "environment.production";

/// How much is at stake, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Risk {
    /// 0 to 100.
    pub score: u8,
    /// What it is the sum of, which may be more than 100: names, such as `verb.drop`, `hazard.bulk_write` or `night`, with points.
    pub contributions: Vec<(String, u8)>,
}

impl Risk {
    /// What is at stake with this statement.
    pub(crate) fn of(meaning: &Meaning, party: &Party, moment: &Moment<'_>) -> Self {
        let mut risk = Self::default();
        if let Some(verb) = meaning.effects.iter().map(|effect| effect.verb).max_by_key(|verb| (gravity(*verb), *verb)) {
            risk.add(&format!("verb.{}", verb.as_str()), gravity(verb));
        }
        for hazard in &meaning.hazards {
            risk.add(&format!("hazard.{}", hazard.as_str()), danger(*hazard));
        }
        if meaning.effects.iter().any(|effect| is_labelled(&effect.object)) {
            risk.add("labelled_data", 15);
        }
        if party.labels.iter().any(|label| **label == *PRODUCTION) {
            risk.add("production", 10);
        }
        if party.chain.links().len() > 1 {
            risk.add("delegated", 10);
        }
        if is_night(moment.hour()) {
            risk.add("night", 5);
        }
        if is_weekend(moment.day()) {
            risk.add("weekend", 5);
        }
        risk
    }

    fn add(&mut self, name: &str, points: u8) {
        if points > 0 {
            self.score = self.score.saturating_add(points).min(MOST);
            self.contributions.push((name.to_owned(), points));
        }
    }
}

/// From 22 to 6 o'clock in UTC.
pub(crate) fn is_night(hour: u8) -> bool {
    !(6..22).contains(&hour)
}

/// Saturday and Sunday; 0 is Monday.
pub(crate) fn is_weekend(day: u8) -> bool {
    day >= 5
}

fn is_labelled(object: &Object) -> bool {
    match object {
        Object::Table(table) => !table.labels.is_empty() || !table.holds.is_empty(),
        Object::Column(column) => !column.labels.is_empty(),
        _ => false,
    }
}

fn gravity(verb: Verb) -> u8 {
    match verb {
        // To see what is read is what reading is for.
        Verb::Read | Verb::Reveal | Verb::Filter | Verb::Aggregate => 0,
        Verb::Insert | Verb::Execute | Verb::Invoke | Verb::Offer | Verb::Configure | Verb::Notify => 5,
        Verb::Update | Verb::Create | Verb::Lock | Verb::Maintain => 10,
        Verb::Delete | Verb::Export => 15,
        Verb::Alter => 20,
        Verb::Truncate | Verb::Drop => 30,
        Verb::Grant | Verb::Control | Verb::Unknown => 40,
    }
}

fn danger(hazard: Hazard) -> u8 {
    match hazard {
        Hazard::Wait => 5,
        Hazard::Cascade | Hazard::Blocking => 10,
        Hazard::Opaque | Hazard::DynamicSql | Hazard::LargeObject => 20,
        Hazard::BulkWrite | Hazard::MassExport => 25,
        Hazard::FileAccess | Hazard::Network | Hazard::SessionEscape | Hazard::Unknown => 40,
        Hazard::PrivilegeEscape => 50,
        Hazard::Program => 60,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_tells_the_points() {
        let page = include_str!("../../../docs/policy-reference.md");
        let verbs = Verb::ALL.iter().map(|verb| (format!("`verb.{}`", verb.as_str()), gravity(*verb)));
        let hazards = Hazard::ALL.iter().map(|hazard| (format!("`hazard.{}`", hazard.as_str()), danger(*hazard)));
        for (name, points) in verbs.chain(hazards).filter(|(_, points)| *points > 0) {
            let row = page.lines().find(|line| line.contains(&name)).unwrap_or_default();
            assert!(row.ends_with(&format!("| {points} |")), "{name}: {row}");
        }
    }
}
