#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::net::IpAddr;
use std::sync::Arc;

use claviger_model::{Chain, ConnectionName, Mode, Principal, PrincipalKey, PrincipalKind};

use crate::{Action, Answer, Context, Grants, PolicySet, Question, Resource};

fn load(text: &str) -> PolicySet {
    PolicySet::load(&[("p.cedar".into(), text.into())], "local").unwrap_or_else(|errors| panic!("{errors}"))
}

fn problems(text: &str) -> String {
    PolicySet::load(&[("ok.cedar".into(), PERMIT_ALICE.into()), ("p.cedar".into(), text.into())], "local")
        .unwrap_err()
        .to_string()
}

const PERMIT_ALICE: &str = r#"permit (principal == User::"alice", action == Action::"connect", resource);"#;

/// `alice@local` is a user, `bot@local` a workload (any subject with `bot` in it); groups follow after `:`, a sponsor after `!`.
fn principal(text: &str) -> Principal {
    let (text, sponsor) = text.split_once('!').map_or((text, None), |(text, sponsor)| (text, Some(sponsor)));
    let (name, groups) = text.split_once(':').unwrap_or((text, ""));
    let key = |text: &str| text.rsplit_once('@').map(|(subject, issuer)| PrincipalKey::new(issuer, subject)).unwrap();
    Principal {
        kind: if name.contains("bot") { PrincipalKind::Workload } else { PrincipalKind::User },
        key: key(name),
        groups: groups.split(',').filter(|group| !group.is_empty()).map(Into::into).collect(),
        sponsor: sponsor.map(key),
    }
}

fn chain(text: &str) -> Chain {
    Chain::from_links(text.split(" for ").map(principal).collect()).unwrap()
}

fn ask(policies: &PolicySet, who: &str, action: Action, mode: Mode, context: Context<'_>) -> Answer {
    let (chain, name): (Chain, ConnectionName) = (chain(who), "orders".parse().unwrap());
    let labels: [Arc<str>; 2] = ["environment.production".into(), "pci.account".into()];
    let connection = Resource::Connection { name: &name, kind: "postgres", labels: &labels, mode };
    let resource = if action == Action::Connect { connection } else { Resource::Gateway };
    policies.decide(&Question { chain: &chain, action, resource, context, grants: Grants::default() })
}

fn context() -> Context<'static> {
    Context { client_address: IpAddr::from([10, 1, 2, 3]), application: Some("psql"), tls: true, purpose: None }
}

/// Written `permit p.cedar#1`, `deny`, `deny a b "reason"`, `error a`.
fn brief(answer: &Answer) -> String {
    let verdict = match (answer.permit, answer.error) {
        (true, false) => "permit",
        (false, false) => "deny",
        (false, true) => "error",
        (true, true) => "permit in spite of an error",
    };
    let policies = answer.policies.iter().map(|id| format!(" {id}")).collect::<String>();
    let reason = answer.reason.as_ref().map(|reason| format!(" {reason:?}")).unwrap_or_default();
    format!("{verdict}{policies}{reason}")
}

#[track_caller]
fn check(text: &str, rows: &[(&str, &str)]) {
    let policies = load(text);
    for (who, expected) in rows {
        let answer = ask(&policies, who, Action::Connect, Mode::Enforce, context());
        assert_eq!(brief(&answer), *expected, "{who}");
    }
}

#[test]
fn nothing_is_permitted_by_default() {
    check("", &[("alice@local", "deny")]);
}

#[test]
fn principals_are_told_apart_by_issuer_and_kind() {
    check(
        r#"permit (principal == User::"alice", action, resource);
           permit (principal == User::"okta/alice", action, resource);
           permit (principal == Workload::"bot", action, resource);"#,
        &[
            ("alice@local", "permit p.cedar#1"),
            ("alice@okta", "permit p.cedar#2"),
            ("alice@google", "deny"),
            ("bob@local", "deny"),
            ("bot@local", "permit p.cedar#3"),
            ("bot@okta", "deny"),
        ],
    );
}

#[test]
fn a_name_with_a_slash_cannot_pass_for_a_foreign_one() {
    check(
        r#"permit (principal, action, resource);"#,
        &[
            ("okta/alice@local", "error"),
            ("alice@okta/b", "error"),
            ("alice@local:okta/dba", "error"),
            ("team/alice@okta", "permit p.cedar#1"),
            ("alice@okta:a/b", "permit p.cedar#1"),
        ],
    );
}

#[test]
fn groups_belong_to_their_issuer() {
    check(
        r#"@id("engineers") permit (principal in Group::"engineers", action, resource);
           @id("okta-dba") permit (principal in Group::"okta/dba", action, resource);"#,
        &[
            ("alice@local:engineers", "permit engineers"),
            ("alice@okta:engineers", "deny"),
            ("alice@okta:dba", "permit okta-dba"),
            ("alice@local:dba", "deny"),
            ("alice@local:dba,engineers,x", "permit engineers"),
        ],
    );
}

#[test]
fn every_link_must_be_permitted() {
    check(
        r#"@id("p-alice") permit (principal == User::"alice", action, resource);
           @id("p-bots") permit (principal is Workload in Group::"agents", action, resource);
           @id("no-rogue") @reason("rogue is under investigation")
           forbid (principal == Workload::"rogue-bot", action, resource);"#,
        &[
            ("bot@local:agents", "permit p-bots"),
            ("bot@local:agents for alice@local", "permit p-alice p-bots"),
            ("bot@local:agents for bob@local", "deny"),
            ("bot@local for alice@local", "deny"),
            ("bot@local:agents for rogue-bot@local:agents for alice@local", r#"deny no-rogue "rogue is under investigation""#),
            ("rogue-bot@local:agents for alice@local", r#"deny no-rogue "rogue is under investigation""#),
        ],
    );
}

#[test]
fn a_forbid_wins_and_its_reason_is_told() {
    check(
        r#"permit (principal, action, resource);
           @id("b") @reason("second") forbid (principal in Group::"x", action, resource);
           @id("a") forbid (principal in Group::"x", action, resource);
           @id("c") @reason("") forbid (principal in Group::"y", action, resource);"#,
        &[("alice@local", "permit p.cedar#1"), ("alice@local:x", r#"deny a b "second""#), ("alice@local:y", "deny c")],
    );
}

#[test]
fn whatever_cannot_be_evaluated_is_denied() {
    // Overflow is what the validator cannot see, and Cedar alone would pass over the forbid and permit.
    check(
        r#"permit (principal, action, resource);
           @id("broken") forbid (principal, action, resource) when { 9223372036854775807 + 1 == 0 };"#,
        &[("alice@local", "error broken")],
    );
    check(
        r#"@id("good") permit (principal, action, resource);
           @id("broken") permit (principal == User::"alice", action, resource) when { -9223372036854775807 - 2 == 0 };"#,
        &[("alice@local", "error broken"), ("bob@local", "permit good"), ("bob@local for alice@local", "error broken")],
    );
}

#[test]
fn labels_kind_and_mode_are_known() {
    check(r#"permit (principal, action, resource in Label::"environment.production");"#, &[("a@local", "permit p.cedar#1")]);
    check(r#"permit (principal, action, resource in Label::"environment.test");"#, &[("a@local", "deny")]);
    check(
        r#"permit (principal, action == Action::"connect", resource == Connection::"orders") when {
             resource.labels.contains("pci.account") && resource.kind == "postgres" && resource.mode == "enforce"
               && resource.name == "orders" };"#,
        &[("a@local", "permit p.cedar#1")],
    );
}

#[test]
fn the_sponsor_and_the_delegation_are_known() {
    check(
        r#"@id("sponsored") permit (principal is Workload, action, resource)
             when { principal has sponsor && principal.sponsor == "alice" };
           @id("foreign") permit (principal is Workload, action, resource)
             when { principal has sponsor && principal.sponsor == "okta/alice" };
           @id("self") permit (principal is User, action, resource) unless { context.delegated };
           @id("lent") permit (principal == User::"alice", action, resource)
             when { context has acting_for && context.acting_for == "alice" };"#,
        &[
            ("bot@local!alice@local", "permit sponsored"),
            ("bot@local!alice@okta", "permit foreign"),
            ("bot@local!bob@local", "deny"),
            ("bot@local", "deny"),
            ("alice@local", "permit self"),
            ("bot@local!alice@local for alice@local", "permit lent sponsored"),
            ("bot@local!alice@local for bob@local", "deny"),
        ],
    );
}

#[test]
fn circumstances_count() {
    let policies = load(
        r#"permit (principal, action == Action::"connect", resource) when {
             context.client_address.isInRange(ip("10.0.0.0/8")) && context.tls
               && context has application && context.application == "psql"
               && context has purpose && context.purpose == "INC-1" };"#,
    );
    let good = Context { purpose: Some("INC-1"), ..context() };
    let rows = [
        (good, true),
        (Context { client_address: "::ffff:10.9.9.9".parse().unwrap(), ..good }, true),
        (Context { client_address: "11.0.0.1".parse().unwrap(), ..good }, false),
        (Context { client_address: "fd00::1".parse().unwrap(), ..good }, false),
        (Context { tls: false, ..good }, false),
        (Context { application: None, ..good }, false),
        (Context { purpose: None, ..good }, false),
        (Context { purpose: Some("INC-1\" || true"), ..good }, false),
    ];
    for (context, expected) in rows {
        let answer = ask(&policies, "alice@local", Action::Connect, Mode::Enforce, context);
        assert_eq!((answer.permit, answer.error), (expected, false), "{context:?}");
    }
}

#[test]
fn administration_has_two_halves() {
    let policies = load(
        r#"permit (principal in Group::"auditors", action in Action::"review", resource);
           permit (principal in Group::"operators", action in Action::"administer", resource == Gateway::"gateway");
           permit (principal in Group::"admins", action in Action::"admin", resource);"#,
    );
    use Action::{
        CheckCoverage, IssueToken, KillSession, ListConnections, ListPrincipals, ListSessions, ListTokens, ListUsage,
        ManagePrincipals, ReadAudit, ReadSession, RevokeToken, RotateKey,
    };
    let review = [ListSessions, ReadSession, ReadAudit, ListConnections, CheckCoverage, ListPrincipals, ListTokens, ListUsage];
    let administer = [KillSession, IssueToken, RevokeToken, RotateKey, ManagePrincipals];
    for (group, may_review, may_administer) in
        [("auditors", true, false), ("operators", false, true), ("admins", true, true), ("others", false, false)]
    {
        let who = format!("alice@local:{group}");
        let permitted = |action| brief(&ask(&policies, &who, action, Mode::Enforce, context())).starts_with("permit");
        assert!(review.iter().all(|action| permitted(*action) == may_review), "{group}");
        assert!(administer.iter().all(|action| permitted(*action) == may_administer), "{group}");
        assert!(!permitted(Action::Connect), "{group}");
    }
}

#[test]
fn an_action_on_the_wrong_resource_is_an_error() {
    let policies = load("permit (principal, action, resource);");
    let chain = chain("alice@local");
    let question = Question {
        chain: &chain,
        action: Action::Connect,
        resource: Resource::Gateway,
        context: context(),
        grants: Grants::default(),
    };
    assert_eq!(brief(&policies.decide(&question)), "error");
}

#[test]
fn what_does_not_validate_is_not_loaded() {
    for (text, place, word) in [
        ("permit (principal, action, resource)", "p.cedar:1:", "unexpected end of input"),
        ("// first\npermit (principal, action == Action::\"conect\", resource);", "p.cedar:2:", "unrecognized action"),
        ("permit (principal == Usr::\"a\", action, resource);", "p.cedar:1:", "unrecognized entity type"),
        (
            "permit (principal, action, resource);\n\npermit (principal, action == Action::\"connect\", resource)\n  when { resource.nmae == \"x\" };",
            "p.cedar:4:10",
            "attribute `nmae`",
        ),
        ("permit (principal is Workload, action, resource) when { principal.sponsor == \"a\" };", "p.cedar:1:57", "sponsor"),
        ("permit (principal, action, resource) when { context.tls == 1 };", "p.cedar:1:45", "types"),
        ("permit (principal == ?principal, action, resource);", "p.cedar:1:1", "template"),
        ("@id(\"\") permit (principal, action, resource);", "p.cedar:1:1", "`@id`"),
        (
            "@id(\"x\") permit (principal, action, resource); @id(\"x\") forbid (principal, action, resource);",
            "p.cedar:1:48",
            "used twice",
        ),
        ("@id(\"ok.cedar#1\") forbid (principal, action, resource);", "p.cedar:1:1", "used twice"),
    ] {
        let problems = problems(text);
        assert!(problems.starts_with(place), "{text}\n{problems}");
        assert!(problems.contains(word), "{text}\n{problems}");
    }
}

#[test]
fn every_problem_is_told() {
    let problems =
        problems("permit (principal == Usr::\"a\", action, resource);\npermit (principal == Grp::\"a\", action, resource);");
    let lines: Vec<&str> = problems.lines().map(|line| &line[..10]).collect();
    assert_eq!(lines, ["p.cedar:1:", "p.cedar:2:"], "{problems}");
}

#[test]
fn a_policy_that_never_applies_is_suspicious() {
    let policies = load("permit (principal, action, resource) when { false };");
    assert_eq!(policies.warnings().len(), 1);
    assert_eq!((policies.warnings()[0].line, &*policies.warnings()[0].file), (1, "p.cedar"));
}

#[test]
fn the_hash_covers_names_texts_and_their_borders() {
    let hash = |sources: &[(&str, &str)]| {
        let sources: Vec<_> = sources.iter().map(|(file, text)| ((*file).to_owned(), (*text).to_owned())).collect();
        PolicySet::load(&sources, "local").unwrap().hash().clone()
    };
    let all = [hash(&[]), hash(&[("a", "")]), hash(&[("a", "//b")]), hash(&[("a//", "//b")]), hash(&[("b", ""), ("a", "")])];
    for (i, one) in all.iter().enumerate() {
        assert_eq!(one.len(), 64);
        assert!(all[..i].iter().all(|other| other != one));
    }
    assert_eq!(&*all[0], "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_eq!(hash(&[("a", "//b")]), all[2]);
}
