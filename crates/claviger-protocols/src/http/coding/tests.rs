//! Packed content, whole and broken.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::io::Write as _;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use proptest::prelude::*;

use super::super::wrong::Wrong;
use super::{Decoder, MOST_SPARED, RATIO};

/// Twenty times these words, packed by the reference implementation of br.
const WORDS: &[u8] = b"the same words, again and again. ";
const WORDS_IN_BR: &str = "1b9302802441585c7a904326a90c6cc0798065e30e91a8fc08e1161300";
/// 64 MiB of zeros, likewise.
const ZEROS_IN_BR: &str = "cbffff3ff82700e2b14020f7fe8fffff7ff04f00c4611180eefd1fffffffe09f0088c30200ddfb3ffeffffc13f0110870500baf77ffcffff837f02200e0b0074effff8ffff07ff04401c1600e8defff1ffff0ffe0980382c00d0bdffe3ffff1ffc1300715800a07bff37";

fn bytes(hex: &str) -> Vec<u8> {
    hex.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn zlib(content: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn bare(content: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn zstd(content: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(content, 3).unwrap()
}

/// A gzip header with everything in it, before the content of `gzip`.
fn with_a_long_header(content: &[u8]) -> Vec<u8> {
    let header = [&[0x1f, 0x8b, 8, 0x1e, 0, 0, 0, 0, 0, 3, 4, 0][..], b"more", b"a name\0", b"a comment\0", b"xx"].concat();
    [&header, &gzip(content)[10..]].concat()
}

/// What comes of content in pieces of this length.
fn unpacked(coding: &str, content: &[u8], step: usize) -> Result<Vec<u8>, Wrong> {
    let mut decoder = Decoder::new(coding.as_bytes())?.unwrap();
    let mut out = Vec::new();
    for piece in content.chunks(step) {
        let came = decoder.push(piece)?;
        assert!(came.len() <= MOST_SPARED + RATIO * piece.len());
        out.extend_from_slice(&came);
    }
    decoder.finish().map(|()| out)
}

/// Every coding of these words.
fn all(content: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut all = vec![
        ("gzip", gzip(content)),
        ("X-GZip", with_a_long_header(content)),
        ("deflate", zlib(content)),
        ("deflate", bare(content)),
        ("zstd, identity", zstd(content)),
    ];
    if content == WORDS.repeat(20) {
        all.push(("br", bytes(WORDS_IN_BR)));
    }
    all
}

#[test]
fn packed_content_is_unpacked_however_it_is_cut() {
    let content = WORDS.repeat(20);
    for (coding, packed) in all(&content) {
        for step in [1, 2, 7, 1000] {
            assert_eq!(unpacked(coding, &packed, step).as_ref(), Ok(&content), "{coding} by {step}");
        }
    }
    let large: Vec<u8> = (0..400_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    for (coding, packed) in all(&large) {
        assert_eq!(unpacked(coding, &packed, 5000).as_ref(), Ok(&large), "{coding}");
    }
    for (coding, packed) in
        [("gzip", gzip(b"")), ("deflate", zlib(b"")), ("deflate", bare(b"")), ("zstd", zstd(b"")), ("br", vec![6])]
    {
        assert_eq!(unpacked(coding, &packed, 1), Ok(Vec::new()), "nothing in {coding}");
        assert_eq!(unpacked(coding, b"", 1), Ok(Vec::new()), "nothing at all, said to be {coding}");
    }
    for packed in
        [("gzip", [gzip(b"one"), gzip(b""), gzip(b"two")].concat()), ("zstd", [zstd(b"one"), zstd(b""), zstd(b"two")].concat())]
    {
        assert_eq!(unpacked(packed.0, &packed.1, 3).unwrap(), b"onetwo", "members follow each other");
    }
    // A frame of zstd that is to be skipped.
    let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 1, 2][..], &zstd(b"one")].concat();
    assert_eq!(unpacked("zstd", &skipped, 1).unwrap(), b"one");
}

#[test]
fn what_is_broken_is_refused() {
    for (coding, packed) in all(&WORDS.repeat(20)) {
        for length in 1..packed.len() {
            assert!(unpacked(coding, &packed[..length], 1000).is_err(), "{coding} cut at {length}");
        }
        for more in [&b"\0"[..], b"more", &[0x1f], &[0x28, 0xb5]] {
            assert!(unpacked(coding, &[&packed, more].concat(), 1000).is_err(), "{coding} goes on with {more:?}");
            assert!(unpacked(coding, &[&packed, more].concat(), 1).is_err(), "{coding} goes on with {more:?}");
        }
        assert!(unpacked(coding, b"plain text", 1000).is_err(), "not {coding}");
    }
    let mut wrong = gzip(WORDS);
    let sum = wrong.len() - 8;
    wrong[sum] ^= 1;
    assert!(unpacked("gzip", &wrong, 1000).is_err(), "another checksum");
    let endless = [&[0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 3][..], &[b'x'; 10_000]].concat();
    assert!(unpacked("gzip", &endless, 1000).is_err(), "a name without an end");
}

#[test]
fn codings_that_are_not_known_are_refused() {
    for coding in ["compress", "gzip, br", "gzip,gzip", "identity, br, zstd", "aws-chunked", "gzip;q=1", "dcb"] {
        assert_eq!(Decoder::new(coding.as_bytes()).err().map(|wrong| wrong.status), Some(415), "{coding}");
    }
    for coding in ["", "identity", " , ", "Identity,identity"] {
        assert!(Decoder::new(coding.as_bytes()).unwrap().is_none(), "{coding}");
    }
}

#[test]
fn content_does_not_grow_out_of_proportion() {
    let zeros = vec![0; 64 << 20];
    let bombs = [
        ("gzip", gzip(&zeros)),
        ("deflate", zlib(&zeros)),
        ("deflate", bare(&zeros)),
        ("zstd", zstd(&zeros)),
        ("br", bytes(ZEROS_IN_BR)),
    ];
    for (coding, packed) in bombs {
        for step in [64, 1 << 20] {
            assert_eq!(unpacked(coding, &packed, step).map_err(|wrong| wrong.status), Err(413), "{coding} by {step}");
        }
    }
    // Of these, many small ones make a large one.
    let members = gzip(&vec![0; 100_000]).repeat(100);
    assert_eq!(unpacked("gzip", &members, 1000).map_err(|wrong| wrong.status), Err(413));
    let small = vec![0; 1 << 20];
    for (coding, packed) in [("gzip", gzip(&small)), ("zstd", zstd(&small))] {
        assert_eq!(unpacked(coding, &packed, 1000).unwrap().len(), small.len(), "what is small may be all zeros: {coding}");
    }
    // A frame that wants a window of 128 MiB, of which the decoder would have to have the memory.
    let wide = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x88, 0x09, 0x00, 0x00, b'x'];
    let narrow = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x68, 0x09, 0x00, 0x00, b'x'];
    assert_eq!(unpacked("zstd", &narrow, 1000).unwrap(), b"x");
    assert!(unpacked("zstd", &wide, 1000).is_err());
}

proptest! {
    #[test]
    fn nothing_that_comes_is_a_danger(coding in prop::sample::select(vec!["gzip", "deflate", "br", "zstd"]), at in 0usize..40, with in any::<u8>(), step in 1usize..50) {
        let packed = match coding {
            "gzip" => gzip(&WORDS.repeat(20)),
            "deflate" => zlib(&WORDS.repeat(20)),
            "br" => bytes(WORDS_IN_BR),
            _ => zstd(&WORDS.repeat(20)),
        };
        let mut packed = packed;
        let index = at % packed.len();
        packed[index] = with;
        let _ = unpacked(coding, &packed, step);
    }
}
