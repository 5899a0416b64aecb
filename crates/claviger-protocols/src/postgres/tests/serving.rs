//! What a client may rightly ask and a server rightly answer.

use bytes::Bytes;

use super::rig::Step::{C, S};
use super::rig::*;
use crate::Side;
use crate::{Access, Commit, Event, Probe, ProbeId, Protocol, Reply};

#[test]
fn runs_batches() {
    let one = cat(&[row(b"1"), tag("SELECT 1"), ready(b'I')]);
    let empty = cat(&[bare(b'I'), ready(b'I')]);
    let several = cat(&[row(b"1"), tag("SELECT 1"), row(b"2"), tag("SELECT 1"), failure("ERROR", "22012"), ready(b'I')]);
    check(
        |_| {},
        &[C(query("a")), S(one.clone()), C(query("")), S(empty.clone()), C(query("x; y; z")), S(several.clone())],
        &[
            "op1 tx1 batch a",
            "out1 Completed SELECT 1 rows1 ",
            "tx1 Commit",
            "op2 tx2 batch ",
            "out2 Completed  rows0 ",
            "tx2 Commit",
            "op3 tx3 batch x; y; z",
            "out3 Error SELECT 1,SELECT 1 rows2 22012",
            "tx3 Rollback",
        ],
        &[query("a"), query(""), query("x; y; z")],
        &[one, empty, several],
    );
}

#[test]
fn follows_transactions() {
    let done = |text: &str, status| cat(&[tag(text), ready(status)]);
    let answers = [done("BEGIN", b'T'), done("INSERT 0 1", b'T'), done("COMMIT", b'I'), done("INSERT 0 1", b'I')];
    check(
        |_| {},
        &[
            C(query("begin")),
            S(answers[0].clone()),
            C(query("insert")),
            S(answers[1].clone()),
            C(query("commit")),
            S(answers[2].clone()),
            C(query("insert")),
            S(answers[3].clone()),
        ],
        &[
            "op1 tx1 batch begin",
            "out1 Completed BEGIN rows0 ",
            "op2 tx1! batch insert",
            "out2 Completed INSERT 0 1 rows0 ",
            "op3 tx1! batch commit",
            "out3 Completed COMMIT rows0 ",
            "tx1 Commit",
            "op4 tx2 batch insert",
            "out4 Completed INSERT 0 1 rows0 ",
            "tx2 Commit",
        ],
        &[query("begin"), query("insert"), query("commit"), query("insert")],
        &answers,
    );
}

#[test]
fn a_refusal_fails_the_transaction_as_an_error_would() {
    let begun = cat(&[tag("BEGIN"), ready(b'T')]);
    check(
        |rig| rig.refuse = vec![2],
        &[
            C(query("begin")),
            S(begun.clone()),
            C(query("drop")),
            S(cat(&[failure("ERROR", "42601"), ready(b'E')])),
            C(query("rollback")),
            S(cat(&[tag("ROLLBACK"), ready(b'I')])),
        ],
        &[
            "op1 tx1 batch begin",
            "out1 Completed BEGIN rows0 ",
            "op2 tx1! batch drop",
            "op3 tx1! batch rollback",
            "out3 Completed ROLLBACK rows0 ",
            "tx1 Rollback",
        ],
        &[query("begin"), query("!claviger: refused"), query("rollback")],
        &[begun, ours(), ready(b'E'), tag("ROLLBACK"), ready(b'I')],
    );
}

#[test]
fn runs_a_pipeline() {
    let client = cat(&[parse("s", "a"), bind("", "s"), execute(""), bind("", "s"), execute(""), bare(b'S')]);
    let server = cat(&[bare(b'1'), bare(b'2'), row(b"1"), tag("SELECT 1"), bare(b'2'), row(b"2"), tag("SELECT 1"), ready(b'I')]);
    check(
        |_| {},
        &[C(client.clone()), S(server.clone())],
        &[
            "op1 tx1 prepare s=a",
            "op2 tx1 execute a 0",
            "op3 tx1 execute a 0",
            "out1 Completed  rows0 ",
            "out2 Completed SELECT 1 rows1 ",
            "out3 Completed SELECT 1 rows1 ",
            "tx1 Commit",
        ],
        &[client],
        &[server],
    );
}

#[test]
fn an_error_skips_to_sync() {
    let client = cat(&[parse("", "a"), bind("", ""), execute(""), parse("", "b"), bind("", ""), execute(""), bare(b'S')]);
    let server = cat(&[bare(b'1'), bare(b'2'), failure("ERROR", "22012"), ready(b'I')]);
    check(
        |_| {},
        &[C(client.clone()), S(server.clone())],
        &[
            "op1 tx1 prepare =a",
            "op2 tx1 execute a 0",
            "op3 tx1 prepare =b",
            "op4 tx1 execute b 0",
            "out1 Completed  rows0 ",
            "out2 Error  rows0 22012",
            "out3 Skipped  rows0 ",
            "out4 Skipped  rows0 ",
            "tx1 Rollback",
        ],
        &[client],
        &[server],
    );
}

#[test]
fn a_poison_in_a_pipeline_skips_what_follows() {
    let first = cat(&[parse("", "a"), bind("", ""), execute("")]);
    let rest = cat(&[bind("", ""), execute(""), parse("", "b"), bare(b'S')]);
    check(
        |rig| rig.refuse = vec![3],
        &[
            C(cat(&[first.clone(), rest])),
            S(cat(&[bare(b'1'), bare(b'2'), tag("SELECT 0"), failure("ERROR", "42601"), ready(b'I')])),
        ],
        &[
            "op1 tx1 prepare =a",
            "op2 tx1 execute a 0",
            "op3 tx1 execute a 0",
            "op4 tx1 prepare =b",
            "out1 Completed  rows0 ",
            "out2 Completed SELECT 0 rows0 ",
            "out4 Skipped  rows0 ",
            "tx1 Rollback",
        ],
        &[first, poison(), execute(""), parse("", "b"), bare(b'S')],
        &[bare(b'1'), bare(b'2'), tag("SELECT 0"), ours(), ready(b'I')],
    );
}

#[test]
fn a_suspended_portal_is_one_operation() {
    let begin = [cat(&[tag("BEGIN"), ready(b'T')])];
    let first = cat(&[parse("", "a"), bind("p", ""), execute("p"), bare(b'S')]);
    let more = cat(&[execute("p"), bare(b'S')]);
    let suspended = cat(&[bare(b'1'), bare(b'2'), row(b"1"), bare(b's'), ready(b'T')]);
    let done = cat(&[row(b"2"), tag("SELECT 1"), ready(b'T')]);
    check(
        |_| {},
        &[
            C(query("begin")),
            S(begin[0].clone()),
            C(first.clone()),
            S(suspended.clone()),
            C(more.clone()),
            S(done.clone()),
            C(execute("p")),
        ],
        &[
            "op1 tx1 batch begin",
            "out1 Completed BEGIN rows0 ",
            "op2 tx1! prepare =a",
            "op3 tx1! execute a 0",
            "out2 Completed  rows0 ",
            "continue3",
            "out3 Completed SELECT 1 rows2 ",
            "op4 tx1! execute a 0",
        ],
        &[query("begin"), first, more, execute("p")],
        &[begin[0].clone(), suspended, done],
    );
}

#[test]
fn a_portal_that_is_never_run_ends_with_its_transaction() {
    let client = cat(&[parse("", "a"), bind("p", ""), bare(b'S'), execute("cursor"), bare(b'S')]);
    let server = [cat(&[bare(b'1'), bare(b'2'), ready(b'I')]), cat(&[failure("ERROR", "34000"), ready(b'I')])];
    check(
        |_| {},
        &[C(client.clone()), S(server[0].clone()), S(server[1].clone())],
        &[
            "op1 tx1 prepare =a",
            "op2 tx1 execute a 0",
            "op3 tx2 portal cursor",
            "out1 Completed  rows0 ",
            "out2 Completed  rows0 ",
            "tx1 Commit",
            "out3 Error  rows0 34000",
            "tx2 Rollback",
        ],
        &[client],
        &server,
    );
}

#[test]
fn closing_ends_what_was_never_run() {
    let client = cat(&[parse("s", "a"), bind("p", "s"), close(b'P', "p"), close(b'S', "s"), bind("", "s"), bare(b'S')]);
    let server = cat(&[bare(b'1'), bare(b'2'), bare(b'3'), bare(b'3'), failure("ERROR", "26000"), ready(b'I')]);
    check(
        |_| {},
        &[C(client.clone()), S(server.clone())],
        &[
            "op1 tx1 prepare s=a",
            "op2 tx1 execute a 0",
            "op3 tx1 execute @s 0",
            "out1 Completed  rows0 ",
            "out2 Completed  rows0 ",
            "Unprepared(b\"s\")",
            "out3 Error  rows0 26000",
            "tx1 Rollback",
        ],
        &[client],
        &[server],
    );
}

#[test]
fn copies_in() {
    let data = cat(&[frame(b'd', &[b"1\n"]), frame(b'd', &[b"2\n"])]);
    let server = cat(&[frame(b'G', &[&[0, 0, 0]]), tag("COPY 2"), ready(b'I')]);
    check(
        |_| {},
        &[
            C(data.clone()),
            C(query("copy t from stdin")),
            S(server.slice(..8)),
            C(data.clone()),
            C(bare(b'c')),
            S(server.slice(8..)),
            C(cat(&[data.clone(), bare(b'c')])),
        ],
        &["op1 tx1 batch copy t from stdin", "out1 Completed COPY 2 rows0 ", "tx1 Commit"],
        // The server ignores what comes outside a COPY.
        &[data.clone(), query("copy t from stdin"), data.clone(), bare(b'c'), data, bare(b'c')],
        &[server],
    );
}

/// libpq sends everything up to Sync at once, and another Sync after CopyDone: the server ignores the first.
#[test]
fn copies_in_by_the_extended_protocol() {
    let ask = cat(&[parse("", "copy"), bind("", ""), execute(""), bare(b'S')]);
    let data = cat(&[frame(b'd', &[b"1\n"]), bare(b'c'), bare(b'S')]);
    let open = cat(&[bare(b'1'), bare(b'2'), frame(b'G', &[&[0, 0, 0]])]);
    let done = cat(&[tag("COPY 1"), ready(b'I')]);
    let failed = cat(&[failure("ERROR", "42501"), ready(b'I')]);
    check(
        |_| {},
        &[C(ask.clone()), S(open.clone()), C(data.clone()), S(done.clone()), C(query("x")), S(cat(&[tag("X"), ready(b'I')]))],
        &[
            "op1 tx1 prepare =copy",
            "op2 tx1 execute copy 0",
            "out1 Completed  rows0 ",
            "out2 Completed COPY 1 rows0 ",
            "tx1 Commit",
            "op3 tx2 batch x",
            "out3 Completed X rows0 ",
            "tx2 Commit",
        ],
        &[ask.clone(), data, query("x")],
        &[open.clone(), done, tag("X"), ready(b'I')],
    );
    // A COPY that fails before it reads leaves the first Sync to be answered.
    check(
        |_| {},
        &[C(ask.clone()), S(cat(&[open.clone(), failed.clone()])), C(bare(b'S')), S(ready(b'I'))],
        &["op1 tx1 prepare =copy", "op2 tx1 execute copy 0", "out1 Completed  rows0 ", "out2 Error  rows0 42501", "tx1 Rollback"],
        &[ask, bare(b'S')],
        &[open, failed, ready(b'I')],
    );
}

#[test]
fn copies_out() {
    let server = cat(&[frame(b'H', &[&[0, 0, 0]]), frame(b'd', &[b"1\n"]), bare(b'c'), tag("COPY 1"), ready(b'I')]);
    check(
        |_| {},
        &[C(query("copy t to stdout")), S(server.clone())],
        &["op1 tx1 batch copy t to stdout", "out1 Completed COPY 1 rows0 ", "tx1 Commit"],
        &[query("copy t to stdout")],
        &[server],
    );
}

#[test]
fn a_bind_waits_for_what_may_change_its_statement() {
    let first = cat(&[parse("s", "a"), bare(b'S')]);
    let again = cat(&[parse("s", "b"), bare(b'S')]);
    let use_it = cat(&[bind("", "s"), execute(""), bare(b'S')]);
    let made = cat(&[bare(b'1'), ready(b'I')]);
    let duplicate = cat(&[failure("ERROR", "42P05"), ready(b'I')]);
    let done = cat(&[bare(b'2'), tag("SELECT 0"), ready(b'I')]);
    check(
        |_| {},
        &[
            C(first.clone()),
            S(made.clone()),
            C(cat(&[again.clone(), use_it.clone()])),
            S(duplicate.clone()),
            S(done.clone()),
            C(query("deallocate S")),
            S(cat(&[tag("DEALLOCATE"), ready(b'I')])),
            C(bind("", "s")),
        ],
        &[
            "op1 tx1 prepare s=a",
            "out1 Completed  rows0 ",
            "tx1 Commit",
            "op2 tx2 prepare s=b",
            "out2 Error  rows0 42P05",
            "tx2 Rollback",
            "op3 tx3 execute a 0",
            "out3 Completed SELECT 0 rows0 ",
            "tx3 Commit",
            "op4 tx4 batch deallocate S",
            "out4 Completed DEALLOCATE rows0 ",
            "tx4 Commit",
            "op5 tx5 execute @s 0",
        ],
        &[first, again, use_it, query("deallocate S"), bind("", "s")],
        &[made, duplicate, done, tag("DEALLOCATE"), ready(b'I')],
    );
}

#[test]
fn replaces_the_text() {
    let mut rig = Rig::serving(1);
    rig.replace = Some("edited");
    rig.client(&parse("s", "a"));
    rig.server(&bare(b'1'));
    rig.replace = None;
    rig.client(&bind("", "s"));
    assert_eq!(rig.sent("-> "), hex(&[parse("s", "edited"), bind("", "s")]));
    assert_eq!(rig.told().last(), Some(&"op2 tx1 execute edited 0"));
}

#[test]
fn probes_where_nobody_notices() {
    let mut rig = Rig::serving(1);
    rig.client(&query("a"));
    rig.postgres.resume(Reply::Probe(ProbeId(5), "select x".into()));
    rig.drain();
    assert_eq!(rig.sent("-> "), hex(&[query("a")]));
    rig.server(&cat(&[tag("SELECT 0"), ready(b'I')]));
    rig.client(&query("b"));
    assert_eq!(rig.sent("-> "), hex(&[query("a"), probe()]));
    rig.server(&cat(&[bare(b'3'), bare(b'1'), bare(b'2'), row(b"7"), tag("SELECT 1"), bare(b'3'), bare(b'3'), ready(b'I')]));
    let found = Probe::Rows(vec![vec![Some(Bytes::from_static(b"7"))]]);
    assert!(rig.told().contains(&format!("Probe(ProbeId(5), {found:?})").as_str()), "{:?}", rig.log);
    assert_eq!(rig.sent("-> "), hex(&[query("a"), probe(), query("b")]));
    assert_eq!(rig.sent("<- "), hex(&[tag("SELECT 0"), ready(b'I')]));
}

/// However short its requests are, a client cannot have any number of them unanswered: each takes memory here.
#[test]
fn a_client_with_thousands_of_operations_unanswered_is_not_listened_to() {
    let mut rig = Rig::serving(64 * 1024);
    let query = frame(b'Q', &[b"\0"]);
    rig.client(&query.repeat(10_000));
    let asked = |rig: &Rig| rig.told().iter().filter(|line| line.contains("batch")).count();
    assert!((4_000..5_000).contains(&asked(&rig)), "{}", asked(&rig));
    assert!(!rig.postgres.wants_input(Side::Downstream));
    // EmptyQueryResponse.
    let answer = [bare(b'I'), ready(b'I')].concat();
    rig.server(&answer.repeat(10_000));
    assert!(rig.postgres.wants_input(Side::Downstream));
    assert_eq!(asked(&rig), 10_000);
}

#[test]
fn a_group_that_has_changed_something_ends_by_leave() {
    let steps = |text: &str| cat(&[parse("", text), bind("", ""), execute("")]);
    let done = |text: &str| cat(&[bare(b'1'), bare(b'2'), tag(text)]);
    for chunk in [usize::MAX, 1, 2, 3, 7] {
        let mut rig = Rig::serving(chunk);
        rig.uncommitted = vec![0];
        rig.client(&cat(&[steps("insert a"), steps("select 1"), bare(b'S'), query("select 2")]));
        rig.server(&cat(&[done("INSERT 0 1"), done("SELECT 1")]));
        assert_eq!(rig.sent("-> "), hex(&[steps("insert a"), steps("select 1")]), "cut at {chunk}");
        assert!(rig.told().contains(&"commit0"), "cut at {chunk}");
        rig.postgres.resume(Reply::Commit(1));
        rig.drain();
        assert_eq!(rig.sent("-> "), hex(&[steps("insert a"), steps("select 1")]), "leave for another is none, cut at {chunk}");
        rig.postgres.resume(Reply::Commit(0));
        rig.drain();
        assert_eq!(
            rig.sent("-> "),
            hex(&[steps("insert a"), steps("select 1"), bare(b'S'), query("select 2")]),
            "cut at {chunk}"
        );
        rig.server(&cat(&[ready(b'I'), tag("SELECT 1"), ready(b'I')]));
        let ends = ["tx1 Commit", "out5 Completed SELECT 1 rows0 ", "tx2 Commit"];
        assert!(rig.told().ends_with(&ends), "{:?}", rig.told());
    }
}

#[test]
fn only_a_group_that_has_changed_something_needs_leave_to_end() {
    let steps = |text: &str| cat(&[parse("", text), bind("", ""), execute("")]);
    for (begins, texts, asks) in [
        (false, &["select 1", "begin"][..], false),
        (false, &["select 1", "copy t from stdin"], true),
        (false, &["begin", "insert a"], false),
        (true, &["insert a"], false),
    ] {
        let mut rig = Rig::serving(usize::MAX);
        if begins {
            rig.client(&query("begin"));
            rig.server(&cat(&[tag("BEGIN"), ready(b'T')]));
        }
        rig.client(&cat(&[cat(&texts.iter().map(|text| steps(text)).collect::<Vec<_>>()), bare(b'S')]));
        assert_eq!(rig.told().iter().any(|line| line.starts_with("commit")), asks, "{texts:?}");
        assert!(rig.sent("-> ").ends_with(&hex(&[bare(b'S')])), "{texts:?}");
    }
    // What is bound and never executed opens no transaction.
    let mut rig = Rig::serving(usize::MAX);
    rig.client(&cat(&[parse("", "begin"), bind("", ""), steps("insert a"), bare(b'S')]));
    assert!(rig.told().contains(&"commit0"), "{:?}", rig.told());
}

#[test]
fn a_query_that_ends_what_others_have_changed_counts_as_a_change() {
    let access = |before: &[Bytes]| {
        let mut rig = Rig::serving(usize::MAX);
        rig.client(&cat(before));
        rig.inputs[0].extend_from_slice(&query("select 1"));
        rig.postgres.handle_input(Side::Downstream, &mut rig.inputs[0]);
        match rig.postgres.poll_event() {
            Some(Event::Operation(operation)) => (operation.access, operation.commit),
            other => panic!("{other:?}"),
        }
    };
    let insert = cat(&[parse("", "insert a"), bind("", ""), execute("")]);
    assert_eq!(access(&[]), (Access::Read, Commit::Itself));
    assert_eq!(access(std::slice::from_ref(&insert)), (Access::Write, Commit::Itself));
    assert_eq!(access(&[insert.clone(), bare(b'S')]), (Access::Read, Commit::Itself));
    assert_eq!(access(&[query("begin"), insert]), (Access::Read, Commit::Transaction));
}
