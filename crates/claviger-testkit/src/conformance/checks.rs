//! The checks.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use bytes::Bytes;
use claviger_protocols::{Closed, Probe, ProbeId, Reply, Request, Side, Status};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::Subject;
use super::bench::{Bench, Cut, LIMITS, Verdict, refusal};

/// How many operations go out together.
const SEVERAL: usize = 6;
/// The longest message of all: those that carry no statement may have a limit of their own, no greater than this.
const LONGEST: usize = 64 << 10;

/// Every check.
pub fn run_all(subject: &dyn Subject) {
    any_cut_gives_the_same(subject);
    a_refusal_leaves_a_usable_session(subject);
    a_withheld_operation_stays_here(subject);
    an_unreleased_completion_stays_here(subject);
    a_replacement_replaces(subject);
    a_side_that_goes_ends_the_session_once(subject);
    a_termination_is_told_once(subject);
    a_probe_stays_out_of_sight(subject);
    what_waits_is_bounded(subject);
    any_bytes_are_survived(subject);
}

/// However the bytes of both sides are cut, the events and the bytes are the same.
pub fn any_cut_gives_the_same(subject: &dyn Subject) {
    let whole = trace(subject, Cut::Whole);
    for place in 1..whole.length {
        assert_eq!(trace(subject, Cut::At(place)), whole, "cut at byte {place}");
    }
    let pieces = (1..=9).map(Cut::Every);
    for cut in pieces.chain((0..32).map(Cut::Random)) {
        assert_eq!(trace(subject, cut), whole, "{cut:?}");
    }
}

/// A refused operation is answered with an error, never leaves, and the next one succeeds.
pub fn a_refusal_leaves_a_usable_session(subject: &dyn Subject) {
    let mut bench = Bench::serving(subject, Cut::Whole);
    bench.decide = Box::new(|operation| if mentions(operation, b"unwelcome") { Verdict::Refuse } else { Verdict::Admit });
    let (errors, completions) = (subject.errors(&bench.received), subject.completions(&bench.received));
    bench.send(&subject.operation("unwelcome"));
    assert_eq!(subject.errors(&bench.received), errors + 1, "the refusal is an error");
    assert!(!contains(&bench.asked, b"unwelcome"), "what was refused has left");
    assert!(contains(&bench.received, refusal().message.as_bytes()), "the client is told why");
    bench.send(&subject.operation("welcome"));
    assert_eq!(subject.completions(&bench.received), completions + 1, "the session is usable");
    assert!(contains(&bench.asked, b"welcome"));
    assert!(bench.closed.is_empty());
}

/// Nothing of an operation reaches the upstream before it is admitted, even when what came before it was.
pub fn a_withheld_operation_stays_here(subject: &dyn Subject) {
    let mut bench = Bench::serving(subject, Cut::Whole);
    bench.decide = Box::new(|operation| if mentions(operation, b"patience") { Verdict::Withhold } else { Verdict::Admit });
    bench.send(&[subject.operation("first"), subject.operation("patience")].concat());
    assert!(contains(&bench.asked, b"first") && !contains(&bench.asked, b"patience"));
    bench.admit_withheld();
    assert!(contains(&bench.asked, b"patience"), "what was admitted has not left");
    let last = bench.operations.last().unwrap().id;
    assert_eq!(bench.outcomes.last().map(|outcome| (outcome.op, outcome.status)), Some((last, Status::Completed)));
}

/// The client does not hear of an operation's completion before it is released.
pub fn an_unreleased_completion_stays_here(subject: &dyn Subject) {
    let mut bench = Bench::serving(subject, Cut::Whole);
    bench.release = false;
    let before = subject.completions(&bench.received);
    bench.send(&subject.operation("quiet"));
    assert!(!bench.outcomes.is_empty(), "the operation ends");
    assert_eq!(subject.completions(&bench.received), before, "a completion left before its release");
    bench.release_all();
    assert_eq!(subject.completions(&bench.received), before + 1);
    bench.release_all();
    assert_eq!(subject.completions(&bench.received), before + 1, "a completion is released once");
}

/// A replaced statement leaves instead of the client's.
pub fn a_replacement_replaces(subject: &dyn Subject) {
    let mut bench = Bench::serving(subject, Cut::Whole);
    let Some(text) = subject.replacement("instead").map(Bytes::from) else { return };
    bench.decide = Box::new(move |operation| if has_text(operation) { Verdict::Replace(text.clone()) } else { Verdict::Admit });
    let before = subject.completions(&bench.received);
    bench.send(&subject.operation("original"));
    assert!(contains(&bench.asked, b"instead") && !contains(&bench.asked, b"original"));
    assert_eq!(subject.completions(&bench.received), before + 1);
}

/// Wherever a side goes, the session ends, and ends once.
pub fn a_side_that_goes_ends_the_session_once(subject: &dyn Subject) {
    for side in [Side::Downstream, Side::Upstream] {
        at_any_point(subject, |mut bench, place| {
            if side == Side::Upstream && bench.asked.is_empty() {
                return; // There is no upstream yet that could go.
            }
            bench.eof(side);
            if bench.closed.is_empty() {
                // What has ended may be told first.
                bench.release_all();
            }
            assert_eq!(bench.closed.len(), 1, "{side:?} goes at byte {place}");
            bench.eof(Side::Downstream);
            bench.eof(Side::Upstream);
            bench.resume(Reply::Terminate(refusal()));
            bench.inject(Side::Downstream, &subject.operation("late"));
            assert_eq!(bench.closed.len(), 1);
            assert!(!contains(&bench.asked, b"late"));
        });
    }
}

/// Wherever the gateway ends a session, the client is told in its own protocol, and the session ends once.
pub fn a_termination_is_told_once(subject: &dyn Subject) {
    at_any_point(subject, |mut bench, place| {
        let before = subject.errors(&bench.received);
        bench.resume(Reply::Terminate(refusal()));
        assert_eq!(bench.closed, [Closed::ByGateway(refusal())], "terminated at byte {place}");
        assert_eq!(subject.errors(&bench.received), before + 1, "the client is told, at byte {place}");
        bench.resume(Reply::Terminate(refusal()));
        bench.eof(Side::Downstream);
        assert_eq!(bench.closed.len(), 1);
        assert!(!bench.protocol.wants_input(Side::Downstream) && !bench.protocol.wants_input(Side::Upstream));
    });
}

/// What the gateway asks of its own accord is answered to it, and not to the client.
pub fn a_probe_stays_out_of_sight(subject: &dyn Subject) {
    let Some(text) = subject.probe() else { return };
    let mut bench = Bench::serving(subject, Cut::Whole);
    let before = bench.received.len();
    bench.resume(Reply::Probe(ProbeId(1), text.into()));
    assert!(matches!(bench.probes.as_slice(), [Probe::Rows(rows)] if !rows.is_empty()), "{:?}", bench.probes);
    assert_eq!(bench.received.len(), before, "the client saw a probe");
    bench.send(&subject.operation("after"));
    assert_eq!(bench.outcomes.last().map(|outcome| outcome.status), Some(Status::Completed));
}

/// However much waits, for a decision or for the client, no more than the limits is taken in.
pub fn what_waits_is_bounded(subject: &dyn Subject) {
    const PIECE: usize = 1024;
    let mut bench = Bench::serving(subject, Cut::Every(PIECE));
    bench.reading = false;
    let before = bench.taken(Side::Upstream);
    bench.send(&subject.large(16 * LIMITS.response));
    let taken = bench.taken(Side::Upstream) - before;
    assert!(taken <= LIMITS.response + LIMITS.control + PIECE, "{taken} bytes wait for the client");
    assert!(!bench.protocol.wants_input(Side::Upstream));
    bench.reading = true;
    bench.send(&[]);
    bench.eof(Side::Downstream);
    assert!(bench.received.len() >= taken);

    let mut bench = Bench::serving(subject, Cut::Every(PIECE));
    bench.decide = Box::new(|_| Verdict::Withhold);
    let before = bench.taken(Side::Downstream);
    bench.send(&subject.several(LIMITS.pending));
    let taken = bench.taken(Side::Downstream) - before;
    assert!(taken <= LIMITS.pending + LIMITS.statement + PIECE, "{taken} bytes wait for a decision");
}

/// No bytes, from either side, in any state, make it panic, end twice, or want more than it may keep.
pub fn any_bytes_are_survived(subject: &dyn Subject) {
    let piece = (any::<bool>(), prop_oneof![vec(any::<u8>(), 0..64), mutated(&script(subject).concat())]);
    let strategy = (0..=subject.login().len(), any::<bool>(), vec(piece, 1..8));
    let mut runner = TestRunner::new(Config { failure_persistence: None, cases: 512, ..Config::default() });
    let result = runner.run(&strategy, |(steps, withhold, pieces)| {
        let mut bench = Bench::new(subject, Cut::Every(512));
        for step in subject.login().iter().take(steps) {
            bench.send(step);
        }
        if withhold {
            bench.decide = Box::new(|_| Verdict::Withhold);
        }
        for (downstream, bytes) in pieces {
            bench.inject(if downstream { Side::Downstream } else { Side::Upstream }, &bytes);
        }
        for side in [Side::Downstream, Side::Upstream] {
            bench.inject(side, &vec![1; 4 * LONGEST]);
            prop_assert!(bench.untaken(side) <= LONGEST + 1024, "{} bytes of {side:?} pile up", bench.untaken(side));
        }
        bench.eof(Side::Downstream);
        prop_assert!(bench.closed.len() == 1, "{:?}", bench.closed);
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{}: {failure}", subject.kind()));
}

/// All that can be seen of a session from outside.
#[derive(Debug, PartialEq)]
struct Trace {
    client_events: Vec<String>,
    upstream_events: Vec<String>,
    asked: Vec<u8>,
    received: Vec<Vec<u8>>,
    /// The longer of the two sides' streams.
    length: usize,
}

/// A session with something of everything.
fn trace(subject: &dyn Subject, cut: Cut) -> Trace {
    let mut bench = Bench::serving(subject, cut);
    let text = Bytes::from(subject.replacement("instead").unwrap_or_default());
    bench.decide = Box::new(move |operation| match () {
        () if mentions(operation, b"unwelcome") => Verdict::Refuse,
        () if mentions(operation, b"original") && has_text(operation) => Verdict::Replace(text.clone()),
        () => Verdict::Admit,
    });
    let script = script(subject);
    for step in &script {
        bench.send(step);
    }
    let outcomes = bench.outcomes.len();
    assert!(outcomes >= SEVERAL + 3, "only {outcomes} operations end");
    bench.eof(Side::Downstream);
    let length = bench.taken(Side::Upstream).max(script.concat().len() + subject.login().concat().len());
    Trace {
        client_events: bench.client_events,
        upstream_events: bench.upstream_events,
        asked: bench.asked,
        received: subject.parts(&bench.received),
        length,
    }
}

fn script(subject: &dyn Subject) -> [Vec<u8>; 6] {
    [
        subject.operation("welcome"),
        subject.failing(),
        subject.operation("unwelcome"),
        subject.several(SEVERAL),
        subject.operation("original"),
        subject.large(1024),
    ]
}

/// Brings a new session to every byte of its client's side in turn: through the login, and through an operation that waits.
fn at_any_point(subject: &dyn Subject, check: impl Fn(Bench, usize)) {
    let mut steps = subject.login();
    steps.push(subject.operation("patience"));
    let last = steps.len() - 1;
    let mut place = 0;
    for (index, step) in steps.iter().enumerate() {
        for cut in 0..=step.len() {
            let mut bench = Bench::new(subject, Cut::Whole);
            bench.decide = Box::new(|_| Verdict::Withhold);
            steps[..index].iter().for_each(|before| bench.send(before));
            bench.send(&step[..cut]);
            check(bench, place + cut);
        }
        place += step.len();
    }
    let mut running = Bench::serving(subject, Cut::Whole);
    running.release = false;
    running.send(&steps[last]);
    check(running, place);
}

/// A piece of a good transcript, with a byte of it changed.
fn mutated(good: &[u8]) -> impl Strategy<Value = Vec<u8>> + use<> {
    let good = good.to_vec();
    (0..good.len(), 1..200usize, any::<prop::sample::Index>(), any::<u8>()).prop_map(move |(from, length, place, byte)| {
        let mut piece = good[from..(from + length).min(good.len())].to_vec();
        let place = place.index(piece.len());
        piece[place] = byte;
        piece
    })
}

/// Whether the operation's own bytes hold a text that can be replaced.
fn has_text(operation: &claviger_protocols::Operation) -> bool {
    matches!(operation.request, Request::Batch { .. } | Request::Prepare { .. })
}

fn mentions(operation: &claviger_protocols::Operation, word: &[u8]) -> bool {
    match &operation.request {
        Request::Batch { text } | Request::Prepare { text, .. } | Request::Execute { text: Some(text), .. } => {
            contains(text, word)
        }
        Request::Execute { text: None, .. } => false,
        Request::Portal { name } => contains(name, word),
        Request::Call { target } => contains(target.as_bytes(), word),
        Request::Exchange(exchange) => contains(exchange.path.as_bytes(), word),
        Request::Tool { tool, .. } => contains(tool.as_bytes(), word),
    }
}

fn contains(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|window| window == word)
}
