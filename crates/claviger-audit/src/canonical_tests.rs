#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::Arc;

use claviger_model::{ApprovalId, Masked, MaskedColumn, Mode, OpId, Tokens, TxId};
use proptest::prelude::*;

use super::*;
use crate::leaf::{AccessEvent, ApprovalEvent, ChunkRef, CloseReason, OutcomeStatus, TxResult, Verdict};
use crate::{Line, LineError, TokenFacts};

fn line(kind: LeafKind) -> String {
    let mut out = Vec::new();
    let leaf = Leaf { time: Timestamp::from_micros(1_795_230_245_000_006), kind };
    leaf.write_canonical(7, BootId::new([0xab; 8]), &mut out);
    Line::parse(&out).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&out)));
    String::from_utf8(out).unwrap()
}

fn session() -> SessionId {
    SessionId::from_bytes([0x11; 16])
}

fn facts() -> DecisionFacts {
    DecisionFacts {
        verdict: Verdict::Permit,
        would: Some(Verdict::Deny),
        policies: Arc::new([]),
        policy_hash: "cafe".into(),
        reason: None,
        ..DecisionFacts::default()
    }
}

fn rec() -> Option<ChunkRef> {
    Some(ChunkRef { chunk: 3, digest: [0xee; 32] })
}

fn request() -> RequestLeaf {
    RequestLeaf {
        session: session(),
        op: OpId(1),
        tx: TxId(2),
        who: "a\"b@i".into(),
        connection: "bank".into(),
        purpose: None,
        form: "batch",
        decision: facts(),
        rec: rec(),
    }
}

#[test]
fn every_kind_has_one_form() {
    let ee = "ee".repeat(32);
    let s = "11".repeat(16);
    let t = r#""time":"2026-11-21T03:04:05.000006Z""#;
    let b = r#""boot":"abababababababab""#;
    let d = r#""decision":{"policies":[],"policy_hash":"cafe","verdict":"permit","would":"deny"}"#;
    let request = request();
    let outcome = OutcomeLeaf {
        session: session(),
        op: OpId(1),
        status: OutcomeStatus::NotSent,
        tags: vec!["INSERT 0 3".into(), "ü\n".into()],
        code: Some("42501".into()),
        rows: 3,
        bytes: u64::MAX,
        bytes_unrecorded: 0,
        duration_us: 9,
        masked: None,
        tokens: None,
        rec: None,
    };
    let close = SessionCloseLeaf {
        session: session(),
        reason: CloseReason::Gateway,
        detail: Some("principal.disabled".into()),
        operations: 1,
        bytes_in: 2,
        bytes_out: 3,
        duration_us: 4,
    };
    let recovery = RecoveryLeaf { of_boot: Some("ff".into()), log_bytes_cut: 1, recording_bytes_cut: 2, operations_unknown: 3 };
    let boot = BootLeaf { version: "0.1.0".into(), config: "c".into(), policy: "p".into(), reload: false };
    let admin = AdminLeaf { who: "local".into(), action: "token.issue".into(), target: "\u{1}\\".into(), verdict: Verdict::Deny };
    for (kind, expected) in [
        (
            LeafKind::Boot(boot),
            format!(r#"{{{b},"config":"c","policy":"p","reload":false,"seq":7,{t},"type":"BOOT","v":1,"version":"0.1.0"}}"#),
        ),
        (
            LeafKind::Recovery(recovery),
            format!(
                r#"{{{b},"log_bytes_cut":1,"of_boot":"ff","operations_unknown":3,"recording_bytes_cut":2,"seq":7,{t},"type":"RECOVERY","v":1}}"#
            ),
        ),
        (
            LeafKind::Admin(admin),
            format!(
                r#"{{"action":"token.issue",{b},"seq":7,"target":"\u0001\\",{t},"type":"ADMIN","v":1,"verdict":"deny","who":"local"}}"#
            ),
        ),
        (
            LeafKind::SessionClose(close),
            format!(
                r#"{{{b},"bytes_in":2,"bytes_out":3,"detail":"principal.disabled","duration_us":4,"operations":1,"reason":"gateway","seq":7,"session":"{s}",{t},"type":"SESSION_CLOSE","v":1}}"#
            ),
        ),
        (
            LeafKind::Request(request),
            format!(
                r#"{{{b},"connection":"bank",{d},"form":"batch","op":1,"rec":{{"chunk":3,"digest":"{ee}"}},"seq":7,"session":"{s}",{t},"tx":2,"type":"REQUEST","v":1,"who":"a\"b@i"}}"#
            ),
        ),
        (
            LeafKind::Intent(IntentLeaf { session: session(), op: OpId(1), replaced: true }),
            format!(r#"{{{b},"op":1,"replaced":true,"seq":7,"session":"{s}",{t},"type":"INTENT","v":1}}"#),
        ),
        (
            LeafKind::Outcome(outcome),
            format!(
                r#"{{{b},"bytes":9007199254740991,"bytes_unrecorded":0,"code":"42501","duration_us":9,"op":1,"rows":3,"seq":7,"session":"{s}","status":"not_sent","tags":["INSERT 0 3","ü\n"],{t},"type":"OUTCOME","v":1}}"#
            ),
        ),
        (
            LeafKind::TxEnd(TxEndLeaf { session: session(), tx: TxId(2), result: TxResult::Commit }),
            format!(r#"{{{b},"result":"commit","seq":7,"session":"{s}",{t},"tx":2,"type":"TX_END","v":1}}"#),
        ),
        (
            LeafKind::Approval(ApprovalLeaf {
                approval: ApprovalId::new(Timestamp::from_micros(0), [7; 10]),
                event: ApprovalEvent::Granted,
                who: "dana@local".into(),
                connection: "bank".into(),
                session: session(),
                op: OpId(1),
                groups: Arc::new(["dbas".into()]),
                digest: [0xee; 32],
                token: Some("t1".into()),
                reason: None,
            }),
            format!(
                r#"{{"approval":"00000000000007070707070707070707",{b},"connection":"bank","digest":"{ee}","event":"granted","groups":["dbas"],"op":1,"seq":7,"session":"{s}",{t},"token":"t1","type":"APPROVAL","v":1,"who":"dana@local"}}"#
            ),
        ),
        (
            LeafKind::Access(AccessLeaf {
                grant: ApprovalId::new(Timestamp::from_micros(0), [7; 10]),
                event: AccessEvent::Granted,
                who: "eva@local".into(),
                connection: "bank".into(),
                actions: Arc::new(["read".into()]),
                tables: Arc::new(["public.notes".into()]),
                seconds: 60,
                break_glass: true,
                groups: Arc::new([]),
                policies: Arc::new(["ask".into()]),
                client: None,
                until: Some(Timestamp::from_micros(0)),
                token: None,
                reason: Some("INC-1".into()),
            }),
            format!(
                r#"{{"actions":["read"],{b},"break_glass":true,"connection":"bank","event":"granted","grant":"00000000000007070707070707070707","groups":[],"policies":["ask"],"reason":"INC-1","seconds":60,"seq":7,"tables":["public.notes"],{t},"type":"ACCESS","until":"1970-01-01T00:00:00.000000Z","v":1,"who":"eva@local"}}"#
            ),
        ),
        (
            LeafKind::Gap(GapLeaf { session: session(), chunk: 4, chunks: 2 }),
            format!(r#"{{{b},"chunk":4,"chunks":2,"seq":7,"session":"{s}",{t},"type":"GAP","v":1}}"#),
        ),
        (
            LeafKind::SessionOpen(open_leaf("app", 2)),
            format!(
                r#"{{"application":"app",{b},"chain":["x","x"],"client":"c","connection":"bank",{d},"mode":"observe","proof":"password","protocol":"postgres","seq":7,"session":"{s}",{t},"type":"SESSION_OPEN","upstream_process":-5,"v":1}}"#
            ),
        ),
        (
            LeafKind::SessionRefused(SessionRefusedLeaf {
                session: session(),
                chain: vec![],
                connection: None,
                client: "c".into(),
                reason: "token.expired".into(),
                decision: None,
            }),
            format!(
                r#"{{{b},"chain":[],"client":"c","reason":"token.expired","seq":7,"session":"{s}",{t},"type":"SESSION_REFUSED","v":1}}"#
            ),
        ),
        (
            LeafKind::Refusals(RefusalsLeaf {
                since: Timestamp::from_micros(0),
                until: Timestamp::from_micros(1),
                who: None,
                connection: Some("bank".into()),
                reason: "token.malformed".into(),
                count: 12,
                addresses: vec![("192.0.2.1".into(), 7), ("::1".into(), 2)],
            }),
            format!(
                r#"{{"addresses":[{{"count":7,"of":"192.0.2.1"}},{{"count":2,"of":"::1"}}],{b},"connection":"bank","count":12,"reason":"token.malformed","seq":7,"since":"1970-01-01T00:00:00.000000Z",{t},"type":"REFUSALS","until":"1970-01-01T00:00:00.000001Z","v":1}}"#
            ),
        ),
    ] {
        assert_eq!(line(kind), expected);
    }
}

fn open_leaf(application: &str, links: usize) -> SessionOpenLeaf {
    SessionOpenLeaf {
        session: session(),
        chain: vec!["x".into(); links],
        sponsor: None,
        token: None,
        proof: "password",
        connection: "bank".into(),
        protocol: "postgres".into(),
        mode: Mode::Observe,
        client: "c".into(),
        application: Some(application.into()),
        tls: None,
        upstream_tls: None,
        upstream_process: Some(-5),
        recording_key: None,
        decision: facts(),
    }
}

#[test]
fn what_is_too_long_is_cut_visibly() {
    let text = line(LeafKind::SessionOpen(open_leaf(&"ä".repeat(1000), 40)));
    let line = Line::parse(text.as_bytes()).unwrap();
    let application = line.fields["application"].as_str().unwrap();
    assert!(application.len() <= 256 && application.ends_with("ä…"), "{application}");
    let chain = line.fields["chain"].as_array().unwrap();
    assert_eq!((chain.len(), chain[16].as_str().unwrap()), (17, "… 24 more"));
}

#[test]
fn leaves_stay_within_their_room() {
    let worst: Arc<str> = "\u{1}".repeat(5000).into();
    let masked = Masked {
        columns: vec![MaskedColumn { column: Arc::clone(&worst), method: "email_domain", values: u64::MAX }; 40],
        made: u64::MAX,
        found: vec![(Arc::clone(&worst), u64::MAX); 40],
        withheld: u64::MAX,
        observed: true,
    };
    let outcome = OutcomeLeaf {
        session: session(),
        op: OpId(u64::MAX),
        status: OutcomeStatus::Completed,
        tags: vec![worst.to_string(); 40],
        code: Some(worst.to_string()),
        rows: u64::MAX,
        bytes: u64::MAX,
        bytes_unrecorded: u64::MAX,
        duration_us: u64::MAX,
        masked: Some(Box::new(masked)),
        tokens: Some(TokenFacts {
            tokens: Tokens { input: u64::MAX, output: u64::MAX, said: false },
            cost_micros: u64::MAX,
            first_us: Some(u64::MAX),
        }),
        rec: Some(ChunkRef { chunk: u64::MAX, digest: [1; 32] }),
    };
    let close = SessionCloseLeaf {
        session: session(),
        reason: CloseReason::Upstream,
        detail: Some(worst.clone()),
        operations: u64::MAX,
        bytes_in: u64::MAX,
        bytes_out: u64::MAX,
        duration_us: u64::MAX,
    };
    let decision = DecisionFacts { policies: vec![worst.clone(); 100].into(), policy_hash: worst.clone(), ..facts() };
    let open = SessionOpenLeaf { chain: vec![worst.clone(); 100], decision, sponsor: Some(worst), ..open_leaf("", 0) };
    for (kind, room) in [
        (LeafKind::Outcome(outcome), MAX_OUTCOME_LEAF),
        (LeafKind::SessionClose(close), MAX_CLOSING_LEAF),
        (LeafKind::SessionOpen(open), MAX_LEAF),
    ] {
        let length = line(kind).len();
        assert!(length <= room && length > room / 2, "{length} of {room}");
    }
}

#[test]
fn what_statements_do_is_cut_to_fit() {
    let effect = |columns: usize| EffectFacts {
        verb: "read",
        kind: "column",
        object: "public.customers".into(),
        columns: (0..columns).map(|n| n.to_string().into()).collect(),
        labels: Arc::new(["pii".into()]),
        through: Some("v".into()),
    };
    let statement =
        |effects: usize| StatementFacts { class: "SELECT", effects: vec![effect(2); effects], hazards: vec!["bulk_write"] };
    let written = |statements: Vec<StatementFacts>| {
        let decision = DecisionFacts { statements: statements.into(), ..facts() };
        line(LeafKind::Request(RequestLeaf { decision, ..request() }))
    };
    let one = concat!(
        r#""statements":[{"class":"SELECT","effects":[{"columns":["0","1"],"kind":"column","labels":["pii"],"#,
        r#""object":"public.customers","through":"v","verb":"read"}],"hazards":["bulk_write"]}],"#
    );
    assert!(written(vec![statement(1)]).contains(one), "{}", written(vec![statement(1)]));
    for many in [written(vec![statement(10_000)]), written(vec![statement(1); 10_000]), written(vec![statement(1000); 1000])] {
        assert!(many.len() < MAX_LEAF / 2 + 8192 && many.contains("{\"more\":"), "{}", many.len());
        Line::parse(many.as_bytes()).unwrap();
    }
    let wide = StatementFacts { effects: vec![effect(2000)], ..statement(0) };
    assert!(written(vec![wide]).len() < 2048);
}

#[test]
fn only_the_canonical_form_is_read() {
    let good = line(LeafKind::TxEnd(TxEndLeaf { session: session(), tx: TxId(2), result: TxResult::Commit }));
    let check = |from: &str, to: &str, error: LineError| {
        let bad = good.replace(from, to);
        assert_ne!(bad, good);
        assert_eq!(Line::parse(bad.as_bytes()).unwrap_err(), error, "{bad}");
    };
    check("\"tx\":2", "\"tx\": 2", LineError::NotCanonical);
    check("\"tx\":2", "\"tx\":2.0", LineError::NotCanonical);
    check("\"tx\":2", "\"tx\":02", LineError::NotJson);
    check("\"tx\":2", "\"tx\":9007199254740992", LineError::NotCanonical);
    check("\"tx\":2", "\"tx\":2,\"tx\":2", LineError::NotCanonical);
    check("commit", "\\u0063ommit", LineError::NotCanonical);
    check("TX_END", "TX_BEGIN", LineError::Field("type"));
    check("-11-21T", "-13-21T", LineError::Field("time"));
    check("\"v\":1", "\"v\":2", LineError::Field("v"));
}

proptest! {
    #[test]
    fn any_text_is_written_as_json_reads_it(text in ".{0,80}", max in 4usize..60) {
        let mut out = Vec::new();
        write_text(&text, usize::MAX, &mut out);
        prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text.clone());
        out.clear();
        write_text(&text, max, &mut out);
        prop_assert!(out.len() <= max + 2);
        let read: String = serde_json::from_slice(&out).unwrap();
        prop_assert!(read == text || text.starts_with(read.strip_suffix('…').unwrap()));
    }

    #[test]
    fn any_time_is_read_back(micros in -62_135_596_800_000_000i64..253_402_300_800_000_000) {
        let kind = LeafKind::Gap(GapLeaf { session: session(), chunk: 0, chunks: 0 });
        let mut out = Vec::new();
        Leaf { time: Timestamp::from_micros(micros), kind }.write_canonical(0, BootId::new([0; 8]), &mut out);
        prop_assert_eq!(Line::parse(&out).unwrap().time.as_micros(), micros);
    }
}
