//! What the words around a value, and the name and labels of its column, say about it.
//!
//! Nine digits are a passport, a routing number or an order. Words tell: those shortly before a value, or else those right after
//! it, or the name of its column. The phrase nearest to the value counts, so that in *passport on file, order 123456789* the number
//! is an order. What a column is called only ever adds: whoever writes a query can name its columns.

use std::ops::{BitOr, BitOrAssign};

use super::text::Text;
use crate::swap;

/// How far before a value words count, in bytes.
const REACH_BEFORE: usize = 80;

/// And after it.
pub(super) const REACH_AFTER: usize = 32;

/// Words of one phrase are not further apart than this, in bytes.
const PHRASE: usize = 14;

/// Longer words say nothing.
pub(super) const LONGEST_WORD: usize = 24;

/// What values may be about: a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Topics(u32);

impl Topics {
    pub(super) const NONE: Self = Self(0);
    pub(super) const SSN: Self = Self(1);
    pub(super) const TAX: Self = Self(1 << 1);
    pub(super) const CARD: Self = Self(1 << 2);
    pub(super) const ACCOUNT: Self = Self(1 << 3);
    pub(super) const ROUTING: Self = Self(1 << 4);
    pub(super) const PASSPORT: Self = Self(1 << 5);
    pub(super) const LICENSE: Self = Self(1 << 6);
    pub(super) const PROVIDER: Self = Self(1 << 7);
    pub(super) const PRESCRIBER: Self = Self(1 << 8);
    pub(super) const MEDICARE: Self = Self(1 << 9);
    pub(super) const NHS: Self = Self(1 << 10);
    pub(super) const PHONE: Self = Self(1 << 11);
    pub(super) const BIRTH: Self = Self(1 << 12);
    pub(super) const SECRET: Self = Self(1 << 13);
    pub(super) const HARDWARE: Self = Self(1 << 14);
    /// Something that is no concern of ours, such as an order.
    pub(super) const OTHER: Self = Self(1 << 15);
    /// Reaching somebody, perhaps by telephone.
    pub(super) const REACH: Self = Self(1 << 17);
    /// Of those who drive: licences are of many kinds.
    pub(super) const DRIVER: Self = Self(1 << 18);
    /// A version of something.
    pub(super) const VERSION: Self = Self(1 << 16);

    pub(super) fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    fn is_none(self) -> bool {
        self.0 == 0
    }

    const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What a column is about, by its name (`ssn`, `acct_no`, `dateOfBirth`).
    pub(super) fn of_name(name: &str) -> Self {
        let mut topics = Self::NONE;
        let mut word = String::new();
        let mut squeezed = String::new();
        let mut lower_before = false;
        for c in name.chars().take(128).chain(['_']) {
            if !c.is_ascii_alphabetic() || (c.is_ascii_uppercase() && lower_before) {
                topics |= of_word(word.as_bytes());
                word.clear();
            }
            lower_before = c.is_ascii_lowercase();
            if c.is_ascii_alphanumeric() {
                squeezed.push(c.to_ascii_lowercase());
            }
            if c.is_ascii_alphabetic() {
                word.push(c.to_ascii_lowercase());
            }
        }
        for (part, topic) in PARTS {
            if squeezed.contains(part) {
                topics |= *topic;
            }
        }
        Self(topics.0 & !(Self::OTHER | Self::VERSION | Self::REACH).0)
    }
}

impl BitOr for Topics {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.or(other)
    }
}

impl BitOrAssign for Topics {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// What is in names of columns that are one word: `creditcard`, `acctno`.
const PARTS: &[(&str, Topics)] = &[
    ("socialsec", Topics::SSN),
    ("ssn", Topics::SSN),
    ("taxid", Topics::TAX),
    ("taxpayer", Topics::TAX),
    ("creditcard", Topics::CARD),
    ("cardnum", Topics::CARD),
    ("cardno", Topics::CARD),
    ("ccnum", Topics::CARD),
    ("accountn", Topics::ACCOUNT),
    ("acctn", Topics::ACCOUNT),
    ("bankacc", Topics::ACCOUNT),
    ("routing", Topics::ROUTING),
    ("abanum", Topics::ROUTING),
    ("passport", Topics::PASSPORT),
    ("driverlic", Topics::LICENSE),
    ("driverslic", Topics::LICENSE),
    ("licenseno", Topics::LICENSE),
    ("licensenum", Topics::LICENSE),
    ("medicare", Topics::MEDICARE),
    ("nhsn", Topics::NHS),
    ("phone", Topics::PHONE),
    ("mobile", Topics::PHONE),
    ("msisdn", Topics::PHONE),
    ("birthd", Topics::BIRTH),
    ("ofbirth", Topics::BIRTH),
    ("macaddr", Topics::HARDWARE),
    ("secret", Topics::SECRET),
    ("apikey", Topics::SECRET),
];

/// What a word in lower case is about.
pub(super) fn of_word(word: &[u8]) -> Topics {
    const LICENSES: Topics = Topics::LICENSE.or(Topics::PRESCRIBER);
    const DRIVERS: Topics = Topics::LICENSE.or(Topics::DRIVER);
    match word {
        b"ssn" | b"ssns" | b"social" | b"ss" | b"socsec" | b"ssnum" => Topics::SSN,
        b"itin" | b"tin" | b"tax" | b"taxpayer" | b"taxid" | b"ein" | b"fein" | b"irs" => Topics::TAX,
        b"employer" => Topics::TAX,
        b"card" | b"cards" | b"credit" | b"debit" | b"visa" | b"mastercard" | b"amex" | b"cc" | b"ccn" | b"pan"
        | b"creditcard" | b"maestro" | b"unionpay" | b"jcb" | b"diners" | b"cvv" | b"cvc" | b"payment" | b"cardholder" => {
            Topics::CARD
        }
        b"express" | b"discover" => Topics::CARD,
        b"account" | b"accounts" | b"acct" | b"acc" | b"acctno" | b"bank" | b"banking" | b"checking" | b"chequing"
        | b"savings" | b"deposit" | b"bban" | b"iban" => Topics::ACCOUNT,
        b"routing" | b"aba" | b"rtn" | b"transit" | b"fedwire" => Topics::ROUTING,
        b"passport" | b"passports" => Topics::PASSPORT,
        b"travel" => Topics::PASSPORT,
        b"driver" | b"drivers" | b"driving" | b"dl" | b"dls" | b"cdl" | b"cdls" | b"dln" | b"permit" => DRIVERS,
        b"license" | b"licence" | b"licenses" | b"licences" | b"lic" => LICENSES,
        b"npi" | b"npis" | b"provider" | b"taxonomy" => Topics::PROVIDER,
        b"dea" | b"prescriber" | b"physician" | b"practitioner" | b"medical" | b"narcotic" | b"narcotics" | b"pharmacy"
        | b"certificate" | b"doctor" | b"dr" | b"registrant" | b"prescription" => Topics::PRESCRIBER,
        b"medicare" | b"mbi" | b"beneficiary" | b"medicaid" | b"hicn" | b"cms" => Topics::MEDICARE,
        b"nhs" | b"health" => Topics::NHS,
        b"phone" | b"phones" | b"telephone" | b"tel" | b"mobile" | b"cell" | b"cellphone" | b"fax" | b"call" | b"calls"
        | b"called" | b"calling" | b"dial" | b"sms" | b"whatsapp" | b"contact" | b"reach" | b"ring" | b"phoned" | b"hotline"
        | b"helpline" | b"voicemail" | b"landline" | b"msisdn" => Topics::PHONE,
        b"answer" | b"answering" | b"answered" | b"message" | b"messages" | b"text" | b"office" | b"desk" | b"home" | b"work" => {
            Topics::REACH
        }
        b"birth" | b"born" | b"dob" | b"birthday" | b"birthdate" | b"bday" | b"birthdays" => Topics::BIRTH,
        b"secret" | b"apikey" | b"password" | b"credential" | b"credentials" | b"accountkey" => Topics::SECRET,
        b"mac" | b"ethernet" | b"hwaddr" | b"bssid" => Topics::HARDWARE,
        b"section" | b"chapter" | b"version" | b"ver" | b"release" | b"build" | b"firmware" | b"v" | b"rev" | b"revision" => {
            Topics::VERSION
        }
        b"order" | b"orders" | b"invoice" | b"tracking" | b"reference" | b"ref" | b"ticket" | b"sku" | b"zip" | b"batch"
        | b"serial" | b"isbn" | b"confirmation" | b"transaction" | b"txn" | b"product" | b"item" | b"model" | b"balance"
        | b"amount" | b"total" | b"epoch" | b"timestamp" | b"shipment" | b"barcode" | b"po" | b"quote" | b"claim" | b"uuid"
        | b"hash" | b"commit" | b"population" | b"since" | b"until" | b"dated" => Topics::OTHER,
        _ => Topics::NONE,
    }
}

/// The words of a text, read as far as somebody wants to know.
pub(super) struct Words<'a> {
    text: Text<'a>,
    column: Topics,
    pub(super) heard: Heard,
}

/// What has been read of a text.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Heard {
    /// Words before this have been read.
    read: usize,
    /// The last words that say something, newest last, and where they end.
    words: [(usize, Topics); 8],
    count: usize,
    /// What was said last, and of what place: several detectors ask for the same.
    last: (usize, usize, Topics),
}

impl Heard {
    /// The same, of a text without its first bytes. What was heard there must be out of reach.
    pub(super) fn without(self, bytes: usize) -> Self {
        let mut heard = Self { read: self.read.saturating_sub(bytes), ..Self::default() };
        for (end, topics) in self.words.into_iter().take(self.count).filter(|(end, _)| *end >= bytes) {
            heard.add(end - bytes, topics);
        }
        let (start, end, topics) = self.last;
        if start >= bytes {
            heard.last = (start - bytes, end - bytes, topics);
        }
        heard
    }

    fn add(&mut self, end: usize, topics: Topics) {
        if self.count == self.words.len() {
            self.words.rotate_left(1);
            self.count -= 1;
        }
        if let Some(place) = self.words.get_mut(self.count) {
            *place = (end, topics);
            self.count += 1;
        }
    }
}

impl<'a> Words<'a> {
    pub(super) fn new(text: Text<'a>, column: Topics) -> Self {
        Self { text, column, heard: Heard::default() }
    }

    /// What a value in this place is about.
    pub(super) fn about(&mut self, start: usize, end: usize) -> Topics {
        if (self.heard.last.0, self.heard.last.1) != (start, end) || end == 0 {
            self.read_to(start);
            let phrase = self.phrase_before(start);
            self.heard.last = (start, end, if phrase.is_none() { self.after(end) } else { phrase });
        }
        self.column | self.heard.last.2
    }

    /// What the column says.
    pub(super) fn column(&self) -> Topics {
        self.column
    }

    /// The phrase that ends closest before a place.
    fn phrase_before(&self, start: usize) -> Topics {
        let mut topics = Topics::NONE;
        let mut edge = None;
        for (word_end, topic) in self.heard.words.iter().take(self.heard.count).rev().filter(|(word_end, _)| *word_end <= start) {
            match edge {
                None if start - word_end > REACH_BEFORE => break,
                // What stands in another paragraph is about something else.
                None if self.text.slice(*word_end..start).windows(2).any(|two| two == b"\n\n") => break,
                None if topic.meets(Topics::OTHER) => return Topics::OTHER,
                None => {}
                Some(edge) => {
                    let between = self.text.slice(*word_end..edge);
                    let apart = between.len() > PHRASE + LONGEST_WORD || between.iter().any(u8::is_ascii_digit);
                    if apart || topic.meets(Topics::OTHER) {
                        break;
                    }
                }
            }
            topics |= *topic;
            edge = Some(*word_end);
        }
        topics
    }

    fn read_to(&mut self, place: usize) {
        if place <= self.heard.read {
            return;
        }
        let mut at = self.heard.read.max(place.saturating_sub(REACH_BEFORE));
        if at > self.heard.read {
            at = self.text.run_end(at, |byte| byte.is_ascii_alphabetic());
        }
        while at < place {
            at = self.text.run_end(at, |byte| !byte.is_ascii_alphabetic() && byte != b'[');
            if at >= place {
                break;
            }
            if self.text.at(at) == b'[' {
                at = placeholder_end(self.text, at).unwrap_or(at + 1);
                continue;
            }
            let end = self.text.run_end(at, |byte| byte.is_ascii_alphabetic());
            if end > place {
                break;
            }
            let topics = self.word(at, end);
            if !topics.is_none() {
                self.heard.add(end, topics);
            }
            at = end;
        }
        self.heard.read = place;
    }

    fn word(&self, start: usize, end: usize) -> Topics {
        let mut lower = [0; LONGEST_WORD];
        let word = self.text.slice(start..end);
        match lower.get_mut(..word.len()) {
            Some(lower) => {
                lower.copy_from_slice(word);
                lower.make_ascii_lowercase();
                let topics = of_word(lower);
                // `dateOfBirth`, `cardNumber`: names inside JSON.
                if topics.is_none() && word.iter().skip(1).any(u8::is_ascii_uppercase) && word.iter().any(u8::is_ascii_lowercase)
                {
                    std::str::from_utf8(word).map_or(Topics::NONE, Topics::of_name)
                } else {
                    topics
                }
            }
            None => Topics::NONE,
        }
    }

    /// The first word after a value that says something, in the same sentence.
    fn after(&self, end: usize) -> Topics {
        let near = self.text.near(end, REACH_AFTER);
        let sentence = near.iter().position(|byte| matches!(byte, b'.' | b';' | b'\n' | b',' | b'[') || byte.is_ascii_digit());
        let stop = end + sentence.unwrap_or(near.len());
        if sentence.is_none() {
            self.text.need(end + REACH_AFTER);
        }
        let mut at = end;
        while at < stop {
            at = self.text.run_end(at, |byte| !byte.is_ascii_alphabetic());
            let word_end = self.text.run_end(at, |byte| byte.is_ascii_alphabetic());
            if word_end > stop {
                break;
            }
            let topics = self.word(at, word_end);
            if !topics.is_none() {
                return topics;
            }
            at = word_end;
        }
        Topics::NONE
    }
}

/// Whether one of these words, in lower case, stands near a span.
pub(super) fn has_word(text: &[u8], span: &std::ops::Range<usize>, words: &[String]) -> bool {
    let before = text.get(span.start.saturating_sub(REACH_BEFORE)..span.start).unwrap_or_default();
    let after = text.get(span.end..text.len().min(span.end + REACH_AFTER)).unwrap_or_default();
    let mut near = [before, after].into_iter().flat_map(|near| near.split(|byte| !byte.is_ascii_alphanumeric()));
    near.any(|word| words.iter().any(|other| other.as_bytes().eq_ignore_ascii_case(word)))
}

/// Where a placeholder of ours, or a token, that begins at `[` ends. What it says is no context: a masked value says nothing of its neighbours.
fn placeholder_end(text: Text<'_>, start: usize) -> Option<usize> {
    let end = text.run_end(start + 1, |byte| byte.is_ascii_lowercase() || byte == b'_');
    let name = std::str::from_utf8(text.slice(start + 1..end)).ok()?;
    let is_entity = |name: &str| name.parse::<super::Entity>().is_ok();
    (text.at(end) == b']' && (is_entity(name) || swap::name(name).is_some_and(is_entity))).then_some(end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(text: &str) -> Topics {
        let start = text.find('#').unwrap();
        Words::new(Text::new(text.as_bytes()), Topics::NONE).about(start, start + 1)
    }

    #[test]
    fn the_nearest_phrase_counts() {
        assert!(about("My social security number is #").meets(Topics::SSN));
        assert!(about("social security card number #").meets(Topics::SSN));
        assert!(about("# is my passport").meets(Topics::PASSPORT));
        assert!(!about("my passport is lost, order #").meets(Topics::PASSPORT));
        assert!(!about("passport 12, account #").meets(Topics::PASSPORT));
        assert!(about("passport 12, account #").meets(Topics::ACCOUNT));
        assert_eq!(about("nothing #. passport"), Topics::NONE);
        assert_eq!(about(&format!("passport {} #", "and so on ".repeat(9))), Topics::NONE);
        assert!(about("{\"dateOfBirth\":\"#").meets(Topics::BIRTH));
        assert_eq!(about("[ssn] #"), Topics::NONE);
    }

    #[test]
    fn names_of_columns_say_what_they_hold() {
        for (name, topic) in [
            ("ssn", Topics::SSN),
            ("customer_ssn", Topics::SSN),
            ("SocialSecurityNumber", Topics::SSN),
            ("acct_no", Topics::ACCOUNT),
            ("accountNumber", Topics::ACCOUNT),
            ("dateOfBirth", Topics::BIRTH),
            ("dob", Topics::BIRTH),
            ("home_phone", Topics::PHONE),
            ("routing_number", Topics::ROUTING),
            ("pci.card", Topics::CARD),
            ("pii.ssn", Topics::SSN),
        ] {
            assert!(Topics::of_name(name).meets(topic), "{name}");
        }
        for name in ["id", "customer_id", "amount", "created_at", "order_number", "reference", "name", "memo", "branch"] {
            assert_eq!(Topics::of_name(name), Topics::NONE, "{name}");
        }
    }
}
