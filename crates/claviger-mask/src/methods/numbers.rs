//! Numbers, in text and in the server's binary forms.

use std::io::Write as _;

use bytes::{BufMut, BytesMut};

use super::types::{Form, Type};

/// Appends the largest multiple of the width that is not above a number; false if there is none that could be written.
pub(super) fn bucket(width: u64, form: Form, value: &[u8], out: &mut BytesMut) -> bool {
    let Some(number) = read_floor(form, value) else { return false };
    let width = i128::from(width.max(1));
    number.div_euclid(width).checked_mul(width).is_some_and(|number| put(number, form, out))
}

/// The largest whole number that is not above one.
fn read_floor(form: Form, value: &[u8]) -> Option<i128> {
    match (form.kind, form.binary) {
        (Type::Float4 | Type::Float8, _) => {
            let float = match (form.binary, form.kind) {
                (false, _) => std::str::from_utf8(value).ok()?.parse::<f64>().ok()?,
                (true, Type::Float4) => f64::from(f32::from_be_bytes(value.try_into().ok()?)),
                (true, _) => f64::from_be_bytes(value.try_into().ok()?),
            };
            // Beyond it not every whole number can be told from its neighbours.
            #[allow(clippy::cast_possible_truncation)]
            (float.abs() <= 9_007_199_254_740_992.0).then(|| float.floor() as i128)
        }
        (Type::Numeric, true) => read_numeric(value),
        (_, true) => read_integer(form, value).map(i128::from),
        (_, false) => read_decimal(std::str::from_utf8(value).ok()?),
    }
}

/// A whole number of a type of such.
pub(super) fn read_integer(form: Form, value: &[u8]) -> Option<i64> {
    if !form.binary {
        return std::str::from_utf8(value).ok()?.parse().ok();
    }
    match form.kind {
        Type::Int2 => Some(i64::from(i16::from_be_bytes(value.try_into().ok()?))),
        Type::Int4 => Some(i64::from(i32::from_be_bytes(value.try_into().ok()?))),
        Type::Int8 => Some(i64::from_be_bytes(value.try_into().ok()?)),
        _ => None,
    }
}

fn read_decimal(text: &str) -> Option<i128> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = whole.strip_prefix('-').unwrap_or(whole);
    if !digits.bytes().all(|c| c.is_ascii_digit()) || !fraction.bytes().all(|c| c.is_ascii_digit()) || whole.len() > 30 {
        return None;
    }
    let number: i128 = whole.parse().ok()?;
    let below = whole.starts_with('-') && fraction.bytes().any(|digit| digit != b'0');
    Some(number - i128::from(below))
}

/// Four words: how many digits of base 10,000, the weight of the first, sign, scale; then the digits.
fn read_numeric(value: &[u8]) -> Option<i128> {
    let mut words = value.chunks(2).map(|word| Some(i16::from_be_bytes(word.try_into().ok()?)));
    let mut word = || words.next().flatten();
    let (count, weight, sign, _scale) = (word()?, word()?, word()?, word()?);
    // NaN and the infinities have signs of their own.
    if !matches!(sign, 0 | 0x4000) || weight > 6 || value.len() != 8 + 2 * usize::try_from(count).ok()? {
        return None;
    }
    let (mut number, mut below) = (0_i128, false);
    for place in 0..=weight.max(count.checked_sub(1)?) {
        let digit = if place < count { word()? } else { 0 };
        if !(0..10_000).contains(&digit) {
            return None;
        }
        if place <= weight {
            number = number * 10_000 + i128::from(digit);
        } else {
            below |= digit != 0;
        }
    }
    // Digits all behind the point.
    Some(if sign == 0 { number } else { -number - i128::from(below) })
}

/// Appends a whole number as a value of a type; false if it is out of its range.
pub(super) fn put(number: i128, form: Form, out: &mut BytesMut) -> bool {
    let in_range = match form.kind {
        Type::Int2 => i16::try_from(number).is_ok(),
        Type::Int4 => i32::try_from(number).is_ok(),
        Type::Int8 => i64::try_from(number).is_ok(),
        _ => true,
    };
    if !in_range {
        return false;
    }
    if !form.binary {
        _ = write!(out.writer(), "{number}");
        return true;
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
    match form.kind {
        Type::Int2 => out.put_i16(number as i16),
        Type::Int4 => out.put_i32(number as i32),
        Type::Int8 => out.put_i64(number as i64),
        Type::Float4 => out.put_f32(number as f32),
        Type::Float8 => out.put_f64(number as f64),
        Type::Numeric => put_numeric(number, out),
        _ => return false,
    }
    true
}

fn put_numeric(number: i128, out: &mut BytesMut) {
    let mut digits = [0_i16; 10];
    let (mut rest, mut count) = (number.unsigned_abs(), 0);
    for digit in digits.iter_mut().rev() {
        if rest == 0 {
            break;
        }
        *digit = i16::try_from(rest % 10_000).unwrap_or(0);
        rest /= 10_000;
        count += 1;
    }
    out.put_i16(count);
    out.put_i16((count - 1).max(0));
    out.put_i16(if number < 0 { 0x4000 } else { 0 });
    out.put_i16(0);
    let first = digits.len() - usize::try_from(count).unwrap_or(0);
    for digit in digits.iter().skip(first) {
        out.put_i16(*digit);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn form(kind: Type, binary: bool) -> Form {
        Form { kind, binary, iso_dates: true }
    }

    fn text(width: u64, kind: Type, value: &str) -> Option<String> {
        let mut out = BytesMut::new();
        bucket(width, form(kind, false), value.as_bytes(), &mut out).then(|| String::from_utf8(out.to_vec()).unwrap())
    }

    #[test]
    fn numbers_are_made_less_exact() {
        assert_eq!(text(10, Type::Int4, "57").as_deref(), Some("50"));
        assert_eq!(text(10, Type::Int4, "-57").as_deref(), Some("-60"));
        assert_eq!(text(1000, Type::Numeric, "12345.67").as_deref(), Some("12000"));
        assert_eq!(text(10, Type::Numeric, "-0.01").as_deref(), Some("-10"));
        assert_eq!(text(10, Type::Float8, "1e3").as_deref(), Some("1000"));
        assert_eq!(text(7, Type::Int2, "-32768"), None, "below what the type can hold");
        for odd in ["NaN", "Infinity", "1e300", "x", ""] {
            assert_eq!(text(10, Type::Float8, odd), None, "{odd}");
        }
        assert_eq!(text(10, Type::Numeric, "NaN"), None);
    }

    #[test]
    fn binary_numbers_are_as_the_server_writes_them() {
        let numeric = |words: &[i16]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>();
        let of = |value: &[u8]| {
            let mut out = BytesMut::new();
            bucket(100, form(Type::Numeric, true), value, &mut out).then(|| out.to_vec())
        };
        // 12345.67, -0.5, 120000, 0, NaN.
        assert_eq!(of(&numeric(&[3, 1, 0, 2, 1, 2345, 6700])), Some(numeric(&[2, 1, 0, 0, 1, 2300])));
        assert_eq!(of(&numeric(&[1, -1, 0x4000, 1, 5000])), Some(numeric(&[1, 0, 0x4000, 0, 100])));
        assert_eq!(of(&numeric(&[1, 1, 0, 0, 12])), Some(numeric(&[2, 1, 0, 0, 12, 0])));
        assert_eq!(of(&numeric(&[0, 0, 0, 0])), Some(numeric(&[0, 0, 0, 0])));
        assert_eq!(of(&numeric(&[0, 0, -0x4000, 0])), None);
        assert_eq!(of(&[0, 9, 0]), None);
        let mut out = BytesMut::new();
        assert!(bucket(10, form(Type::Int8, true), &(-1_i64).to_be_bytes(), &mut out));
        assert_eq!(out[..], (-10_i64).to_be_bytes());
    }
}
