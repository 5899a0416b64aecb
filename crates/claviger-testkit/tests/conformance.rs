//! The conformance suite over every protocol there is.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use claviger_protocols::Request;
use claviger_testkit::conformance::*;
use claviger_testkit::http::HttpSubject;
use claviger_testkit::mux::MuxSubject;
use claviger_testkit::postgres::{PostgresSubject, bind, execute, messages, parse, sync};

macro_rules! suite {
    ($module:ident, $subject:expr, $($check:ident),* $(,)?) => {
        mod $module {
            use super::*;
            $(#[test]
            fn $check() {
                super::$check(&$subject);
            })*
        }
    };
}

macro_rules! every_check {
    ($module:ident, $subject:expr) => {
        suite!(
            $module,
            $subject,
            any_cut_gives_the_same,
            a_refusal_leaves_a_usable_session,
            a_withheld_operation_stays_here,
            an_unreleased_completion_stays_here,
            a_replacement_replaces,
            a_side_that_goes_ends_the_session_once,
            a_termination_is_told_once,
            a_probe_stays_out_of_sight,
            what_waits_is_bounded,
            any_bytes_are_survived,
        );
    };
}

every_check!(mux, MuxSubject);
every_check!(postgres, PostgresSubject::Simple);
every_check!(http, HttpSubject);
suite!(
    postgres_extended,
    PostgresSubject::Extended,
    a_refusal_leaves_a_usable_session,
    a_withheld_operation_stays_here,
    an_unreleased_completion_stays_here,
    a_replacement_replaces,
    a_side_that_goes_ends_the_session_once,
    a_termination_is_told_once,
    a_probe_stays_out_of_sight,
    what_waits_is_bounded,
    any_bytes_are_survived,
);

#[test]

fn postgres_extended_any_cut_gives_the_same() {
    any_cut_gives_the_same(&PostgresSubject::Extended);
}

/// What is asked of the pipeline names what will run: `SELECT 1` was prepared as `s`, so a second Parse of `s` fails, and the
/// Bind after it, sent before the failure is known, still runs `SELECT 1`.
#[test]

fn postgres_a_bind_names_the_text_that_runs() {
    let mut bench = Bench::serving(&PostgresSubject::Extended, Cut::Whole);
    bench.send(&[parse("s", "SELECT 1"), sync()].concat());
    bench.send(&[parse("s", "SELECT 2"), sync(), bind("", "s"), execute("", 0), sync()].concat());
    assert!(messages(&bench.received).iter().any(|(kind, body)| *kind == b'D' && body.ends_with(b"1")), "`SELECT 1` runs");
    let Request::Execute { text, .. } = &bench.operations.last().unwrap().request else { panic!("no execution") };
    assert_ne!(text.as_deref(), Some(&b"SELECT 2"[..]), "and this is what was decided and recorded");
}

#[test]
fn every_protocol_is_under_the_suite() {
    let subjects: [&dyn Subject; 2] = [&PostgresSubject::Simple, &HttpSubject];
    let kinds: Vec<_> = subjects.iter().map(|subject| subject.kind()).collect();
    let entries: Vec<_> = claviger_protocols::PROTOCOLS.iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds, entries, "each entry needs a subject and a line of checks here");
}
