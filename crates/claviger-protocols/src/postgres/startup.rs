//! What a client sends before it is somebody: packets without a type byte (manual, 55.7, StartupMessage and its kin).

use bytes::{BufMut, Bytes, BytesMut};

use super::frame::{Reader, frame};
use super::refuse::Fault;

/// The settings that a client may bring to the upstream's session. Everything else a client may set by statement, where policy
/// sees it; `options` in particular could set a role or load a library.
const ALLOWED: [&str; 5] = ["client_encoding", "DateStyle", "TimeZone", "IntervalStyle", "extra_float_digits"];

/// The first packet, or the first after a refused encryption.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Packet {
    Ssl,
    GssEncryption,
    Cancel { process: i32, secret: Bytes },
    Startup(Startup),
}

/// A StartupMessage, as far as it matters.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Startup {
    pub(super) user: Option<String>,
    pub(super) database: Option<String>,
    pub(super) application: Option<String>,
    /// The allowed settings, for the upstream.
    pub(super) settings: Vec<(&'static str, String)>,
    /// What the client must be told that it will not get, if anything.
    pub(super) negotiation: Option<Bytes>,
}

/// Takes a packet from the front of `input`, once it is all there.
pub(super) fn take(input: &mut BytesMut, limit: usize) -> Result<Option<Packet>, Fault> {
    let Some(len) = input.first_chunk::<4>() else { return Ok(None) };
    let len = usize::try_from(u32::from_be_bytes(*len)).unwrap_or(usize::MAX);
    if len < 8 {
        return Err(Fault::Client("malformed start-up message"));
    }
    if len > limit {
        return Err(Fault::TooLarge { len, limit });
    }
    if input.len() < len {
        return Ok(None);
    }
    let packet = input.split_to(len).freeze();
    parse(&packet).map(Some)
}

fn parse(packet: &Bytes) -> Result<Packet, Fault> {
    let mut reader = Reader::new(packet);
    reader.i32()?;
    match reader.i32()? {
        80_877_103 if reader.is_empty() => Ok(Packet::Ssl),
        80_877_104 if reader.is_empty() => Ok(Packet::GssEncryption),
        80_877_102 => {
            let process = reader.i32()?;
            let secret = reader.rest();
            // Four bytes in protocol 3.0, up to 256 in 3.2.
            if !(4..=256).contains(&secret.len()) {
                return Err(Fault::Client("malformed cancel request"));
            }
            Ok(Packet::Cancel { process, secret: Bytes::copy_from_slice(secret) })
        }
        version if version >> 16 == 3 => startup(reader, version & 0xffff).map(Packet::Startup),
        _ => Err(Fault::Unsupported("only protocol version 3 is supported")),
    }
}

fn startup(mut reader: Reader<'_>, minor: i32) -> Result<Startup, Fault> {
    let mut startup = Startup::default();
    let mut seen: Vec<&str> = Vec::new();
    let mut unknown: Vec<&str> = Vec::new();
    loop {
        let name = text(reader.text()?)?;
        if name.is_empty() {
            break;
        }
        let value = text(reader.text()?)?;
        if seen.iter().any(|earlier| earlier.eq_ignore_ascii_case(name)) {
            return Err(Fault::Client("a start-up parameter is given twice"));
        }
        seen.push(name);
        match name {
            "user" => startup.user = Some(value.to_owned()),
            "database" => startup.database = Some(value.to_owned()),
            "application_name" => startup.application = Some(printable(value)),
            "replication" if !matches!(value.to_ascii_lowercase().as_str(), "false" | "off" | "0" | "no") => {
                return Err(Fault::Unsupported("replication is not supported"));
            }
            _ if name.starts_with("_pq_.") => unknown.push(name),
            _ => {
                if let Some(allowed) = ALLOWED.iter().find(|allowed| allowed.eq_ignore_ascii_case(name)) {
                    startup.settings.push((allowed, value.to_owned()));
                }
            }
        }
    }
    reader.finish()?;
    if minor > 0 || !unknown.is_empty() {
        startup.negotiation = Some(negotiation(&unknown));
    }
    Ok(startup)
}

/// NegotiateProtocolVersion: 3.0, and the options that are not understood.
fn negotiation(unknown: &[&str]) -> Bytes {
    let mut body = BytesMut::new();
    body.put_u32(3 << 16);
    body.put_u32(u32::try_from(unknown.len()).unwrap_or(u32::MAX));
    for name in unknown {
        body.put_slice(name.as_bytes());
        body.put_u8(0);
    }
    frame(b'v', &[&body])
}

fn text(bytes: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(bytes).map_err(|_| Fault::Client("a start-up parameter is not UTF-8"))
}

/// Printable, and no longer than a name in PostgreSQL.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).take(63).collect()
}
