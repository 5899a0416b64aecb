//! What a client says before it is asked for its password (PostgreSQL manual, 55.2.1 and 55.2.10 to 55.2.12).

use std::str::FromStr;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use claviger_model::{Refusal, RefusalKind, UnknownWord};

use super::frame::{Reader, Violation};
use super::{settings, write};
use crate::Cancel;

/// The request for TLS, whole.
pub const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

const SSL_CODE: u32 = 80_877_103;
const GSS_CODE: u32 = 80_877_104;
const CANCEL_CODE: u32 = 80_877_102;
const MAJOR: u32 = 3;

/// The length of a cancel key's secret: until 3.0 exactly the first, from 3.2 on anything up to the last (manual, 55.7).
pub(super) const SHORT_SECRET: usize = 4;
const LONGEST_SECRET: usize = 256;
/// How long a secret of ours is where the client takes a long one, as the server's own.
const LONG_SECRET: usize = 32;

/// A version of the protocol that is spoken here. All that sets them apart is the length of cancel keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// 3.0, which every server and pooler speaks.
    #[default]
    V3_0,
    /// 3.2, of PostgreSQL 18.
    V3_2,
}

impl Version {
    fn number(self) -> u32 {
        MAJOR << 16 | if self == Self::V3_0 { 0 } else { 2 }
    }

    /// How long the secret of a cancel key is that we make for a client of this version.
    pub(super) fn secret(self) -> usize {
        if self == Self::V3_0 { SHORT_SECRET } else { LONG_SECRET }
    }
}

/// By the words of libpq's `max_protocol_version`.
impl FromStr for Version {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        match text {
            "3.0" => Ok(Self::V3_0),
            "3.2" => Ok(Self::V3_2),
            _ => Err(UnknownWord { found: text.chars().take(80).collect(), expected: "`3.0`, `3.2`" }),
        }
    }
}

/// One packet without a type byte.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Packet {
    Ssl,
    Gss,
    Cancel(Cancel),
    Startup(Startup),
}

/// A start-up message, as far as it is believed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Startup {
    pub(super) user: Option<String>,
    pub(super) database: Option<String>,
    pub(super) application: Option<String>,
    /// Settings that pass, to be passed on.
    pub(super) settings: Vec<(String, Bytes)>,
    /// The version that is spoken: the client's, or the newest of ours.
    pub(super) version: Version,
    /// What to negotiate down: the protocol options that we do not know. `None` if there is nothing to negotiate.
    pub(super) negotiate: Option<Vec<String>>,
}

/// Why a start-up packet is not taken.
pub(super) enum NotTaken {
    /// It breaks the protocol, so that no answer can be understood.
    Violation(Violation),
    /// It is answered with this.
    Refused(Refusal),
}

impl From<Refusal> for NotTaken {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Violation> for NotTaken {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

/// The length of the packet at the front, checked against the limit before anything is kept.
pub(super) fn packet_len(input: &[u8], limit: usize) -> Result<Option<usize>, Violation> {
    let Some((len, _)) = input.split_first_chunk::<4>() else { return Ok(None) };
    let len = u32::from_be_bytes(*len) as usize;
    if (8..=limit).contains(&len) { Ok(Some(len)) } else { Err(Violation("a start-up packet has an invalid length")) }
}

impl Packet {
    /// Reads a whole packet.
    pub(super) fn read(mut packet: Bytes) -> Result<Self, NotTaken> {
        packet.advance(4);
        let code = packet.try_get_u32().map_err(|_| Violation("a start-up packet is too short"))?;
        match code {
            SSL_CODE if packet.is_empty() => Ok(Self::Ssl),
            GSS_CODE if packet.is_empty() => Ok(Self::Gss),
            CANCEL_CODE => {
                let mut reader = Reader::new(packet);
                let process = reader.i32()?;
                Ok(Self::Cancel(Cancel { process, secret: secret(reader.rest())? }))
            }
            _ if code >> 16 == MAJOR => Startup::read(code & 0xffff, packet).map(Self::Startup),
            _ => Err(NotTaken::Refused(Refusal::new(RefusalKind::Unsupported, "only protocol version 3 is spoken here"))),
        }
    }
}

impl Startup {
    fn read(minor: u32, body: Bytes) -> Result<Self, NotTaken> {
        let mut reader = Reader::new(body);
        // 3.1 is as 3.0; what is newer than we know is negotiated down.
        let version = if minor < 2 { Version::V3_0 } else { Version::V3_2 };
        let mut startup = Self { version, negotiate: (minor > 2).then(Vec::new), ..Self::default() };
        let (mut seen, mut options): (Vec<String>, Bytes) = Default::default();
        loop {
            let name = reader.text()?;
            if name.is_empty() {
                break;
            }
            let value = reader.text()?;
            let name = String::from_utf8(name.to_vec()).map_err(|_| Violation("a start-up setting has an unreadable name"))?;
            if seen.contains(&name) {
                return Err(Violation("a start-up setting is given twice").into());
            }
            if name == "options" {
                options = value
            } else {
                startup.take(&name, value)?
            }
            seen.push(name);
        }
        reader.end()?;
        startup.take_options(&options)?;
        Ok(startup)
    }

    fn take(&mut self, name: &str, value: Bytes) -> Result<(), NotTaken> {
        match name {
            "user" => self.user = Some(readable(&value)?),
            "database" => self.database = Some(readable(&value)?),
            "replication" if settings::is_off(&value) => {}
            "replication" => {
                return Err(Refusal::new(RefusalKind::Unsupported, "replication does not pass this gateway").into());
            }
            _ if name.starts_with("_pq_.") => self.negotiate.get_or_insert_default().push(name.to_owned()),
            _ if is_application(name) => self.application = Some(printable(&value)),
            _ if settings::is_obsolete(name, &value) => {}
            _ => {
                settings::check(name, &value)?;
                self.settings.push((name.to_owned(), value));
            }
        }
        Ok(())
    }

    /// Takes what `options` hold, where it is not said by itself as well: that counts more (manual, 20.1.4).
    fn take_options(&mut self, options: &[u8]) -> Result<(), NotTaken> {
        let mut inside: Vec<(String, Bytes)> = Vec::new();
        for (name, value) in settings::in_options(options)? {
            if settings::is_obsolete(&name, &value) {
                continue;
            }
            if is_application(&name) {
                self.application.get_or_insert_with(|| printable(&value));
                continue;
            }
            settings::check(&name, &value)?;
            inside.retain(|(earlier, _)| !earlier.eq_ignore_ascii_case(&name));
            inside.push((name, value));
        }
        inside.retain(|(name, _)| !self.settings.iter().any(|(other, _)| other.eq_ignore_ascii_case(name)));
        self.settings.extend(inside);
        Ok(())
    }
}

fn is_application(name: &str) -> bool {
    name.eq_ignore_ascii_case("application_name")
}

/// The secret of a cancel key, if it can be one.
pub(super) fn secret(secret: Bytes) -> Result<Bytes, Violation> {
    if (SHORT_SECRET..=LONGEST_SECRET).contains(&secret.len()) {
        Ok(secret)
    } else {
        Err(Violation("a cancel key has an invalid length"))
    }
}

fn readable(value: &Bytes) -> Result<String, Violation> {
    String::from_utf8(value.to_vec()).map_err(|_| Violation("a start-up setting is not readable"))
}

/// What PostgreSQL makes of an application name: printable ASCII, at most 63 bytes.
fn printable(value: &[u8]) -> String {
    value.iter().take(63).map(|byte| if (b' '..=b'~').contains(byte) { char::from(*byte) } else { '?' }).collect()
}

/// NegotiateProtocolVersion: we speak this version and know none of these options.
pub(super) fn negotiate(version: Version, unknown: &[String]) -> Bytes {
    write::frame(b'v', |out| {
        out.put_u32(version.number());
        out.put_u32(u32::try_from(unknown.len()).unwrap_or(u32::MAX));
        for option in unknown {
            write::text(out, option.as_bytes());
        }
    })
}

/// Whether an upstream that was asked for this version answers with one that it may, and nothing else: of options we sent none.
pub(super) fn negotiated(asked: Version, frame: &Bytes) -> Result<(), Violation> {
    let mut reader = Reader::of(frame);
    let (version, unknown) = (reader.i32()?, reader.i32()?);
    reader.end()?;
    if asked > Version::V3_0 && u32::try_from(version) == Ok(Version::V3_0.number()) && unknown == 0 {
        return Ok(());
    }
    Err(Violation("a version that was not asked for"))
}

/// Our own start-up message to the upstream.
pub(super) fn startup(version: Version, user: &str, database: &str, application: &str, settings: &[(String, Bytes)]) -> Bytes {
    write::untyped(|out| {
        out.put_u32(version.number());
        let mut put = |name: &str, value: &[u8]| {
            write::text(out, name.as_bytes());
            write::text(out, value);
        };
        put("user", user.as_bytes());
        put("database", database.as_bytes());
        put("application_name", application.as_bytes());
        for (name, value) in settings {
            put(name, value);
        }
        out.put_u8(0);
    })
}

/// A request to cancel what this backend runs.
pub fn cancel_request(key: &crate::BackendKey) -> Bytes {
    write::untyped(|out: &mut BytesMut| {
        out.put_u32(CANCEL_CODE);
        out.put_i32(key.process);
        out.extend_from_slice(&key.secret);
    })
}
