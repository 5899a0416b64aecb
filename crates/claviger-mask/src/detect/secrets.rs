//! Secrets of machines: JSON Web Tokens, private keys, keys and tokens of clouds and other services.

use super::Entity;
use super::context::Topics;
use super::scan::Scan;
use super::text::{Text, is_word};

/// Shorter tokens are no secrets.
const SHORTEST: usize = 16;

/// How long the first line of a private key may be, and how far a key without an end may reach.
pub(super) const HEADER: usize = 80;

/// What the characters behind a prefix are.
#[derive(Clone, Copy)]
enum Kind {
    Alphanumeric,
    /// As in Base64 for URLs (RFC 4648, 5).
    Url,
    Hexadecimal,
    /// Capitals and digits from 2, as in Base32.
    Capitals,
}

impl Kind {
    fn has(self, byte: u8) -> bool {
        match self {
            Self::Alphanumeric => byte.is_ascii_alphanumeric(),
            Self::Url => is_url(byte),
            Self::Hexadecimal => byte.is_ascii_hexdigit(),
            Self::Capitals => matches!(byte, b'A'..=b'Z' | b'2'..=b'7'),
        }
    }
}

/// How tokens begin, what follows, and how many characters at least and at most. Each as its service documents it.
const PREFIXES: &[(&[u8], Kind, usize, usize)] = &[
    (b"AKIA", Kind::Capitals, 16, 16),
    (b"ASIA", Kind::Capitals, 16, 16),
    (b"ABIA", Kind::Capitals, 16, 16),
    (b"ACCA", Kind::Capitals, 16, 16),
    (b"AIza", Kind::Url, 35, 35),
    (b"GOCSPX-", Kind::Url, 28, 28),
    (b"ya29.", Kind::Url, 30, 2048),
    (b"ghp_", Kind::Alphanumeric, 36, 255),
    (b"gho_", Kind::Alphanumeric, 36, 255),
    (b"ghu_", Kind::Alphanumeric, 36, 255),
    (b"ghs_", Kind::Alphanumeric, 36, 255),
    (b"ghr_", Kind::Alphanumeric, 36, 255),
    (b"github_pat_", Kind::Url, 40, 255),
    (b"glpat-", Kind::Url, 20, 255),
    (b"xoxb-", Kind::Url, 20, 255),
    (b"xoxp-", Kind::Url, 20, 255),
    (b"xoxa-", Kind::Url, 20, 255),
    (b"xoxr-", Kind::Url, 20, 255),
    (b"xoxs-", Kind::Url, 20, 255),
    (b"xoxe-", Kind::Url, 20, 255),
    (b"xapp-", Kind::Url, 20, 255),
    (b"sk_live_", Kind::Alphanumeric, 16, 255),
    (b"sk_test_", Kind::Alphanumeric, 16, 255),
    (b"rk_live_", Kind::Alphanumeric, 16, 255),
    (b"rk_test_", Kind::Alphanumeric, 16, 255),
    (b"whsec_", Kind::Alphanumeric, 24, 255),
    (b"sk-", Kind::Url, 32, 255),
    (b"hf_", Kind::Alphanumeric, 30, 64),
    (b"npm_", Kind::Alphanumeric, 36, 36),
    (b"pypi-", Kind::Url, 50, 255),
    (b"SG.", Kind::Url, 16, 255),
    (b"key-", Kind::Hexadecimal, 32, 32),
    (b"SK", Kind::Hexadecimal, 32, 32),
    (b"dop_v1_", Kind::Hexadecimal, 64, 64),
    (b"doo_v1_", Kind::Hexadecimal, 64, 64),
    (b"shpat_", Kind::Hexadecimal, 32, 32),
    (b"shpss_", Kind::Hexadecimal, 32, 32),
    (b"dapi", Kind::Hexadecimal, 32, 32),
    (b"hvs.", Kind::Url, 24, 255),
    (b"hvb.", Kind::Url, 24, 255),
    (b"lin_api_", Kind::Alphanumeric, 32, 64),
    (b"NRAK-", Kind::Alphanumeric, 27, 27),
    (b"rubygems_", Kind::Hexadecimal, 48, 48),
    (b"dckr_pat_", Kind::Url, 27, 64),
    (b"AGE-SECRET-KEY-1", Kind::Alphanumeric, 58, 58),
    (b"cvg_", Kind::Url, 20, 255),
];

pub(super) fn is_url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

pub(super) fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')
}

impl Scan<'_, '_> {
    /// A secret of which the word from `start` to `end` is a part. Says where it ends.
    pub(super) fn secret(&mut self, start: usize, end: usize) -> Option<usize> {
        if start < self.token_end {
            return None;
        }
        let first = self.text.token_start(start, self.done, is_url);
        self.token_end = self.text.run_end(end, is_url);
        if self.token_end - first >= SHORTEST || self.text.at(self.token_end) == b'.' {
            for start in [first, start] {
                if let Some(end) = self.token(start) {
                    return Some(end);
                }
            }
        }
        self.base64_key(start)
    }

    /// A token that begins here.
    fn token(&mut self, start: usize) -> Option<usize> {
        if self.on.contains(Entity::Jwt)
            && self.text.has_at(start, b"eyJ")
            && let Some(end) = jwt_end(self.text, start)
        {
            self.report(Entity::Jwt, start..end, 95);
            return Some(end);
        }
        if !matches!(
            self.text.at(start),
            b'A' | b'G' | b'N' | b'S' | b'c' | b'd' | b'g' | b'h' | b'l' | b'n' | b'p' | b'r' | b's' | b'w' | b'x' | b'y'
        ) {
            return None;
        }
        let (prefix, kind, fewest, most) = PREFIXES.iter().find(|(prefix, ..)| self.text.has_at(start, prefix))?;
        let body = start + prefix.len();
        let mut end = self.text.run_end(body, |byte| kind.has(byte));
        if *prefix == b"SG." && self.text.at(end) == b'.' {
            end = self.text.run_end(end + 1, is_url);
        }
        if !(*fewest..=*most).contains(&(end - body)) || is_word(self.text.at(end)) {
            return None;
        }
        self.report(Entity::CloudKey, start..end, 95);
        Some(end)
    }

    /// The secrets of AWS (40 characters) and Azure (88) have no form of their own, so words must say what they are.
    fn base64_key(&mut self, place: usize) -> Option<usize> {
        const AWS: usize = 40;
        const AZURE: usize = 86;
        let start = self.text.token_start(place, self.done.max(place.saturating_sub(AZURE)), is_base64);
        let near = self.text.near(start, AZURE + 1);
        let length = near.iter().position(|byte| !is_base64(*byte)).unwrap_or_else(|| {
            self.text.need(start + AZURE + 1);
            near.len()
        });
        let padded = length == AZURE && self.text.has_at(start + length, b"==");
        if length != AWS && !padded {
            return None;
        }
        let key = self.text.slice(start..start + length);
        let mixed = key.iter().any(u8::is_ascii_digit)
            && key.iter().any(u8::is_ascii_uppercase)
            && key.iter().any(u8::is_ascii_lowercase);
        let end = start + length + if padded { 2 } else { 0 };
        if !mixed || !self.words.about(start, end).meets(Topics::SECRET) {
            return None;
        }
        self.report(Entity::CloudKey, start..end, 80);
        Some(end)
    }

    /// Several hyphens: a private key (RFC 7468; RFC 9580, 6.2), up to its last line, or to the end of what is there of it.
    pub(super) fn armour(&mut self, start: usize) -> usize {
        let behind = self.text.run_end(start, |byte| byte == b'-');
        if !self.on.contains(Entity::PrivateKey) {
            return behind;
        }
        let Some((start, body)) = private_key(self.text, behind) else { return behind };
        let end = match position(self.text.near(body, self.text.len()), KEY_END) {
            Some(last) => {
                let last = body + last + KEY_END.len();
                let word = self.text.run_end(last, |byte| byte.is_ascii_uppercase() || byte == b' ');
                self.text.run_end(word, |byte| byte == b'-')
            }
            None => {
                self.text.need(self.text.len() + 1);
                self.text.run_end(body, |byte| {
                    is_base64(byte) || byte.is_ascii_whitespace() || matches!(byte, b'=' | b'\\' | b':' | b',' | b'-' | b'.')
                })
            }
        };
        self.report(Entity::PrivateKey, start..end, 99);
        end
    }
}

/// What begins the last line of a private key.
pub(super) const KEY_END: &[u8] = b"-----END ";

/// Where a private key begins whose first line begins with hyphens up to here, and where its first line ends.
pub(super) fn private_key(text: Text<'_>, behind: usize) -> Option<(usize, usize)> {
    const BEGIN: &[u8] = b"-----BEGIN ";
    let start = behind.checked_sub(5).filter(|start| text.has_at(*start, BEGIN))?;
    let header = text.near(start, HEADER);
    let line = position(header.get(BEGIN.len()..).unwrap_or_default(), b"-----");
    if line.is_none() {
        text.need(start + HEADER);
    }
    let body = start + BEGIN.len() + line? + 5;
    position(text.slice(start..body), b"PRIVATE KEY").map(|_| (start, body))
}

/// Where three or more parts in Base64 for URLs end, the first of which is the beginning of a JSON object (RFC 7515, 7.1).
fn jwt_end(text: Text<'_>, start: usize) -> Option<usize> {
    let mut end = text.run_end(start, is_url);
    let mut parts = 1;
    while text.at(end) == b'.' && parts < 5 {
        let next = text.run_end(end + 1, is_url);
        if next == end + 1 && parts < 2 {
            return None;
        }
        // A dot at the end of a sentence is no part of it.
        if next == end + 1 && parts > 2 {
            break;
        }
        end = next;
        parts += 1;
    }
    (parts >= 3 && end - start >= 36).then_some(end)
}

fn position(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}
