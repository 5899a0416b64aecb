//! What a column holds, by a sample of its values and by its name.
//!
//! A value *is* what is found in it if that is most of it, and else *has* it, as a memo may have a card number. Of a column whose values are
//! something a label can say so; texts that have something in them are better left to detectors, because a label would take all of them away.

use std::collections::BTreeMap;

use super::{CERTAIN, Context, Detectors, Entity, Found};

/// From this share on, values of a column are taken for what most of them are.
const MOST: f64 = 0.8;
/// Below this share they may be so by chance.
const MANY: f64 = 0.25;
/// Fewer values say little.
const ENOUGH: u64 = 20;

/// How values of a column are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// They are texts.
    Text,
    /// They are JSON: what is found is in them.
    Json,
    /// They are numbers, dates or addresses: each is one thing.
    Plain,
}

/// How sure a proposal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Confidence {
    /// By a name alone, or by few of the values.
    Low,
    /// By many of the values, by few values in all, or by values that are what they are only because the name says so.
    Medium,
    /// By the form or the check digits of most values.
    High,
}

/// What a proposal rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// Values are it.
    Values,
    /// Values have it in them.
    Within,
    /// The name says so, and there is no value to tell.
    Name,
    /// The name says so, and the values do not look so.
    NameAgainstValues,
}

/// What a column seems to hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Proposal {
    /// What it is.
    pub entity: Entity,
    /// How many values are it, or have it in them.
    pub matched: u64,
    /// How sure that is.
    pub confidence: Confidence,
    /// Why.
    pub ground: Ground,
}

/// Looks at the values of one column.
pub struct Survey<'d> {
    detectors: &'d Detectors,
    context: Context,
    reading: Reading,
    named: Option<Entity>,
    points: bool,
    values: u64,
    tallies: BTreeMap<Entity, Tally>,
    found: Vec<Found>,
}

#[derive(Clone, Copy, Default)]
struct Tally {
    /// Values that are one.
    are: u64,
    /// Those that have one in them, or are one.
    have: u64,
    /// The best score.
    score: u8,
}

impl<'d> Survey<'d> {
    /// Of the column of this name. `points` says that its values name rows of a table: then they are nothing that only the name would make
    /// them, as an account's row number is no account number.
    pub fn new(detectors: &'d Detectors, name: &str, reading: Reading, points: bool) -> Self {
        let words = words(name);
        let named = named(&words);
        let context = detectors.column(name, []);
        Self {
            detectors,
            context: if reading == Reading::Json { context.json() } else { context },
            reading,
            named,
            points: points || named.is_none() && words.last().is_some_and(|last| POINTERS.contains(&&**last)),
            values: 0,
            tallies: BTreeMap::new(),
            found: Vec::new(),
        }
    }

    /// How many values there were that were not empty.
    pub fn values(&self) -> u64 {
        self.values
    }

    /// Looks at a value. Empty ones do not count.
    pub fn add(&mut self, value: &[u8]) {
        let all = weight(value);
        if all == 0 {
            return;
        }
        self.values += 1;
        let mut found = std::mem::take(&mut self.found);
        found.clear();
        self.detectors.scan(value, self.context, &mut found);
        let mut covered: BTreeMap<Entity, usize> = BTreeMap::new();
        for one in found.iter().filter(|one| !self.points || one.score >= CERTAIN) {
            *covered.entry(one.entity).or_default() += weight(value.get(one.span.clone()).unwrap_or_default());
            let tally = self.tallies.entry(one.entity).or_default();
            tally.score = tally.score.max(one.score);
        }
        for (entity, covered) in covered {
            let tally = self.tallies.entry(entity).or_default();
            tally.have += 1;
            tally.are += u64::from(self.reading != Reading::Json && 2 * covered >= all);
        }
        self.found = found;
    }

    /// What the column seems to hold, the surest first.
    pub fn proposals(&self) -> Vec<Proposal> {
        let mut proposals: Vec<Proposal> =
            self.tallies.iter().filter_map(|(entity, tally)| self.by_values(*entity, *tally)).collect();
        if let Some(entity) = self.named
            && !proposals.iter().any(|proposal| proposal.ground == Ground::Values && proposal.confidence > Confidence::Low)
        {
            proposals.retain(|proposal| proposal.entity != entity);
            let ground = if self.values == 0 { Ground::Name } else { Ground::NameAgainstValues };
            proposals.push(Proposal { entity, matched: self.matched(entity), confidence: Confidence::Low, ground });
        }
        proposals.sort_by_key(|proposal| std::cmp::Reverse((proposal.confidence, proposal.matched)));
        proposals
    }

    fn matched(&self, entity: Entity) -> u64 {
        self.tallies.get(&entity).map_or(0, |tally| tally.have)
    }

    fn by_values(&self, entity: Entity, tally: Tally) -> Option<Proposal> {
        let share = self.share(tally.are);
        let certain = tally.score >= CERTAIN;
        let (confidence, ground) = match self.reading {
            _ if share >= MOST && self.values >= ENOUGH && certain => (Confidence::High, Ground::Values),
            _ if share >= MANY => (Confidence::Medium, Ground::Values),
            // A number among many others that happens to have the right check digit.
            Reading::Plain => return None,
            Reading::Text | Reading::Json => (Confidence::Low, Ground::Within),
        };
        let matched = if ground == Ground::Values { tally.are } else { tally.have };
        (matched > 0).then_some(Proposal { entity, matched, confidence, ground })
    }

    #[allow(clippy::cast_precision_loss)]
    fn share(&self, count: u64) -> f64 {
        count as f64 / self.values.max(1) as f64
    }
}

/// What the last word of the name of a column is that says which row of a table is meant, or how much, when or what kind of something.
const POINTERS: &[&str] = &[
    "age", "amount", "at", "balance", "cents", "closed", "code", "count", "country", "currency", "date", "expires", "expiry",
    "fee", "fk", "guid", "hash", "holder", "id", "ids", "key", "kind", "limit", "manager", "name", "on", "opened", "pk",
    "points", "rate", "ref", "seq", "since", "state", "status", "sum", "time", "total", "type", "until", "uuid", "version",
    "year",
];

/// Names of columns, or ends of them, that say what is in there: words without what separates them.
const NAMES: &[(&str, Entity)] = &[
    ("ssn", Entity::Ssn),
    ("socialsecurity", Entity::Ssn),
    ("socialsecuritynumber", Entity::Ssn),
    ("socialsecurityno", Entity::Ssn),
    ("socsec", Entity::Ssn),
    ("itin", Entity::Itin),
    ("ein", Entity::Ein),
    ("fein", Entity::Ein),
    ("creditcard", Entity::CreditCard),
    ("creditcardnumber", Entity::CreditCard),
    ("cardnumber", Entity::CreditCard),
    ("cardno", Entity::CreditCard),
    ("ccnumber", Entity::CreditCard),
    ("iban", Entity::Iban),
    ("accountnumber", Entity::BankAccount),
    ("accountno", Entity::BankAccount),
    ("acctnumber", Entity::BankAccount),
    ("acctno", Entity::BankAccount),
    ("bankaccount", Entity::BankAccount),
    ("routingnumber", Entity::AbaRouting),
    ("routingno", Entity::AbaRouting),
    ("passport", Entity::Passport),
    ("passportnumber", Entity::Passport),
    ("passportno", Entity::Passport),
    ("driverlicense", Entity::DriverLicense),
    ("driverslicense", Entity::DriverLicense),
    ("driverlicensenumber", Entity::DriverLicense),
    ("driverslicensenumber", Entity::DriverLicense),
    ("drivinglicence", Entity::DriverLicense),
    ("npi", Entity::Npi),
    ("npinumber", Entity::Npi),
    ("deanumber", Entity::Dea),
    ("mbi", Entity::Mbi),
    ("medicareid", Entity::Mbi),
    ("medicarenumber", Entity::Mbi),
    ("nhsnumber", Entity::Nhs),
    ("nhsno", Entity::Nhs),
    ("email", Entity::Email),
    ("emailaddress", Entity::Email),
    ("phone", Entity::Phone),
    ("phonenumber", Entity::Phone),
    ("phoneno", Entity::Phone),
    ("mobile", Entity::Phone),
    ("mobilenumber", Entity::Phone),
    ("telephone", Entity::Phone),
    ("homephone", Entity::Phone),
    ("cellphone", Entity::Phone),
    ("mobilephone", Entity::Phone),
    ("ipaddress", Entity::IpAddress),
    ("ipaddr", Entity::IpAddress),
    ("macaddress", Entity::MacAddress),
    ("macaddr", Entity::MacAddress),
    ("dob", Entity::DateOfBirth),
    ("dateofbirth", Entity::DateOfBirth),
    ("birthdate", Entity::DateOfBirth),
    ("birthday", Entity::DateOfBirth),
];

/// What the last words of a name say.
fn named(words: &[String]) -> Option<Entity> {
    (0..words.len()).find_map(|from| {
        let name = words.get(from..)?.concat();
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, entity)| *entity)
    })
}

/// The words of a name, in lower case: `home_phone2` and `homePhone` have two.
fn words(name: &str) -> Vec<String> {
    let (mut words, mut word, mut lower_before) = (Vec::new(), String::new(), false);
    for c in name.chars().take(128).chain(['_']) {
        if !c.is_ascii_alphabetic() || c.is_ascii_uppercase() && lower_before {
            words.extend(Some(std::mem::take(&mut word)).filter(|word| !word.is_empty()));
        }
        lower_before = c.is_ascii_lowercase();
        if c.is_ascii_alphabetic() {
            word.push(c.to_ascii_lowercase());
        }
    }
    words
}

/// Bytes of a text that are not there to separate others.
fn weight(text: &[u8]) -> usize {
    text.iter().filter(|byte| byte.is_ascii_alphanumeric() || !byte.is_ascii()).count()
}

#[cfg(test)]
mod tests {
    use super::super::{DetectorConfig, EntitySet};
    use super::*;

    fn survey(name: &str, reading: Reading, points: bool, values: &[&str]) -> Vec<(Entity, u64, Confidence, Ground)> {
        let detectors = Detectors::new(&DetectorConfig { on: EntitySet::ALL, ..DetectorConfig::default() });
        let detectors = detectors.unwrap_or_default();
        let mut survey = Survey::new(&detectors, name, reading, points);
        values.iter().for_each(|value| survey.add(value.as_bytes()));
        survey.proposals().iter().map(|one| (one.entity, one.matched, one.confidence, one.ground)).collect()
    }

    const SSN: &str = "536-90-4399";

    #[test]
    fn values_say_what_a_column_holds() {
        let found =
            |share: usize| survey("x", Reading::Text, false, &[&vec![SSN; share][..], &vec!["none"; 100 - share]].concat());
        assert_eq!(found(90), [(Entity::Ssn, 90, Confidence::High, Ground::Values)]);
        assert_eq!(found(40), [(Entity::Ssn, 40, Confidence::Medium, Ground::Values)]);
        assert_eq!(found(3), [(Entity::Ssn, 3, Confidence::Low, Ground::Within)]);
        assert_eq!(found(0), []);
        let few = survey("x", Reading::Text, false, &[SSN, "", "  ", SSN]);
        assert_eq!(few, [(Entity::Ssn, 2, Confidence::Medium, Ground::Values)]);
    }

    #[test]
    fn texts_and_documents_have_values_in_them() {
        let memo = "the customer called about 536-90-4399 and wants to know when it is ready";
        assert_eq!(survey("memo", Reading::Text, false, &[memo; 30]), [(Entity::Ssn, 30, Confidence::Low, Ground::Within)]);
        let document = r#"{"ssn": "536-90-4399"}"#;
        assert_eq!(survey("d", Reading::Json, false, &[document; 30]), [(Entity::Ssn, 30, Confidence::Low, Ground::Within)]);
    }

    #[test]
    fn what_only_the_name_says_is_less_sure() {
        let numbers = vec!["4001000003"; 30];
        let account = |name, points| survey(name, Reading::Plain, points, &numbers);
        assert_eq!(account("account_number", false), [(Entity::BankAccount, 30, Confidence::Medium, Ground::Values)]);
        assert_eq!(account("account_id", false), []);
        assert_eq!(account("account", true), []);
        assert_eq!(account("balance", false), []);
        assert_eq!(account("account_balance_cents", false), []);
        assert_eq!(survey("ssn", Reading::Text, false, &[]), [(Entity::Ssn, 0, Confidence::Low, Ground::Name)]);
        let other = survey("home_email2", Reading::Text, false, &["c0ffee"; 30]);
        assert_eq!(other, [(Entity::Email, 0, Confidence::Low, Ground::NameAgainstValues)]);
        let born = survey("dateOfBirth", Reading::Plain, false, &["1987-03-17"; 30]);
        assert_eq!(born.first().map(|one| (one.0, one.3)), Some((Entity::DateOfBirth, Ground::Values)));
        let born = survey("birth_date", Reading::Plain, false, &["1987-03-17"; 30]);
        assert_eq!(born, [(Entity::DateOfBirth, 30, Confidence::Medium, Ground::Values)]);
        for name in ["microphone", "protein", "phone_verified", "card_type", "name", "accounts"] {
            assert_eq!(survey(name, Reading::Text, false, &[]), [], "{name}");
        }
    }
}
