//! What it costs to look a text over: one in which there is next to nothing, one that is full, and cells of results.

#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;
use std::sync::Arc;

use claviger_mask::detect::{Context, Counts, DetectorConfig, Detectors, Entity, EntitySet, Parts, TermList};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const MEBIBYTE: usize = 1 << 20;

/// Prose, with a few numbers, and one address in each 8 KiB.
fn sparse() -> Vec<u8> {
    let prose = "The branch opened in 1987 and has served the neighbourhood ever since; customers come for advice, for loans, and \
                 sometimes only to talk. In spring the garden behind it is open to everybody, and on Thursdays there is music. Nobody \
                 remembers who planted the cherry tree, though several people claim to have been there when it happened. ";
    let mut text = Vec::new();
    while text.len() < MEBIBYTE {
        text.extend(prose.bytes().cycle().take(8192));
        text.extend_from_slice(b" Write to ada@example.com. ");
    }
    text
}

/// Lines of a log or a table: numbers everywhere, none of them regulated.
fn numbers() -> Vec<u8> {
    let mut text = Vec::new();
    let mut n = 1_u64;
    while text.len() < MEBIBYTE {
        n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (id, amount) = (n >> 40, n >> 48);
        text.extend_from_slice(
            format!("{id}\t2024-11-26 13:41:{:02}.123456+00\t{amount}.25\tUSD\tCorner Grocery\n", n >> 59).as_bytes(),
        );
    }
    text
}

/// Rows in which each cell is to be replaced.
fn full() -> Vec<u8> {
    let row = b"Ada Lovelace\t536-90-4399\tada@example.com\t4111 1111 1111 1111\t(415) 555-0132\tGB82 WEST 1234 5698 7654 32\n";
    row.iter().copied().cycle().take(MEBIBYTE).collect()
}

/// Prose with a value in each sentence.
fn values() -> Vec<u8> {
    let sentence =
        b"Ada Lovelace, whose number is 536-90-4399, wrote from ada@example.com that (415) 555-0132 is hers, and that the \
                     card 4111 1111 1111 1111 has expired; we told her that it has not. ";
    sentence.iter().copied().cycle().take(MEBIBYTE).collect()
}

/// Everything but URLs, which are looked for in a pass of their own.
fn all() -> Detectors {
    let mut on = EntitySet::ALL;
    on.remove(Entity::Url);
    Detectors::new(&DetectorConfig { on, ..DetectorConfig::default() }).unwrap()
}

fn texts(criterion: &mut Criterion) {
    let detectors = all();
    let mut group = criterion.benchmark_group("scan a text");
    for (name, text) in [("sparse", sparse()), ("numbers", numbers()), ("full", full())] {
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(name, |bencher| {
            let mut found = Vec::new();
            bencher.iter(|| {
                found.clear();
                detectors.scan(black_box(&text), Context::default(), &mut found);
                found.len()
            });
        });
    }
}

fn cells(criterion: &mut Criterion) {
    let detectors = all();
    let mut group = criterion.benchmark_group("mask a cell");
    let cells = [
        ("a name", "Ada Lovelace"),
        ("a number", "1234567"),
        ("an amount", "-4821.37"),
        ("a time", "2024-11-26 13:41:04.123456+00"),
        ("a memo", "recurring payment"),
        ("a uuid", "f47ac10b-58cc-4372-a567-0e02b2c3d479"),
        ("a social security number", "536-90-4399"),
    ];
    for (name, cell) in cells {
        group.bench_function(name, |bencher| {
            let mut counts = Counts::default();
            bencher.iter(|| detectors.mask(black_box(cell.as_bytes()), Context::default(), &mut counts).len());
        });
    }
}

/// Texts as they come from a model: four bytes at a time, in the midst of a long text.
fn tokens(criterion: &mut Criterion) {
    let detectors = Arc::new(all());
    let mut group = criterion.benchmark_group("mask a token of four bytes");
    for (name, text) in [("prose", sparse()), ("numbers", numbers()), ("values", values()), ("full", full())] {
        let text = String::from_utf8(text).unwrap();
        let tokens =
            &text.as_bytes().chunks(4).take(16 << 10).map(|token| std::str::from_utf8(token).unwrap()).collect::<Vec<_>>();
        group.throughput(Throughput::Elements(tokens.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut parts = Parts::new(Arc::clone(&detectors), Context::default());
                let mut out = String::with_capacity(96 << 10);
                tokens.iter().for_each(|token| parts.push(black_box(token), &mut out));
                parts.finish(&mut out);
                out.len()
            });
        });
    }
}

/// Prose, with many terms to look for that are not in it.
fn terms(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("look for terms");
    let text = sparse();
    group.throughput(Throughput::Bytes(text.len() as u64));
    for count in [100_u64, 10_000, 100_000] {
        let term = |n: u64| {
            let letters = n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes().map(|byte| char::from(b'a' + byte % 26));
            letters.into_iter().collect::<String>()
        };
        let list = TermList { name: "term".to_owned(), words: (0..count).map(term).collect() };
        let config = DetectorConfig { on: EntitySet::NONE, terms: vec![list], ..DetectorConfig::default() };
        let detectors = Detectors::new(&config).unwrap();
        group.bench_function(count.to_string(), |bencher| {
            let mut found = Vec::new();
            bencher.iter(|| {
                found.clear();
                detectors.scan(black_box(&text), Context::default(), &mut found);
                found.len()
            });
        });
    }
}

criterion_group!(benches, texts, cells, tokens, terms);
criterion_main!(benches);
