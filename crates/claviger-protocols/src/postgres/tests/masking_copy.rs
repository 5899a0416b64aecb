//! What is masked of what is copied.

use bytes::{BufMut, Bytes, BytesMut};
use claviger_model::{Cell, CopyFormat, StatementMask};

use super::masking::{Hash, column, plan, statement};
use super::rig::*;
use crate::Masker;

/// The second of three columns is a classified one, the third is made of it.
fn mask(copy: CopyFormat) -> Option<Box<dyn Masker>> {
    Hash::of(plan(&[StatementMask { copy: Some(copy), ..statement(&[Cell::Plain, column(2), Cell::Made]) }]))
}

fn text(header: bool) -> CopyFormat {
    CopyFormat::Text { delimiter: b'\t', null: "\\N".into(), header }
}

fn csv(quote: u8, escape: u8) -> CopyFormat {
    CopyFormat::Csv { delimiter: b',', null: "".into(), quote, escape, header: true }
}

fn begins(binary: u8) -> Bytes {
    frame(b'H', &[&[binary, 0, 3, 0, binary, 0, binary, 0, binary]])
}

/// What the client gets of this, whichever frames it comes in and however they are cut; `None` if the session ends.
fn copied(mask: Masks, binary: u8, content: &[u8]) -> Option<Vec<u8>> {
    let mut results = Vec::new();
    for (chunk, parts) in [(usize::MAX, usize::MAX), (1, usize::MAX), (7, 1), (usize::MAX, 1), (usize::MAX, 3), (3, 5)] {
        let mut rig = Rig::serving(chunk);
        rig.mask = Some(mask);
        rig.client(&query("copy"));
        let data: Vec<Bytes> = content.chunks(parts.min(content.len()).max(1)).map(|part| frame(b'd', &[part])).collect();
        rig.server(&cat(&[begins(binary), cat(&data), bare(b'c'), tag("COPY 2"), ready(b'I')]));
        results.push(data_of(&bytes(&rig.sent("<- "))));
    }
    assert!(results.windows(2).all(|pair| pair[0] == pair[1]), "cuts make a difference: {results:?}");
    results.pop().flatten()
}

/// The content of the CopyData frames, if it ends as it should.
fn data_of(mut sent: &[u8]) -> Option<Vec<u8>> {
    let (mut data, mut done) = (Vec::new(), false);
    while let [kind, a, b, c, d, ..] = sent {
        let len = u32::from_be_bytes([*a, *b, *c, *d]) as usize + 1;
        match kind {
            b'd' => data.extend_from_slice(&sent[5..len]),
            b'c' => done = true,
            _ => {}
        }
        sent = &sent[len..];
    }
    assert!(sent.is_empty(), "frames are whole");
    done.then_some(data)
}

fn copied_text(mask: Masks, content: &str) -> Option<String> {
    copied(mask, 0, content.as_bytes()).map(|data| String::from_utf8(data).unwrap())
}

#[test]
fn lines_of_text_are_rewritten() {
    let rewritten = copied_text(|_| mask(text(false)), "1\tsecret\tx\n\\N\t\\N\t\\N\na\\tb\\\\\ta\\nb\\011\\x41\t\n");
    assert_eq!(rewritten.as_deref(), Some("1\t#25\tmade\n\\N\t\\N\tmade\na\\tb\\\\\t#25\tmade\n"));
    let with_names = copied_text(|_| mask(text(true)), "a\tb\tc\n1\tsecret\tx\n");
    assert_eq!(with_names.as_deref(), Some("a\tb\tc\n1\t#25\tmade\n"));
}

#[test]
fn what_takes_a_values_place_is_escaped() {
    // A masker whose made values hold all that has a meaning.
    let odd = |_| {
        let copy = CopyFormat::Text { delimiter: b'm', null: "\\N".into(), header: false };
        Hash::of(plan(&[StatementMask { copy: Some(copy), ..statement(&[Cell::Plain, column(2), Cell::Made]) }]))
    };
    assert_eq!(copied_text(odd, "1msecretmx\n").as_deref(), Some("1m#25m\\made\n"));
    let quoted = |_| {
        let copy = CopyFormat::Csv { delimiter: b'a', null: "".into(), quote: b'd', escape: b'e', header: false };
        Hash::of(plan(&[StatementMask { copy: Some(copy), ..statement(&[Cell::Plain, column(2), Cell::Made]) }]))
    };
    assert_eq!(copied_text(quoted, "1asecretax\n").as_deref(), Some("1a#25admaedeed\n"));
}

#[test]
fn lines_of_csv_are_rewritten() {
    let doubled = |_| mask(csv(b'"', b'"'));
    let came = "a,\"b\n\",c\n1,secret,x\n,,\n\"a,\"\"b\n\",\"sec\"\"ret\n,\",\"\"\n";
    let left = "a,\"b\n\",c\n1,#25,made\n,,made\n\"a,\"\"b\n\",\"#25\",\"made\"\n";
    assert_eq!(copied_text(doubled, came).as_deref(), Some(left));
    let escaped = |_| mask(csv(b'\'', b'\\'));
    let came = "a,b,c\n'x\\',\n','sec\\'ret',\\\n";
    assert_eq!(copied_text(escaped, came).as_deref(), Some("a,b,c\n'x\\',\n','#25',made\n"));
}

#[test]
fn lines_that_are_not_as_foreseen_end_the_session() {
    for content in ["1\tsecret\n", "1\tsecret\tx\ty\n", "1\tsecret\tx"] {
        assert_eq!(copied_text(|_| mask(text(false)), content), None, "{content}");
    }
    assert_eq!(copied_text(|_| mask(CopyFormat::Binary), "1\tsecret\tx\n"), None);
    assert_eq!(copied_text(|_| mask(text(false)), &format!("1\t{}\tx\n", "s".repeat(5000))), None, "longer than a row may be");
}

fn tuple(values: &[Option<&[u8]>]) -> Vec<u8> {
    let mut out = BytesMut::new();
    out.put_u16(values.len() as u16);
    for value in values {
        out.put_i32(value.map_or(-1, |value| value.len() as i32));
        out.put_slice(value.unwrap_or_default());
    }
    out.to_vec()
}

const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\x02xx";

#[test]
fn binary_tuples_are_rewritten() {
    let came = [HEADER, &tuple(&[Some(b"1"), Some(b"secret"), None]), &tuple(&[None, None, Some(b"\n")]), &[0xff, 0xff]].concat();
    let left = [HEADER, &tuple(&[Some(b"1"), Some(b"#25b"), Some(b"made")]), &tuple(&[None, None, Some(b"made")]), &[0xff, 0xff]]
        .concat();
    assert_eq!(copied(|_| mask(CopyFormat::Binary), 1, &came), Some(left));
}

#[test]
fn binary_content_that_is_not_as_foreseen_ends_the_session() {
    let row = tuple(&[Some(b"1"), Some(b"secret"), None]);
    for wrong in [
        [HEADER, &row].concat(),
        [HEADER, &tuple(&[Some(b"secret")]), &[0xff, 0xff]].concat(),
        [HEADER, &row, &[0xff, 0xff], &row].concat(),
        [HEADER, &[0, 3, 0xff, 0xff, 0xff, 0xfe]].concat(),
        [b"PGCOPX\n\xff\r\n\0\0\0\0\0\0\0\0\0", &row[..], &[0xff, 0xff]].concat(),
        [b"PGCOPY\n\xff\r\n\0\0\x01\0\0\0\0\0\0", &row[..], &[0xff, 0xff]].concat(),
    ] {
        assert_eq!(copied(|_| mask(CopyFormat::Binary), 1, &wrong), None, "{wrong:02x?}");
    }
}

/// What stands for a value, on its way in: the rows before it have left, and what follows does not.
#[test]
fn what_stands_for_a_value_is_not_copied_in() {
    let fine = frame(b'd', &[b"fine\n"]);
    let whole = frame(b'd', &[b"a [masked] value\n"]);
    let parted = cat(&[frame(b'd', &[b"a [mas"]), frame(b'd', &[b"ked] value\n"])]);
    let opens = frame(b'G', &[&[0, 0, 1, 0, 0]]);
    for chunk in [usize::MAX, 1, 2, 3, 7, 16] {
        for (early, value) in [(true, &whole), (false, &whole), (false, &parted)] {
            let rest = cat(&[value.clone(), frame(b'd', &[b"more\n"]), bare(b'c')]);
            let mut rig = Rig::serving(chunk);
            rig.mask = Some(|_| Hash::of(plan(&[StatementMask::default()])));
            rig.client(&query("copy t from stdin"));
            if !early {
                rig.server(&opens);
            }
            rig.client(&cat(&[fine.clone(), rest.clone()]));
            if early {
                rig.server(&opens);
            }
            rig.server(&cat(&[failure("ERROR", "57014"), ready(b'I')]));
            rig.client(&query("after"));
            rig.server(&cat(&[tag("AFTER"), ready(b'I')]));

            let sent = bytes(&rig.sent("-> "));
            let frames: Vec<(u8, &[u8])> = frames(&sent).collect();
            assert_eq!((frames[0].0, frames[1]), (b'Q', (b'd', &b"fine\n"[..])), "cut at {chunk}");
            let kinds: Vec<u8> = frames.iter().map(|(kind, _)| *kind).filter(|kind| *kind != b'd').collect();
            assert_eq!(kinds, b"QfcQ", "cut at {chunk}");
            let rows: Vec<u8> = frames.iter().filter(|(kind, _)| *kind == b'd').flat_map(|(_, body)| body.to_vec()).collect();
            assert!(!rows.windows(8).any(|part| part == b"[masked]") && !rows.windows(4).any(|part| part == b"more"), "{rows:?}");
            let heard = bytes(&rig.sent("<- "));
            let heard: Vec<(u8, &[u8])> = self::frames(&heard).collect();
            assert_eq!(heard.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), b"GEZCZ", "cut at {chunk}");
            let error = heard[1].1;
            assert!(error.windows(6).any(|part| part == b"C42501") && !error.windows(6).any(|part| part == b"secret"));
            assert!(rig.told().contains(&"out1 Error  rows0 42501"), "{:?}", rig.told());
        }
    }
}

/// By the extended protocol, with the Sync that a COPY ignores before it and another behind.
#[test]
fn what_stands_for_a_value_is_not_copied_in_by_the_extended_protocol_either() {
    let ask = cat(&[parse("", "copy"), bind("", ""), execute(""), bare(b'S')]);
    let open = cat(&[bare(b'1'), bare(b'2'), frame(b'G', &[&[0, 0, 0]])]);
    let data = cat(&[frame(b'd', &[b"[masked]\n"]), bare(b'c'), bare(b'S')]);
    let mut rig = Rig::serving(usize::MAX);
    rig.mask = Some(|_| Hash::of(plan(&[StatementMask::default()])));
    rig.client(&ask);
    rig.server(&open);
    rig.client(&data);
    rig.server(&cat(&[failure("ERROR", "57014"), ready(b'I')]));
    rig.client(&query("after"));
    rig.server(&cat(&[tag("AFTER"), ready(b'I')]));
    let sent = bytes(&rig.sent("-> "));
    let kinds: Vec<u8> = frames(&sent).map(|(kind, _)| kind).collect();
    assert_eq!(kinds, b"PBESfcSQ");
    let heard = bytes(&rig.sent("<- "));
    assert_eq!(frames(&heard).map(|(kind, _)| kind).collect::<Vec<_>>(), b"12GEZCZ");
}

/// What goes out as bytes.
fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2).map(|n| u8::from_str_radix(&hex[2 * n..2 * n + 2], 16).unwrap()).collect()
}

/// The messages in it.
fn frames(mut bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let [kind, a, b, c, d, ..] = bytes else { return None };
        let (frame, rest) = bytes.split_at(u32::from_be_bytes([*a, *b, *c, *d]) as usize + 1);
        bytes = rest;
        Some((*kind, &frame[5..]))
    })
}
