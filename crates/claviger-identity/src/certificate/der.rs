//! Reading what a certificate says of its holder (RFC 5280, section 4.1; X.690 for DER). Its path has been verified before, so that
//! an authority stands for its form; it is read as if none did.

use claviger_model::Timestamp;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT: u8 = 0x06;
const BOOLEAN: u8 = 0x01;
const OCTETS: u8 = 0x04;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// UTF8String, PrintableString, IA5String.
const TEXTS: [u8; 3] = [0x0c, 0x13, 0x16];
/// `[0]` version and `[3]` extensions of a TBSCertificate.
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
/// `rfc822Name`, `dNSName` and `uniformResourceIdentifier` of a GeneralName.
const EMAIL: u8 = 0x81;
const DNS: u8 = 0x82;
const URI: u8 = 0x86;
/// `id-ce-subjectAltName` and `id-at-commonName`.
const ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1d, 0x11];
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// What is read of a certificate.
pub(super) struct Certificate<'a> {
    /// What its authority has signed, without the signature, of which there can be several.
    pub(super) signed: &'a [u8],
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
    pub(super) names: Names<'a>,
}

/// The names of its holder, by kind.
#[derive(Default)]
pub(super) struct Names<'a> {
    pub(super) uris: Vec<&'a str>,
    pub(super) dns: Vec<&'a str>,
    pub(super) emails: Vec<&'a str>,
    pub(super) common: Vec<&'a str>,
}

/// Reads a certificate; `None` if it is none.
pub(super) fn read(certificate: &[u8]) -> Option<Certificate<'_>> {
    let content = Der(Der(certificate).take(SEQUENCE)?).take(SEQUENCE)?;
    let mut signed = Der(content);
    if signed.peek() == Some(VERSION) {
        signed.next()?;
    }
    // serialNumber, signature, issuer
    for _ in 0..3 {
        signed.next()?;
    }
    let mut validity = Der(signed.take(SEQUENCE)?);
    let (not_before, not_after) = (time(&mut validity)?, time(&mut validity)?);
    let mut names = Names::default();
    read_subject(signed.take(SEQUENCE)?, &mut names)?;
    while let Some((tag, content)) = signed.next() {
        if tag == EXTENSIONS {
            read_extensions(Der(content).take(SEQUENCE)?, &mut names)?;
        }
    }
    Some(Certificate { signed: content, not_before, not_after, names })
}

/// A Name: a sequence of sets of a type and a value each.
fn read_subject<'a>(subject: &'a [u8], names: &mut Names<'a>) -> Option<()> {
    let mut parts = Der(subject);
    while !parts.0.is_empty() {
        let mut part = Der(parts.take(SET)?);
        while !part.0.is_empty() {
            let mut attribute = Der(part.take(SEQUENCE)?);
            if attribute.take(OBJECT)? == COMMON_NAME {
                let (tag, value) = attribute.next()?;
                if !TEXTS.contains(&tag) {
                    return None;
                }
                names.common.push(std::str::from_utf8(value).ok()?);
            }
        }
    }
    Some(())
}

fn read_extensions<'a>(extensions: &'a [u8], names: &mut Names<'a>) -> Option<()> {
    let mut extensions = Der(extensions);
    while !extensions.0.is_empty() {
        let mut extension = Der(extensions.take(SEQUENCE)?);
        if extension.take(OBJECT)? != ALTERNATIVE_NAME {
            continue;
        }
        if extension.peek() == Some(BOOLEAN) {
            extension.next()?;
        }
        let mut alternatives = Der(Der(extension.take(OCTETS)?).take(SEQUENCE)?);
        while !alternatives.0.is_empty() {
            let (tag, name) = alternatives.next()?;
            let kind = match tag {
                EMAIL => &mut names.emails,
                DNS => &mut names.dns,
                URI => &mut names.uris,
                _ => continue,
            };
            kind.push(std::str::from_utf8(name).ok().filter(|name| name.is_ascii())?);
        }
    }
    Some(())
}

/// A Time: two digits of the year until 2049, four from then on, and always UTC (RFC 5280, section 4.1.2.5).
fn time(der: &mut Der<'_>) -> Option<Timestamp> {
    let (tag, text) = der.next()?;
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (year, rest) = match tag {
        UTC_TIME => text.split_at_checked(2)?,
        GENERALIZED_TIME => text.split_at_checked(4)?,
        _ => return None,
    };
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<i64>().ok()).flatten();
    let year = match (tag, number(year)?) {
        (UTC_TIME, year @ 0..=49) => 2000 + year,
        (UTC_TIME, year) => 1900 + year,
        (_, year) => year,
    };
    let field = |index: usize, range: std::ops::RangeInclusive<i64>| {
        rest.get(index * 2..index * 2 + 2).and_then(number).filter(|value| range.contains(value))
    };
    if rest.len() != 10 {
        return None;
    }
    let (month, day, hour) = (field(0, 1..=12)?, field(1, 1..=31)?, field(2, 0..=23)?);
    let (minute, second) = (field(3, 0..=59)?, field(4, 0..=59)?);
    Some(Timestamp::from_secs(((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second))
}

/// Days since 1970-01-01: Howard Hinnant's `days_from_civil`.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// DER values, one after the other.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The next value's tag and content. Lengths of up to three bytes, as certificates have.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&length, rest) = rest.split_first()?;
        let (length, rest) = match length {
            0..=0x7f => (usize::from(length), rest),
            0x81..=0x83 => {
                let (length, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
                (length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    /// The content of the next value, if it has this tag.
    fn take(&mut self, wanted: u8) -> Option<&'a [u8]> {
        self.next().filter(|(tag, _)| *tag == wanted).map(|(_, content)| content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(tag: u8, text: &str) -> Option<String> {
        let length = u8::try_from(text.len()).unwrap_or(0);
        let bytes = [&[tag, length], text.as_bytes()].concat();
        time(&mut Der(&bytes)).map(|time| time.to_string())
    }

    #[test]
    fn times_are_read() {
        for (tag, text, expected) in [
            (UTC_TIME, "491231235959Z", Some("2049-12-31T23:59:59.000000Z")),
            (UTC_TIME, "500101000000Z", Some("1950-01-01T00:00:00.000000Z")),
            (GENERALIZED_TIME, "20500229120000Z", Some("2050-03-01T12:00:00.000000Z")),
            (GENERALIZED_TIME, "99991231235959Z", Some("9999-12-31T23:59:59.000000Z")),
            (UTC_TIME, "491331235959Z", None),
            (UTC_TIME, "4912312359Z", None),
            (UTC_TIME, "491231235959", None),
            (UTC_TIME, "+91231235959Z", None),
            (GENERALIZED_TIME, "20500229120000.5Z", None),
            (OCTETS, "491231235959Z", None),
        ] {
            assert_eq!(parsed(tag, text).as_deref(), expected, "{text}");
        }
    }
}
