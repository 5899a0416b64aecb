//! What leaves of a text in parts is what masking makes of the whole, however it is cut.

use std::sync::Arc;

use proptest::prelude::*;

use crate::detect::tests::PIECES;
use crate::detect::*;

/// Patterns of all sorts: words, without an end, over lines, with conditions at both ends, of other alphabets.
const PATTERNS: &[(&str, &str, &[&str])] = &[
    ("employee", r"\bE-\d{4}\b", &["badge"]),
    ("ticket", r"[A-Z]{2,5}-\d+", &[]),
    ("project", r"(?i)project \w+", &[]),
    ("quoted", r"<<[^>]*>>", &[]),
    ("room", r"(?m)^room \d+$", &[]),
    ("greek", r"\b[α-ω]{3,}\b", &[]),
    ("last", r"fin\z", &[]),
];

fn all(on: EntitySet, patterns: &[(&str, &str, &[&str])]) -> Arc<Detectors> {
    let pattern = |(name, pattern, words): &(&str, &str, &[&str])| CustomPattern {
        name: (*name).to_owned(),
        pattern: (*pattern).to_owned(),
        words: words.iter().map(|word| (*word).to_owned()).collect(),
    };
    let patterns: Vec<_> = patterns.iter().map(pattern).collect();
    let words = ["Falcon", "fox jumps", "jumps over", "lazy dogma", "the", "客户", "例例", "4399", "x/", "Müller", "ssn"];
    let words = words.iter().map(|word| (*word).to_owned()).collect();
    let terms = if patterns.is_empty() { Vec::new() } else { vec![TermList { name: "term".to_owned(), words }] };
    Arc::new(Detectors::new(&DetectorConfig { on, patterns, terms, ..DetectorConfig::default() }).unwrap())
}

fn without_urls() -> EntitySet {
    let mut on = EntitySet::ALL;
    on.remove(Entity::Url);
    on
}

fn whole(detectors: &Detectors, context: Context, text: &str) -> (String, Counts) {
    let mut counts = Counts::default();
    (String::from_utf8(detectors.mask(text.as_bytes(), context, &mut counts).into_owned()).unwrap(), counts)
}

fn parts<'a>(detectors: &Arc<Detectors>, context: Context, of: impl IntoIterator<Item = &'a str>) -> (String, Counts) {
    let mut parts = Parts::new(Arc::clone(detectors), context);
    let mut out = String::new();
    of.into_iter().for_each(|part| parts.push(part, &mut out));
    parts.finish(&mut out);
    assert_eq!(parts.held(), 0);
    (out, parts.counts().clone())
}

/// Where two texts begin to differ, and how.
fn difference((one, ones): &(String, Counts), (other, others): &(String, Counts)) -> Option<String> {
    let same = one.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
    let around = |text: &str| {
        let (start, end) = (text.floor_char_boundary(same.saturating_sub(90)), text.ceil_char_boundary(same + 40));
        text[start..end].to_owned()
    };
    (one != other || ones != others).then(|| format!("{:?}, the whole {:?}; {ones:?}, {others:?}", around(one), around(other)))
}

fn characters(text: &str) -> impl Iterator<Item = &str> {
    text.char_indices().map(|(at, c)| &text[at..at + c.len_utf8()])
}

/// Cut at all of these places, as far as they are between characters.
fn cut<'a>(text: &'a str, places: &[usize]) -> Vec<&'a str> {
    let mut places: Vec<_> = places.iter().map(|place| text.floor_char_boundary(place % (text.len() + 1))).collect();
    places.sort_unstable();
    places.push(text.len());
    let mut start = 0;
    places.into_iter().map(|end| &text[std::mem::replace(&mut start, end)..end]).collect()
}

fn fixtures() -> impl Iterator<Item = (&'static str, String)> {
    let lines = include_str!("../found.txt").lines().chain(include_str!("../ordinary.txt").lines());
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(|line| {
        let text = line.split_once(" => ").map_or(line.trim_end_matches(" =>"), |(text, _)| text);
        let (column, text) = text.split_once('|').unwrap_or(("", text));
        (column, text.replace("\\n", "\n").replace("\\\\", "\\"))
    })
}

#[test]
fn every_cut_of_every_fixture_is_as_good_as_none() {
    for on in [without_urls(), EntitySet::ALL] {
        let detectors = all(on, PATTERNS);
        for (column, text) in fixtures() {
            let context = detectors.column(column, []);
            let expected = whole(&detectors, context, &text);
            assert_eq!(parts(&detectors, context, characters(&text)), expected, "{text:?} by characters");
            for (at, _) in text.char_indices() {
                assert_eq!(parts(&detectors, context, [&text[..at], &text[at..]]), expected, "{text:?} at {at}");
            }
        }
    }
}

#[test]
fn fixtures_in_a_row_are_as_good_as_a_whole() {
    let detectors = all(without_urls(), PATTERNS);
    for separator in ["\n", " and ", ", ", "\t", "\",\""] {
        let text: String = fixtures().filter(|(_, text)| !text.contains("KEY-----")).map(|(_, text)| text + separator).collect();
        let expected = whole(&detectors, Context::default(), &text);
        assert_eq!(parts(&detectors, Context::default(), characters(&text)), expected, "by characters");
        assert_eq!(parts(&detectors, Context::default(), [&*text]), expected, "in one");
    }
}

#[test]
fn prose_leaves_at_once() {
    let detectors = all(without_urls(), &PATTERNS[..3]);
    let prose = "The branch opened in 1987, at 10:30, and has served the neighbourhood ever since; customers come for advice (or loans), and \
                 sometimes only to talk - about \"the weather\". See https://example.com/a for more: 12 of 250 people do!\n\n* one\n* two\n";
    let mut parts = Parts::new(detectors, Context::default());
    let mut out = String::new();
    for (at, word) in prose.repeat(40).split_inclusive(' ').enumerate() {
        parts.push(word, &mut out);
        assert!(parts.held() <= 24, "word {at}: {word:?} and {} bytes wait", parts.held());
    }
    let mut longest = 0;
    for c in characters("客户来咨询，来贷款，有时只是来聊聊天。春天，屋后的花园向所有人开放。").chain(characters(prose))
    {
        parts.push(c, &mut out);
        longest = longest.max(parts.held());
    }
    assert!(longest <= 72, "{longest}");
}

/// What leaves of a text that comes in small parts; that not too much waits meanwhile, and how often something is withheld.
fn long(detectors: &Arc<Detectors>, text: &str) -> (String, u64) {
    let mut parts = Parts::new(Arc::clone(detectors), Context::default());
    let mut out = String::new();
    for start in (0..text.len()).step_by(5) {
        let piece = text.floor_char_boundary(start)..text.floor_char_boundary(start + 5);
        parts.push(&text[piece], &mut out);
        assert!(parts.held() <= HELD && parts.kept() < 200_000, "{} wait, {} are kept", parts.held(), parts.kept());
    }
    parts.finish(&mut out);
    (out, parts.withheld())
}

#[test]
fn long_private_keys_are_masked_as_in_the_whole() {
    let detectors = all(without_urls(), &[]);
    let body: String =
        (0..200).map(|n| format!("MIIE{n:04}owIBAAKCAQEAtJ7mPz0uQ1yVbT9aXn4LrW8sHkq3Y5fEjDgN2oVcZx{n:05}\n")).collect();
    for (before, after) in [("my ", " and 536-90-4399."), ("abc", "\nssn 536904399"), ("(", ") ada@example.com")] {
        let text = format!("{before}-----BEGIN RSA PRIVATE KEY-----\n{body}-----END RSA PRIVATE KEY-----{after}");
        assert_eq!(long(&detectors, &text), (whole(&detectors, Context::default(), &text).0, 1));
    }
    let (out, withheld) = long(&detectors, &format!("-----BEGIN PRIVATE KEY-----\n{body}(never ended), 536-90-4399"));
    assert_eq!((&*out, withheld), ("[private_key]", 1), "all that may belong to it");
    let text = format!("eyJ{}-----BEGIN PRIVATE KEY-----\nthe <miie> of it\n-----END PRIVATE KEY-----, then", "x".repeat(5000));
    assert_eq!(long(&detectors, &text), ("[withheld], then".to_owned(), 1), "one that begins in what is withheld");
}

#[test]
fn what_is_too_long_to_wait_for_is_withheld_up_to_its_end() {
    let detectors = all(EntitySet::ALL, &[("quoted", "<<[^>]*>>", &[])]);
    let encoded = "dGhlIHF1aWNrIGJyb3duIGZveCB3cml0ZXMgdG8gYWRhQGV4YW1wbGUuY29tIGFsbCBkYXkg".repeat(100);
    let lines = encoded.as_bytes().chunks(76).map(|line| std::str::from_utf8(line).unwrap()).collect::<Vec<_>>().join("\n");
    for what in [
        format!("eyJhbGciOiJIUzI1NiJ9.eyJ{}.{}", "x1_-".repeat(2000), "s".repeat(40)),
        encoded,
        lines,
        format!("<<{}>>", "secret words ".repeat(1000)),
        format!("https://example.com/{}", "path/".repeat(1000)),
    ] {
        let (out, withheld) = long(&detectors, &format!("see {what} then, as 536-90-4399 said"));
        assert!((1..=2).contains(&withheld), "{withheld}");
        assert!(out.starts_with("see [withheld]") && out.ends_with(" then, as [ssn] said") && out.len() < 50, "{out}");
    }
    // Pieces of plain words around values are not withheld.
    let text = "see the quick brown fox, 536-90-4399, and what is well-known; ".repeat(500);
    let detectors = all(without_urls(), &[]);
    assert_eq!(long(&detectors, &text), (whole(&detectors, Context::default(), &text).0, 0));
}

#[test]
fn endless_texts_need_no_room() {
    let detectors = all(EntitySet::ALL, PATTERNS);
    for piece in ["<<a ", "0123456789", "a", "\u{200b}", "1 ", "-----BEGIN PRIVATE KEY-----\n", "eyJ.", "我", "=", "\n", "[", "𝟓"]
    {
        long(&detectors, &piece.repeat(20_000 / piece.len()));
    }
}

#[test]
fn floods_of_what_takes_no_room_hide_nothing() {
    let detectors = all(without_urls(), &[]);
    let flood = "\u{200b}".repeat(2000);
    let (out, _) = long(&detectors, &format!("card 4111{flood} 1111 11{flood}11 1111 and 536-{flood}90-4399."));
    assert_eq!(out.replace('\u{200b}', ""), "card [credit_card] and [ssn].");
    let (out, _) = long(&detectors, &format!("card {}4111 1111 1111 1111.", "𝟓".repeat(60).repeat(40)));
    assert!(!out.contains("1111"), "{out}");
}

#[test]
fn what_cannot_be_cleared_in_time_ends_the_text() {
    let detectors = all(without_urls(), &[]);
    let text = "ada@example.com-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY----- and more, and 536-90-4399";
    for (rounds, expected, withheld) in [(2, "[email][private_key] and more, and [ssn]", 0), (1, "[withheld]", 1)] {
        let mut parts = Parts::in_rounds(Arc::clone(&detectors), HELD, rounds);
        let mut out = String::new();
        characters(text).for_each(|c| parts.push(c, &mut out));
        parts.finish(&mut out);
        assert_eq!((&*out, parts.withheld()), (expected, withheld));
    }
}

/// More of what texts are made of.
const MORE: &[&str] = &[
    "badge E-1234",
    "OPS-2214",
    "project ",
    "<<",
    ">>",
    "room 12",
    "λόγος",
    "fin",
    "U1NOIDUzNi05MC00Mzk5",
    "YWRhQGV4YW1wbGUuY29t",
    "53534e203533362d39302d34333939",
    "%40",
    "falcon",
    "Fal",
    "con",
    "MÜLLER",
    "例",
    "RmFsY29uIGlzIG91cnM=",
    "the quick brown fox jumps over the lazy dog",
    "internationalization",
    "我的邮箱是",
    "https://",
    "example.com",
    "ghp_abcdefghijklmnopqrstuvwxyzabcdefghij",
    "May",
    "17",
    "1990",
    "GB82",
    "WEST",
    "1234",
    "536",
    "90",
    "4399",
    "DL",
    "S123-4567-8901-23",
    "order",
    "medicare",
    "{\"ssn\":",
    "}",
    ";",
    "'",
    "\t",
    "=",
];

proptest! {
    #[test]
    fn parts_are_as_good_as_the_whole(
        pieces in proptest::collection::vec(0..PIECES.len() + MORE.len(), 0..40),
        cuts in proptest::collection::vec(any::<usize>(), 0..12),
        json: bool,
        urls: bool,
        column in prop::sample::select(vec!["", "ssn", "phone", "device_mac", "passport_no", "account"]),
    ) {
        let text: String = pieces.iter().map(|piece| PIECES.get(*piece).unwrap_or_else(|| &MORE[piece - PIECES.len()])).copied().collect();
        let detectors = all(if urls { EntitySet::ALL } else { without_urls() }, PATTERNS);
        let context = detectors.column(column, []);
        let context = if json { context.json() } else { context };
        let expected = &whole(&detectors, context, &text);
        prop_assert_eq!(&parts(&detectors, context, characters(&text)), expected, "{:?} by characters", &text);
        prop_assert_eq!(&parts(&detectors, context, cut(&text, &cuts)), expected, "{:?} in parts", &text);
    }
}

/// Pieces that are values by their form alone, and must not leave unless they leave of the whole.
const VALUES: &[&str] = &[
    "536-90-4399",
    "4111111111111111",
    "4111 1111 1111 1111",
    "ada@example.com",
    "345 67 89",
    "415-555-0132",
    "GB82WEST12345698765432",
    "dozjgNryP4J3",
    "AKIAIOSFODNN7EXAMPLE",
    "1EG4-TE5-MK73",
    "U1NOIDUzNi05MC00Mzk5",
    "53534e203533362d39302d34333939",
    "abcdefghijklmnopqrstuvwxyzabcdefghij",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 8, ..ProptestConfig::default() })]

    /// Even if much less may wait than must.
    #[test]
    fn what_is_too_long_to_wait_for_does_not_leak(
        pieces in proptest::collection::vec(0..PIECES.len() + MORE.len(), 20..200),
        held in 8_usize..200,
    ) {
        let pieces: Vec<_> = pieces.iter().map(|piece| *PIECES.get(*piece).unwrap_or_else(|| &MORE[piece - PIECES.len()])).collect();
        let text = pieces.join(" ");
        let detectors = all(without_urls(), &PATTERNS[..2]);
        let mut parts = Parts::in_rounds(Arc::clone(&detectors), held, ROUNDS);
        let mut out = String::new();
        characters(&text).for_each(|c| parts.push(c, &mut out));
        parts.finish(&mut out);
        let (whole, _) = whole(&detectors, Context::default(), &text);
        for value in VALUES {
            let (left, may) = (out.matches(value).count(), whole.matches(value).count());
            prop_assert!(left <= may, "{left} and {may} times {value}, {held} held: {out:?}\n{whole:?}\n{text:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 16, ..ProptestConfig::default() })]

    /// So long that what is out of reach is forgotten meanwhile.
    #[test]
    fn parts_of_long_texts_are_as_good_as_the_whole(
        pieces in proptest::collection::vec(0..PIECES.len() + MORE.len(), 900..1500),
        cuts in proptest::collection::vec(any::<usize>(), 0..200),
        json: bool,
    ) {
        // Without what has no end nearby.
        let pieces = pieces.iter().map(|piece| PIECES.get(*piece).unwrap_or_else(|| &MORE[piece - PIECES.len()])).copied();
        let text: String = pieces.filter(|piece| !piece.contains("PRIVATE KEY") && *piece != "<<").collect();
        let detectors = all(without_urls(), PATTERNS);
        let context = if json { Context::default().json() } else { Context::default() };
        let expected = &whole(&detectors, context, &text);
        prop_assert_eq!(difference(&parts(&detectors, context, characters(&text)), expected), None, "by characters");
        prop_assert_eq!(difference(&parts(&detectors, context, cut(&text, &cuts)), expected), None, "in parts");
    }
}
