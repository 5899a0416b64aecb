//! Methods: what takes the place of a classified value.
//!
//! A [`Method`] says what is kept of a value. [`Masks`] are those of all labels, with the keys that some of them need. For the column of a
//! result they give a [`Mask`], which turns each of its values into another of the same type, in the form in which the client asked for
//! it. A value of which no other can be made becomes NULL. What is made of masked values is a constant of its type: it depends on nothing.

mod arrays;
mod dates;
mod ff1;
mod numbers;
mod ours;
mod text;
mod token;
mod types;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use claviger_model::Labels;

use self::dates::Change;
use self::ff1::Ff1;
use self::token::TOKEN;
pub(crate) use self::token::digest;
use self::types::put_placeholder;

pub use self::dates::Unit;
pub use self::text::has_stars;
pub use self::token::MaskKey;
pub use self::types::{Form, PLACEHOLDER, Type};

/// What is kept of a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// Nothing but its type.
    #[default]
    Redact,
    /// Nothing: it becomes NULL.
    Null,
    /// So many characters of a text's ends.
    Partial {
        /// Of its beginning.
        first: usize,
        /// Of its end.
        last: usize,
    },
    /// Where a text has letters and digits.
    Length,
    /// Whether it is the same as another: a token stands for it.
    Token {
        /// Whether only in one session.
        session: bool,
    },
    /// The same, and how a text or number is written.
    Ff1,
    /// How far a date is from another of the same label.
    DateShift {
        /// At most so many days are added or taken away.
        days: u16,
        /// Whether in each session others.
        session: bool,
    },
    /// A number, to the next multiple of this below it.
    Bucket {
        /// The width.
        width: u64,
    },
    /// A date, less exactly.
    Truncate {
        /// To what.
        unit: Unit,
    },
    /// The domain of a mail address.
    EmailDomain,
}

/// A method that makes no values of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{method}` does not mask {kind}")]
pub struct Misfit {
    /// The method's name.
    pub method: &'static str,
    /// The type's.
    pub kind: &'static str,
}

/// The methods of all labels. A column that has several labels is masked by the first of them here; one that has none of them, by
/// [`Method::Redact`].
#[derive(Clone, Debug, Default)]
pub struct Masks {
    methods: Vec<(Arc<str>, Method)>,
    key: Option<MaskKey>,
}

/// How the values of one column of a result are rewritten.
#[derive(Clone)]
pub struct Mask {
    form: Form,
    does: Does,
    /// What stands for a value that the method makes nothing of.
    constant: Option<Bytes>,
    /// Whether not even NULL is kept.
    made: bool,
}

#[derive(Clone)]
enum Does {
    Constant,
    Null,
    Partial {
        first: usize,
        last: usize,
    },
    Length,
    Token(Arc<(MaskKey, ring::hmac::Key)>),
    Ff1(Arc<Ff1>),
    Date(Change),
    Bucket(u64),
    EmailDomain,
    /// An array: to each of its elements.
    Each(Arc<Mask>),
}

impl Method {
    /// Whether all that it tells of a value is whether there is one.
    pub fn tells_only_nulls(self) -> bool {
        matches!(self, Self::Redact)
    }

    /// Its name, in configuration and record.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Redact => "redact",
            Self::Null => "null",
            Self::Partial { .. } => "partial",
            Self::Length => "length",
            Self::Token { .. } => "token",
            Self::Ff1 => "ff1",
            Self::DateShift { .. } => "date_shift",
            Self::Bucket { .. } | Self::Truncate { .. } => "bucket",
            Self::EmailDomain => "email_domain",
        }
    }

    /// Whether it needs a key.
    pub fn is_keyed(self) -> bool {
        matches!(self, Self::Token { .. } | Self::Ff1 | Self::DateShift { .. })
    }

    /// Whether it masks values of this type; of an array, those of its elements'.
    pub fn check(self, kind: Type) -> Result<(), Misfit> {
        let fits = match self {
            Self::Redact | Self::Null => true,
            _ if let Type::Array { element, modifier } = kind => return self.check(Type::of(element, modifier)),
            Self::Partial { .. } | Self::Length | Self::EmailDomain => matches!(kind, Type::Text { .. }),
            Self::Token { .. } => matches!(kind, Type::Text { .. } | Type::Uuid | Type::Int8 | Type::Bytea),
            Self::Ff1 => matches!(kind, Type::Text { .. } | Type::Int4 | Type::Int8),
            Self::DateShift { .. } | Self::Truncate { .. } => {
                matches!(kind, Type::Date | Type::Timestamp | Type::TimestampTz)
            }
            Self::Bucket { .. } => {
                matches!(kind, Type::Int2 | Type::Int4 | Type::Int8 | Type::Float4 | Type::Float8 | Type::Numeric)
            }
        };
        if fits { Ok(()) } else { Err(Misfit { method: self.as_str(), kind: kind.as_str() }) }
    }
}

/// How a column with these labels is masked, where labels have these methods; and the label that says so.
pub fn method_of<'a>(methods: &'a [(Arc<str>, Method)], labels: &'a Labels) -> (&'a str, Method) {
    let configured = methods.iter().find(|(label, _)| labels.contains(label));
    configured
        .map_or_else(|| (labels.first().map_or("", |label| &**label), Method::default()), |(label, method)| (label, *method))
}

impl Masks {
    /// Those of these labels; `None` if one of them needs a key and there is none.
    pub fn new(methods: Vec<(Arc<str>, Method)>, key: Option<MaskKey>) -> Option<Self> {
        let complete = key.is_some() || !methods.iter().any(|(_, method)| method.is_keyed());
        complete.then_some(Self { methods, key })
    }

    /// The methods of the labels that have one.
    pub fn methods(&self) -> &[(Arc<str>, Method)] {
        &self.methods
    }

    /// The key, if there is one.
    pub fn key(&self) -> Option<&MaskKey> {
        self.key.as_ref()
    }

    /// How a column with these labels is masked.
    pub fn method(&self, labels: &Labels) -> Method {
        self.of(labels).1
    }

    fn of<'a>(&'a self, labels: &'a Labels) -> (&'a str, Method) {
        method_of(&self.methods, labels)
    }

    /// What becomes of the values of a column with these labels. `session` names the session, for tokens that are its own.
    pub fn mask(&self, labels: &Labels, form: Form, session: &[u8; 16]) -> Result<Mask, Misfit> {
        let (domain, method) = self.of(labels);
        method.check(form.kind)?;
        if let Type::Array { element, modifier } = form.kind
            && !matches!(method, Method::Redact | Method::Null)
        {
            let each = self.mask(labels, Form { kind: Type::of(element, modifier), ..form }, session)?;
            return Ok(Mask { form, does: Does::Each(Arc::new(each)), constant: None, made: false });
        }
        let does = match (method, &self.key) {
            (Method::Null, _) => Does::Null,
            (Method::Partial { first, last }, _) => Does::Partial { first, last },
            (Method::Length, _) => Does::Length,
            (Method::Bucket { width }, _) => Does::Bucket(width),
            (Method::Truncate { unit }, _) => Does::Date(Change::Truncate(unit)),
            (Method::EmailDomain, _) => Does::EmailDomain,
            (Method::Token { session: own }, Some(key)) => {
                let own = own.then_some(session);
                Does::Token(Arc::new((key.clone(), key.of("token", domain, own))))
            }
            (Method::Ff1, Some(key)) => Does::Ff1(Arc::new(Ff1::new(&key.bytes_of("ff1", domain), domain.as_bytes()))),
            (Method::DateShift { days, session: own }, Some(key)) => {
                let own = own.then_some(session);
                Does::Date(Change::Shift(offset(&digest(&key.of("date", domain, own), &[b"offset"]), days)))
            }
            (Method::Redact, _) | (_, None) => Does::Constant,
        };
        Ok(Mask { form, does, constant: form.constant().map(BytesMut::freeze), made: false })
    }

    /// What becomes of values that are made of masked ones.
    pub fn made(form: Form) -> Mask {
        Mask { form, does: Does::Constant, constant: form.constant().map(BytesMut::freeze), made: true }
    }
}

/// From -`days` to `days`, and not 0.
fn offset(digest: &[u8; 32], days: u16) -> i32 {
    let days = u32::from(days.max(1));
    let drawn = digest.first_chunk::<8>().map_or(0, |first| u64::from_be_bytes(*first) % u64::from(2 * days));
    let drawn = i32::try_from(drawn).unwrap_or(0) - days.cast_signed();
    if drawn >= 0 { drawn + 1 } else { drawn }
}

impl Mask {
    /// Appends what takes the place of a value, `None` being NULL. False if that is NULL.
    pub fn put(&self, value: Option<&[u8]>, out: &mut BytesMut) -> bool {
        let Some(value) = value else { return self.made && self.put_constant(out) };
        let before = out.len();
        let done = match &self.does {
            Does::Constant => return self.put_constant(out),
            Does::Null => return false,
            Does::Date(change) => dates::change(*change, self.form, value, out),
            Does::Bucket(width) => numbers::bucket(*width, self.form, value, out),
            Does::Token(keys) => self.put_token(keys, value, out),
            Does::Ff1(ff1) => self.encrypt(ff1, value, out),
            Does::Each(each) => arrays::put(each, value, out),
            Does::Partial { .. } | Does::Length | Does::EmailDomain => self.put_text(value, out),
        };
        if done {
            return true;
        }
        out.truncate(before);
        // A text of which nothing can be kept is a text still; a number in its place would be a lie.
        matches!(self.form.kind, Type::Text { .. }) && self.put_constant(out)
    }

    fn put_constant(&self, out: &mut BytesMut) -> bool {
        match &self.constant {
            Some(constant) => {
                out.put_slice(constant);
                true
            }
            None => false,
        }
    }

    fn put_text(&self, value: &[u8], out: &mut BytesMut) -> bool {
        let (Type::Text { limit, .. }, Ok(value)) = (self.form.kind, std::str::from_utf8(value)) else { return false };
        match self.does {
            Does::Partial { first, last } => text::partial(value, first, last, out),
            Does::Length => text::length(value, out),
            _ => {
                let before = out.len();
                let done = text::email_domain(value, limit, out);
                self.pad(before, out);
                return done;
            }
        }
        true
    }

    fn put_token(&self, keys: &(MaskKey, ring::hmac::Key), value: &[u8], out: &mut BytesMut) -> bool {
        let (key, domain) = keys;
        match (self.form.kind, self.form.binary) {
            (Type::Text { limit, padded }, _) => {
                if limit.is_some_and(|limit| limit < TOKEN) {
                    put_placeholder(limit, padded, out);
                    return true;
                }
                let before = out.len();
                // Of a padded text the spaces do not count, so that it equals the same one that is not.
                let value = if padded { value.trim_ascii_end() } else { value };
                key.put_token(domain, value, out);
                self.pad(before, out);
                true
            }
            (Type::Uuid, binary) => put_uuid(key, domain, value, binary, out),
            (Type::Int8, _) => numbers::read_integer(self.form, value).is_some_and(|number| {
                let digest = digest(domain, &[&number.to_be_bytes()]);
                let token = digest.first_chunk::<8>().map_or(0, |first| u64::from_be_bytes(*first) >> 1);
                numbers::put(i128::from(token), self.form, out)
            }),
            (Type::Bytea, true) => {
                key.put_token(domain, value, out);
                true
            }
            (Type::Bytea, false) => put_bytea(key, domain, value, out),
            _ => false,
        }
    }

    fn pad(&self, from: usize, out: &mut BytesMut) {
        if let Type::Text { limit: Some(limit), padded: true } = self.form.kind {
            let written = out.get(from..).map_or(0, |text| text.iter().filter(|byte| (**byte as i8) >= -0x40).count());
            out.put_bytes(b' ', limit.saturating_sub(written));
        }
    }

    fn encrypt(&self, ff1: &Ff1, value: &[u8], out: &mut BytesMut) -> bool {
        if let Type::Text { .. } = self.form.kind {
            return encrypt_text(ff1, value, out);
        }
        let Some(number) = numbers::read_integer(self.form, value) else { return false };
        let most = if self.form.kind == Type::Int4 { i32::MAX.unsigned_abs().into() } else { i64::MAX.unsigned_abs() };
        let magnitude = number.unsigned_abs();
        let digits = usize::try_from(magnitude.checked_ilog10().unwrap_or(0)).unwrap_or(0) + 1;
        // Shorter numbers are a domain of their own, which is large enough.
        let (digits, leading) = if digits > 6 { (digits, true) } else { (6, false) };
        let encrypted = ff1.encrypt_number(magnitude, digits, leading, most);
        encrypted.is_some_and(|encrypted| {
            let sign = if number < 0 { -1 } else { 1 };
            numbers::put(sign * i128::from(encrypted), self.form, out)
        })
    }
}

/// Encrypts the digits of a text, or its letters and digits if it has letters, and keeps what stands between them. False if it has too few of
/// them, too many, or any other letters.
fn encrypt_text(ff1: &Ff1, value: &[u8], out: &mut BytesMut) -> bool {
    if !value.is_ascii() {
        return false;
    }
    let radix = if value.iter().any(u8::is_ascii_alphabetic) { 36 } else { 10 };
    let upper = !value.iter().any(u8::is_ascii_lowercase);
    let mut numerals: Vec<u8> = value
        .iter()
        .filter_map(|byte| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'z' => Some(byte - b'a' + 10),
            b'A'..=b'Z' => Some(byte - b'A' + 10),
            _ => None,
        })
        .collect();
    if !ff1.encrypt(radix, &mut numerals) {
        return false;
    }
    let mut numerals = numerals.into_iter();
    for byte in value {
        let put = if byte.is_ascii_alphanumeric() { numerals.next() } else { None };
        out.put_u8(match put {
            None => *byte,
            Some(digit @ 0..=9) => b'0' + digit,
            Some(letter) => (if upper { b'A' } else { b'a' }) + (letter - 10),
        });
    }
    true
}

/// A UUID of version 8 (RFC 9562, section 5.8), made of the value; its last four bytes show that it is ours.
fn put_uuid(key: &MaskKey, domain: &ring::hmac::Key, value: &[u8], binary: bool, out: &mut BytesMut) -> bool {
    let mut own = [0_u8; 16];
    if binary {
        let Ok(bytes) = value.try_into() else { return false };
        own = bytes;
    } else {
        let mut digits = value.iter().filter(|byte| **byte != b'-').map(|byte| char::from(*byte).to_digit(16));
        for byte in &mut own {
            let (Some(Some(high)), Some(Some(low))) = (digits.next(), digits.next()) else { return false };
            *byte = u8::try_from(high << 4 | low).unwrap_or(0);
        }
    }
    let mut uuid = [0; 16];
    uuid.copy_from_slice(digest(domain, &[&own]).get(..16).unwrap_or(&[0; 16]));
    let [_, _, _, _, _, _, version, _, variant, ..] = &mut uuid;
    *version = *version & 0x0f | 0x80;
    *variant = *variant & 0x3f | 0x80;
    if let Some((body, check)) = uuid.split_first_chunk_mut::<12>() {
        check.copy_from_slice(&key.check_of_uuid(body));
    }
    if binary {
        out.put_slice(&uuid);
        return true;
    }
    for (n, byte) in uuid.iter().enumerate() {
        if matches!(n, 4 | 6 | 8 | 10) {
            out.put_u8(b'-');
        }
        put_hex(*byte, out);
    }
    true
}

fn put_bytea(key: &MaskKey, domain: &ring::hmac::Key, value: &[u8], out: &mut BytesMut) -> bool {
    // Only the hexadecimal form has one text for one value.
    let Some(digits) = value.strip_prefix(b"\\x") else { return false };
    let nibbles: Option<Vec<u32>> = digits.iter().map(|digit| char::from(*digit).to_digit(16)).collect();
    let Some(nibbles) = nibbles.filter(|nibbles| nibbles.len() % 2 == 0) else { return false };
    let byte = |pair: &[u32]| pair.iter().fold(0, |byte, nibble| byte << 4 | u8::try_from(*nibble).unwrap_or(0));
    let bytes: Vec<u8> = nibbles.chunks(2).map(byte).collect();
    let mut token = BytesMut::new();
    key.put_token(domain, &bytes, &mut token);
    out.put_slice(b"\\x");
    token.iter().for_each(|byte| put_hex(*byte, out));
    true
}

fn put_hex(byte: u8, out: &mut BytesMut) {
    for nibble in [byte >> 4, byte & 15] {
        out.put_u8(if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 });
    }
}
