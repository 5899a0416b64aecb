#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};

use claviger_audit::recording::{Entry, EntryKind, Opener};
use claviger_audit::{
    Batch, BootLeaf, ChunkRef, CloseReason, DecisionFacts, IntentLeaf, Leaf, LeafKind, OutcomeLeaf, OutcomeStatus, RequestLeaf,
    SessionCloseLeaf, SessionOpenLeaf, SessionRefusedLeaf, Verdict,
};
use claviger_model::{Mode, OpId, TxId};

use super::*;

mod crash;
mod full;

static CLOCK: AtomicI64 = AtomicI64::new(1_795_230_245_000_000);

fn now() -> Timestamp {
    Timestamp::from_micros(CLOCK.fetch_add(1000, Ordering::Relaxed))
}

fn options() -> Options {
    Options::new("gateway.example/log".parse().unwrap(), Arc::new(now))
}

fn open(data: &Path) -> AuditLog {
    let log = AuditLog::open(data, options()).unwrap();
    log.append(Batch::leaves(vec![boot()])).unwrap();
    log
}

fn leaf(kind: LeafKind) -> Leaf {
    Leaf { time: now(), kind }
}

fn boot() -> Leaf {
    leaf(LeafKind::Boot(BootLeaf { version: "0".into(), config: "0".into(), policy: "0".into(), reload: false }))
}

fn id(n: u8) -> SessionId {
    SessionId::from_bytes([n; 16])
}

fn facts() -> DecisionFacts {
    DecisionFacts {
        verdict: Verdict::Permit,
        would: None,
        policies: Arc::new(["p".into()]),
        policy_hash: "0".into(),
        reason: None,
        ..DecisionFacts::default()
    }
}

fn session_open(n: u8, key: &str) -> Leaf {
    leaf(LeafKind::SessionOpen(SessionOpenLeaf {
        session: id(n),
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
        recording_key: Some(key.into()),
        decision: facts(),
    }))
}

fn session_close(n: u8) -> Leaf {
    leaf(LeafKind::SessionClose(SessionCloseLeaf {
        session: id(n),
        reason: CloseReason::Client,
        detail: None,
        operations: 0,
        bytes_in: 0,
        bytes_out: 0,
        duration_us: 0,
    }))
}

fn session_refused(n: u8) -> Leaf {
    leaf(LeafKind::SessionRefused(SessionRefusedLeaf {
        session: id(n),
        chain: Vec::new(),
        connection: None,
        client: "192.0.2.1:5".into(),
        reason: "token.malformed".into(),
        decision: None,
    }))
}

fn request(n: u8, op: u64, rec: Option<ChunkRef>) -> Leaf {
    leaf(LeafKind::Request(RequestLeaf {
        session: id(n),
        op: OpId(op),
        tx: TxId(op),
        who: "alice@corp".into(),
        connection: "bank".into(),
        purpose: None,
        form: "batch",
        decision: facts(),
        rec,
    }))
}

fn intent(n: u8, op: u64) -> Leaf {
    leaf(LeafKind::Intent(IntentLeaf { session: id(n), op: OpId(op), replaced: false }))
}

fn outcome(n: u8, op: u64, rec: Option<ChunkRef>) -> Leaf {
    leaf(LeafKind::Outcome(OutcomeLeaf {
        masked: None,
        tokens: None,
        session: id(n),
        op: OpId(op),
        status: OutcomeStatus::Completed,
        tags: vec!["SELECT 1".into()],
        code: None,
        rows: 1,
        bytes: 1,
        bytes_unrecorded: 0,
        duration_us: 1,
        rec,
    }))
}

/// A session that asks `ops` times and gets its answers.
fn talk(log: &AuditLog, n: u8, ops: u64) {
    let mut recorder = log.record(id(n));
    log.append(Batch::leaves(vec![session_open(n, recorder.key_id())])).unwrap();
    for op in 1..=ops {
        ask(log, &mut *recorder, n, op).unwrap();
        answer(log, &mut *recorder, n, op).unwrap();
    }
    log.append(Batch::leaves(vec![session_close(n)])).unwrap();
}

fn ask(log: &AuditLog, recorder: &mut dyn SessionRecorder, n: u8, op: u64) -> Result<Position, LedgerError> {
    recorder.request(OpId(op), format!("select balance from accounts where id = {op}").as_bytes());
    let (chunk, rec) = recorder.seal(false).unwrap();
    log.append(Batch { chunks: vec![chunk], leaves: vec![request(n, op, Some(rec)), intent(n, op)] })
}

fn answer(log: &AuditLog, recorder: &mut dyn SessionRecorder, n: u8, op: u64) -> Result<Position, LedgerError> {
    recorder.response(OpId(op), &[b'7'; 300]);
    let (chunk, rec) = recorder.seal(false).unwrap();
    log.append(Batch { chunks: vec![chunk], leaves: vec![outcome(n, op, Some(rec))] })
}

fn sound(data: &Path) -> claviger_audit::verify::Report {
    let report = verify_dir(data).unwrap();
    assert_eq!((report.problems.as_slice(), report.remarks.as_slice()), ([].as_slice(), [].as_slice()));
    report
}

fn log_text(data: &Path) -> String {
    let dir = data.join("audit/log");
    let files = segment::numbers(&dir, replay::LOG).unwrap();
    files.iter().map(|file| fs::read_to_string(segment::file_path(&dir, *file, replay::LOG)).unwrap()).collect()
}

#[test]
fn what_is_appended_is_there_and_verifies() {
    let data = tempfile::tempdir().unwrap();
    let log = open(data.path());
    talk(&log, 1, 3);
    // While it is open, also over what is not flushed or signed yet.
    assert_eq!(sound(data.path()).leaves, 12);
    assert_eq!(log.checkpoint_now().unwrap().size, 12);
    talk(&log, 2, 1);
    assert_eq!(log.size(), Position(17));
    drop(log);
    let report = sound(data.path());
    assert_eq!((report.leaves, report.checkpointed, report.sessions, report.operations), (17, 17, 2, 4));
    assert_eq!((report.chunks, report.open_operations, report.lost_chunks), (Some(8), 0, 0));

    let log = open(data.path());
    assert_eq!(log.size(), Position(18));
    drop(log);
    assert!(!log_text(data.path()).contains("RECOVERY"));
    assert_eq!(sound(data.path()).checkpointed, 18);
}

#[test]
fn a_session_is_read_back_with_what_was_said() {
    let data = tempfile::tempdir().unwrap();
    let log = open(data.path());
    talk(&log, 1, 1);
    talk(&log, 2, 2);
    let record = log.read_session(id(2)).unwrap();
    let said = |kind, op, bytes: &[u8]| Entry { kind, op: OpId(op), bytes: bytes.to_vec() };
    assert_eq!(
        record.entries,
        [
            said(EntryKind::Request, 1, b"select balance from accounts where id = 1"),
            said(EntryKind::Response, 1, &[b'7'; 300]),
            said(EntryKind::Request, 2, b"select balance from accounts where id = 2"),
            said(EntryKind::Response, 2, &[b'7'; 300]),
        ]
    );
    assert_eq!((record.leaves.len(), record.sealed_chunks, record.lost_chunks), (8, 0, 0));
    assert!(record.leaves[0].contains("SESSION_OPEN") && record.leaves[7].contains("SESSION_CLOSE"));
    assert!(log.read_session(id(9)).unwrap().leaves.is_empty());

    // Nothing of it is in the clear.
    let recording = fs::read(segment::file_path(&data.path().join("audit/recordings"), 0, replay::RECORDING)).unwrap();
    assert!(!recording.windows(7).any(|part| part == b"balance"));

    // Destroying the period's key ends the recording and leaves the log whole.
    drop(log);
    let kek = data.path().join("keys").join(format!("kek-{}", keys::period(now())));
    fs::remove_file(kek).unwrap();
    let record = read_session(data.path(), id(2)).unwrap();
    assert_eq!((record.leaves.len(), record.entries.len(), record.sealed_chunks), (8, 0, 4));
    sound(data.path());
}

#[test]
fn keys_are_private_and_stay() {
    use std::os::unix::fs::PermissionsExt as _;
    let data = tempfile::tempdir().unwrap();
    let key = open(data.path()).verifier().clone();
    assert_eq!(fs::read_to_string(data.path().join("audit/log.vkey")).unwrap(), format!("{key}\n"));
    let private = data.path().join("keys/audit-checkpoint");
    for file in fs::read_dir(data.path().join("keys")).unwrap() {
        assert_eq!(file.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(*open(data.path()).verifier(), key);
    fs::set_permissions(&private, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(AuditLog::open(data.path(), options()), Err(OpenError::KeyExposed { .. })));
    fs::remove_file(&private).unwrap();
    assert!(matches!(AuditLog::open(data.path(), options()), Err(OpenError::KeyMissing { .. })));
}

#[test]
fn only_one_process_has_it() {
    let data = tempfile::tempdir().unwrap();
    let log = open(data.path());
    assert!(matches!(AuditLog::open(data.path(), options()), Err(OpenError::InUse)));
    drop(log);
    open(data.path());
}

#[test]
fn files_are_rotated_and_the_state_spares_reading_them() {
    let data = tempfile::tempdir().unwrap();
    let small = || Options { log_file: 4000, recording_file: 1000, ..options() };
    let log = AuditLog::open(data.path(), small()).unwrap();
    log.append(Batch::leaves(vec![boot()])).unwrap();
    talk(&log, 1, 20);
    drop(log);
    let files = segment::numbers(&data.path().join("audit/log"), replay::LOG).unwrap();
    assert!(files.len() > 4 && segment::numbers(&data.path().join("audit/recordings"), replay::RECORDING).unwrap().len() > 3);
    assert_eq!(sound(data.path()).leaves, 63);
    assert_eq!(read_session(data.path(), id(1)).unwrap().entries.len(), 40);

    // With the state, the first file is not looked at; without it, it is.
    let first = segment::file_path(&data.path().join("audit/log"), 0, replay::LOG);
    let good = fs::read(&first).unwrap();
    fs::write(&first, good.to_ascii_uppercase()).unwrap();
    let log = AuditLog::open(data.path(), small()).unwrap();
    log.append(Batch::leaves(vec![boot()])).unwrap();
    talk(&log, 2, 1);
    drop(log);
    assert!(!verify_dir(data.path()).unwrap().is_sound());
    fs::remove_file(data.path().join("audit/state")).unwrap();
    assert!(matches!(AuditLog::open(data.path(), small()), Err(OpenError::Damaged { leaf: 0, .. })));
    fs::write(&first, good).unwrap();
    assert_eq!(AuditLog::open(data.path(), small()).unwrap().size(), Position(69));
    sound(data.path());
}

#[test]
fn subscribers_see_every_line() {
    let data = tempfile::tempdir().unwrap();
    let log = open(data.path());
    let mut tail = log.subscribe();
    talk(&log, 1, 1);
    let mut seen = String::new();
    while let Ok(line) = tail.try_recv() {
        seen += &format!("{line}\n");
    }
    assert!(seen.lines().count() == 5 && log_text(data.path()).ends_with(&seen), "{seen}");
}

#[test]
fn many_wait_for_one_flush() {
    let data = tempfile::tempdir().unwrap();
    let log = Arc::new(open(data.path()));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    runtime.block_on(async {
        let tasks: Vec<_> = (1..=50u8)
            .map(|n| {
                let log = log.clone();
                tokio::spawn(async move {
                    let mut recorder = log.record(id(n));
                    log.append(Batch::leaves(vec![session_open(n, recorder.key_id())])).unwrap();
                    for op in 1..=10 {
                        let position = ask(&log, &mut *recorder, n, op).unwrap();
                        log.synced(position).await.unwrap();
                        answer(&log, &mut *recorder, n, op).unwrap();
                    }
                    let position = log.append(Batch::leaves(vec![session_close(n)])).unwrap();
                    log.synced(position).await.unwrap();
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        // Behind what is flushed there is nothing to wait for.
        log.synced(Position(1)).await.unwrap();
    });
    drop(Arc::into_inner(log));
    let report = sound(data.path());
    assert_eq!((report.leaves, report.sessions, report.operations), (1601, 50, 500));
}

#[test]
fn a_growing_log_verifies_at_any_moment() {
    let data = tempfile::tempdir().unwrap();
    let quick = Duration::from_millis(1);
    let options = Options { checkpoint_interval: quick, log_file: 20_000, recording_file: 5_000, ..options() };
    let log = AuditLog::open(data.path(), options).unwrap();
    log.append(Batch::leaves(vec![boot()])).unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| (1..=60).for_each(|n| talk(&log, n, 5)));
        while !writer.is_finished() {
            assert_eq!(verify_dir(data.path()).unwrap().problems, []);
        }
    });
    drop(log);
    assert_eq!(sound(data.path()).operations, 300);
}

#[test]
fn checkpoints_come_by_themselves_also_when_idle() {
    let data = tempfile::tempdir().unwrap();
    let quick = Duration::from_millis(20);
    let log = AuditLog::open(data.path(), Options { checkpoint_interval: quick, idle_interval: quick * 5, ..options() }).unwrap();
    log.append(Batch::leaves(vec![boot()])).unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while sound(data.path()).checkpoints < 4 {
        assert!(std::time::Instant::now() < deadline, "no checkpoints");
        std::thread::sleep(quick);
    }
    assert_eq!(sound(data.path()).checkpointed, 1);
    let latest = fs::read_to_string(data.path().join("audit/checkpoint")).unwrap();
    assert_eq!(log.verifier().open(&latest).unwrap().size, 1);
}

#[test]
fn a_new_month_has_a_new_key() {
    let data = tempfile::tempdir().unwrap();
    let clock = Arc::new(AtomicI64::new(1_795_230_245_000_000));
    let options = || {
        let clock = clock.clone();
        Options { now: Arc::new(move || Timestamp::from_micros(clock.fetch_add(1, Ordering::Relaxed))), ..options() }
    };
    let log = AuditLog::open(data.path(), options()).unwrap();
    let november = log.record(id(1)).key_id().to_owned();
    clock.fetch_add(30 * 86_400_000_000, Ordering::Relaxed);
    let december = log.record(id(2)).key_id().to_owned();
    assert_eq!((november, december), (format!("2026-11-{}", log.boot()), format!("2026-12-{}", log.boot())));
    assert!(data.path().join("keys/kek-2026-12").exists());
}

#[test]
fn the_session_key_is_the_one_that_the_leaf_names() {
    let data = tempfile::tempdir().unwrap();
    let log = open(data.path());
    let mut recorder = log.record(id(1));
    recorder.request(OpId(1), b"select 1");
    let (chunk, _) = recorder.seal(true).unwrap();
    let frame = claviger_audit::recording::Frame::split(&chunk).unwrap().unwrap().0;
    let key = log.keys.data_key(recorder.key_id()).unwrap().unwrap();
    let opener = Opener::new(log.verifier().origin().clone(), &key, id(1), log.boot());
    assert_eq!(opener.open(&frame).unwrap().len(), 1);
    assert!(matches!(log.keys.data_key("../../etc/passwd"), Err(OpenError::KeyMalformed { .. })));
}

/// fsync(2): a device that cannot flush answers `EINVAL`, which serves for one that fails to.
#[test]
fn after_a_failed_flush_nothing_is_admitted() {
    let data = tempfile::tempdir().unwrap();
    // Nothing is flushed but what is waited for.
    let never = Duration::from_secs(3600);
    let log = AuditLog::open(data.path(), Options { checkpoint_interval: never, flush_delay: never, ..options() }).unwrap();
    let recordings = data.path().join("audit/recordings");
    std::os::unix::fs::symlink("/dev/null", segment::file_path(&recordings, 9, replay::RECORDING)).unwrap();
    log.shared.writer().recording = segment::Segment::open(&recordings, 9, replay::RECORDING, 0).unwrap();
    let position = log.append(Batch::leaves(vec![session_close(1)])).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert!(matches!(runtime.block_on(log.synced(position)), Err(LedgerError::Failed)));
    assert!(matches!(log.append(Batch::leaves(vec![boot()])), Err(LedgerError::Failed)));
    assert!(matches!(log.checkpoint_now(), Err(LedgerError::Failed)));
    // What was durable before stays so, and what was not is not signed.
    log.shared.writer().recording = segment::Segment::create(&recordings, 10, replay::RECORDING).unwrap();
    assert!(matches!(runtime.block_on(log.synced(position)), Err(LedgerError::Failed)));
    assert!(matches!(log.append(Batch::leaves(vec![boot()])), Err(LedgerError::Failed)));
}
