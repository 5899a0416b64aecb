//! What a client says before it is asked for its password (PostgreSQL manual, 55.2.1 and 55.2.10 to 55.2.12).

use bytes::{Buf, BufMut, Bytes, BytesMut};
use claviger_model::{Refusal, RefusalKind};

use super::frame::{Reader, Violation};
use super::write;
use crate::Cancel;

/// The request for TLS, whole.
pub const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

const SSL_CODE: u32 = 80_877_103;
const GSS_CODE: u32 = 80_877_104;
const CANCEL_CODE: u32 = 80_877_102;
const MAJOR: u32 = 3;

/// The settings that a client may bring along. None of them changes how a statement is read or who runs it.
const ALLOWED: &[&str] = &["client_encoding", "datestyle", "timezone", "intervalstyle", "extra_float_digits"];

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
    /// Allowed settings, to be passed on.
    pub(super) settings: Vec<(String, Bytes)>,
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
                Ok(Self::Cancel(Cancel { process, secret: reader.rest() }))
            }
            _ if code >> 16 == MAJOR => Startup::read(code & 0xffff, packet).map(Self::Startup),
            _ => Err(NotTaken::Refused(Refusal::new(RefusalKind::Unsupported, "only protocol version 3 is spoken here"))),
        }
    }
}

impl Startup {
    fn read(minor: u32, body: Bytes) -> Result<Self, NotTaken> {
        let mut reader = Reader::new(body);
        let mut startup = Self { negotiate: (minor > 0).then(Vec::new), ..Self::default() };
        let mut seen: Vec<String> = Vec::new();
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
            startup.take(&name, value)?;
            seen.push(name);
        }
        reader.end()?;
        Ok(startup)
    }

    fn take(&mut self, name: &str, value: Bytes) -> Result<(), NotTaken> {
        match name {
            "user" => self.user = Some(readable(&value)?),
            "database" => self.database = Some(readable(&value)?),
            "application_name" => self.application = Some(printable(&value)),
            "replication" if !matches!(&value[..], b"false" | b"off" | b"no" | b"0") => {
                return Err(NotTaken::Refused(Refusal::new(RefusalKind::Unsupported, "replication does not pass this gateway")));
            }
            _ if name.starts_with("_pq_.") => self.negotiate.get_or_insert_with(Vec::new).push(name.to_owned()),
            _ if ALLOWED.iter().any(|allowed| allowed.eq_ignore_ascii_case(name)) => {
                self.settings.push((name.to_owned(), value));
            }
            // `options` and every other setting could change what a statement means; the upstream keeps its defaults.
            _ => {}
        }
        Ok(())
    }
}

fn readable(value: &Bytes) -> Result<String, Violation> {
    String::from_utf8(value.to_vec()).map_err(|_| Violation("a start-up setting is not readable"))
}

/// What PostgreSQL makes of an application name: printable ASCII, at most 63 bytes.
fn printable(value: &[u8]) -> String {
    value.iter().take(63).map(|byte| if (b' '..=b'~').contains(byte) { char::from(*byte) } else { '?' }).collect()
}

/// NegotiateProtocolVersion: we speak 3.0 and know none of these options.
pub(super) fn negotiate(unknown: &[String]) -> Bytes {
    write::frame(b'v', |out| {
        out.put_u32(MAJOR << 16);
        out.put_u32(u32::try_from(unknown.len()).unwrap_or(u32::MAX));
        for option in unknown {
            write::text(out, option.as_bytes());
        }
    })
}

/// Our own start-up message to the upstream.
pub(super) fn startup(user: &str, database: &str, application: &str, settings: &[(String, Bytes)]) -> Bytes {
    write::untyped(|out| {
        out.put_u32(MAJOR << 16);
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
