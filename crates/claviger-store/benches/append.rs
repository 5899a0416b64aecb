//! What one admitted operation costs the log: a sealed chunk of 200 bytes, `REQUEST` and `INTENT`, then its `OUTCOME`.
//!
//! Timed is what the session waits for: sealing, canonical form, hashing and the two writes to the page cache. Flushing goes
//! on beside it.

#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

use std::sync::Arc;

use claviger_audit::{
    Batch, DecisionFacts, IntentLeaf, Leaf, LeafKind, Ledger, OutcomeLeaf, OutcomeStatus, RequestLeaf, Verdict,
};
use claviger_model::{OpId, SessionId, Timestamp, TxId};
use claviger_store::log::{AuditLog, Options};
use criterion::{Criterion, criterion_group, criterion_main};

fn append(criterion: &mut Criterion) {
    let data = tempfile::tempdir().unwrap();
    let now = || Timestamp::from(std::time::SystemTime::now());
    let log = AuditLog::open(data.path(), Options::new("bench.example/log".parse().unwrap(), Arc::new(now))).unwrap();
    let session = SessionId::new(now(), [7; 10]);
    let mut recorder = log.record(session);
    let statement = "select id, name, city, balance from accounts where branch = $1 and opened > $2 order by id; ".repeat(3);
    let statement = &statement.as_bytes()[..200];
    let mut op = 0;
    criterion.bench_function("seal 200 bytes", |bencher| {
        bencher.iter(|| {
            recorder.request(OpId(1), statement);
            recorder.seal(false).unwrap()
        });
    });
    criterion.bench_function("append a chunk, REQUEST and INTENT", |bencher| {
        recorder.request(OpId(1), statement);
        let (chunk, rec) = recorder.seal(false).unwrap();
        bencher.iter(|| {
            // One operation over and over, so that what is in flight does not grow.
            let request = LeafKind::Request(request(session, OpId(1), Some(rec)));
            let intent = LeafKind::Intent(IntentLeaf { session, op: OpId(1), replaced: false });
            let leaves = [request, intent].map(|kind| Leaf { time: now(), kind }).into();
            log.append(Batch { chunks: vec![chunk.clone()], leaves }).unwrap()
        });
    });
    criterion.bench_function("all of one operation: seal, append REQUEST and INTENT, append OUTCOME", |bencher| {
        bencher.iter(|| {
            op += 1;
            recorder.request(OpId(op), statement);
            let (chunk, rec) = recorder.seal(false).unwrap();
            let request = LeafKind::Request(request(session, OpId(op), Some(rec)));
            let intent = LeafKind::Intent(IntentLeaf { session, op: OpId(op), replaced: false });
            let leaves = [request, intent].map(|kind| Leaf { time: now(), kind }).into();
            log.append(Batch { chunks: vec![chunk], leaves }).unwrap();
            let outcome = LeafKind::Outcome(outcome(session, OpId(op)));
            log.append(Batch::of(Leaf { time: now(), kind: outcome })).unwrap()
        });
    });
}

fn request(session: SessionId, op: OpId, rec: Option<claviger_audit::ChunkRef>) -> RequestLeaf {
    RequestLeaf {
        session,
        op,
        tx: TxId(op.0),
        who: "nightly-report@ci for alice@login.bank.example".into(),
        connection: "ledger".into(),
        purpose: None,
        form: "execute",
        decision: DecisionFacts {
            verdict: Verdict::Permit,
            would: None,
            policies: Arc::new(["analysts-read".into()]),
            policy_hash: "0123456789abcdef".repeat(4).into(),
            reason: None,
            ..DecisionFacts::default()
        },
        rec,
    }
}

fn outcome(session: SessionId, op: OpId) -> OutcomeLeaf {
    OutcomeLeaf {
        session,
        op,
        status: OutcomeStatus::Completed,
        tags: vec!["SELECT 3".into()],
        code: None,
        rows: 3,
        bytes: 240,
        bytes_unrecorded: 0,
        duration_us: 180,
        masked: None,
        tokens: None,
        rec: None,
    }
}

criterion_group!(benches, append);
criterion_main!(benches);
