#![allow(clippy::unwrap_used, clippy::panic)]

use bytes::Bytes;
use claviger_model::TableKind;

use super::*;

/// What PostgreSQL 18 says of the database of `tests/fixture.sql`.
const ANSWER: &str = include_str!("../../tests/catalog.tsv");

fn labelled(names: &[(&str, &[&str])]) -> Classification {
    let labels = |labels: &[&str]| labels.iter().copied().map(Arc::from).collect::<Vec<_>>().into();
    names.iter().map(|(name, all)| (name.parse().unwrap(), labels(all))).collect()
}

fn catalog() -> Catalog {
    Catalog::read_text(ANSWER, &Classification::default()).unwrap()
}

fn public(catalog: &Catalog, name: &str) -> Arc<Relation> {
    Arc::clone(catalog.find_relation(Some("public"), name, &[]).unwrap())
}

fn function(catalog: &Catalog, name: &str) -> Arc<Function> {
    Arc::clone(catalog.find_functions(Some("public"), name, &[]).next().unwrap())
}

fn texts(texts: &[Arc<str>]) -> Vec<&str> {
    let mut texts: Vec<&str> = texts.iter().map(|text| &**text).collect();
    texts.sort_unstable();
    texts
}

#[test]
fn a_table_has_all_that_happens_to_its_rows() {
    let catalog = catalog();
    let customers = public(&catalog, "customers");
    assert_eq!(customers.columns.len(), 7);
    assert_eq!((&*customers.owner, customers.table.kind), ("keeper", TableKind::Table));
    let balance = customers.column("balance").unwrap();
    assert_eq!((balance.default.as_deref(), balance.column.number, balance.not_null), (Some("0"), 6, false));
    assert_eq!(texts(&customers.expressions), ["(balance >= (0)::numeric)"]);
    let mut keys = customers.keys.clone();
    keys.sort_unstable();
    assert_eq!((keys, &customers.primary), (vec![vec![1], vec![3]], &vec![1]));

    let [reference] = customers.references.as_slice() else { panic!("{:?}", customers.references) };
    let accounts = public(&catalog, "accounts");
    assert_eq!((reference.from, reference.on_delete, reference.on_update), (accounts.table.id, 'c', 'n'));
    assert_eq!((reference.columns.as_slice(), reference.to.as_slice()), (&[2][..], &[1][..]));

    let [trigger] = customers.triggers.as_slice() else { panic!("a disabled trigger does not fire: {:?}", customers.triggers) };
    assert_eq!(trigger.on, Write { insert: true, update: true, ..Write::default() });
    assert_eq!(trigger.when.as_deref(), Some("((new.name IS DISTINCT FROM ') EXECUTE FUNCTION '::text) AND (new.id > 0))"));
    assert_eq!(&*catalog.function(trigger.function).unwrap().routine.name, "f_audit");

    let [rule] = public(&catalog, "branches").rules.clone().try_into().unwrap();
    assert!(rule.on.update && !rule.instead && rule.definition.starts_with("CREATE RULE noted AS"), "{rule:?}");
    assert_eq!(public(&catalog, "notes").column("id").unwrap().default.as_deref(), Some("nextval('notes_id_seq'::regclass)"));
    let scoped = public(&catalog, "scoped");
    assert_eq!(texts(&scoped.policies), ["(id > 0)", "(owner = CURRENT_USER)"]);
    assert_eq!(texts(&scoped.expressions), ["(id > 5)", "lower(owner)"]);
    assert!(scoped.column("twice").unwrap().generated);
}

#[test]
fn views_have_their_queries_and_parents_their_children() {
    let catalog = catalog();
    let path: Vec<&str> = catalog.path().iter().map(|schema| &**schema).collect();
    assert!(matches!(path[..], [temporary, "pg_catalog", "public"] if temporary.starts_with("pg_temp_")), "{path:?}");
    let view = public(&catalog, "v_names");
    assert!(view.table.kind == TableKind::View && view.definition.as_deref().unwrap().contains("FROM v_customers"));
    assert!(view.rules.is_empty(), "the rule that makes it a view is no rule of its own");
    assert!(public(&catalog, "m_balances").definition.is_some());
    let name = |child: &Child| catalog.relation(child.relation).unwrap().table.to_string();
    let children = |table: &str| public(&catalog, table).children.iter().map(name).collect::<Vec<_>>();
    assert_eq!(children("events"), ["public.events_2025", "public.events_2026"]);
    assert_eq!(children("customers"), ["public.vip_customers"]);
    let scratch = catalog.find_relation(None, "scratch", catalog.path()).unwrap();
    assert_eq!(scratch.table.kind, TableKind::Temporary);
    assert_eq!(public(&catalog, "Odd one").column("say \"x\"").unwrap().column.number, 2);
}

#[test]
fn what_the_server_brings_has_columns_and_nothing_more() {
    let catalog = catalog();
    let class = catalog.find_relation(None, "pg_class", catalog.path()).unwrap();
    assert!(class.table.system && class.column("relname").is_some());
    let stats = catalog.find_relation(Some("pg_catalog"), "pg_stat_activity", &[]).unwrap();
    assert!(stats.definition.is_none() && stats.column("query").is_some());
    assert!(catalog.find_relation(Some("information_schema"), "columns", &[]).unwrap().table.system);
    assert!(!public(&catalog, "customers").table.system);
    assert_eq!(catalog.find_functions(Some("pg_catalog"), "lower", &[]).count(), 0);
}

#[test]
fn functions_operators_casts_and_types_of_the_users_own_are_whole() {
    let catalog = catalog();
    let ssn = function(&catalog, "f_ssn");
    assert_eq!((&*ssn.language, ssn.volatility, ssn.definer, ssn.arguments.as_slice()), ("sql", 's', false, &[23][..]));
    assert!(ssn.source.contains("select ssn from customers"));
    let atomic = function(&catalog, "f_atomic");
    assert!(atomic.body.as_deref().unwrap().starts_with("BEGIN ATOMIC"));
    assert_eq!((atomic.defaults, atomic.default_expressions.as_deref()), (1, Some("1")));
    let touch = function(&catalog, "f_touch");
    assert_eq!((touch.modes.as_slice(), texts(&touch.names)), (&['i', 'o'][..], vec!["touched", "who"]));
    let definer = function(&catalog, "f_definer");
    assert!(definer.definer && definer.variadic && definer.set);
    assert_eq!(texts(&definer.settings), ["search_path=public"]);
    assert_eq!(function(&catalog, "p_purge").kind, FunctionKind::Procedure);
    assert_eq!((function(&catalog, "a_sum").kind, function(&catalog, "a_sum").parts.len()), (FunctionKind::Aggregate, 0));

    let [operator] = catalog.find_operators(None, "===", catalog.path()).collect::<Vec<_>>().try_into().unwrap();
    assert_eq!((operator.left, operator.right, operator.function), (25, 23, function(&catalog, "f_eq").id));
    let [_, cast] = catalog.casts() else { panic!("{:?}", catalog.casts()) };
    let kind = |id| catalog.kind(id).unwrap().name.to_string();
    assert_eq!((kind(cast.from), kind(cast.to), cast.implicit), ("mood".to_owned(), "pair".to_owned(), true));
    let positive = catalog.find_type(Some("public"), "positive", &[]).unwrap();
    assert_eq!((positive.kind, positive.base, texts(&positive.checks)), ('d', 23, vec!["(VALUE > 0)", "1"]));
    let row = catalog.find_type(Some("public"), "customers", &[]).unwrap();
    assert_eq!(row.relation, public(&catalog, "customers").table.id);
    assert_eq!(catalog.kind(1009).map(|array| array.element), Some(25), "text[]");
    assert_eq!(catalog.kind(600).map(|point| point.element), Some(0), "a point is no array");
}

#[test]
fn labels_are_on_what_they_name_and_on_what_is_a_part_of_it() {
    let classes = labelled(&[
        ("public.customers", &["regulated"]),
        ("public.customers.ssn", &["pii.ssn", "pii"]),
        ("Public.Customers.EMAIL", &["pii"]),
        ("public.customers.gone", &["pii"]),
        ("public.nowhere", &["pii"]),
        ("nowhere.customers", &["pii"]),
    ]);
    let catalog = Catalog::read_text(ANSWER, &classes).unwrap();
    let labels = |table: &str, column: &str| public(&catalog, table).column(column).unwrap().column.labels.join(" ");
    assert_eq!(labels("customers", "ssn"), "pii pii.ssn regulated");
    assert_eq!(labels("customers", "email"), "pii regulated");
    assert_eq!(labels("customers", "id"), "regulated");
    assert_eq!(labels("vip_customers", "ssn"), "pii pii.ssn regulated", "a child's rows are its parent's too");
    assert_eq!(labels("vip_customers", "perk"), "regulated");
    assert_eq!(labels("accounts", "id"), "");
    assert_eq!(public(&catalog, "customers").table.labels.join(" "), "regulated");
    assert_eq!(public(&catalog, "customers").table.holds.join(" "), "pii pii.ssn regulated");
    assert_eq!(texts(catalog.unmatched()), ["nowhere.customers", "public.customers.gone", "public.nowhere"]);
}

#[test]
fn what_is_not_the_answer_is_no_catalog() {
    let read = |text: &str| Catalog::read_text(text, &Classification::default()).map(|_| ());
    let without = |kind: &str| ANSWER.lines().filter(|line| !line.starts_with(kind)).collect::<Vec<_>>().join("\n");
    assert_eq!(read(""), Err(CatalogError::NotWhole));
    assert_eq!(read(&without("path\t")), Err(CatalogError::NotWhole));
    assert_eq!(read(&without("fingerprint\t")), Err(CatalogError::NotWhole));
    assert_eq!(read(&format!("{ANSWER}fingerprint\tx")), Err(CatalogError::NotWhole));
    for line in
        ["relation", "relation\t{}", "relation\t[]", "surprise\t{}", "child\t{\"id\":1,\"parent\":\"2\"}", "cast\t{\"id\":\"x\"}"]
    {
        assert_eq!(read(&format!("{ANSWER}{line}\n")), Err(CatalogError::Malformed), "{line}");
    }
    let rows = |row: Vec<Option<Bytes>>| Catalog::read(&[row], &Classification::default(), None).map(|_| ());
    assert_eq!(rows(vec![]), Err(CatalogError::Malformed));
    assert_eq!(rows(vec![Some(Bytes::from_static(b"path")), None]), Err(CatalogError::Malformed));
    assert_eq!(
        rows(vec![Some(Bytes::from_static(b"fingerprint")), Some(Bytes::from_static(b"\xff"))]),
        Err(CatalogError::Malformed)
    );
}

/// The rows of the answer as of later, of which some are other than they were.
fn later(change: impl Fn(&str) -> String) -> Catalog {
    let text: String = ANSWER.lines().map(|line| change(line) + "\n").collect();
    let row =
        |line: &str| line.split_once('\t').map(|(kind, facts)| [kind, facts].map(|one| Some(Bytes::from(one.to_owned()))).into());
    let rows: Vec<Vec<_>> = text.lines().map(|line| row(line).unwrap()).collect();
    Catalog::read(&rows, &Classification::default(), Some(&catalog())).unwrap()
}

/// A row whose text has been left out.
fn left_out(line: &str) -> String {
    let mut row: serde_json::Value = serde_json::from_str(line.split_once('\t').unwrap().1).unwrap();
    for text in ["default", "definition", "text", "body", "default_expressions"] {
        if let Some(text) = row.get_mut(text).filter(|text| text.is_string()) {
            *text = serde_json::Value::Null;
        }
    }
    format!("{}\t{row}", line.split_once('\t').unwrap().0)
}

fn is_in(line: &str, kinds: &[&str]) -> bool {
    kinds.iter().any(|kind| line.split_once('\t').is_some_and(|(of, _)| of == *kind))
}

const WITH_TEXTS: &[&str] = &["column", "view", "trigger", "rule", "expression", "policy", "function", "type", "type_check"];

#[test]
fn what_others_keep_locked_is_what_it_was() {
    let (now, before) = (later(|line| if is_in(line, WITH_TEXTS) { left_out(line) } else { line.to_owned() }), catalog());
    assert!(!now.is_partial());
    let all = |catalog: &Catalog| {
        let mut all: Vec<String> = catalog.relations().map(|relation| format!("{relation:?}")).collect();
        all.extend(catalog.functions().map(|function| format!("{function:?}")));
        all.extend(catalog.types.values().map(|kind| format!("{kind:?}")));
        all.sort_unstable();
        all
    };
    assert_eq!(all(&now), all(&before));
    assert!(!catalog().is_partial());
}

#[test]
fn what_others_keep_locked_is_not_known_if_it_may_have_changed() {
    let view = |line: &str| line.starts_with("view\t") && line.contains("v_customers");
    let definition = |catalog: &Catalog| public(catalog, "v_names").definition.clone().unwrap();
    let with = |change: &dyn Fn(&str) -> Option<String>| {
        let left = |line: &str| if is_in(line, WITH_TEXTS) { left_out(line) } else { line.to_owned() };
        later(|line| change(line).map_or_else(|| left(line), |all| all.lines().map(left).collect::<Vec<_>>().join("\n")))
    };
    assert!(definition(&with(&|_| None)).contains("v_customers"));

    let replaced = |from: &'static str, to: &'static str| move |line: &str| line.contains(from).then(|| line.replace(from, to));
    let after = |line: &str, more: &str| format!("{line}\n{more}");
    for (what, change) in [
        (
            "a table has another name",
            &replaced(r#""name" : "customers", "kind" : "r""#, r#""name" : "clients", "kind" : "r""#) as &dyn Fn(&str) -> _,
        ),
        ("a column has", &replaced(r#""name" : "ssn""#, r#""name" : "number""#)),
        ("a type has", &replaced(r#""name" : "customers", "kind" : "c""#, r#""name" : "clients", "kind" : "c""#)),
        ("a schema has", &replaced(r#""schema" : "public""#, r#""schema" : "private""#)),
        ("the path leads elsewhere", &replaced(r#""public"]"#, r#""public", "x"]"#)),
        ("there is another table of a name", &|line| {
            let table = line.starts_with("relation") && line.contains(r#""name" : "customers""#);
            table.then(|| after(line, &line.replace("public", "x").replace(r#""id" : ""#, r#""id" : "9"#)))
        }),
        ("there is a function of the name of another", &|line| {
            let function = line.contains(r#""name" : "f_touch""#);
            function.then(|| after(line, &line.replace("f_touch", "upper").replace(r#""id" : ""#, r#""id" : "9"#)))
        }),
        ("it has been replaced", &|line| {
            view(line).then(|| {
                left_out(line).rsplit_once("\",").map_or_else(String::new, |(row, _)| format!("{row}\",\"4000000000\"]}}"))
            })
        }),
    ] {
        let now = with(change);
        assert!(now.is_partial(), "{what}");
        let known = now.find_relation(None, "v_names", &["public".into(), "private".into()]).unwrap();
        assert_eq!(known.definition.as_deref(), Some(stored::UNREAD), "{what}");
    }
    let operator = "operator\t{\"schema\": \"x\", \"name\": \">\", \"left\": \"23\", \"right\": \"23\", \"function\": \"67\"}";
    let now = with(&|line| line.starts_with("path").then(|| after(line, operator)));
    assert_eq!(texts(&public(&now, "scoped").policies), ["(owner = CURRENT_USER)", stored::UNREAD], "there is another operator");
    assert!(definition(&now).contains("v_customers"), "and it is not in this one");
    // A new table of a new name is none that any text could mean.
    let new = with(&|line| {
        let table = line.starts_with("relation") && line.contains(r#""name" : "customers""#);
        table.then(|| after(line, &line.replace("customers", "brand_new").replace(r#""id" : ""#, r#""id" : "9"#)))
    });
    assert!(!new.is_partial() && definition(&new).contains("v_customers"));
}

#[test]
fn a_family_that_is_its_own_ancestor_is_read_all_the_same() {
    let customers = public(&catalog(), "customers").table.id;
    let circle = format!("child\t{{\"id\":\"{customers}\",\"parent\":\"{customers}\"}}\n");
    assert!(Catalog::read_text(&format!("{ANSWER}{circle}"), &labelled(&[("public.customers", &["x"])])).is_ok());
}
