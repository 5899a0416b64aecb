//! A statement with the values of its parameters.
//!
//! The types of parameters are the server's to tell, and are not waited for. A value in binary form may be a number or a text, so where
//! it may be either, what counts is what the statement does with each.

use std::sync::Arc;

use bytes::Bytes;
use claviger_protocols::{Operation, Request};
use claviger_sql::{Value, with_values};

use super::Text;

/// Types that cut texts, by OID: `"char"`, `name`, `character` (PostgreSQL's `pg_type.dat`).
const CUTTING: [u32; 3] = [18, 19, 1042];

/// A statement with the values of its parameters, if what it does depends on them and they are there.
pub(super) fn with_its_values(operation: &Operation, found: Arc<Text>, read: impl Fn(&[u8]) -> Text) -> Arc<Text> {
    match &operation.request {
        Request::Execute { text: Some(text), parameters, binary, types, .. }
            if found.depends_on_values && !parameters.is_empty() && !types.iter().any(|kind| CUTTING.contains(kind)) =>
        {
            let Ok(text) = std::str::from_utf8(text) else { return found };
            let readings = filled(text, parameters, binary);
            Arc::new(Text::of_any(readings.iter().map(|text| read(text.as_bytes())).collect(), &found))
        }
        _ => found,
    }
}

/// A text with the values of its parameters in place: binary ones as numbers where they may be; and, if one of those may be a text,
/// once more as texts.
fn filled(text: &str, parameters: &[Option<Bytes>], binary: &[bool]) -> Vec<String> {
    let readings: Vec<Reading<'_>> =
        parameters.iter().enumerate().map(|(at, value)| Reading::of(value.as_deref(), binary.get(at) == Some(&true))).collect();
    let as_numbers: Vec<Value<'_>> = readings.iter().map(Reading::as_number).collect();
    let as_texts: Vec<Value<'_>> = readings.iter().map(Reading::as_text).collect();
    let mut filled = vec![with_values(text, &as_numbers)];
    if as_texts != as_numbers {
        filled.push(with_values(text, &as_texts));
    }
    filled
}

/// What a value may be.
enum Reading<'a> {
    Null,
    Is { number: Option<String>, text: Option<&'a str> },
}

impl<'a> Reading<'a> {
    fn of(value: Option<&'a [u8]>, is_binary: bool) -> Self {
        let Some(value) = value else { return Self::Null };
        // The server takes no text with a zero in it.
        let text = std::str::from_utf8(value).ok().filter(|text| !text.contains('\0'));
        Self::Is { number: if is_binary { number(value) } else { None }, text }
    }

    fn as_number(&self) -> Value<'_> {
        match self {
            Self::Null => Value::Null,
            Self::Is { number: Some(number), .. } => Value::Text(number),
            Self::Is { number: None, text } => text.map_or(Value::Unknown, Value::Text),
        }
    }

    fn as_text(&self) -> Value<'_> {
        match self {
            Self::Is { text: Some(text), .. } => Value::Text(text),
            other => other.as_number(),
        }
    }
}

/// A whole number in network order, as PostgreSQL sends them, if it has the length of one.
fn number(value: &[u8]) -> Option<String> {
    if let Ok(bytes) = <[u8; 8]>::try_from(value) {
        return Some(i64::from_be_bytes(bytes).to_string());
    }
    if let Ok(bytes) = <[u8; 4]>::try_from(value) {
        return Some(i32::from_be_bytes(bytes).to_string());
    }
    <[u8; 2]>::try_from(value).ok().map(|bytes| i16::from_be_bytes(bytes).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_values_are_read_as_all_that_they_may_be() {
        let values = |values: &[&'static [u8]]| values.iter().map(|value| Some(Bytes::from_static(value))).collect::<Vec<_>>();
        let text = "select $1, $2";
        assert_eq!(filled(text, &values(&[b"10", b"x"]), &[]), ["select  '10' ,  'x' "]);
        let ten = [0, 0, 0, 0, 0, 0, 0, 10];
        assert_eq!(filled(text, &[Some(Bytes::copy_from_slice(&ten)), None], &[true, true]), ["select  '10' ,  NULL "]);
        assert_eq!(
            filled(text, &values(&[b"abcd", b"\xff"]), &[true, true]),
            ["select  '1633837924' , $2", "select  'abcd' , $2"]
        );
    }
}
