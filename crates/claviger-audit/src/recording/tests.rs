#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use claviger_model::{BootId, OpId, Secret, SessionId};
use proptest::prelude::*;

use super::*;
use crate::checkpoint::Origin;
use crate::ledger::SessionRecorder as _;
use crate::merkle::sha256;

fn origin() -> Origin {
    "gateway.example/log".parse().unwrap()
}

fn session() -> SessionId {
    SessionId::from_bytes([5; 16])
}

fn boot() -> BootId {
    BootId::new([6; 8])
}

fn recorder() -> Recorder {
    Recorder::new(origin(), "2026-11-key".into(), &DataKey::new([1; 32]), session(), boot())
}

fn opener() -> Opener {
    Opener::new(origin(), &DataKey::new([1; 32]), session(), boot())
}

fn frames(mut bytes: &[u8]) -> Vec<Frame<'_>> {
    let mut frames = Vec::new();
    while let Some((frame, rest)) = Frame::split(bytes).unwrap() {
        frames.push(frame);
        bytes = rest;
    }
    assert!(bytes.is_empty());
    frames
}

fn entry(kind: EntryKind, op: u64, bytes: &[u8]) -> Entry {
    Entry { kind, op: OpId(op), bytes: bytes.to_vec() }
}

#[test]
fn what_is_sealed_opens() {
    let mut recorder = recorder();
    assert_eq!(recorder.seal(false), None);
    recorder.request(OpId(1), b"select ");
    recorder.request(OpId(1), b"1");
    recorder.request(OpId(2), b"select 2");
    recorder.response(OpId(1), b"");
    recorder.response(OpId(1), &[b'x'; 4000]);
    let (first, first_ref) = recorder.seal(false).unwrap();
    assert!(first.len() < 400, "{} bytes", first.len());
    recorder.response(OpId(2), b"end");
    let (second, second_ref) = recorder.seal(true).unwrap();
    assert_eq!((recorder.pending(), recorder.seal(true)), (0, None));

    let frame = &frames(&first)[0];
    assert_eq!((frame.header.chunk, frame.header.last, frame.header.packing), (0, false, Packing::Lz4));
    let said = [
        entry(EntryKind::Request, 1, b"select 1"),
        entry(EntryKind::Request, 2, b"select 2"),
        entry(EntryKind::Response, 1, &[b'x'; 4000]),
    ];
    assert_eq!(opener().open(frame).unwrap(), said);
    let frame = &frames(&second)[0];
    assert_eq!((frame.header.chunk, frame.header.last, frame.header.packing), (1, true, Packing::Plain));
    assert_eq!(opener().open(frame).unwrap(), [entry(EntryKind::Response, 2, b"end")]);

    let running = sha256(&[&[5; 16], &sha256(&[&first])]);
    assert_eq!((first_ref.chunk, first_ref.digest), (0, running));
    assert_eq!((second_ref.chunk, second_ref.digest), (1, sha256(&[&running, &sha256(&[&second])])));
}

#[test]
fn a_long_response_becomes_several_chunks() {
    let mut recorder = recorder();
    let long: Vec<u8> = (0..2_500_000u32).flat_map(u32::to_le_bytes).take(2_500_000).collect();
    recorder.response(OpId(1), &long);
    assert!(recorder.pending() >= long.len());
    let (bytes, reference) = recorder.seal(false).unwrap();
    let frames = frames(&bytes);
    assert_eq!((frames.len(), reference.chunk), (3, 2));
    let said: Vec<u8> = frames.iter().flat_map(|frame| opener().open(frame).unwrap()).flat_map(|entry| entry.bytes).collect();
    assert!(said == long);
}

#[test]
fn a_chunk_opens_only_in_its_place() {
    let mut recorder = recorder();
    recorder.request(OpId(1), b"select ssn from customers");
    let (sealed, _) = recorder.seal(false).unwrap();
    let frame = frames(&sealed).remove(0);
    let check = |opener: Opener, expected| assert_eq!(opener.open(&frame), Err(expected));
    let (key, other) = (DataKey::new([1; 32]), SessionId::from_bytes([9; 16]));
    check(Opener::new(origin(), &DataKey::new([2; 32]), session(), boot()), OpenError::Sealed);
    check(Opener::new("other/log".parse().unwrap(), &key, session(), boot()), OpenError::Sealed);
    check(Opener::new(origin(), &key, other, boot()), OpenError::NotOurs);
    check(Opener::new(origin(), &key, session(), BootId::new([0; 8])), OpenError::NotOurs);
    for (opener, header) in [
        (opener(), FrameHeader { chunk: 1, ..frame.header }),
        (opener(), FrameHeader { last: true, ..frame.header }),
        (opener(), FrameHeader { packing: Packing::Zstd, ..frame.header }),
        (opener(), FrameHeader { packing: Packing::Lz4, ..frame.header }),
        (Opener::new(origin(), &key, other, boot()), FrameHeader { session: other, ..frame.header }),
    ] {
        assert_eq!(opener.open(&Frame { header, body: frame.body }), Err(OpenError::Sealed), "{header:?}");
    }
    for at in HEADER..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        assert_eq!(opener().open(&frames(&changed)[0]), Err(OpenError::Sealed), "byte {at}");
    }
}

/// A chunk that whoever has the key made of these bytes.
fn opened(packing: Packing, packed: &[u8]) -> Result<Vec<Entry>, OpenError> {
    let length = u32::try_from(packed.len() + 16).unwrap();
    let header = FrameHeader { session: session(), boot: boot(), chunk: 0, last: false, packing, gap: false, length };
    let key = session_key(&DataKey::new([1; 32]), session(), boot());
    let aad = ring::aead::Aad::from([origin().as_str().as_bytes(), &header.to_bytes()].concat());
    let mut body = packed.to_vec();
    key.seal_in_place_append_tag(ring::aead::Nonce::assume_unique_for_key(nonce(session(), 0, false)), aad, &mut body).unwrap();
    opener().open(&Frame { header, body: &body })
}

#[test]
fn expansion_is_bounded() {
    let long = vec![0; 64 * 1024 * 1024];
    assert_eq!(opened(Packing::Zstd, &zstd::bulk::compress(&long, 1).unwrap()), Err(OpenError::Malformed));
    let mut block = lz4_flex::block::compress_prepend_size(&long);
    assert_eq!(opened(Packing::Lz4, &block), Err(OpenError::Malformed));
    for claimed in [0_u32, 1000, 1024 * 1024, u32::MAX] {
        block[..4].copy_from_slice(&claimed.to_le_bytes());
        assert_eq!(opened(Packing::Lz4, &block), Err(OpenError::Malformed), "{claimed}");
    }
    assert_eq!(opened(Packing::Lz4, b"abc"), Err(OpenError::Malformed));
}

#[test]
fn chunks_of_every_length_come_back() {
    let words = |length: usize| "a word, and another word; ".bytes().cycle().take(length).collect::<Vec<_>>();
    // Each 32 bytes are the digest of those before.
    let noise = |length: usize| {
        let mut noise = sha256(&[b"noise"]).to_vec();
        while noise.len() < length {
            let last = noise.len() - 32;
            noise.extend(sha256(&[&noise[last..]]));
        }
        noise.truncate(length);
        noise
    };
    for (length, packing) in [
        (1, Packing::Plain),
        (400, Packing::Plain),
        (600, Packing::Lz4),
        (4000, Packing::Lz4),
        (5000, Packing::Zstd),
        (MAX_CHUNK / 2, Packing::Zstd),
    ] {
        for (bytes, expected) in [(words(length), packing), (noise(length), Packing::Plain)] {
            let mut recorder = recorder();
            recorder.request(OpId(1), &bytes);
            let (sealed, _) = recorder.seal(true).unwrap();
            let frame = frames(&sealed).remove(0);
            assert_eq!(frame.header.packing, expected, "{length}");
            assert!(frame.body.len() <= length + 64, "{length}");
            assert_eq!(opener().open(&frame).unwrap()[0].bytes, bytes, "{length}");
        }
    }
    assert_eq!(
        FrameHeader::parse(&{
            let header = FrameHeader {
                session: session(),
                boot: boot(),
                chunk: 0,
                last: false,
                packing: Packing::Zstd,
                gap: false,
                length: 1,
            };
            let mut bytes = header.to_bytes();
            bytes[36] |= 8;
            bytes
        }),
        Err(FrameError::NotAFrame),
        "two packings are none"
    );
}

#[test]
fn a_gap_stands_for_what_it_replaces() {
    let mut recorder = recorder();
    recorder.request(OpId(1), b"one");
    let (first, _) = recorder.seal(false).unwrap();
    recorder.request(OpId(2), b"two");
    let (second, reference) = recorder.seal(false).unwrap();
    let gap = gap_frame(&frames(&first)[0]);
    let mut running = RunningDigest::new(session());
    for bytes in [gap.as_slice(), &second] {
        let frame = frames(bytes).remove(0);
        let now = running.push(&frame.digest());
        assert!(frame.header.gap || now == reference);
    }
    assert_eq!(opener().open(&frames(&gap)[0]), Err(OpenError::NotOurs));
}

#[test]
fn data_keys_unwrap_under_their_own_key_and_name() {
    let kek = |byte: u8| Kek::new("2026-11", &Secret::new([byte; 32])).unwrap();
    let text = kek(3).wrap("2026-11-a", &DataKey::new([1; 32]), [4; 12]).unwrap();
    assert!(text.starts_with("claviger data key v1\nid 2026-11-a\nkek 2026-11\nsealed "), "{text}");
    assert_eq!(wrapped_key_period(&text), Some("2026-11"));
    let key = kek(3).unwrap_key("2026-11-a", &text).ok().unwrap();
    assert_eq!(key.expose(), [1; 32]);
    for (kek, id) in [(kek(4), "2026-11-a"), (kek(3), "2026-11-b")] {
        assert_eq!(kek.unwrap_key(id, &text).err(), Some(WrappedKeyError::Sealed));
    }
    assert_eq!(kek(3).unwrap_key("2026-11-a", "x").err(), Some(WrappedKeyError::Malformed));
    assert!(Kek::new("2026-11", &Secret::new([0; 31])).is_none());
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_no_trouble(bytes in prop::collection::vec(any::<u8>(), 0..200), magic in any::<bool>()) {
        let mut bytes = bytes;
        if magic {
            bytes.splice(0..0, *b"CLV1");
        }
        if let Ok(Some((frame, _))) = Frame::split(&bytes) {
            prop_assert_eq!(frame.header.to_bytes().to_vec(), bytes[..HEADER].to_vec());
            prop_assert!(opener().open(&frame).is_err());
        }
    }
}
