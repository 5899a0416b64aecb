//! Leaves read back: one line of the log, and the facts in it that tie leaves together.
//!
//! A line is taken only if writing it again gives the same bytes. Two texts with one meaning would be two hashes for one fact.

use claviger_model::{BootId, OpId, SessionId, Timestamp};
use serde_json::{Map, Value};

use crate::canonical::{MAX_INTEGER, MAX_LEAF, write_number, write_text};
use crate::hex;
use crate::leaf::{ChunkRef, LeafType};

/// What is wrong with a line of the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// It is longer than any leaf.
    #[error("the line is too long")]
    TooLong,
    /// It is not JSON.
    #[error("the line is not JSON")]
    NotJson,
    /// It is JSON in another form than the canonical one.
    #[error("the line is not canonical")]
    NotCanonical,
    /// A key that every leaf of its type has is absent or of the wrong form.
    #[error("`{0}` is absent or malformed")]
    Field(&'static str),
}

/// The facts of a leaf that tie it to others.
#[derive(Clone, Debug)]
pub struct Line {
    /// Its place.
    pub seq: u64,
    /// The run of the gateway that wrote it.
    pub boot: BootId,
    /// When it happened.
    pub time: Timestamp,
    /// What kind of leaf it is.
    pub kind: LeafType,
    /// The session, in every leaf about one.
    pub session: Option<SessionId>,
    /// The operation, in every leaf about one.
    pub op: Option<OpId>,
    /// The recording chunk that it refers to.
    pub rec: Option<ChunkRef>,
    /// Everything.
    pub fields: Map<String, Value>,
}

impl Line {
    /// Reads a line, given without its line end.
    pub fn parse(line: &[u8]) -> Result<Self, LineError> {
        if line.len() > MAX_LEAF {
            return Err(LineError::TooLong);
        }
        let value: Value = serde_json::from_slice(line).map_err(|_| LineError::NotJson)?;
        if canonical(&value).is_none_or(|again| again != line) {
            return Err(LineError::NotCanonical);
        }
        let Value::Object(fields) = value else { return Err(LineError::NotJson) };
        Self::from_fields(fields)
    }

    fn from_fields(fields: Map<String, Value>) -> Result<Self, LineError> {
        use LeafType as T;
        let number = |key: &'static str| fields.get(key).and_then(Value::as_u64).ok_or(LineError::Field(key));
        let text = |key: &'static str| fields.get(key).and_then(Value::as_str).ok_or(LineError::Field(key));
        if number("v")? != 1 {
            return Err(LineError::Field("v"));
        }
        let kind = LeafType::from_name(text("type")?).ok_or(LineError::Field("type"))?;
        let session = match kind {
            // An approval may outlive the session that it was asked for in.
            T::Boot | T::Recovery | T::Admin | T::Refusals | T::Approval | T::Access => None,
            _ => Some(text("session")?.parse().map_err(|_| LineError::Field("session"))?),
        };
        let op = match kind {
            T::Request | T::Intent | T::Outcome => Some(OpId(number("op")?)),
            _ => None,
        };
        Ok(Self {
            seq: number("seq")?,
            boot: hex::decode(text("boot")?).map(BootId::new).ok_or(LineError::Field("boot"))?,
            time: parse_time(text("time")?).ok_or(LineError::Field("time"))?,
            rec: fields.get("rec").map(|rec| parse_chunk(rec).ok_or(LineError::Field("rec"))).transpose()?,
            kind,
            session,
            op,
            fields,
        })
    }

    /// Whether the leaf carries a decision that lets something through.
    pub fn permitted(&self) -> bool {
        self.fields.get("decision").and_then(|decision| decision.get("verdict")).and_then(Value::as_str) == Some("permit")
    }
}

fn parse_chunk(rec: &Value) -> Option<ChunkRef> {
    Some(ChunkRef { chunk: rec.get("chunk")?.as_u64()?, digest: hex::decode(rec.get("digest")?.as_str()?)? })
}

/// The inverse of [`Timestamp`]'s form in text. The days are Howard Hinnant's `days_from_civil`.
fn parse_time(text: &str) -> Option<Timestamp> {
    let field = |range: std::ops::Range<usize>| text.get(range)?.parse::<i64>().ok();
    let (year, month, day) = (field(0..4)?, field(5..7)?, field(8..10)?);
    let (hour, minute, second, fraction) = (field(11..13)?, field(14..16)?, field(17..19)?, field(20..26)?);
    let shifted_year = year - i64::from(month <= 2);
    let (era, year_of_era) = (shifted_year.div_euclid(400), shifted_year.rem_euclid(400));
    let day_of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let days = era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468;
    let time = Timestamp::from_micros((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000 + fraction);
    // One form for one time: this also catches a 13th month and a 25th hour.
    (time.to_string() == text).then_some(time)
}

fn canonical(value: &Value) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(1024);
    write_value(value, &mut out).then_some(out)
}

/// Writes a value in canonical form; false if it holds a number that no leaf holds.
fn write_value(value: &Value, out: &mut Vec<u8>) -> bool {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(flag) => out.extend_from_slice(if *flag { b"true" } else { b"false" }),
        Value::Number(number) => return write_integer(number, out),
        Value::String(text) => write_text(text, usize::MAX, out),
        Value::Array(items) => {
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                if !write_value(item, out) {
                    return false;
                }
            }
            out.push(b']');
        }
        Value::Object(fields) => return write_fields(fields, out),
    }
    true
}

fn write_fields(fields: &Map<String, Value>, out: &mut Vec<u8>) -> bool {
    let mut sorted: Vec<_> = fields.iter().collect();
    // RFC 8785 §3.2.3: by UTF-16 code units.
    sorted.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
    out.push(b'{');
    for (i, (key, value)) in sorted.into_iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write_text(key, usize::MAX, out);
        out.push(b':');
        if !write_value(value, out) {
            return false;
        }
    }
    out.push(b'}');
    true
}

fn write_integer(number: &serde_json::Number, out: &mut Vec<u8>) -> bool {
    let (negative, magnitude) = match (number.as_u64(), number.as_i64()) {
        (Some(magnitude), _) => (false, magnitude),
        (None, Some(integer)) => (true, integer.unsigned_abs()),
        (None, None) => return false,
    };
    if negative {
        out.push(b'-');
    }
    write_number(magnitude, out);
    magnitude <= MAX_INTEGER
}
