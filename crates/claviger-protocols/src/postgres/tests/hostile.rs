//! What neither side may do, and what comes of it all the same.

use claviger_model::{OpId, Refusal, RefusalKind};
use proptest::prelude::*;

use super::rig::Step::{C, S};
use super::rig::*;
use crate::postgres::login::Phase;
use crate::postgres::{Described, describe, write};
use crate::{ProbeId, Protocol, Reply, Side, UpstreamTls};

#[test]
fn an_unreleased_outcome_holds_all_that_follows() {
    let mut rig = Rig::serving(1);
    rig.unreleased = vec![1];
    rig.client(&query("a"));
    rig.server(&cat(&[row(b"1"), tag("SELECT 1"), ready(b'I')]));
    rig.client(&query("b"));
    rig.server(&cat(&[row(b"2"), tag("SELECT 1"), ready(b'I')]));
    assert_eq!(rig.sent("<- "), hex(&[row(b"1")]));
    rig.postgres.resume(Reply::Release(OpId(1)));
    rig.drain();
    let rest = [row(b"1"), tag("SELECT 1"), ready(b'I'), row(b"2"), tag("SELECT 1"), ready(b'I')];
    assert_eq!(rig.sent("<- "), hex(&rest));
}

#[test]
fn an_undecided_operation_holds_all_that_follows() {
    let mut rig = Rig::serving(1);
    rig.hold = vec![2];
    rig.client(&cat(&[parse("", "a"), parse("s", "b"), parse("t", "c"), bare(b'S')]));
    assert_eq!(rig.told(), ["op1 tx1 prepare =a", "op2 tx1 prepare s=b", "op3 tx1 prepare t=c"]);
    assert_eq!(rig.sent("-> "), hex(&[parse("", "a")]));
    rig.hold.clear();
    rig.decide(OpId(2));
    rig.drain();
    assert_eq!(rig.sent("-> "), hex(&[parse("", "a"), parse("s", "b"), parse("t", "c"), bare(b'S')]));
}

#[test]
fn ends_where_frames_end() {
    let refusal = Refusal::new(RefusalKind::Terminated, "over");
    let mut rig = Rig::serving(usize::MAX);
    rig.client(&query("a"));
    rig.server(&row(b"long")[..9]);
    rig.postgres.resume(Reply::Terminate(refusal.clone()));
    rig.drain();
    assert_eq!(rig.sent("<- "), hex(&[row(b"long").slice(..9)]), "no error inside a row");
    assert_eq!(rig.sent("-> "), hex(&[query("a"), bare(b'X')]));

    let mut rig = Rig::serving(1);
    rig.unreleased = vec![1];
    rig.client(&query("a"));
    rig.server(&cat(&[row(b"1"), tag("SELECT 1"), ready(b'I')]));
    rig.postgres.resume(Reply::Terminate(refusal.clone()));
    rig.drain();
    assert_eq!(rig.sent("<- "), hex(&[row(b"1"), write::error("FATAL", &refusal)]), "what is not recorded is not told");
}

#[test]
fn fails_closed() {
    let client = [bare(b'p'), bare(b'z'), frame(b'Q', &[&[b'x'; 5000], b"\0"]), frame(b'Q', &[b"a"]), frame(b'S', &[b"x"])];
    for bytes in client {
        let mut rig = Rig::serving(1);
        rig.client(&bytes);
        assert!(rig.told().last().is_some_and(|last| last.starts_with("Closed(ByGateway(")), "{:?}", rig.log);
        assert_eq!(rig.sent("-> "), hex(&[bare(b'X')]));
    }
    for bytes in [row(b"1"), ready(b'I'), bare(b'W'), bare(b'1'), bare(b'?'), frame(b'N', &[&[0; 5000]]), auth(0, b"")] {
        let mut rig = Rig::serving(1);
        rig.server(&bytes);
        assert!(rig.told().last().is_some_and(|last| last.starts_with("Closed(ByGateway(")), "{bytes:?} {:?}", rig.log);
    }
    // A poison that is not rejected.
    let mut rig = Rig::serving(1);
    rig.refuse = vec![1];
    rig.client(&query("a"));
    rig.server(&tag("SELECT 1"));
    assert!(rig.told().last().is_some_and(|last| last.starts_with("Closed(ByGateway(")), "{:?}", rig.log);
}

#[test]
fn a_function_call_is_refused() {
    check(
        |_| {},
        &[C(frame(b'F', &[&[0; 10]])), S(cat(&[failure("ERROR", "42601"), ready(b'I')]))],
        &[],
        &[query("!claviger: refused")],
        &[
            write::error("ERROR", &Refusal::new(RefusalKind::Unsupported, "function calls by number do not pass this gateway")),
            ready(b'I'),
        ],
    );
}

#[test]
fn a_client_that_says_goodbye_is_recorded_to_the_end() {
    let mut rig = Rig::serving(1);
    rig.client(&cat(&[query("a"), bare(b'X'), query("b")]));
    rig.postgres.handle_eof(Side::Downstream);
    rig.server(&cat(&[tag("INSERT 0 1"), ready(b'I')]));
    assert_eq!(rig.told(), ["op1 tx1 batch a", "out1 Completed INSERT 0 1 rows0 ", "tx1 Commit", "Closed(ByClient)"]);
    assert_eq!(rig.sent("-> "), hex(&[query("a"), bare(b'X')]), "nothing after the goodbye");
}

#[test]
fn a_client_that_just_goes_ends_the_session_at_once() {
    let mut rig = Rig::serving(1);
    rig.hold = vec![2];
    rig.client(&cat(&[query("a"), query("b"), bare(b'X')]));
    rig.postgres.handle_eof(Side::Downstream);
    rig.drain();
    assert_eq!(rig.told(), ["op1 tx1 batch a", "op2 tx2 batch b", "Closed(ByClient)"]);
    assert_eq!(rig.sent("-> "), hex(&[query("a"), bare(b'X')]), "what is not admitted never leaves");
}

/// While a server takes rows it ignores Sync, in a simple query too (PostgreSQL manual, 55.2.6).
#[test]
fn a_sync_in_a_copy_is_never_answered() {
    let data = cat(&[frame(b'd', &[b"1\n"]), bare(b'S'), bare(b'c'), bare(b'S')]);
    let copied = [frame(b'G', &[&[0, 0, 0]]), cat(&[tag("COPY 1"), ready(b'I'), ready(b'I')])];
    let done = cat(&[row(b"1"), tag("SELECT 1"), ready(b'I')]);
    check(
        |_| {},
        &[C(query("copy")), S(copied[0].clone()), C(data.clone()), S(copied[1].clone()), C(query("a")), S(done.clone())],
        &[
            "op1 tx1 batch copy",
            "out1 Completed COPY 1 rows0 ",
            "tx1 Commit",
            "op2 tx2 batch a",
            "out2 Completed SELECT 1 rows1 ",
            "tx2 Commit",
        ],
        &[query("copy"), data, query("a")],
        &[copied.concat().into(), done],
    );
}

#[test]
fn a_completion_is_held_with_what_follows_it() {
    let setting = frame(b'S', &[b"TimeZone\0UTC\0"]);
    let mut rig = Rig::serving(1);
    rig.unreleased = vec![1];
    rig.client(&query("set"));
    rig.server(&cat(&[tag("SET"), setting.clone()]));
    assert_eq!(rig.sent("<- "), "");
    rig.server(&ready(b'I'));
    assert_eq!(rig.sent("<- "), "");
    rig.postgres.resume(Reply::Release(OpId(1)));
    rig.drain();
    assert_eq!(rig.sent("<- "), hex(&[tag("SET"), setting, ready(b'I')]));
}

#[test]
fn a_fatal_error_reaches_the_client() {
    let mut rig = Rig::serving(1);
    rig.unreleased = vec![1];
    rig.client(&query("a"));
    rig.server(&failure("FATAL", "57P01"));
    rig.postgres.handle_eof(Side::Upstream);
    rig.drain();
    assert_eq!(rig.told(), ["op1 tx1 batch a", "out1 Error  rows0 57P01", "Closed(ByUpstream)"]);
    assert_eq!(rig.sent("<- "), "");
    rig.postgres.resume(Reply::Release(OpId(1)));
    rig.drain();
    assert_eq!(rig.sent("<- "), hex(&[failure("FATAL", "57P01")]));
}

/// What a server passes over is forgotten at once, a Query too: a client may send any amount of it.
#[test]
fn what_is_passed_over_is_not_kept() {
    let mut rig = Rig::serving(1);
    rig.client(&parse("", "a"));
    rig.server(&failure("ERROR", "42601"));
    rig.client(&cat(&[bind("", ""), execute(""), query("b")]));
    assert_eq!(
        rig.told(),
        [
            "op1 tx1 prepare =a",
            "out1 Error  rows0 42601",
            "op2 tx1 execute a 0",
            "out2 Skipped  rows0 ",
            "op3 tx1 batch b",
            "out3 Skipped  rows0 "
        ]
    );
    rig.postgres.resume(Reply::Probe(ProbeId(1), "select x".into()));
    rig.drain();
    assert!(!rig.sent("-> ").contains(&hex(&[probe()])), "a server that passes over everything is asked nothing");
    rig.client(&bare(b'S'));
    rig.server(&ready(b'I'));
    assert_eq!(rig.sent("<- "), hex(&[failure("ERROR", "42601"), ready(b'I')]));
    assert!(rig.sent("-> ").ends_with(&hex(&[bare(b'S'), probe()])));
}

/// A Bind that fails leaves an older portal of its name where it is, once the savepoint is restored.
#[test]
fn a_portal_that_was_not_made_is_not_run_for_another() {
    let mut rig = Rig::serving(1);
    rig.client(&query("begin"));
    rig.server(&cat(&[tag("BEGIN"), ready(b'T')]));
    rig.client(&cat(&[parse("", "b"), bind("p", ""), bare(b'S'), execute("p")]));
    assert!(rig.sent("-> ").ends_with(&hex(&[bare(b'S')])), "the portal's name is not settled");
    rig.server(&cat(&[bare(b'1'), failure("ERROR", "42P03"), ready(b'E')]));
    assert_eq!(rig.told().last(), Some(&"op4 tx1! portal p"));
}

#[test]
fn a_name_that_sql_may_change_waits() {
    let mut rig = Rig::serving(1);
    rig.client(&cat(&[parse("s", "a"), bare(b'S')]));
    rig.server(&cat(&[bare(b'1'), ready(b'I')]));
    rig.client(&cat(&[query("deallocate s; prepare s as select 2"), bind("", "s")]));
    assert_eq!(rig.told().last(), Some(&"op2 tx2 batch deallocate s; prepare s as select 2"));
    rig.server(&cat(&[tag("DEALLOCATE"), tag("PREPARE"), ready(b'I')]));
    assert_eq!(rig.told().last(), Some(&"op3 tx3 execute @s 0"), "its text is not known any more");
}

/// CLOSE and DECLARE may put another portal under a name.
#[test]
fn a_portal_that_sql_may_have_closed_is_not_run_as_known() {
    let mut rig = Rig::serving(1);
    rig.client(&query("begin"));
    rig.server(&cat(&[tag("BEGIN"), ready(b'T')]));
    rig.client(&cat(&[parse("", "b"), bind("p", ""), bare(b'S')]));
    rig.server(&cat(&[bare(b'1'), bare(b'2'), ready(b'T')]));
    rig.client(&query("close p; declare p cursor for c"));
    rig.server(&cat(&[tag("CLOSE CURSOR"), tag("DECLARE CURSOR"), ready(b'T')]));
    rig.client(&execute("p"));
    assert_eq!(rig.told().last(), Some(&"op5 tx1! portal p"));
}

/// Drivers drop statements so, one at a time.
#[test]
fn a_plain_deallocate_drops_one_name() {
    let mut rig = Rig::serving(1);
    rig.client(&cat(&[parse("s", "a"), parse("t", "b"), bare(b'S')]));
    rig.server(&cat(&[bare(b'1'), bare(b'1'), ready(b'I')]));
    rig.client(&cat(&[query("DEALLOCATE S;"), bind("", "t"), bind("", "s")]));
    rig.server(&cat(&[tag("DEALLOCATE"), ready(b'I')]));
    let told = rig.told();
    assert_eq!(told[told.len() - 2..], ["op4 tx3 execute b 0", "op5 tx3 execute @s 0"]);
}

#[test]
fn a_false_answer_to_a_question_of_ours_ends_the_session() {
    for answer in [ready(b'I'), cat(&[tag("SELECT 0"), row(b"1")]), bare(b'W')] {
        let mut rig = Rig::serving(1);
        rig.postgres.resume(Reply::Probe(ProbeId(1), "select x".into()));
        rig.drain();
        rig.server(&answer);
        assert!(rig.told().last().is_some_and(|last| last.starts_with("Closed(ByGateway(")), "{:?}", rig.log);
    }
}

#[test]
fn answers_that_were_not_asked_for_end_the_session() {
    let failed = failure("ERROR", "22012");
    let early = [ready(b'I'), cat(&[failed.clone(), row(b"1")]), cat(&[failed, tag("SELECT 1")]), cat(&[tag("A"), ready(b'x')])];
    for answer in early {
        let mut rig = Rig::serving(1);
        rig.client(&query("a"));
        rig.server(&answer);
        assert!(rig.told().last().is_some_and(|last| last.starts_with("Closed(ByGateway(")), "{:?}", rig.log);
    }
    // A refused statement about whose rejection nothing is said.
    let mut rig = Rig::serving(1);
    rig.refuse = vec![1];
    rig.client(&query("a"));
    rig.server(&ready(b'I'));
    assert!(rig.told().last().is_some_and(|last| last.starts_with("Closed(ByGateway(")), "{:?}", rig.log);
}

// === Arbitrary bytes ===

fn any_message(kinds: &'static [u8]) -> impl Strategy<Value = Vec<u8>> {
    let body = prop_oneof![
        Just(Vec::new()),
        Just(vec![b'I']),
        Just(b"s\0select 1\0\0\0".to_vec()),
        Just(b"\0s\0\0\0\0\0\0\0".to_vec()),
        Just(b"\0\0\0\0\0".to_vec()),
        Just(b"Ss\0".to_vec()),
        Just(b"begin\0".to_vec()),
        Just(b"COMMIT\0".to_vec()),
        prop::collection::vec(any::<u8>(), 0..24),
    ];
    (prop::sample::select(kinds), body).prop_map(|(kind, body)| frame(kind, &[&body]).to_vec())
}

fn any_input() -> impl Strategy<Value = Vec<(bool, Vec<u8>)>> {
    let client = any_message(b"QPBEDCSHFdcfXpz").prop_map(|bytes| (true, bytes));
    let server = any_message(b"123CDEGHINSTWZcdnst?").prop_map(|bytes| (false, bytes));
    let noise = (any::<bool>(), prop::collection::vec(any::<u8>(), 0..32));
    prop::collection::vec(prop_oneof![8 => client, 8 => server, 1 => noise], 0..40)
}

proptest! {
    #[test]
    fn arbitrary_frames_never_panic_nor_pile_up(input in any_input(), refuse in prop::collection::vec(1u64..20, 0..4)) {
        let mut rig = Rig::serving(usize::MAX);
        rig.unreleased = vec![3];
        rig.hold = vec![5];
        rig.refuse = refuse;
        for (from_client, bytes) in input {
            if from_client { rig.client(&bytes) } else { rig.server(&bytes) }
            let postgres = &rig.postgres;
            prop_assert!(postgres.io.downstream_bytes() <= OPTIONS.limits.response + 8192);
            if let Phase::Serving(serving) = &postgres.phase {
                prop_assert!(serving.queued_bytes() <= OPTIONS.limits.pending + 8192);
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic_before_login(input in prop::collection::vec(any::<u8>(), 0..64), at in 0usize..3) {
        let mut rig = Rig::new(OPTIONS, 5);
        if at > 0 { rig.client(&startup(&[("user", "alice")])) }
        if at > 1 {
            rig.client(&frame(b'p', &[b"token\0"]));
            rig.postgres.resume(Reply::Authenticated(upstream_login(UpstreamTls::Prefer)));
            rig.server(b"N");
        }
        rig.client(&input);
        rig.server(&input);
    }

    #[test]
    fn describing_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        describe(&bytes, true);
        describe(&bytes, false);
    }
}

#[test]
fn describes_what_was_said() {
    let said = describe(&cat(&[query("a"), parse("s", "b"), query("c").slice(..4)]), true);
    let prepare = Described::Statement { name: Some("s".into()), text: "b".into() };
    assert_eq!(said, [Described::Statement { name: None, text: "a".into() }, prepare, Described::Unreadable]);
    let said = describe(&cat(&[row(&[0xff]), tag("SELECT 1"), failure("ERROR", "22012")]), false);
    let error = Described::Error { code: "22012".into(), message: "secret".into() };
    assert_eq!(said, [Described::Row(vec![Some("\\xff".into())]), Described::Completed("SELECT 1".into()), error]);
}
