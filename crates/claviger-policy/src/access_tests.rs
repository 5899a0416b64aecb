#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use claviger_model::{
    Chain, ConnectionName, Effect, Meaning, Mode, Object, Principal, PrincipalKey, PrincipalKind, Table, TableKind, Timestamp,
    Verb,
};

use crate::{
    AccessQuestion, Action, Context, Grants, Lately, Matter, Moment, Party, PolicySet, Question, Resource, Ruling, Scope,
};

const NOON: Timestamp = Timestamp::from_secs(1_795_262_400);

fn load(text: &str) -> PolicySet {
    PolicySet::load(&[("p.cedar".to_owned(), text.to_owned())], "local").unwrap()
}

fn chain(names: &[&str]) -> Chain {
    let link = |name: &&str| Principal {
        key: PrincipalKey::new("local", *name),
        kind: if name.contains("bot") { PrincipalKind::Workload } else { PrincipalKind::User },
        groups: vec![],
        sponsor: None,
    };
    Chain::from_links(names.iter().map(link).collect()).unwrap()
}

const CONTEXT: Context<'static> =
    Context { client_address: IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), application: None, tls: true, purpose: None };

fn bank() -> ConnectionName {
    "bank".parse().unwrap()
}

fn resource(name: &ConnectionName) -> Resource<'_> {
    Resource::Connection { name, kind: "postgres", labels: &[], mode: Mode::Enforce }
}

fn scope(verbs: &[Verb], tables: &[&str]) -> Scope {
    let tables = tables.iter().map(|table| table.parse().unwrap()).collect();
    Scope { verbs: verbs.iter().copied().collect(), tables, break_glass: false }
}

fn access(policies: &PolicySet, who: &[&str], scope: &Scope, seconds: u32) -> Ruling {
    let (chain, name) = (chain(who), bank());
    let connection = resource(&name);
    policies.access(&AccessQuestion { chain: &chain, connection, context: CONTEXT, scope, seconds, now: NOON }).0
}

const ACCESS: &str = r#"
permit (principal in User::"ana", action == Action::"requestAccess", resource == Connection::"bank")
when { context.seconds <= 7200 && ["read", "update"].containsAll(context.actions) };
permit (principal is Workload, action == Action::"requestAccess", resource) when { !context.break_glass };
@approval("dbas")
forbid (principal, action == Action::"requestAccess", resource)
unless { context.break_glass || context.approvals.contains("dbas") };
@approval("privacy")
forbid (principal, action == Action::"requestAccess", resource)
when { !["public.notes", "public.others"].containsAll(context.tables) } unless { context.approvals.contains("privacy") };
"#;

#[test]
fn access_is_had_as_policies_say() {
    let policies = load(ACCESS);
    let held = |groups: &[&str]| Ruling::Hold(groups.iter().map(|group| Arc::from(*group)).collect());
    let read = scope(&[Verb::Read], &["public.notes"]);
    assert_eq!(access(&policies, &["ana"], &read, 7200), held(&["dbas"]));
    assert_eq!(access(&policies, &["ana"], &read, 7201), Ruling::Deny, "no approval lifts the ceiling");
    assert_eq!(access(&policies, &["ana"], &scope(&[Verb::Drop], &[]), 60), Ruling::Deny);
    assert_eq!(access(&policies, &["ana"], &scope(&[], &["public.notes"]), 60), Ruling::Deny, "nothing named is everything");
    for tables in [&["public.customers"][..], &["public.*"], &[]] {
        assert_eq!(access(&policies, &["ana"], &scope(&[Verb::Read], tables), 60), held(&["dbas", "privacy"]), "{tables:?}");
    }
    assert_eq!(access(&policies, &["bob"], &read, 60), Ruling::Deny);
    assert_eq!(access(&policies, &["bot", "ana"], &read, 60), held(&["dbas"]), "every link must be permitted");
    assert_eq!(access(&policies, &["bot", "bob"], &read, 60), Ruling::Deny);
    let glass = Scope { break_glass: true, ..read };
    assert_eq!(access(&policies, &["ana"], &glass, 60), Ruling::Permit);
    assert_eq!(access(&policies, &["bot", "ana"], &glass, 60), Ruling::Deny);
}

const GRANTED: &str = r#"
permit (principal, action == Action::"connect", resource) when { context.granted };
permit (principal, action in [Action::"read", Action::"write"], resource) when { context.granted };
forbid (principal, action == Action::"delete", resource) when { context.break_glass };
"#;

fn table(name: &str) -> Object {
    Object::Table(Arc::new(Table {
        schema: "public".into(),
        name: name.into(),
        id: 1,
        kind: TableKind::Table,
        system: false,
        labels: Arc::default(),
        holds: Arc::default(),
    }))
}

fn ruling(policies: &PolicySet, grants: Grants<'_>, effects: &[(Verb, &str)]) -> (Ruling, bool) {
    let party = Party::new(&chain(&["ana"]), &bank(), "postgres", &[], Mode::Enforce, CONTEXT);
    let effects = effects.iter().map(|(verb, name)| Effect { verb: *verb, object: table(name), through: None });
    let matter = Matter::new([Meaning { effects: effects.collect(), ..Meaning::default() }]);
    let judgement =
        policies.judge(&party, &matter, &Moment { now: NOON, approvals: &BTreeSet::new(), grants, lately: Lately::default() });
    (judgement.ruling.clone(), !judgement.granted.is_empty())
}

#[test]
fn a_grant_reaches_what_it_is_for_and_policies_permit() {
    let policies = load(GRANTED);
    let scopes = [Arc::new(scope(&[Verb::Read, Verb::Update, Verb::Create], &["public.notes"]))];
    let granted = Grants { scopes: &scopes, confined: false };
    let ruled = |grants, effects: &[_]| ruling(&policies, grants, effects).0;
    assert_eq!(ruled(Grants::default(), &[(Verb::Read, "notes")]), Ruling::Deny);
    assert_eq!(ruling(&policies, granted, &[(Verb::Read, "notes"), (Verb::Update, "notes")]), (Ruling::Permit, true));
    assert_eq!(ruled(granted, &[(Verb::Read, "notes"), (Verb::Read, "other")]), Ruling::Deny);
    assert_eq!(ruled(granted, &[(Verb::Delete, "notes")]), Ruling::Deny);
    assert_eq!(ruled(granted, &[(Verb::Create, "notes")]), Ruling::Deny, "no grant is wider than policy");
    assert_eq!(ruled(Grants::default(), &[(Verb::Read, "notes")]), Ruling::Deny, "what was judged before is not remembered");
    let glass = [Arc::new(Scope { break_glass: true, ..Scope::default() })];
    let glass = Grants { scopes: &glass, confined: false };
    assert_eq!(ruled(glass, &[(Verb::Update, "notes")]), Ruling::Permit);
    assert_eq!(ruled(glass, &[(Verb::Delete, "notes")]), Ruling::Deny);
}

#[test]
fn whoever_came_with_a_grants_token_has_nothing_else() {
    let policies = load("permit (principal, action, resource);");
    let scopes = [Arc::new(scope(&[Verb::Read], &["public.notes"]))];
    let ruled = |scopes, effects: &[_]| ruling(&policies, Grants { scopes, confined: true }, effects).0;
    assert_eq!(ruled(&scopes, &[(Verb::Read, "notes")]), Ruling::Permit);
    assert_eq!(ruled(&scopes, &[(Verb::Read, "other")]), Ruling::Deny);
    assert_eq!(ruled(&scopes, &[(Verb::Update, "notes")]), Ruling::Deny);
    assert_eq!(ruled(&[], &[(Verb::Read, "notes")]), Ruling::Deny, "and nothing at all when the grant has ended");
}

#[test]
fn whether_a_grant_is_in_force_counts_for_connecting() {
    let policies = load(GRANTED);
    let (chain, name, scopes) = (chain(&["ana"]), bank(), [Arc::new(Scope::default())]);
    let ask = |scopes| {
        let (action, grants) = (Action::Connect, Grants { scopes, confined: false });
        policies.decide(&Question { chain: &chain, action, resource: resource(&name), context: CONTEXT, grants }).permit
    };
    assert!(ask(&scopes) && !ask(&[]));
}
