//! Registered upstreams, and how strictly they are guarded.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The name of a connection: 1 to 63 of `a-z`, `0-9`, `-` and `_`, starting with a letter or digit.
///
/// The same name serves as a database name on a shared listener, as a Cedar entity id and in the audit log, so it needs no
/// quoting in any of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ConnectionName(Arc<str>);

/// A text that cannot name a connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` cannot name a connection: use 1 to 63 of a-z, 0-9, `-` and `_`, starting with a letter or digit")]
pub struct InvalidConnectionName(String);

impl ConnectionName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ConnectionName {
    type Err = InvalidConnectionName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
        let valid = text.len() <= 63
            && text.bytes().next().is_some_and(plain)
            && text.bytes().all(|c| plain(c) || c == b'-' || c == b'_');
        if valid { Ok(Self(text.into())) } else { Err(InvalidConnectionName(text.chars().take(80).collect())) }
    }
}

impl<'de> Deserialize<'de> for ConnectionName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for ConnectionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A word that is not one of those a setting takes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is not one of {expected}")]
pub struct UnknownWord {
    /// What was written.
    pub found: String,
    /// What may be written.
    pub expected: &'static str,
}

/// How strictly a connection is guarded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Identity and record only; policy is not asked.
    Record,
    /// Policy is asked and its verdict recorded, but nothing is refused by it.
    Observe,
    /// Policy decides.
    #[default]
    Enforce,
}

impl Mode {
    /// The lower-case word for this mode.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Observe => "observe",
            Self::Enforce => "enforce",
        }
    }
}

/// When a record must have reached stable storage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Reads are `ordered`, everything else is `synced`.
    #[default]
    Auto,
    /// Handed to the kernel before the operation proceeds, on stable storage soon after.
    Ordered,
    /// On stable storage before the operation proceeds.
    Synced,
}

/// How much of each operation's response the recording keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseRecording {
    /// Every byte as delivered.
    Full,
    /// The first so many bytes of each operation; the rest is counted, not kept.
    First(usize),
    /// Nothing but the counts.
    None,
}

impl Default for ResponseRecording {
    fn default() -> Self {
        Self::First(256 * 1024)
    }
}

/// Written `full`, `none` or `first N` with N in bytes, or with the suffix `KiB` or `MiB`.
impl FromStr for ResponseRecording {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || UnknownWord { found: text.chars().take(80).collect(), expected: "`full`, `none`, `first N[KiB|MiB]`" };
        match text {
            "full" => return Ok(Self::Full),
            "none" => return Ok(Self::None),
            _ => {}
        }
        let size = text.strip_prefix("first ").ok_or_else(unknown)?.trim();
        let (digits, unit) = match (size.strip_suffix("KiB"), size.strip_suffix("MiB")) {
            (Some(digits), _) => (digits, 1024),
            (_, Some(digits)) => (digits, 1024 * 1024),
            _ => (size, 1),
        };
        let count: usize = digits.trim().parse().map_err(|_| unknown())?;
        count.checked_mul(unit).map(Self::First).ok_or_else(unknown)
    }
}
