#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use claviger_model::{
    Chain, Column, Definition, Effect, Hazard, Labels, Meaning, Mode, Object, Principal, PrincipalKey, PrincipalKind, Routine,
    Table, TableKind, Timestamp, Verb,
};

use crate::{Context, Grants, Judgement, Lately, Matter, Moment, Party, PolicySet, Ruling};

fn load(text: &str) -> PolicySet {
    PolicySet::load(&[("p.cedar".into(), text.into())], "local").unwrap_or_else(|errors| panic!("{errors}"))
}

fn labels(text: &str) -> Labels {
    text.split_whitespace().map(Arc::from).collect()
}

/// `customers` holds personal data in `name` and `ssn`; everything else is harmless.
fn table(name: &str) -> Arc<Table> {
    let (schema, name) = name.split_once('.').unwrap_or(("public", name));
    let holds = labels(if name == "customers" { "pii.name pii.ssn" } else { "" });
    let system = schema == "pg_catalog";
    Arc::new(Table { schema: schema.into(), name: name.into(), id: 1, kind: TableKind::Table, system, labels: labels(""), holds })
}

fn column(of: &str, name: &str) -> Object {
    let own = match name {
        "name" | "ssn" => labels(&format!("pii.{name}")),
        _ => labels(""),
    };
    Object::Column(Arc::new(Column { table: table(of), name: name.into(), number: 1, kind: 25, labels: own }))
}

/// `read customers.name`, `delete notes`, `execute fn:pay`, `configure set:role`, `drop def:i`, `create schema:x`, `unknown *`;
/// hazards begin with `!`; ` via v` says by way of what.
fn meaning(text: &str) -> Meaning {
    let mut meaning = Meaning { class: "TEST", ..Meaning::default() };
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        if let Some(hazard) = part.strip_prefix('!') {
            let all = [Hazard::BulkWrite, Hazard::MassExport, Hazard::Cascade, Hazard::Unknown, Hazard::Wait, Hazard::Program];
            meaning.hazards.insert(*all.iter().find(|one| one.as_str() == hazard).unwrap());
            continue;
        }
        let (part, through) = part.split_once(" via ").map_or((part, None), |(part, through)| (part, Some(through.into())));
        let (verb, object) = part.split_once(' ').unwrap();
        let verb = *Verb::ALL.iter().find(|one| one.as_str() == verb).unwrap();
        let object = match object.split_once([':', '.']) {
            _ if object == "*" => Object::Connection,
            Some(("fn", name)) => {
                Object::Routine(Arc::new(Routine { schema: "public".into(), name: name.into(), system: false }))
            }
            Some(("set", name)) => Object::Setting(name.into()),
            Some(("schema", name)) => Object::Schema(name.into()),
            Some(("def", name)) => {
                Object::Definition(Arc::new(Definition { kind: "index", schema: Some("public".into()), name: name.into() }))
            }
            Some(("pg_catalog", name)) => Object::Table(table(&format!("pg_catalog.{name}"))),
            Some((table, name)) => column(table, name),
            None => Object::Table(table(object)),
        };
        meaning.effects.insert(Effect { verb, object, through });
    }
    meaning
}

fn principal(text: &str) -> Principal {
    let (name, groups) = text.split_once(':').unwrap_or((text, ""));
    Principal {
        kind: if name.contains("bot") { PrincipalKind::Workload } else { PrincipalKind::User },
        key: PrincipalKey::new("local", name),
        groups: groups.split('+').filter(|group| !group.is_empty()).map(Into::into).collect(),
        sponsor: None,
    }
}

fn party(who: &str) -> Party {
    let chain = Chain::from_links(who.split(" for ").map(principal).collect()).unwrap();
    let context = Context { client_address: IpAddr::from([10, 1, 2, 3]), application: Some("psql"), tls: true, purpose: None };
    Party::new(&chain, &"bank".parse().unwrap(), "postgres", &["environment.production".into()], Mode::Enforce, context)
}

/// A Saturday at three in the morning.
const NIGHT: Timestamp = Timestamp::from_secs(1_795_230_245);

/// Statements stand between semicolons.
fn judge_at(policies: &PolicySet, who: &str, what: &str, now: Timestamp, approvals: &[&str]) -> Arc<Judgement> {
    let approvals: BTreeSet<Arc<str>> = approvals.iter().map(|group| Arc::from(*group)).collect();
    let (party, matter) = (party(who), Matter::new(what.split(';').map(meaning)));
    let moment = Moment { now, approvals: &approvals, grants: Grants::default(), lately: Lately::default() };
    let first = policies.judge(&party, &matter, &moment);
    assert_eq!(first, policies.judge(&party, &matter, &moment), "a judgement that is remembered is another");
    first
}

/// `permit a`, `deny`, `deny a "reason"`, `hold g+h a`, `error a`.
fn brief(judgement: &Judgement) -> String {
    let mut text = match &judgement.ruling {
        Ruling::Permit => "permit".to_owned(),
        Ruling::Deny if judgement.error => "error".to_owned(),
        Ruling::Deny => "deny".to_owned(),
        Ruling::Hold(groups) => format!("hold {}", groups.join("+")),
    };
    judgement.policies.iter().for_each(|id| text.push_str(&format!(" {id}")));
    if let Some(reason) = &judgement.reason {
        text.push_str(&format!(" {reason:?}"));
    }
    text
}

#[track_caller]
fn check(text: &str, rows: &[(&str, &str, &str)]) {
    let policies = load(text);
    for (who, what, expected) in rows {
        assert_eq!(brief(&judge_at(&policies, who, what, NIGHT, &[])), *expected, "{who}: {what}");
    }
}

#[test]
fn everything_that_is_done_must_be_permitted() {
    check(
        r#"@id("r") permit (principal, action == Action::"read", resource in Table::"bank/public.notes");
           @id("w") permit (principal, action in Action::"write", resource == Table::"bank/public.notes");"#,
        &[
            ("a", "read notes.body", "permit r"),
            ("a", "read notes.body, insert notes", "permit r w"),
            ("a", "truncate notes", "permit w"),
            ("a", "export notes", "deny"),
            ("a", "read notes.body, read branches.code", "deny"),
            ("a", "read notes.body; drop notes", "deny"),
            ("a", "", "permit"),
            ("a", "; read notes.body ;", "permit r"),
        ],
    );
}

#[test]
fn actions_have_groups() {
    check(
        r#"@id("read") permit (principal in Group::"reader", action in Action::"read", resource);
           @id("write") permit (principal in Group::"writer", action in Action::"write", resource);
           @id("define") permit (principal in Group::"definer", action in Action::"define", resource);
           @id("control") permit (principal in Group::"admin", action in [Action::"lock", Action::"maintain", Action::"grant", Action::"control"], resource in Connection::"bank");
           @id("admin") permit (principal in Group::"gateway", action in Action::"admin", resource);"#,
        &[
            ("a:reader", "read notes, export notes", "permit read"),
            ("a:writer", "insert notes, update notes, delete notes, truncate notes", "permit write"),
            ("a:definer", "create notes, alter notes, drop notes", "permit define"),
            ("a:admin", "lock notes, maintain notes, grant notes, control *", "permit control"),
            ("a:admin", "read notes", "deny"),
            ("a:gateway", "control *", "deny"),
            ("a:reader+writer+definer+admin", "execute fn:pay", "deny"),
            ("a:reader+writer+definer+admin", "unknown *", "deny"),
        ],
    );
}

#[test]
fn things_are_known_by_name_place_label_and_kind() {
    check(
        r#"@id("ok") permit (principal, action, resource);
           @id("ssn") forbid (principal, action, resource == Column::"bank/public.customers.ssn");
           @id("pii") forbid (principal in Group::"intern", action, resource in Label::"pii.name");
           @id("hr") forbid (principal, action, resource in Schema::"bank/hr");
           @id("role") forbid (principal, action, resource == Setting::"bank/role");
           @id("pay") forbid (principal, action, resource == Routine::"bank/public.pay");
           @id("index") forbid (principal, action == Action::"drop", resource is Definition)
             when { resource.kind == "index" && resource has schema && resource.schema == "public" };
           @id("sys") forbid (principal, action in Action::"write", resource) when { resource.system };
           @id("holds") forbid (principal, action == Action::"export", resource is Table) when { !resource.holds.isEmpty() };"#,
        &[
            ("a", "read customers.name", "permit ok"),
            ("a", "read customers.ssn", "deny ssn"),
            ("a:intern", "read customers.name", "deny pii"),
            ("a:intern", "read customers.id", "permit ok"),
            ("a", "configure set:role", "deny role"),
            ("a", "configure set:timezone", "permit ok"),
            ("a", "execute fn:pay", "deny pay"),
            ("a", "create schema:hr", "deny hr"),
            ("a", "drop def:i", "deny index"),
            ("a", "create def:i", "permit ok"),
            ("a", "read pg_catalog.pg_class", "permit ok"),
            ("a", "update pg_catalog.pg_class", "deny sys"),
            ("a", "export customers", "deny holds"),
            ("a", "export notes", "permit ok"),
        ],
    );
}

#[test]
fn columns_are_asked_about_together_unless_policies_tell_them_apart() {
    let columns = "read customers.id, read customers.city, read customers.branch, read customers.ssn, read notes.id";
    let asked = |text: &str| {
        let none = BTreeSet::new();
        let (_, answers) = load(text).examine(
            &party("a"),
            &Matter::new([meaning(columns)]),
            &Moment { now: NIGHT, approvals: &none, grants: Grants::default(), lately: Lately::default() },
        );
        answers.iter().map(|answered| answered.asked.objects.len()).collect::<Vec<_>>()
    };
    assert_eq!(asked("permit (principal, action, resource);"), [3, 1, 1]);
    assert_eq!(
        asked(
            r#"permit (principal, action, resource); forbid (principal, action, resource is Setting) when { resource.name == "x" };"#
        ),
        [3, 1, 1]
    );
    assert_eq!(
        asked(r#"permit (principal, action in Action::"operation", resource) when { resource.name == "id" };"#),
        [1, 1, 1, 1, 1]
    );
    assert_eq!(
        asked(
            r#"permit (principal, action, resource); forbid (principal, action, resource) when { resource == Column::"bank/public.customers.city" };"#
        ),
        [2, 1, 1, 1]
    );
    check(
        r#"@id("ok") permit (principal, action, resource);
           @id("city") forbid (principal, action, resource == Column::"bank/public.customers.city");"#,
        &[("a", columns, "deny city"), ("a", "read customers.id, read customers.branch", "permit ok")],
    );
}

#[test]
fn every_link_of_a_chain_must_be_permitted() {
    check(
        r#"@id("bots") permit (principal is Workload, action, resource);
           @id("alice") permit (principal == User::"alice", action == Action::"read", resource);"#,
        &[
            ("bot", "delete notes", "permit bots"),
            ("bot for alice", "read notes", "permit alice bots"),
            ("bot for alice", "delete notes", "deny"),
            ("bot for bob", "read notes", "deny"),
        ],
    );
}

#[test]
fn what_is_not_understood_must_be_permitted_by_name() {
    check(
        r#"@id("all") permit (principal, action, resource);
           @id("dba") permit (principal in Group::"dba", action == Action::"unknown", resource);
           @id("list") permit (principal in Group::"list", action in [Action::"read", Action::"unknown"], resource);
           @id("ops") permit (principal in Group::"ops", action in [Action::"operation"], resource);
           @id("not") forbid (principal in Group::"not", action in Action::"operation", resource) when { context.hazards.contains("unknown") };"#,
        &[
            ("a", "read notes", "permit all"),
            ("a", "unknown *", "deny"),
            ("a", "!unknown", "deny"),
            ("a:dba", "unknown *, !unknown", "permit dba"),
            ("a:list", "unknown *", "permit list"),
            ("a:ops", "unknown *", "deny"),
            ("a:dba+not", "unknown *, !unknown", "deny not"),
        ],
    );
}

#[test]
fn what_is_dangerous_is_asked_about_even_if_it_is_done_to_nothing() {
    check(
        r#"@id("all") permit (principal, action, resource);
           @id("wait") forbid (principal, action in Action::"operation", resource) when { context.hazards.contains("wait") };"#,
        &[("a", "!wait", "deny wait"), ("a", "!cascade", "permit all"), ("a", "", "permit")],
    );
}

const HOLDS: &str = r#"
    @id("all") permit (principal, action, resource);
    @id("bulk") @approval("dba") @reason("ask a DBA") @control("IS.II.C.15")
    forbid (principal, action in Action::"write", resource) when { context.hazards.contains("bulk_write") }
      unless { context.approvals.contains("dba") };
    @id("pii") @approval("privacy")
    forbid (principal, action in [Action::"export", Action::"delete"], resource == Table::"bank/public.customers")
      when { !context.approvals.contains("privacy") };
    @id("hard") forbid (principal, action == Action::"drop", resource);
    @id("intern") forbid (principal in Group::"intern", action in Action::"write", resource);
    @id("also") @approval("dba")
    forbid (principal in Group::"twice", action == Action::"delete", resource) unless { context.approvals.contains("dba") };
    @id("after") forbid (principal in Group::"after", action == Action::"delete", resource) when { context.approvals.contains("dba") };"#;

#[test]
fn a_hold_is_a_denial_that_approvals_lift_and_nothing_less() {
    check(
        HOLDS,
        &[
            ("a", "delete notes, !bulk_write", r#"hold dba bulk "ask a DBA""#),
            ("a", "delete notes", "permit all"),
            ("a", "delete customers, !bulk_write", r#"hold dba+privacy bulk pii "ask a DBA""#),
            ("a", "export customers; delete notes, !bulk_write", r#"hold dba+privacy bulk pii "ask a DBA""#),
            ("a:twice", "delete notes, !bulk_write", r#"hold dba also bulk "ask a DBA""#),
            // One that no approval lifts is enough.
            ("a", "drop notes, delete notes, !bulk_write", r#"deny bulk hard "ask a DBA""#),
            ("a:intern", "delete notes, !bulk_write", r#"deny bulk intern "ask a DBA""#),
            ("a", "delete notes, !bulk_write; unknown *", r#"deny bulk "ask a DBA""#),
            // What would be forbidden because it was approved.
            ("a:after", "delete notes, !bulk_write", r#"deny bulk "ask a DBA""#),
            // Any link.
            ("bot for a", "delete notes, !bulk_write", r#"hold dba bulk "ask a DBA""#),
            ("bot for a:intern", "delete notes, !bulk_write", r#"deny bulk intern "ask a DBA""#),
        ],
    );
    let policies = load(HOLDS);
    let judged = |approvals: &[&str]| brief(&judge_at(&policies, "a", "delete customers, !bulk_write", NIGHT, approvals));
    assert_eq!(judged(&["dba"]), "hold privacy pii");
    assert_eq!(judged(&["privacy", "others"]), r#"hold dba bulk "ask a DBA""#);
    assert_eq!(judged(&["dba", "privacy"]), "permit all");
    let judgement = judge_at(&policies, "a", "delete notes, !bulk_write", NIGHT, &[]);
    assert_eq!(&*judgement.controls, [Arc::from("IS.II.C.15")]);
    assert!(matches!(&judgement.refused, Some((Verb::Delete, Object::Table(table))) if &*table.name == "notes"));
}

#[test]
fn nothing_is_held_where_nothing_permits() {
    check(
        r#"@id("f") @approval("g") forbid (principal, action in Action::"operation", resource) unless { context.approvals.contains("g") };"#,
        &[("a", "read notes", "deny f")],
    );
}

#[test]
fn an_approval_must_lift_what_it_stands_on() {
    let problem =
        |policy: &str| PolicySet::load(&[("p.cedar".into(), policy.into())], "local").map_err(|errors| errors.to_string());
    for condition in [
        r#"unless { context.approvals.contains("g") }"#,
        r#"when { !context.approvals.contains("g") }"#,
        r#"when { context.risk > 3 && !context.approvals.contains("g") }"#,
        r#"when { context.risk > 3 } unless { context.tls || context.approvals.contains("g") }"#,
        r#"unless { context.approvals.containsAny(["h", "g"]) }"#,
        r#"unless { context.approvals.containsAll(["g"]) }"#,
        r#"when { context.approvals.isEmpty() }"#,
        r#"when { if context.approvals.contains("g") then false else context.tls }"#,
        r#"unless { if context.tls then context.approvals.contains("g") else true }"#,
    ] {
        problem(&format!(r#"@approval("g") forbid (principal, action == Action::"read", resource) {condition};"#)).unwrap();
    }
    for condition in [
        "",
        r#"when { context.risk > 3 }"#,
        r#"unless { context.approvals.contains("h") }"#,
        r#"when { context.approvals.contains("g") }"#,
        r#"unless { context.approvals.contains("g") && context.tls }"#,
        r#"unless { context.approvals.containsAll(["g", "h"]) }"#,
        r#"unless { context.hazards.contains("g") }"#,
        r#"unless { ["g"].contains("g") && context.tls }"#,
        r#"when { if context.tls then !context.approvals.contains("g") else context.risk > 3 }"#,
    ] {
        let found =
            problem(&format!("\n  @approval(\"g\") forbid (principal, action == Action::\"read\", resource) {condition};"));
        let found = found.map(|_| ()).unwrap_err();
        assert!(found.starts_with("p.cedar:2:3: the approval of `g` does not lift"), "{condition}: {found}");
    }
    let permit = problem(r#"@approval("g") permit (principal, action, resource);"#).map(|_| ()).unwrap_err();
    assert!(permit.starts_with("p.cedar:1:1: `@approval`"), "{permit}");
    let nobody = problem(
        r#"@approval("") forbid (principal, action in Action::"operation", resource) unless { context.approvals.contains("") };"#,
    );
    assert!(nobody.map(|_| ()).unwrap_err().contains("names no group"));
}

#[test]
fn whatever_cannot_be_evaluated_is_denied() {
    let broken = "9223372036854775807 + context.risk == 0";
    check(
        &format!(
            r#"@id("all") permit (principal, action, resource);
               @id("forbid") forbid (principal in Group::"f", action in Action::"operation", resource) when {{ {broken} }};
               @id("permit") permit (principal in Group::"p", action in Action::"operation", resource) when {{ {broken} }};
               @id("held") @approval("g") forbid (principal in Group::"h", action in Action::"operation", resource)
                 when {{ {broken} }} unless {{ context.approvals.contains("g") }};"#
        ),
        &[
            ("a", "delete notes", "permit all"),
            ("a:f", "delete notes", "error forbid"),
            ("a:p", "delete notes", "error permit"),
            ("a:h", "delete notes", "error held"),
            ("a for b:f", "delete notes", "error forbid"),
            ("a/b", "delete notes", "error"),
        ],
    );
}

#[test]
fn the_time_counts() {
    let policies = load(
        r#"@id("day") permit (principal in Group::"day", action in Action::"operation", resource) when { context.hour >= 8 && context.hour < 18 };
           @id("week") permit (principal in Group::"week", action in Action::"operation", resource)
             unless { context.weekday == "saturday" || context.weekday == "sunday" };
           @id("until") permit (principal in Group::"until", action in Action::"operation", resource)
             when { context.now < datetime("2026-11-21T03:04:06Z") };
           @id("calm") permit (principal in Group::"calm", action in Action::"operation", resource) when { context.risk < 20 };"#,
    );
    let judged = |who: &str, secs: i64| brief(&judge_at(&policies, who, "delete notes", NIGHT.plus_secs(secs), &[]));
    assert_eq!([judged("a:day", 0), judged("a:day", 5 * 3600)], ["deny", "permit day"]);
    assert_eq!([judged("a:week", 0), judged("a:week", 2 * 86_400)], ["deny", "permit week"]);
    assert_eq!([judged("a:until", 0), judged("a:until", 1), judged("a:until", 0)], ["permit until", "deny", "permit until"]);
    assert_eq!([judged("a:calm", 0), judged("a:calm", 2 * 86_400 + 8 * 3600)], ["deny", "deny"]);
}

#[test]
fn by_way_of_what_is_known() {
    check(
        r#"@id("view") permit (principal, action == Action::"read", resource)
             when { context has through && context.through == "public.v" };"#,
        &[
            ("a", "read customers.ssn via public.v", "permit view"),
            ("a", "read customers.ssn", "deny"),
            ("a", "read customers.ssn via public.w", "deny"),
            ("a", "read customers.ssn via public.v, read customers.ssn", "deny"),
        ],
    );
}

#[test]
fn a_risk_is_the_sum_of_what_it_names() {
    let policies = load("permit (principal, action, resource);");
    let risk = |who: &str, what: &str, secs: i64| {
        let judgement = judge_at(&policies, who, what, NIGHT.plus_secs(secs), &[]);
        let sum: u32 = judgement.risk.contributions.iter().map(|(_, points)| u32::from(*points)).sum();
        assert_eq!(u32::from(judgement.risk.score), sum.min(100), "{:?}", judgement.risk);
        let names: Vec<&str> = judgement.risk.contributions.iter().map(|(name, _)| &**name).collect();
        format!("{} {}", judgement.risk.score, names.join(" "))
    };
    let monday_noon = 2 * 86_400 + 9 * 3600;
    assert_eq!(risk("a", "read notes", monday_noon), "10 production");
    assert_eq!(risk("a", "read notes", 0), "20 production night weekend");
    assert_eq!(
        risk("bot for a", "delete customers, read customers.ssn, !bulk_write", monday_noon),
        "75 verb.delete hazard.bulk_write labelled_data production delegated"
    );
    assert_eq!(risk("a", "read notes; grant notes", monday_noon), "50 verb.grant production");
    assert_eq!(
        risk("a", "unknown *, !program, !unknown", 0),
        "100 verb.unknown hazard.program hazard.unknown production night weekend"
    );
}

#[test]
fn circumstances_that_no_policy_looks_at_do_not_count() {
    let policies =
        load(r#"permit (principal, action, resource) when { context has application && context.application == "psql" };"#);
    let chain = Chain::of(principal("a"));
    let party = |address: [u8; 4], application| {
        let context = Context { client_address: address.into(), application: Some(application), tls: true, purpose: None };
        Party::new(&chain, &"bank".parse().unwrap(), "postgres", &[], Mode::Enforce, context)
    };
    let (matter, none) = (Matter::new([meaning("read notes")]), BTreeSet::new());
    let judge = |party: &Party| {
        policies.judge(
            party,
            &matter,
            &Moment { now: NIGHT, approvals: &none, grants: Grants::default(), lately: Lately::default() },
        )
    };
    let first = judge(&party([10, 0, 0, 1], "psql"));
    assert!(Arc::ptr_eq(&first, &judge(&party([10, 0, 0, 2], "psql"))));
    assert_eq!(first.ruling, Ruling::Permit);
    assert_eq!(judge(&party([10, 0, 0, 1], "pgcli")).ruling, Ruling::Deny);
}

#[test]
fn the_starter_packs_load_together() {
    let pack = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    let all = [
        pack("agents.cedar", include_str!("../../../policies/agents.cedar")),
        pack("agents-mass-export.cedar", include_str!("../../../policies/agents-mass-export.cedar")),
        pack("engineers.cedar", include_str!("../../../policies/engineers.cedar")),
        pack("ci.cedar", include_str!("../../../policies/ci.cedar")),
        pack("auditors.cedar", include_str!("../../../policies/auditors.cedar")),
        pack("on-call.cedar", include_str!("../../../policies/on-call.cedar")),
    ];
    let set = PolicySet::load(&all, "local").unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(set.warnings(), []);
}
