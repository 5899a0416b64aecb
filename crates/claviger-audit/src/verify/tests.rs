#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::Arc;

use claviger_model::{BootId, Mode, OpId, SessionId, Timestamp, TxId};
use proptest::prelude::*;

use super::*;
use crate::checkpoint::CheckpointSigner;
use crate::leaf::*;
use crate::ledger::SessionRecorder;
use crate::recording::{DataKey, Frame, Recorder, gap_frame};

/// A log under construction.
struct Log {
    signer: CheckpointSigner,
    boot: BootId,
    tree: Frontier,
    time: i64,
    lines: Vec<u8>,
    checkpoints: String,
    frames: Vec<u8>,
}

impl Log {
    fn new() -> Self {
        Self {
            signer: crate::checkpoint::tests::signer(1),
            boot: BootId::new([1; 8]),
            tree: Frontier::default(),
            time: 1_795_230_245_000_000,
            lines: Vec::new(),
            checkpoints: String::new(),
            frames: Vec::new(),
        }
    }

    fn leaf(&mut self, kind: LeafKind) {
        let mut line = Vec::new();
        self.time += 1000;
        Leaf { time: Timestamp::from_micros(self.time), kind }.write_canonical(self.tree.size(), self.boot, &mut line);
        self.tree.push(leaf_hash(&line));
        self.lines.extend(line);
        self.lines.push(b'\n');
    }

    fn checkpoint(&mut self) {
        let checkpoint = Checkpoint { size: self.tree.size(), root: self.tree.root() };
        self.checkpoints += &format!("{}\n", self.signer.sign(&checkpoint));
    }

    fn boot(&mut self, boot: u8) {
        self.boot = BootId::new([boot; 8]);
        self.leaf(LeafKind::Boot(BootLeaf { version: "0".into(), config: "0".into(), policy: "0".into(), reload: false }));
    }

    fn report(&self) -> Report {
        verify(self.signer.verifier(), self.checkpoints.as_bytes(), self.lines.as_slice(), Some(self.frames.as_slice())).unwrap()
    }

    fn codes(&self) -> Vec<&'static str> {
        self.report().problems.iter().map(|problem| problem.code).collect()
    }
}

fn session(n: u8) -> SessionId {
    SessionId::from_bytes([n; 16])
}

fn facts(verdict: Verdict) -> DecisionFacts {
    DecisionFacts {
        verdict,
        would: None,
        policies: Arc::new([]),
        policy_hash: "0".into(),
        reason: None,
        ..DecisionFacts::default()
    }
}

fn open(n: u8) -> LeafKind {
    LeafKind::SessionOpen(SessionOpenLeaf {
        session: session(n),
        chain: vec!["alice@corp".into()],
        sponsor: None,
        token: None,
        proof: "password",
        connection: "bank".into(),
        protocol: "postgres".into(),
        mode: Mode::Enforce,
        client: "127.0.0.1:1".into(),
        application: None,
        tls: None,
        upstream_tls: None,
        upstream_process: None,
        recording_key: None,
        decision: facts(Verdict::Permit),
    })
}

fn close(n: u8) -> LeafKind {
    LeafKind::SessionClose(SessionCloseLeaf {
        session: session(n),
        reason: CloseReason::Client,
        detail: None,
        operations: 0,
        bytes_in: 0,
        bytes_out: 0,
        duration_us: 0,
    })
}

fn request(n: u8, op: u64, verdict: Verdict, rec: Option<ChunkRef>) -> LeafKind {
    LeafKind::Request(RequestLeaf {
        session: session(n),
        op: OpId(op),
        tx: TxId(1),
        who: "alice@corp".into(),
        connection: "bank".into(),
        purpose: None,
        form: "batch",
        decision: facts(verdict),
        rec,
    })
}

fn intent(n: u8, op: u64) -> LeafKind {
    LeafKind::Intent(IntentLeaf { session: session(n), op: OpId(op), replaced: false })
}

fn outcome(n: u8, op: u64, rec: Option<ChunkRef>) -> LeafKind {
    LeafKind::Outcome(OutcomeLeaf {
        masked: None,
        tokens: None,
        session: session(n),
        op: OpId(op),
        status: OutcomeStatus::Completed,
        tags: vec!["SELECT 1".into()],
        code: None,
        rows: 1,
        bytes: 1,
        bytes_unrecorded: 0,
        duration_us: 1,
        rec,
    })
}

fn recorder(log: &Log, n: u8) -> Recorder {
    Recorder::new(log.signer.verifier().origin().clone(), "k".into(), &DataKey::new([0; 32]), session(n), log.boot)
}

/// A sound log: two sessions side by side, a refusal, a checkpoint in the middle and one at the end.
fn sound() -> Log {
    let mut log = Log::new();
    log.boot(1);
    log.leaf(open(1));
    log.leaf(open(2));
    let mut recorders = [recorder(&log, 1), recorder(&log, 2)];
    for op in 1..=4 {
        for (n, recorder) in (1..).zip(&mut recorders) {
            recorder.request(OpId(op), b"select balance from accounts");
            let (frame, rec) = recorder.seal(false).unwrap();
            log.frames.extend(frame);
            log.leaf(request(n, op, if op == 3 { Verdict::Deny } else { Verdict::Permit }, Some(rec)));
        }
        if op == 3 {
            log.checkpoint();
            continue;
        }
        for (n, recorder) in (1..).zip(&mut recorders) {
            log.leaf(intent(n, op));
            recorder.response(OpId(op), b"17");
            let (frame, rec) = recorder.seal(op == 4).unwrap();
            log.frames.extend(frame);
            log.leaf(outcome(n, op, Some(rec)));
            log.leaf(LeafKind::TxEnd(TxEndLeaf { session: session(n), tx: TxId(1), result: TxResult::Commit }));
        }
    }
    log.leaf(close(1));
    log.leaf(close(2));
    log.checkpoint();
    log
}

#[test]
fn a_sound_log_is_reported_as_it_is() {
    let mut log = sound();
    log.leaf(open(3));
    log.leaf(request(3, 1, Verdict::Permit, None));
    log.leaf(intent(3, 1));
    let report = log.report();
    assert_eq!(report.problems, []);
    assert_eq!((report.leaves, report.checkpoints, report.checkpointed, report.not_yet_checkpointed), (34, 2, 31, 3));
    assert_eq!((report.sessions, report.operations, report.open_operations, report.chunks), (3, 7, 1, Some(14)));
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!((json["leaves"].as_u64(), json["problems"].as_array().unwrap().len()), (Some(34), 0));
}

#[test]
fn leaves_that_make_no_sense_are_problems() {
    let check = |leaves: Vec<LeafKind>, expected: &[&str]| {
        let mut log = Log::new();
        log.boot(1);
        leaves.into_iter().for_each(|leaf| log.leaf(leaf));
        log.checkpoint();
        assert_eq!(log.codes(), expected);
    };
    check(vec![open(1), open(1)], &["session.twice"]);
    check(vec![request(1, 1, Verdict::Permit, None)], &["session.unknown"]);
    check(vec![open(1), intent(1, 1), close(1)], &["operation.no_request"]);
    check(vec![open(1), request(1, 1, Verdict::Deny, None), intent(1, 1)], &["operation.no_request"]);
    check(vec![open(1), request(1, 1, Verdict::Permit, None), outcome(1, 1, None)], &["operation.no_intent"]);
    let done = || vec![open(1), request(1, 1, Verdict::Permit, None), intent(1, 1), outcome(1, 1, None)];
    check(done(), &[]);
    check([done(), vec![outcome(1, 1, None)]].concat(), &["operation.no_intent"]);
    check([done(), vec![intent(1, 1)]].concat(), &["operation.no_request"]);
    check([done(), vec![close(1), close(1)]].concat(), &["session.unknown"]);
    check(vec![open(1), request(1, 1, Verdict::Permit, None), intent(1, 1), close(1)], &["operation.no_outcome"]);
    check(vec![open(1), request(1, 1, Verdict::Permit, Some(ChunkRef { chunk: 0, digest: [0; 32] }))], &["recording.missing"]);
}

#[test]
fn an_earlier_run_leaves_nothing_open() {
    let mut log = Log::new();
    log.boot(1);
    for leaf in [open(1), request(1, 1, Verdict::Permit, None), intent(1, 1)] {
        log.leaf(leaf);
    }
    assert_eq!((log.codes(), log.report().open_operations), (vec![], 1));
    log.boot(2);
    assert_eq!((log.codes(), log.report().open_operations), (vec!["session.never_closed", "operation.no_outcome"], 0));
    log.boot = BootId::new([3; 8]);
    log.leaf(outcome(1, 1, None));
    assert_eq!(log.codes(), ["boot.unannounced", "session.never_closed"]);
}

#[test]
fn a_clock_that_is_set_back_is_remarked() {
    let mut log = sound();
    log.time -= 10_000_000;
    log.boot(1);
    let report = log.report();
    assert_eq!((report.problems.len(), report.remarks[0].code), (0, "time.back"));
}

#[test]
fn checkpoints_must_hold_and_grow() {
    let mut log = sound();
    log.checkpoint();
    assert_eq!(log.codes(), [""; 0]);
    let smaller = log.signer.sign(&Checkpoint { size: 3, root: [0; 32] });
    let good = log.checkpoints.clone();
    log.checkpoints = format!("{good}{smaller}\n");
    assert_eq!(log.codes(), ["checkpoint.order"]);
    let larger = log.signer.sign(&Checkpoint { size: 99, root: [0; 32] });
    log.checkpoints = format!("{good}{larger}\n");
    assert_eq!(log.codes(), ["log.short"]);
    let other = crate::checkpoint::tests::signer(2).sign(&Checkpoint { size: 31, root: log.tree.root() });
    log.checkpoints = format!("{good}{other}\n");
    assert_eq!(log.codes(), ["checkpoint.signature"]);
}

#[test]
fn a_gap_needs_the_word_of_the_log() {
    let mut log = Log::new();
    log.boot(1);
    log.leaf(open(1));
    let mut recorder = recorder(&log, 1);
    recorder.request(OpId(1), b"select 1");
    let (frame, rec) = recorder.seal(false).unwrap();
    log.frames.extend(gap_frame(&Frame::split(&frame).unwrap().unwrap().0));
    log.leaf(request(1, 1, Verdict::Permit, Some(rec)));
    assert_eq!(log.codes(), ["recording.gap"]);
    log.leaf(LeafKind::Gap(GapLeaf { session: session(1), chunk: 0, chunks: 1 }));
    assert_eq!((log.codes(), log.report().lost_chunks), (vec![], 1));
}

/// What may be done to a log or a recording.
#[derive(Clone, Debug)]
enum Tampering {
    Flip(prop::sample::Index, u8),
    Delete(prop::sample::Index),
    Duplicate(prop::sample::Index),
    Swap(prop::sample::Index),
    Truncate(prop::sample::Index),
}

impl Tampering {
    fn apply(&self, bytes: &[u8], parts: Vec<Vec<u8>>) -> Vec<u8> {
        let mut parts = parts;
        match self {
            Self::Flip(at, bits) => {
                let mut bytes = bytes.to_vec();
                let at = at.index(bytes.len());
                bytes[at] ^= bits;
                return bytes;
            }
            Self::Truncate(at) => return bytes[..at.index(bytes.len())].to_vec(),
            Self::Delete(at) => drop(parts.remove(at.index(parts.len()))),
            Self::Duplicate(at) => parts.insert(at.index(parts.len()), parts[at.index(parts.len())].clone()),
            Self::Swap(at) => {
                let at = at.index(parts.len() - 1);
                parts.swap(at, at + 1);
            }
        }
        parts.concat()
    }
}

fn tampering() -> impl Strategy<Value = Tampering> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        4 => (at(), 1..=255u8).prop_map(|(at, bits)| Tampering::Flip(at, bits)),
        1 => at().prop_map(Tampering::Delete),
        1 => at().prop_map(Tampering::Duplicate),
        1 => at().prop_map(Tampering::Swap),
        1 => at().prop_map(Tampering::Truncate),
    ]
}

#[test]
fn a_carriage_return_is_no_part_of_a_checkpoint() {
    let ends: Vec<usize> = sound().checkpoints.match_indices('\n').map(|(at, _)| at).collect();
    // Every line's end but the last, which is the empty line before a note that does not exist.
    for at in &ends[..ends.len() - 1] {
        for altered in ["\r", "\r\n", "\n\r"] {
            let mut log = sound();
            log.checkpoints.replace_range(*at..=*at, altered);
            assert_ne!(log.codes(), [""; 0], "{altered:?} at {at}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn tampering_with_the_log_shows(tampering in tampering()) {
        let mut log = sound();
        let lines = log.lines.split_inclusive(|c| *c == b'\n').map(<[u8]>::to_vec).collect();
        log.lines = tampering.apply(&log.lines, lines);
        prop_assert_ne!(log.codes(), [""; 0]);
    }

    #[test]
    fn tampering_with_checkpoints_shows(at in any::<prop::sample::Index>(), bits in 1..=127u8) {
        let mut log = sound();
        let mut checkpoints = log.checkpoints.clone().into_bytes();
        // The very last byte is the empty line between this note and one that does not exist.
        let at = at.index(checkpoints.len() - 1);
        checkpoints[at] ^= bits;
        log.checkpoints = String::from_utf8_lossy(&checkpoints).into_owned();
        prop_assert_ne!(log.codes(), [""; 0]);
    }

    #[test]
    fn tampering_with_a_recording_shows(tampering in tampering()) {
        let mut log = sound();
        let (mut frames, mut rest) = (Vec::new(), log.frames.as_slice());
        while let Some((_, next)) = Frame::split(rest).unwrap() {
            frames.push(rest[..rest.len() - next.len()].to_vec());
            rest = next;
        }
        let tampered = tampering.apply(&log.frames, frames.clone());
        // Frames of different sessions may stand in any order that keeps each session's.
        let order = |frames: &[Vec<u8>]| {
            let mut sorted = frames.to_vec();
            sorted.sort_by_key(|frame| frame[4..20].to_vec());
            sorted.concat()
        };
        let mut tampered_frames = Vec::new();
        let mut rest = tampered.as_slice();
        while let Ok(Some((_, next))) = Frame::split(rest) {
            tampered_frames.push(rest[..rest.len() - next.len()].to_vec());
            rest = next;
        }
        prop_assume!(order(&tampered_frames) != order(&frames));
        log.frames = tampered;
        prop_assert_ne!(log.codes(), [""; 0]);
    }
}
