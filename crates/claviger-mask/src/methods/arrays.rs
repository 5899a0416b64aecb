//! Arrays: each element is masked by itself, and how many there are, in which dimensions and which of them are NULL, stays.

use bytes::{BufMut, BytesMut};

use super::Mask;

/// The most dimensions of an array (PostgreSQL's `MAXDIM`).
const DIMENSIONS: u32 = 6;

/// Appends an array of which each element has been masked; false if it is not one that can be read.
pub(super) fn put(each: &Mask, value: &[u8], out: &mut BytesMut) -> bool {
    if each.form.binary { in_binary(each, value, out) } else { in_text(each, value, out) }.is_some()
}

/// The form of `array_send`: dimensions, whether there are NULLs, the elements' type, of each dimension length and first index; then the elements,
/// each with its length, which is -1 of NULL.
fn in_binary(each: &Mask, value: &[u8], out: &mut BytesMut) -> Option<()> {
    let (dimensions, _) = value.split_first_chunk::<4>()?;
    let dimensions = u32::from_be_bytes(*dimensions);
    if dimensions > DIMENSIONS {
        return None;
    }
    let (head, mut rest) = value.split_at_checked(12 + 8 * usize::try_from(dimensions).ok()?)?;
    let flags = out.len() + 7;
    out.put_slice(head);
    while !rest.is_empty() {
        let (len, after) = rest.split_first_chunk::<4>()?;
        let element = match i32::from_be_bytes(*len) {
            -1 => None,
            len => Some(after.split_at_checked(usize::try_from(len).ok()?)?),
        };
        rest = element.map_or(after, |(_, after)| after);
        let place = out.len();
        out.put_i32(-1);
        let some = each.put(element.map(|(element, _)| element), out);
        let written = i32::try_from(out.len() - place - 4).ok()?;
        match some {
            true => out.get_mut(place..place + 4)?.copy_from_slice(&written.to_be_bytes()),
            false => *out.get_mut(flags)? = 1,
        }
    }
    Some(())
}

/// What `array_out` writes: braces around elements, with commas between them, and before it perhaps the indices, as in `[2:3]={a,b}`.
fn in_text(each: &Mask, value: &[u8], out: &mut BytesMut) -> Option<()> {
    let start = match value.first()? {
        b'[' => value.iter().position(|byte| *byte == b'=')? + 1,
        _ => 0,
    };
    let (indices, mut rest) = value.split_at_checked(start)?;
    out.put_slice(indices);
    let (mut depth, mut element, mut masked) = (0_u32, Vec::new(), BytesMut::new());
    loop {
        let (byte, after) = rest.split_first()?;
        match byte {
            b'{' | b'}' | b',' => {
                out.put_u8(*byte);
                rest = after;
                match byte {
                    b'{' => depth += 1,
                    b'}' => depth = depth.checked_sub(1)?,
                    _ => {}
                }
                if depth == 0 {
                    return rest.is_empty().then_some(());
                }
                if depth > DIMENSIONS {
                    return None;
                }
            }
            _ => {
                element.clear();
                let quoted = *byte == b'"';
                rest = if quoted { read_quoted(after, &mut element)? } else { read_plain(rest, &mut element)? };
                let null = !quoted && element.eq_ignore_ascii_case(b"null");
                masked.clear();
                match !null && each.put(Some(&element), &mut masked) {
                    true => put_element(&masked, out),
                    false => out.put_slice(b"NULL"),
                }
            }
        }
    }
}

/// Reads up to the quote at the end; gives what follows it.
fn read_quoted<'v>(value: &'v [u8], element: &mut Vec<u8>) -> Option<&'v [u8]> {
    let mut rest = value;
    loop {
        let (byte, after) = rest.split_first()?;
        rest = after;
        match byte {
            b'"' => return Some(rest),
            b'\\' => {
                let (escaped, after) = rest.split_first()?;
                element.push(*escaped);
                rest = after;
            }
            byte => element.push(*byte),
        }
    }
}

/// Reads up to what ends an element.
fn read_plain<'v>(value: &'v [u8], element: &mut Vec<u8>) -> Option<&'v [u8]> {
    let end = value.iter().position(|byte| matches!(byte, b',' | b'}' | b'{'))?;
    let (plain, rest) = value.split_at_checked(end)?;
    element.extend_from_slice(plain);
    (!plain.contains(&b'"')).then_some(rest)
}

/// As `array_out` writes an element: in quotes where it could be read as something else.
fn put_element(element: &[u8], out: &mut BytesMut) {
    let special = |byte: &u8| matches!(byte, b'"' | b'\\' | b'{' | b'}' | b',' | b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c);
    if !element.is_empty() && !element.iter().any(special) && !element.eq_ignore_ascii_case(b"null") {
        return out.put_slice(element);
    }
    out.put_u8(b'"');
    for byte in element {
        if matches!(byte, b'"' | b'\\') {
            out.put_u8(b'\\');
        }
        out.put_u8(*byte);
    }
    out.put_u8(b'"');
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;

    use proptest::prelude::*;

    use super::super::{Form, Masks, Method, Type};
    use super::*;

    /// An array of this type, with this modifier, masked.
    fn masked(method: Method, (oid, modifier): (u32, i32), binary: bool, value: &[u8]) -> Option<Vec<u8>> {
        let masks = Masks::new(vec![("pii".into(), method)], None).unwrap();
        let form = Form { kind: Type::of(oid, modifier), binary, iso_dates: true };
        let labels: claviger_model::Labels = Arc::from([Arc::from("pii")]);
        let mut out = BytesMut::from("x");
        let some = masks.mask(&labels, form, &[0; 16]).unwrap().put(Some(value), &mut out);
        some.then(|| out.get(1..).unwrap_or_default().to_vec())
    }

    fn text(method: Method, oid: u32, value: &str) -> Option<String> {
        masked(method, (oid, -1), false, value.as_bytes()).map(|masked| String::from_utf8(masked).unwrap())
    }

    const LAST: Method = Method::Partial { first: 0, last: 4 };

    #[test]
    fn elements_are_masked_and_their_places_stay() {
        for (value, expected) in [
            ("{123-45-6789,NULL,987-65-4321}", "{*******6789,NULL,*******4321}"),
            (r#"{{"a,b c","NULL"},{"\"\\x",nothing}}"#, r#"{{"*,b c",****},{***,***hing}}"#),
            ("[2:3][0:0]={{12345},{NULL}}", "[2:3][0:0]={{*2345},{NULL}}"),
            ("{}", "{}"),
            (r#"{""}"#, r#"{""}"#),
        ] {
            assert_eq!(text(LAST, 1009, value).as_deref(), Some(expected), "{value}");
        }
        assert_eq!(text(Method::Bucket { width: 10 }, 1007, "{{57,-3},{NULL,60}}").as_deref(), Some("{{50,-10},{NULL,60}}"));
        assert_eq!(
            text(Method::Bucket { width: 10 }, 1005, "{-32768,1}").as_deref(),
            Some("{NULL,0}"),
            "of one nothing can be made"
        );
        assert_eq!(text(Method::Redact, 1009, "{a,b}").as_deref(), Some("{}"));
        // The elements of `varchar(5)[]` take as much as its modifier says.
        assert_eq!(masked(Method::EmailDomain, (1015, 9), false, b"{nobody}"), Some(b"{[mask}".to_vec()));
    }

    fn array(flags: u32, elements: &[Option<&[u8]>]) -> Vec<u8> {
        let words = [1, flags, 25, u32::try_from(elements.len()).unwrap(), 1];
        let mut array: Vec<u8> = words.iter().flat_map(|word: &u32| word.to_be_bytes()).collect();
        for element in elements {
            array.extend(element.map_or(-1, |element| i32::try_from(element.len()).unwrap()).to_be_bytes());
            array.extend(element.unwrap_or_default());
        }
        array
    }

    #[test]
    fn binary_arrays_keep_their_heads() {
        let of = |method, oid, value: &[u8]| masked(method, (oid, -1), true, value);
        let value = array(1, &[Some(b"123-45-6789"), None, Some(b"")]);
        assert_eq!(of(LAST, 1009, &value), Some(array(1, &[Some(b"*******6789"), None, Some(b"")])));
        // What becomes NULL is announced.
        let least = array(0, &[Some(&i16::MIN.to_be_bytes())]);
        assert_eq!(of(Method::Bucket { width: 10 }, 1005, &least), Some(array(1, &[None])));
        assert_eq!(of(LAST, 1009, &[0; 12]), Some(vec![0; 12]), "no element, no dimension");
        for wrong in [&value[..value.len() - 1], &[0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 25][..], b"{a}"] {
            assert_eq!(of(LAST, 1009, wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn what_is_no_array_is_left_out() {
        for wrong in ["", "{", "{a", "a", "}", "{a}}", "{\"a}", "[1:2]", "{a\"b}", "{{{{{{{a}}}}}}}", "{a\\"] {
            assert_eq!(text(LAST, 1009, wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(value in proptest::collection::vec(any::<u8>(), 0..60), binary: bool) {
            masked(LAST, (1009, -1), binary, &value);
        }

        #[test]
        fn texts_of_any_kind_are_read_as_they_were_written(elements in proptest::collection::vec("[a-c\"\\\\{}, ]{0,6}|NULL", 1..5)) {
            let mut written = BytesMut::from("{");
            for (n, element) in elements.iter().enumerate() {
                if n > 0 { written.put_u8(b','); }
                put_element(element.as_bytes(), &mut written);
            }
            written.put_u8(b'}');
            // Each character is a star, and nothing else is.
            let all = masked(Method::Partial { first: 0, last: 0 }, (1009, -1), false, &written).unwrap();
            let stars = elements.iter().map(|element| element.trim_end_matches(' ').len()).sum::<usize>();
            prop_assert_eq!(all.iter().filter(|byte| **byte == b'*').count(), stars);
        }
    }
}
