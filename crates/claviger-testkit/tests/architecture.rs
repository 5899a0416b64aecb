//! The floors of the workspace, and the rules of each.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use claviger_protocols::PROTOCOLS;

/// Dependencies point down, from a floor to those below it; crates on the same floor do not know one another.
const FLOORS: &[&[&str]] = &[
    &["claviger-model"],
    &[
        "claviger-protocols",
        "claviger-identity",
        "claviger-policy",
        "claviger-sql",
        "claviger-mask",
        "claviger-dialects",
        "claviger-audit",
    ],
    &["claviger-session"],
    &["claviger-proxy", "claviger-store", "claviger-api"],
    &["claviger"],
];

/// Used by tests, and by nothing else.
const TESTKIT: &str = "claviger-testkit";

/// What these floors hold takes bytes, time, randomness and configuration as arguments, so it has no use for these.
const PURE_FLOORS: usize = 2;
const IMPURE_CRATES: &[&str] =
    &["tokio", "tokio-rustls", "rustls", "rusqlite", "hyper", "hyper-util", "axum", "ureq", "tracing", "tracing-subscriber"];
const IMPURE_WORDS: &[&str] = &[
    "std::fs",
    "std::process",
    "std::thread",
    "std::env",
    "File::open",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "ToSocketAddrs",
    "SystemTime::now",
    "Instant::now",
    "SystemRandom::new",
];

/// A longer file has more than one subject.
const LONGEST_FILE: usize = 900;

#[test]
fn every_crate_has_a_floor() {
    let all: BTreeSet<_> = FLOORS.concat().into_iter().chain([TESTKIT]).map(str::to_owned).collect();
    assert_eq!(crates(), all);
}

#[test]
fn dependencies_point_down() {
    for name in crates().iter().filter(|name| *name != TESTKIT) {
        for dependency in dependencies(name, &["dependencies", "build-dependencies"]) {
            let ours = dependency == "claviger" || dependency.starts_with("claviger-");
            assert!(!ours || floor(&dependency) < floor(name), "`{name}` depends on `{dependency}`");
        }
    }
}

#[test]
fn the_testkit_is_for_tests_and_knows_no_sockets() {
    for dependency in dependencies(TESTKIT, &["dependencies"]) {
        assert!(!dependency.starts_with("claviger") || floor(&dependency) <= Some(2), "the test kit depends on `{dependency}`");
        assert!(!IMPURE_CRATES.contains(&dependency.as_str()), "the test kit depends on `{dependency}`");
    }
}

#[test]
fn the_lower_floors_depend_on_nothing_that_acts() {
    for name in FLOORS[..PURE_FLOORS].concat() {
        for dependency in dependencies(name, &["dependencies", "build-dependencies"]) {
            assert!(!IMPURE_CRATES.contains(&dependency.as_str()), "`{name}` depends on `{dependency}`");
        }
    }
}

#[test]
fn the_lower_floors_and_the_pipeline_take_the_world_as_arguments() {
    for name in FLOORS[..=PURE_FLOORS].concat() {
        for (path, text) in sources(name) {
            for word in IMPURE_WORDS {
                assert!(!outside_tests(&path, &text).contains(word), "`{word}` in {}", path.display());
            }
        }
    }
}

#[test]
fn every_protocol_is_one_directory_and_one_entry() {
    let src = root().join("crates/claviger-protocols/src");
    let directories: BTreeSet<_> = fs::read_dir(src)
        .unwrap()
        .map(Result::unwrap)
        .filter(|entry| entry.file_type().unwrap().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    let entries: BTreeSet<_> = PROTOCOLS.iter().map(|entry| entry.kind.to_owned()).collect();
    assert_eq!(entries.len(), PROTOCOLS.len(), "two protocols of one kind");
    assert_eq!(entries, directories);
}

#[test]
fn only_the_pipeline_admits() {
    let mint = concat!("Admission", "::mint");
    let mut places = Vec::new();
    for name in crates() {
        for (path, text) in sources(&name) {
            places.extend(text.lines().filter(|line| line.contains(mint)).map(|_| path.strip_prefix(root()).unwrap().to_owned()));
        }
    }
    assert_eq!(places, [Path::new("crates/claviger-session/src/pipeline/serving.rs")], "one place admits, once");
    let definition = fs::read_to_string(root().join("crates/claviger-session/src/admission.rs")).unwrap();
    assert!(definition.contains("pub(crate) fn mint("), "minting is the crate's own");
    assert!(
        definition.contains("#[derive(Debug)]\npub struct Admission {\n    op: OpId,\n}"),
        "an admission cannot be copied or made up"
    );
}

#[test]
fn files_have_one_subject() {
    for name in crates() {
        for (path, text) in sources(&name) {
            let lines = text.lines().count();
            assert!(lines <= LONGEST_FILE, "{} has {lines} lines", path.display());
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

fn crates() -> BTreeSet<String> {
    let entries = fs::read_dir(root().join("crates")).unwrap().map(Result::unwrap);
    entries
        .filter(|entry| entry.path().join("Cargo.toml").exists())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect()
}

fn floor(name: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&name)).or((name == TESTKIT).then_some(usize::MAX))
}

/// The names in these tables of a crate's manifest, those for single targets included.
fn dependencies(name: &str, tables: &[&str]) -> Vec<String> {
    let manifest = fs::read_to_string(root().join("crates").join(name).join("Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    assert_eq!(manifest["package"]["name"].as_str(), Some(name), "a directory is called as its crate");
    let targets = manifest.get("target").and_then(toml::Value::as_table).into_iter().flat_map(toml::Table::values);
    let owners = targets.filter_map(toml::Value::as_table).chain([&manifest]);
    owners
        .flat_map(|owner| tables.iter().filter_map(|table| owner.get(*table).and_then(toml::Value::as_table)))
        .flat_map(|table| table.keys().cloned())
        .collect()
}

/// The sources of a crate.
fn sources(name: &str) -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    let mut directories = vec![root().join("crates").join(name).join("src")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                files.push((path, text));
            }
        }
    }
    files
}

/// What of a file is not test code, by our own habits: tests are at the end, or in files whose name says so.
fn outside_tests<'a>(path: &Path, text: &'a str) -> &'a str {
    let is_tests = path.iter().any(|part| part == "tests")
        || path.file_stem().is_some_and(|stem| stem == "tests" || stem.to_string_lossy().ends_with("_tests"));
    if is_tests { "" } else { text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default() }
}
