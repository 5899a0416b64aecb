//! Header fields: how they are read, and which of them pass.

use std::collections::BTreeSet;

use super::origin::Origin;
use super::wrong::Wrong;

/// The most fields of one message.
const MOST: usize = 128;

/// The fields of a message, their names in lower case, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Fields(Vec<(String, Vec<u8>)>);

/// Fields that are between two neighbours only (RFC 9110, section 7.6.1), beside those that `Connection` names.
const HOP_BY_HOP: &[&str] = &[
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Fields of requests that the gateway says anew or that are for nobody but itself: framing, codings, credentials, and what is said of
/// where a request comes from and for whom, which an upstream must not believe of a client.
const OF_THE_GATEWAY: &[&str] = &[
    "accept-encoding",
    "api-key",
    "authorization",
    "cf-connecting-ip",
    "content-length",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "if-range",
    "range",
    "remote-email",
    "remote-groups",
    "remote-name",
    "remote-user",
    "true-client-ip",
    "via",
    "x-api-key",
    "x-claviger-prompt",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-forwarded",
    "x-goog-api-key",
    "x-host",
    "x-original-forwarded-for",
    "x-original-host",
    "x-real-ip",
];

/// How fields begin that say the same, or for whom a request is made: proxies that know their clients say that to upstreams that believe them.
const OF_PROXIES: &[&str] = &[
    "impersonate-",
    "x-amzn-oidc-",
    "x-auth-request-",
    "x-authenticated-",
    "x-authentik-",
    "x-forwarded-",
    "x-goog-authenticated-",
    "x-goog-iap-",
    "x-ms-client-principal",
    "x-remote-",
    "x-webauth-",
];

/// Fields of requests by which some servers do another thing than method and path say.
const ANOTHER_MEANING: &[&str] =
    &["x-http-method", "x-http-method-override", "x-method-override", "x-original-url", "x-rewrite-url"];

/// Fields of requests that say one thing and so must be there once.
const SINGLE: &[&str] = &[
    "api-key",
    "authorization",
    "content-length",
    "content-type",
    "expect",
    "host",
    "transfer-encoding",
    "user-agent",
    "x-api-key",
    "x-claviger-prompt",
    "x-goog-api-key",
];

/// Fields of responses that stay here: what the upstream wants to know of its client, what it would have it keep, and where it sends it.
const OF_THE_UPSTREAM: &[&str] =
    &["alt-svc", "content-length", "content-location", "location", "refresh", "set-cookie", "set-cookie2", "www-authenticate"];

/// Fields that are about content as it came, and not true of what has come of it.
const OF_WHAT_CAME: &[&str] =
    &["accept-ranges", "content-digest", "content-encoding", "content-md5", "content-range", "digest", "etag", "repr-digest"];

/// Fields of responses that say where something is.
const REFERENCES: &[&str] = &["content-location", "location"];

impl Fields {
    /// Reads the lines after a message's first, each without its end (RFC 9112, section 5).
    pub(super) fn read<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Result<Self, Wrong> {
        Self::read_most(lines, MOST)
    }

    /// As [`read`](Self::read), with so many at the most.
    pub(super) fn read_most<'a>(lines: impl Iterator<Item = &'a [u8]>, most: usize) -> Result<Self, Wrong> {
        let mut fields = Vec::new();
        for line in lines {
            if fields.len() == most {
                return Err(Wrong::new(431, "there are too many header fields"));
            }
            let colon = line.iter().position(|c| *c == b':');
            let (name, value) = colon.and_then(|colon| line.split_at_checked(colon)).ok_or(NOT_A_FIELD)?;
            // A space before the name continues the line before, one after it hides a name from some: neither is a token.
            if name.is_empty() || !name.iter().all(|c| is_token(*c)) {
                return Err(NOT_A_FIELD);
            }
            let value = value.get(1..).unwrap_or_default().trim_ascii();
            if !value.iter().all(|c| *c == b'\t' || (*c >= b' ' && *c != 0x7f)) {
                return Err(Wrong::request("a header field holds control characters"));
            }
            let name = name.iter().map(|c| char::from(c.to_ascii_lowercase())).collect();
            fields.push((name, value.to_vec()));
        }
        Ok(Self(fields))
    }

    /// Refuses what a request must not hold, or not twice.
    pub(super) fn check_request(&self) -> Result<(), Wrong> {
        let mut seen = BTreeSet::new();
        for (name, _) in &self.0 {
            if SINGLE.contains(&&**name) && !seen.insert(name) {
                return Err(Wrong::request("a header field is there twice that must be there once"));
            }
            if ANOTHER_MEANING.contains(&&**name) {
                return Err(Wrong::request("a header field asks for something else than method and path say"));
            }
        }
        Ok(())
    }

    /// All values of a field.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.0.iter().filter(move |(other, _)| other == name).map(|(_, value)| &**value)
    }

    /// The first value of a field.
    pub(super) fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| &**value)
    }

    /// Whether a field's list holds this word.
    pub(super) fn lists(&self, name: &str, word: &str) -> bool {
        self.all(name).flat_map(words).any(|other| other.eq_ignore_ascii_case(word.as_bytes()))
    }

    /// The length that is declared, if one is: digits, once.
    pub(super) fn length(&self) -> Result<Option<u64>, Wrong> {
        /// More would not be a length.
        const MOST_DIGITS: usize = 18;
        let mut lengths = self.all("content-length");
        let (first, second) = (lengths.next(), lengths.next());
        let Some(length) = first else { return Ok(None) };
        let digits = |length: &&[u8]| !length.is_empty() && length.len() <= MOST_DIGITS && length.iter().all(u8::is_ascii_digit);
        let length = Some(length).filter(digits).and_then(|length| std::str::from_utf8(length).ok()?.parse().ok());
        match (length, second) {
            (Some(length), None) => Ok(Some(length)),
            _ => Err(Wrong::request("the declared length is not one")),
        }
    }

    /// Whether the content comes in chunks. No other coding is known, nor chunks in it.
    pub(super) fn is_chunked(&self) -> Result<bool, Wrong> {
        let mut codings = self.all("transfer-encoding");
        match (codings.next(), codings.next()) {
            (None, _) => Ok(false),
            (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => Ok(true),
            _ => Err(Wrong::new(501, "the transfer coding is not known")),
        }
    }

    /// Writes those fields of a request that pass; this one does not. Nor do those with an underscore: many servers take it for a dash.
    /// `changed` if content leaves otherwise than it came.
    pub(super) fn write_request(&self, out: &mut Vec<u8>, stays: Option<&str>, changed: bool) {
        let of_the_gateway = |name: &str| OF_THE_GATEWAY.contains(&name) || stays == Some(name);
        let of_proxies = |name: &str| OF_PROXIES.iter().any(|prefix| name.starts_with(prefix));
        let of_what_came = |name: &str| changed && OF_WHAT_CAME.contains(&name);
        self.write(out, |name| of_the_gateway(name) || of_proxies(name) || of_what_came(name) || name.contains('_'));
    }

    /// What content is packed in, as a list of words, in the order in which that was done.
    pub(super) fn codings(&self) -> Vec<u8> {
        self.all("content-encoding").collect::<Vec<_>>().join(&b',')
    }

    /// Writes those fields of a response that pass, and where it sends clients on to as they know it. `changed` if content leaves otherwise
    /// than it came.
    pub(super) fn write_response(&self, out: &mut Vec<u8>, origin: &Origin, changed: bool) {
        self.write(out, |name| OF_THE_UPSTREAM.contains(&name) || (changed && OF_WHAT_CAME.contains(&name)));
        for name in REFERENCES {
            let told = self.get(name).and_then(|value| origin.reference(value));
            told.into_iter().for_each(|reference| field(out, name, reference.as_bytes()));
        }
    }

    /// All but those between neighbours.
    pub(super) fn end_to_end(self) -> Vec<(String, Vec<u8>)> {
        self.0.into_iter().filter(|(name, _)| !HOP_BY_HOP.contains(&&**name)).collect()
    }

    fn write(&self, out: &mut Vec<u8>, stays: impl Fn(&str) -> bool) {
        for (name, value) in &self.0 {
            if !(stays(name) || HOP_BY_HOP.contains(&&**name) || self.lists("connection", name)) {
                field(out, name, value);
            }
        }
    }
}

const NOT_A_FIELD: Wrong = Wrong::request("a header line is not a field");

/// Whether an upstream's credential may be in a field of this name, in lower case, which then no request of a client brings along.
pub fn may_carry_credential(name: &str) -> bool {
    let is_known = HOP_BY_HOP.contains(&name) || SINGLE.contains(&name) && !name.ends_with("api-key");
    let is_plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    !name.is_empty() && name.bytes().all(is_plain) && !is_known
}

/// Writes one field.
pub(super) fn field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

fn words(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|c| *c == b',').map(<[u8]>::trim_ascii)
}

/// A character of a token (RFC 9110, section 5.6.2).
pub(super) fn is_token(c: u8) -> bool {
    c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c)
}
