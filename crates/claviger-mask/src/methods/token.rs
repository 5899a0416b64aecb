//! Keys, and tokens that stand for values: equal for equal values under one key, and recognisable as ours.

use bytes::{BufMut, BytesMut};
use claviger_model::Secret;
use ring::hmac::{self, HMAC_SHA256};

/// What a token begins with.
const PREFIX: &[u8] = b"tok_";
/// Letters of what stands for the value (80 bits), and of what shows that the token is ours (30 bits).
const BODY: usize = 16;
const CHECK: usize = 6;
/// The length of a token, in bytes.
pub(super) const TOKEN: usize = PREFIX.len() + BODY + CHECK;
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// The secret that everything keyed hangs on.
#[derive(Clone)]
pub struct MaskKey {
    root: hmac::Key,
    check: hmac::Key,
}

impl MaskKey {
    /// The shortest secret, in bytes.
    pub const SHORTEST: usize = 16;

    /// The key made of a secret; another version is another key. `None` if the secret is too short.
    pub fn new(secret: &Secret, version: u32) -> Option<Self> {
        let secret = secret.expose();
        if secret.len() < Self::SHORTEST {
            return None;
        }
        let master = hmac::Key::new(HMAC_SHA256, secret);
        let root = derive(&master, &[b"root", &version.to_be_bytes()]);
        // Tokens of earlier versions are still ours.
        Some(Self { root, check: derive(&master, &[b"check"]) })
    }

    /// A key for one use in one domain, and for one session if it is said for which.
    pub(crate) fn of(&self, purpose: &str, domain: &str, session: Option<&[u8; 16]>) -> hmac::Key {
        derive(&self.root, &[purpose.as_bytes(), domain.as_bytes(), session.map_or(&[], |session| session)])
    }

    /// A block cipher's key, likewise.
    pub(super) fn bytes_of(&self, purpose: &str, domain: &str) -> [u8; 32] {
        digest(&self.root, &[purpose.as_bytes(), domain.as_bytes()])
    }

    /// Appends the token that stands for a value.
    pub(super) fn put_token(&self, key: &hmac::Key, value: &[u8], out: &mut BytesMut) {
        let mut token = [0; TOKEN];
        if let Some((prefix, rest)) = token.split_at_mut_checked(PREFIX.len())
            && let Some((body, check)) = rest.split_at_mut_checked(BODY)
        {
            prefix.copy_from_slice(PREFIX);
            spell(&digest(key, &[value]), body);
            spell(&digest(&self.check, &[body]), check);
        }
        out.put_slice(&token);
    }

    /// The end of a UUID that stands for a value, by its beginning.
    pub(super) fn check_of_uuid(&self, body: &[u8; 12]) -> [u8; 4] {
        let [a, b, c, d, ..] = digest(&self.check, &[b"uuid", body]);
        [a, b, c, d]
    }

    /// Whether a UUID stands for a value.
    pub(super) fn is_token(&self, uuid: &[u8; 16]) -> bool {
        let [_, _, _, _, _, _, version, _, variant, ..] = uuid;
        let form = version >> 4 == 8 && variant >> 6 == 2;
        let parts = uuid.split_first_chunk::<12>();
        form && parts.is_some_and(|(body, check)| *check == self.check_of_uuid(body))
    }

    /// Whether a token of ours is in a text.
    pub(super) fn finds_token(&self, text: &[u8]) -> bool {
        let mut rest = text;
        while let Some(at) = find(rest, PREFIX) {
            rest = rest.get(at + PREFIX.len()..).unwrap_or_default();
            let Some((body, after)) = rest.split_at_checked(BODY) else { return false };
            let Some(check) = after.get(..CHECK) else { return false };
            if body.iter().all(|letter| ALPHABET.contains(letter)) {
                let mut expected = [0; CHECK];
                spell(&digest(&self.check, &[body]), &mut expected);
                if check == expected {
                    return true;
                }
            }
        }
        false
    }
}

impl std::fmt::Debug for MaskKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MaskKey")
    }
}

/// The first place of one text in another.
pub(super) fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    let first = wanted.first()?;
    let mut from = 0;
    loop {
        let at = from + text.get(from..)?.iter().position(|byte| byte == first)?;
        if text.get(at..).is_some_and(|rest| rest.starts_with(wanted)) {
            return Some(at);
        }
        from = at + 1;
    }
}

pub(crate) fn digest(key: &hmac::Key, parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(key);
    // What could be cut in two ways is told apart by its lengths.
    for part in parts {
        if parts.len() > 1 {
            context.update(&(part.len() as u64).to_be_bytes());
        }
        context.update(part);
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(context.sign().as_ref().get(..32).unwrap_or(&[0; 32]));
    digest
}

fn derive(key: &hmac::Key, parts: &[&[u8]]) -> hmac::Key {
    hmac::Key::new(HMAC_SHA256, &digest(key, parts))
}

/// Writes the first bits of a digest as letters, five each.
fn spell(digest: &[u8; 32], letters: &mut [u8]) {
    let bits = digest.first_chunk::<16>().map_or(0, |first| u128::from_be_bytes(*first));
    for (n, letter) in letters.iter_mut().enumerate().take(25) {
        let index = usize::try_from(bits >> (123 - 5 * n) & 31).unwrap_or(0);
        *letter = ALPHABET.get(index).copied().unwrap_or(b'a');
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn key(version: u32) -> MaskKey {
        MaskKey::new(&Secret::new(*b"sixteen bytes or more"), version).unwrap()
    }

    fn token(key: &MaskKey, domain: &str, session: Option<&[u8; 16]>, value: &[u8]) -> String {
        let mut out = BytesMut::new();
        key.put_token(&key.of("token", domain, session), value, &mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn equal_values_of_one_domain_have_equal_tokens() {
        let key = key(1);
        let ours = token(&key, "ssn", None, b"123-45-6789");
        assert_eq!(ours.len(), TOKEN);
        assert_eq!(ours, token(&key, "ssn", None, b"123-45-6789"));
        for other in [
            token(&key, "ssn", None, b"123-45-6780"),
            token(&key, "card", None, b"123-45-6789"),
            token(&key, "ssn", Some(&[1; 16]), b"123-45-6789"),
            token(&self::key(2), "ssn", None, b"123-45-6789"),
        ] {
            assert_ne!(ours, other);
            assert!(key.finds_token(other.as_bytes()));
        }
    }

    #[test]
    fn tokens_are_found_wherever_they_stand_and_not_made_up() {
        let key = key(1);
        let ours = token(&key, "ssn", None, b"x");
        assert!(key.finds_token(format!("insert into t values ('tok_{ours}')").as_bytes()));
        assert!(key.finds_token(format!("{ours}tok_").as_bytes()));
        let mut forged = ours.into_bytes();
        let last = forged.last_mut().unwrap();
        *last = if *last == b'a' { b'b' } else { b'a' };
        assert!(!key.finds_token(&forged));
        assert!(!key.finds_token(b"tok_aaaaaaaaaaaaaaaaaaaaaa tok_ tok_abc"));
    }

    #[test]
    fn a_short_secret_is_no_key() {
        assert!(MaskKey::new(&Secret::new(*b"short"), 1).is_none());
    }
}
