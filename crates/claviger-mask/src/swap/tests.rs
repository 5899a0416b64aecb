//! Values leave as tokens, and come back.

use std::sync::Arc;

use claviger_model::Secret;
use proptest::prelude::*;

use super::*;
use crate::detect::{Context, Counts, CustomPattern, DetectorConfig, Detectors, Entity, EntitySet};

const TEXT: &str = "Write to ada@example.com or (415) 555-0132; SSN 536-90-4399, again ada@example.com.";

fn key(version: u32) -> MaskKey {
    MaskKey::new(&Secret::new(*b"a secret of the test's own"), version).unwrap()
}

fn swaps() -> Swaps {
    Swaps::new(&key(1), None)
}

fn detectors() -> Detectors {
    let mut on = EntitySet::ALL;
    on.remove(Entity::Url);
    let patterns = vec![CustomPattern { name: "employee".to_owned(), pattern: r"\bE-\d{4}\b".to_owned(), words: Vec::new() }];
    Detectors::new(&DetectorConfig { on, patterns, ..DetectorConfig::default() }).unwrap()
}

fn swapped(swaps: &mut Swaps, context: Context, text: &str) -> String {
    detectors().swap(text, context, swaps, &mut Counts::default()).unwrap_or_else(|| text.to_owned())
}

fn in_parts<'a>(swaps: &Arc<Swaps>, parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut restoring = Restoring::new(Arc::clone(swaps));
    let mut out = String::new();
    for part in parts {
        restoring.push(part, &mut out);
        assert!(restoring.held() <= 2 * (NAME + LETTERS + 3));
    }
    restoring.finish(&mut out);
    out
}

#[test]
fn values_become_tokens_and_tokens_values() {
    let mut swaps = swaps();
    let mut counts = Counts::default();
    let text = detectors().swap(TEXT, Context::default(), &mut swaps, &mut counts).unwrap();
    let found: Vec<_> = counts.iter().map(|(entity, count)| (entity.name(), count)).collect();
    assert_eq!(found, [("ssn", 1), ("email", 2), ("phone", 1)]);
    assert_eq!(swaps.len(), 3);
    let email = text.split_once("Write to ").unwrap().1.split_once(" or ").unwrap().0;
    assert!(email.starts_with("[email_") && email.len() == "[email_kxqdpm]".len(), "{text}");
    assert!(text.ends_with(&format!(", again {email}.")), "{text}");
    assert!(["ada", "555", "4399"].iter().all(|value| !text.contains(value)), "{text}");
    assert_eq!(swaps.restore(&text).unwrap(), TEXT);
    assert_eq!(
        swaps.restore(&text.to_uppercase().replace('_', "\\_")).unwrap(),
        TEXT.to_uppercase().replace("ADA@EXAMPLE.COM", "ada@example.com")
    );
    assert_eq!(swaps.restore("nothing, [email_aaaaaa] [ssn] a[1]"), None);
    assert_eq!(detectors().swap(&text, Context::default(), &mut swaps, &mut counts), None, "tokens stay");
}

#[test]
fn a_value_has_one_token_wherever_it_occurs() {
    let token = |swaps: &mut Swaps, text: &str| swapped(swaps, Context::default(), text);
    let ours = token(&mut swaps(), "ada@example.com");
    assert_eq!(ours, token(&mut swaps(), "ada@example.com"));
    let others = [
        token(&mut swaps(), "bob@example.com"),
        token(&mut Swaps::new(&key(2), None), "ada@example.com"),
        token(&mut Swaps::new(&key(1), Some(&[1; 16])), "ada@example.com"),
    ];
    assert!(others.iter().all(|other| *other != ours));
}

#[test]
fn values_that_meet_get_different_tokens() {
    let mut swaps = swaps();
    let first = swaps.made_of("email", "ada@example.com", 0);
    swaps.values.insert(first.clone(), Entry { value: Zeroizing::new("bob@example.com".to_owned()), age: 0 });
    let text = swapped(&mut swaps, Context::default(), "ada@example.com");
    assert_ne!(text, bracketed(&first));
    assert_eq!(swaps.restore(&text).unwrap(), "ada@example.com");
    assert_eq!(swaps.restore(&bracketed(&first)).unwrap(), "bob@example.com");
}

#[test]
fn the_oldest_are_forgotten() {
    let mut swaps = swaps().with_room(2, 1000);
    let tokens: Vec<_> = ["ada@example.com", "bob@example.com", "ada@example.com", "eve@example.com"]
        .map(|text| swapped(&mut swaps, Context::default(), text))
        .into();
    let restored: Vec<_> = tokens.iter().map(|token| swaps.restore(token)).collect();
    assert_eq!(
        restored,
        [Some("ada@example.com".to_owned()), None, Some("ada@example.com".to_owned()), Some("eve@example.com".to_owned())]
    );
    let mut swaps = swaps.with_room(100, 20);
    swapped(&mut swaps, Context::default(), "joe@example.com");
    assert_eq!((swaps.len(), swaps.bytes, swaps.ages.len()), (1, 15, 1));
    assert_eq!(swapped(&mut swaps, Context::default(), "josephine@mail.example.com"), "[email]", "no room at all");
}

#[test]
fn tokens_in_what_is_found_are_taken_back_first() {
    let mut swaps = swaps();
    let token = swapped(&mut swaps, Context::default(), "536-90-4399");
    let text = swapped(&mut swaps, Context::default(), &format!("postgres://keeper:{token}@db and {token}"));
    assert!(text.starts_with("postgres://[url_credentials_") && text.ends_with(&format!("]@db and {token}")), "{text}");
    assert_eq!(swaps.restore(&text).unwrap(), "postgres://keeper:536-90-4399@db and 536-90-4399");
}

#[test]
fn tokens_say_nothing_of_their_neighbours() {
    let text = swapped(&mut swaps(), Context::default(), "536-90-4399 912803456");
    assert!(text.ends_with("] 912803456"), "{text}");
}

#[test]
fn json_stays_json() {
    let mut swaps = swaps();
    let key = "-----BEGIN PRIVATE KEY-----\\nMI\\/E\\u0041\\n-----END PRIVATE KEY-----";
    let text = format!(r#"{{"card": 4111111111111111, "key": "{key}", "x": "\"ada@example.com\""}}"#);
    let json = swapped(&mut swaps, Context::default().json(), &text);
    let restored = swaps.restore_json(&json).unwrap();
    let expected = text.replace("4111111111111111", "\"4111111111111111\"").replace("\\/", "/").replace("\\u0041", "A");
    assert_eq!(restored, expected, "{json}");
    let token = json.split_once("\"key\": \"").unwrap().1.split_once('"').unwrap().0;
    assert_eq!(swaps.restore(token).unwrap(), "-----BEGIN PRIVATE KEY-----\nMI/EA\n-----END PRIVATE KEY-----");
    let mut out = String::new();
    let mut restoring = Restoring::new(Arc::new(swaps)).json();
    json.split_inclusive('_').for_each(|part| restoring.push(part, &mut out));
    restoring.finish(&mut out);
    assert_eq!((out, restoring.restored()), (expected, 3));
}

#[test]
fn escapes_of_all_kinds_are_read() {
    assert_eq!(*plain(r#"a\"\\\n\u00e9\ud83d\ude00\ud83dx\u12\q\"#), "a\"\\\n\u{e9}\u{1f600}\u{fffd}x\\u12\\q\\");
    let mut out = String::new();
    put("a\"\\\n\u{1}é", true, &mut out);
    assert_eq!(out, r#"a\"\\\n\u0001é"#);
}

#[test]
fn every_cut_is_as_good_as_none() {
    let mut swaps = swaps();
    let text = swapped(&mut swaps, Context::default(), TEXT)
        .replace("again ", "[again] [[email_ [e \\_ é[ ")
        .replace("email_", "Email\\_");
    let swaps = Arc::new(swaps);
    let expected = swaps.restore(&text).unwrap();
    for (at, _) in text.char_indices() {
        assert_eq!(in_parts(&swaps, [&text[..at], &text[at..]]), expected, "{at}");
    }
    assert_eq!(in_parts(&swaps, text.split_inclusive(|_| true)), expected);
    let mut restoring = Restoring::new(Arc::clone(&swaps));
    restoring.push("see note [", &mut String::new());
    assert_eq!(restoring.held(), 1);
    restoring.push("12", &mut String::new());
    assert_eq!(restoring.held(), 0, "no token begins so");
}

proptest! {
    #[test]
    fn what_leaves_has_nothing_in_it_and_comes_back(pieces in prop::collection::vec(0..crate::detect::PIECES.len(), 0..24)) {
        let text: String = pieces.iter().map(|piece| crate::detect::PIECES[*piece]).collect();
        let mut swaps = swaps();
        let swapped = swapped(&mut swaps, Context::default(), &text);
        prop_assert_eq!(swaps.restore(&swapped).unwrap_or_else(|| swapped.clone()), text);
        let mut found = Vec::new();
        detectors().scan(swapped.as_bytes(), Context::default(), &mut found);
        prop_assert!(found.is_empty(), "{:?} {:?}", swapped, found);
    }

    #[test]
    fn any_text_in_any_parts_is_as_good_as_the_whole(text in r"[\[\]_eE\\maéil]{0,40}", cut: usize) {
        let mut swaps = swaps();
        swaps.values.insert("e_a".to_owned(), Entry { value: Zeroizing::new("[e".to_owned()), age: 0 });
        swaps.values.insert("email".to_owned(), Entry { value: Zeroizing::new("_a]".to_owned()), age: 1 });
        let swaps = Arc::new(swaps);
        let at = text.floor_char_boundary(cut % (text.len() + 1));
        let expected = swaps.restore(&text).unwrap_or_else(|| text.clone());
        prop_assert_eq!(in_parts(&swaps, [&text[..at], &text[at..]]), &*expected);
        prop_assert_eq!(in_parts(&swaps, text.split_inclusive(|_| true)), expected);
    }
}
