//! PostgreSQL's types as far as values of them can be made: which there are, and for each a constant that says nothing.

use bytes::{BufMut, BytesMut};

/// What stands where a value was. Nothing else is likely to be written so.
pub const PLACEHOLDER: &str = "[masked]";

/// A type, by what its values look like (PostgreSQL manual, chapter 8; the numbers are those of its `pg_type.dat`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// `text`, `varchar`, `name`, `bpchar`.
    Text {
        /// The most characters that it takes.
        limit: Option<usize>,
        /// Whether values are filled up with spaces to that length.
        padded: bool,
    },
    /// `"char"`, a byte.
    Char,
    /// `smallint`.
    Int2,
    /// `integer`.
    Int4,
    /// `bigint`.
    Int8,
    /// `oid`.
    Oid,
    /// `real`.
    Float4,
    /// `double precision`.
    Float8,
    /// `numeric`.
    Numeric,
    /// `boolean`.
    Bool,
    /// `date`.
    Date,
    /// `timestamp`.
    Timestamp,
    /// `timestamp with time zone`.
    TimestampTz,
    /// `time`.
    Time,
    /// `time with time zone`.
    TimeTz,
    /// `interval`.
    Interval,
    /// `uuid`.
    Uuid,
    /// `json`.
    Json,
    /// `jsonb`.
    Jsonb,
    /// `bytea`.
    Bytea,
    /// `inet`.
    Inet,
    /// `cidr`.
    Cidr,
    /// `macaddr`.
    Macaddr,
    /// `macaddr8`.
    Macaddr8,
    /// An array.
    Array {
        /// The OID of its elements' type.
        element: u32,
        /// The modifier that the elements have, too; -1 for none.
        modifier: i32,
    },
    /// Any other: there is no value of it that could be made up.
    Other,
}

/// How values of a column are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// Their type.
    pub kind: Type,
    /// Whether they are in its binary form.
    pub binary: bool,
    /// Whether dates in text are as ISO 8601 writes them.
    pub iso_dates: bool,
}

/// Types with arrays: their OIDs and those of the arrays.
const ARRAYS: &[(u32, u32)] = &[
    (16, 1000),
    (17, 1001),
    (18, 1002),
    (19, 1003),
    (20, 1016),
    (21, 1005),
    (23, 1007),
    (25, 1009),
    (26, 1028),
    (114, 199),
    (650, 651),
    (700, 1021),
    (701, 1022),
    (829, 1040),
    (869, 1041),
    (1042, 1014),
    (1043, 1015),
    (1082, 1182),
    (1083, 1183),
    (1114, 1115),
    (1184, 1185),
    (1186, 1187),
    (1266, 1270),
    (1700, 1231),
    (2950, 2951),
    (3802, 3807),
];

impl Type {
    /// The type of this OID; the modifier is that of the column (`atttypmod`), -1 for none.
    pub fn of(oid: u32, modifier: i32) -> Self {
        // The modifier of a text counts the length word, of four bytes.
        let limit = usize::try_from(modifier).ok().and_then(|modifier| modifier.checked_sub(4));
        match oid {
            16 => Self::Bool,
            17 => Self::Bytea,
            18 => Self::Char,
            19 => Self::Text { limit: Some(63), padded: false },
            20 => Self::Int8,
            21 => Self::Int2,
            23 => Self::Int4,
            25 | 705 => Self::Text { limit: None, padded: false },
            26 => Self::Oid,
            114 => Self::Json,
            650 => Self::Cidr,
            700 => Self::Float4,
            701 => Self::Float8,
            774 => Self::Macaddr8,
            829 => Self::Macaddr,
            869 => Self::Inet,
            1042 => Self::Text { limit, padded: true },
            1043 => Self::Text { limit, padded: false },
            1082 => Self::Date,
            1083 => Self::Time,
            1114 => Self::Timestamp,
            1184 => Self::TimestampTz,
            1186 => Self::Interval,
            1266 => Self::TimeTz,
            1700 => Self::Numeric,
            2950 => Self::Uuid,
            3802 => Self::Jsonb,
            _ => ARRAYS
                .iter()
                .find(|(_, array)| *array == oid)
                .map_or(Self::Other, |(element, _)| Self::Array { element: *element, modifier }),
        }
    }

    /// What people call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text { .. } => "text",
            Self::Char => "\"char\"",
            Self::Int2 => "smallint",
            Self::Int4 => "integer",
            Self::Int8 => "bigint",
            Self::Oid => "oid",
            Self::Float4 => "real",
            Self::Float8 => "double precision",
            Self::Numeric => "numeric",
            Self::Bool => "boolean",
            Self::Date => "date",
            Self::Timestamp => "timestamp",
            Self::TimestampTz => "timestamp with time zone",
            Self::Time => "time",
            Self::TimeTz => "time with time zone",
            Self::Interval => "interval",
            Self::Uuid => "uuid",
            Self::Json => "json",
            Self::Jsonb => "jsonb",
            Self::Bytea => "bytea",
            Self::Inet => "inet",
            Self::Cidr => "cidr",
            Self::Macaddr => "macaddr",
            Self::Macaddr8 => "macaddr8",
            Self::Array { .. } => "an array",
            Self::Other => "a type of which no value can be made up",
        }
    }
}

impl Form {
    /// A value of the type that is the same whatever it stands for; none if only NULL is.
    pub fn constant(self) -> Option<BytesMut> {
        let mut out = BytesMut::new();
        if self.binary { self.put_binary(&mut out) } else { self.put_text(&mut out) }.then_some(out)
    }

    fn put_text(self, out: &mut BytesMut) -> bool {
        let text = match self.kind {
            Type::Text { limit, padded } => {
                put_placeholder(limit, padded, out);
                return true;
            }
            Type::Date | Type::Timestamp | Type::TimestampTz if !self.iso_dates => return false,
            Type::Other => return false,
            Type::Char => "*",
            Type::Int2 | Type::Int4 | Type::Int8 | Type::Oid | Type::Float4 | Type::Float8 | Type::Numeric => "0",
            Type::Bool => "f",
            Type::Date => "2000-01-01",
            Type::Timestamp => "2000-01-01 00:00:00",
            Type::TimestampTz => "2000-01-01 00:00:00+00",
            Type::Time | Type::Interval => "00:00:00",
            Type::TimeTz => "00:00:00+00",
            Type::Uuid => "00000000-0000-0000-0000-000000000000",
            Type::Json | Type::Jsonb => "\"[masked]\"",
            // The placeholder in hexadecimal.
            Type::Bytea => "\\x5b6d61736b65645d",
            Type::Inet => "0.0.0.0",
            Type::Cidr => "0.0.0.0/32",
            Type::Macaddr => "00:00:00:00:00:00",
            Type::Macaddr8 => "00:00:00:00:00:00:00:00",
            Type::Array { .. } => "{}",
        };
        out.put_slice(text.as_bytes());
        true
    }

    /// The forms are those of the types' send functions.
    fn put_binary(self, out: &mut BytesMut) -> bool {
        match self.kind {
            Type::Other => return false,
            Type::Text { limit, padded } => put_placeholder(limit, padded, out),
            Type::Char => out.put_u8(b'*'),
            Type::Bool => out.put_u8(0),
            Type::Int2 => out.put_bytes(0, 2),
            Type::Int4 | Type::Oid | Type::Float4 | Type::Date => out.put_bytes(0, 4),
            // A numeric of no digits is zero.
            Type::Int8 | Type::Float8 | Type::Timestamp | Type::TimestampTz | Type::Time | Type::Numeric | Type::Macaddr8 => {
                out.put_bytes(0, 8);
            }
            Type::TimeTz => out.put_bytes(0, 12),
            Type::Interval | Type::Uuid => out.put_bytes(0, 16),
            Type::Macaddr => out.put_bytes(0, 6),
            Type::Json => out.put_slice(b"\"[masked]\""),
            Type::Jsonb => out.put_slice(b"\x01\"[masked]\""),
            Type::Bytea => out.put_slice(PLACEHOLDER.as_bytes()),
            // Family, bits, whether it is a network, length, address.
            Type::Inet => out.put_slice(&[2, 32, 0, 4, 0, 0, 0, 0]),
            Type::Cidr => out.put_slice(&[2, 32, 1, 4, 0, 0, 0, 0]),
            Type::Array { element, .. } => {
                out.put_u64(0);
                out.put_u32(element);
            }
        }
        true
    }
}

/// As much of the placeholder as the type takes.
pub(super) fn put_placeholder(limit: Option<usize>, padded: bool, out: &mut BytesMut) {
    let len = limit.map_or(PLACEHOLDER.len(), |limit| limit.min(PLACEHOLDER.len()));
    out.put_slice(PLACEHOLDER.as_bytes().get(..len).unwrap_or_default());
    if let (Some(limit), true) = (limit, padded) {
        out.put_bytes(b' ', limit - len);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_placeholder_fits_its_column() {
        let of = |oid, modifier| {
            let form = Form { kind: Type::of(oid, modifier), binary: false, iso_dates: true };
            String::from_utf8(form.constant().unwrap().to_vec()).unwrap()
        };
        assert_eq!(of(25, -1), "[masked]");
        assert_eq!(of(1043, 4 + 5), "[mask");
        assert_eq!(of(1042, 4 + 11), "[masked]   ");
        assert_eq!(of(1042, 4 + 1), "[");
    }

    #[test]
    fn dates_in_a_style_of_their_own_are_null() {
        let form = Form { kind: Type::Date, binary: false, iso_dates: false };
        assert_eq!(form.constant(), None);
        assert_eq!(Form { binary: true, ..form }.constant().unwrap().len(), 4);
    }
}
