#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use claviger_model::Secret;
use proptest::prelude::*;

use super::*;

const SESSION: [u8; 16] = [7; 16];
const OIDS: &[u32] = &[
    16, 17, 18, 19, 20, 21, 23, 25, 26, 114, 142, 650, 700, 701, 774, 790, 829, 869, 1007, 1009, 1042, 1043, 1082, 1083, 1114,
    1184, 1186, 1266, 1700, 2950, 3802, 16_400,
];

fn key() -> Option<MaskKey> {
    MaskKey::new(&Secret::new(*b"a secret of the test's own"), 1)
}

fn labels(labels: &[&str]) -> Labels {
    labels.iter().map(|label| Arc::from(*label)).collect()
}

fn form(oid: u32, binary: bool) -> Form {
    Form { kind: Type::of(oid, -1), binary, iso_dates: true }
}

fn mask(method: Method, oid: u32, binary: bool) -> Result<Mask, Misfit> {
    Masks::new(vec![("pii".into(), method)], key()).unwrap().mask(&labels(&["pii"]), form(oid, binary), &SESSION)
}

fn put(mask: &Mask, value: Option<&[u8]>) -> Option<Vec<u8>> {
    let mut out = BytesMut::from("before");
    let some = mask.put(value, &mut out);
    assert!(out.starts_with(b"before"), "what was there stays");
    let written = out.split_off(6);
    assert!(some || written.is_empty(), "NULL has no bytes");
    some.then(|| written.to_vec())
}

fn text(method: Method, oid: u32, value: &str) -> Option<String> {
    put(&mask(method, oid, false).unwrap(), Some(value.as_bytes())).map(|bytes| String::from_utf8(bytes).unwrap())
}

const METHODS: [Method; 10] = [
    Method::Redact,
    Method::Null,
    Method::Partial { first: 1, last: 2 },
    Method::Length,
    Method::Token { session: false },
    Method::Ff1,
    Method::DateShift { days: 100, session: false },
    Method::Bucket { width: 10 },
    Method::Truncate { unit: Unit::Year },
    Method::EmailDomain,
];

#[test]
fn the_first_label_that_has_a_method_says_which() {
    let methods = vec![("card".into(), Method::Partial { first: 0, last: 4 }), ("pii".into(), Method::Null)];
    let masks = Masks::new(methods, None).unwrap();
    assert_eq!(masks.method(&labels(&["card", "pii"])), Method::Partial { first: 0, last: 4 });
    assert_eq!(masks.method(&labels(&["pii", "secret"])), Method::Null);
    assert_eq!(masks.method(&labels(&["secret"])), Method::Redact);
    assert!(Masks::new(vec![("pii".into(), Method::Ff1)], None).is_none(), "there is no key");
}

#[test]
fn methods_fit_the_types_that_they_make_values_of() {
    assert_eq!(
        mask(Method::Partial { first: 0, last: 4 }, 23, false).err().unwrap().to_string(),
        "`partial` does not mask integer"
    );
    assert_eq!(mask(Method::Bucket { width: 5 }, 25, false).err().unwrap().to_string(), "`bucket` does not mask text");
    assert!(mask(Method::DateShift { days: 1, session: false }, 1184, true).is_ok());
    for oid in OIDS {
        assert!(mask(Method::Redact, *oid, true).is_ok() && mask(Method::Null, *oid, false).is_ok(), "{oid}");
    }
}

#[test]
fn values_are_rewritten() {
    assert_eq!(text(Method::Redact, 25, "123-45-6789").as_deref(), Some("[masked]"));
    assert_eq!(text(Method::Redact, 23, "42").as_deref(), Some("0"));
    assert_eq!(text(Method::Null, 25, "x"), None);
    assert_eq!(text(Method::Redact, 16_400, "gold"), None, "of an enumeration no value can be made up");
    assert_eq!(text(Method::EmailDomain, 25, "ana@bank.example").as_deref(), Some("masked@bank.example"));
    assert_eq!(text(Method::EmailDomain, 25, "123-45-6789").as_deref(), Some("[masked]"));
    assert_eq!(text(Method::Bucket { width: 1000 }, 1700, "58123.50").as_deref(), Some("58000"));
    assert_eq!(text(Method::Truncate { unit: Unit::Year }, 1082, "1987-03-17").as_deref(), Some("1987-01-01"));
    assert_eq!(text(Method::Truncate { unit: Unit::Year }, 1082, "infinity"), None);
}

#[test]
fn encrypted_values_look_like_the_others() {
    let card = text(Method::Ff1, 25, "4111 1111 1111 1111").unwrap();
    assert_ne!(card, "4111 1111 1111 1111");
    assert!(card.len() == 19 && card.split(' ').all(|part| part.len() == 4 && part.bytes().all(|c| c.is_ascii_digit())));
    let iban = text(Method::Ff1, 25, "DE89370400440532013000").unwrap();
    assert!(iban.len() == 22 && iban.bytes().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit()));
    assert_eq!(text(Method::Ff1, 25, "12345").as_deref(), Some("[masked]"), "too few digits to hide in");
    assert_eq!(text(Method::Ff1, 25, "Żółw 123456").as_deref(), Some("[masked]"));
    for number in ["1", "-999999", "1234567", "2147483647", "-2147483648"] {
        let encrypted = text(Method::Ff1, 23, number);
        assert!(encrypted.is_none_or(|encrypted| encrypted.parse::<i32>().is_ok()), "{number}");
    }
}

#[test]
fn dates_of_one_label_are_moved_alike_and_may_be_moved_otherwise_in_each_session() {
    let of = |session: bool, id: u8, value: &[u8]| {
        let masks = Masks::new(vec![("pii".into(), Method::DateShift { days: 3650, session })], key()).unwrap();
        put(&masks.mask(&labels(&["pii"]), form(1082, true), &[id; 16]).unwrap(), Some(value)).unwrap()
    };
    let day = |bytes: Vec<u8>| i32::from_be_bytes(bytes.try_into().unwrap());
    let shift = |session, id, from: i32| day(of(session, id, &from.to_be_bytes())) - from;
    assert_eq!(shift(false, 1, 0), shift(false, 2, 8825), "the distance stays");
    let offsets: std::collections::BTreeSet<i32> = (0..8).map(|id| shift(true, id, 0)).collect();
    assert!(offsets.len() > 4 && !offsets.contains(&0), "{offsets:?}");
    assert_eq!(shift(true, 1, 0), shift(true, 1, 1000));
}

#[test]
fn tokens_join_across_forms_of_the_same_type() {
    let token =
        |oid, binary, value: &[u8]| put(&mask(Method::Token { session: false }, oid, binary).unwrap(), Some(value)).unwrap();
    assert_eq!(token(25, false, b"x"), token(1043, true, b"x"));
    let text = String::from_utf8(token(2950, false, b"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")).unwrap();
    let binary =
        token(2950, true, &[0xa0, 0xee, 0xbc, 0x99, 0x9c, 0x0b, 0x4e, 0xf8, 0xbb, 0x6d, 0x6b, 0xb9, 0xbd, 0x38, 0x0a, 0x11]);
    assert_eq!(text.replace('-', ""), binary.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    let number: i64 = String::from_utf8(token(20, false, b"-7")).unwrap().parse().unwrap();
    assert_eq!(token(20, true, &(-7_i64).to_be_bytes()), number.to_be_bytes());
    assert!(number > 0);
}

#[test]
fn what_stands_for_values_is_known_again() {
    let masks = Masks::new(vec![("pii".into(), Method::Token { session: false })], key()).unwrap();
    for method in [Method::Redact, Method::Token { session: true }] {
        assert!(masks.is_ours(text(method, 25, "123-45-6789").unwrap().as_bytes()), "{method:?}");
    }
    assert!(masks.is_ours(b"insert into t values ('x[masked:us_ssn] y')"));
    let partial = Masks::new(vec![("pii".into(), Method::Partial { first: 0, last: 4 })], None).unwrap();
    assert!(partial.is_ours(text(Method::Partial { first: 0, last: 4 }, 25, "123-45-6789").unwrap().as_bytes()));
    assert!(!masks.is_ours(b"*******6789"), "where nothing is masked so, it is a text like others");
    for text in ["", "[mask", "[masked", "the masked ball", "[masked tape]", "tok_ens"] {
        assert!(!masks.is_ours(text.as_bytes()), "{text}");
    }
}

proptest! {
    /// What is made of masked values is always the same, and NULL stays NULL where only the value is masked.
    #[test]
    fn made_values_depend_on_nothing(value in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40)), binary: bool) {
        for oid in OIDS {
            let made = Masks::made(form(*oid, binary));
            prop_assert_eq!(put(&made, value.as_deref()), put(&made, None));
            for method in METHODS {
                if let Ok(mask) = mask(method, *oid, binary) {
                    prop_assert_eq!(put(&mask, None), None);
                }
            }
        }
    }

    /// No bytes make a method fail, and a keyed one gives the same for the same.
    #[test]
    fn any_value_is_survived(value in proptest::collection::vec(any::<u8>(), 0..40), binary: bool, limit in -1_i32..40) {
        for oid in OIDS {
            for method in METHODS {
                let form = Form { kind: Type::of(*oid, limit), binary, iso_dates: true };
                let masks = Masks::new(vec![("pii".into(), method)], key()).unwrap();
                if let Ok(mask) = masks.mask(&labels(&["pii"]), form, &SESSION) {
                    prop_assert_eq!(put(&mask, Some(&value)), put(&mask, Some(&value)));
                }
            }
        }
    }

    /// A text that is not longer than its column stays so.
    #[test]
    fn texts_keep_to_their_limit(value in "\\PC{0,30}", padded: bool) {
        let limit = value.chars().count();
        let kind = Type::Text { limit: Some(limit), padded };
        for method in METHODS {
            let masks = Masks::new(vec![("pii".into(), method)], key()).unwrap();
            let form = Form { kind, binary: false, iso_dates: true };
            if let Ok(mask) = masks.mask(&labels(&["pii"]), form, &SESSION)
                && let Some(text) = put(&mask, Some(value.as_bytes()))
            {
                prop_assert!(String::from_utf8(text).unwrap().chars().count() <= limit, "{:?}", method);
            }
        }
    }
}
