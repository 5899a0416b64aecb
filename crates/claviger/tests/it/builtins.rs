//! What is known of the server's own functions, operators and settings is complete: the server itself is asked what it has.

use claviger_sql::builtin::{Builtin, SettingKind, builtin, setting};

use crate::harness::Major;

on_each_server!(
    every_function_is_known,
    operators_and_casts_are_harmless,
    no_other_name_hides_a_function,
    every_setting_is_known
);

/// Functions that are not known on purpose: those that read any type run the checks of any domain, with whatever these call; the
/// others belong to the server's inside.
const NOT_KNOWN: &[&str] = &[
    "anycompatiblemultirange_in",
    "anycompatiblerange_in",
    "anymultirange_in",
    "anyrange_in",
    "array_in",
    "currtid2",
    "domain_in",
    "fmgr_c_validator",
    "fmgr_internal_validator",
    "fmgr_sql_validator",
    "multirange_in",
    "pg_input_error_info",
    "pg_input_is_valid",
    "plpgsql_validator",
    "postgresql_fdw_validator",
    "range_in",
    "record_in",
];

/// Settings that a user may change and that are not known on purpose: code to load, and slowness.
const NOT_SETTABLE: &[&str] = &["debug_discard_caches", "debug_logical_replication_streaming", "local_preload_libraries"];

/// What SQL can call: no argument of type `internal`, no trigger, no handler.
const CALLABLE: &str =
    "select distinct proname from pg_proc where pronamespace in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
    and not 'internal'::regtype = any(proargtypes) and prorettype not in
    ('trigger'::regtype, 'event_trigger'::regtype, 'language_handler'::regtype)";

async fn every_function_is_known(major: Major) {
    let server = server!(major);
    let names = column(server.ask("bank", CALLABLE).await);
    assert!(names.len() > 2000, "{} functions", names.len());
    let unknown: Vec<_> = names.iter().filter(|name| builtin(name).is_none() && !NOT_KNOWN.contains(&name.as_str())).collect();
    assert!(unknown.is_empty(), "on no list: {unknown:?}");
}

/// So that an operator, cast, or text that becomes a value needs no look at its function.
async fn operators_and_casts_are_harmless(major: Major) {
    let server = server!(major);
    let query = "select proname from pg_operator o join pg_proc f on f.oid = oprcode where o.oid < 16384
        union select proname from pg_cast c join pg_proc f on f.oid = castfunc where c.oid < 16384";
    let names = column(server.ask("bank", query).await);
    assert!(names.len() > 500, "{} functions", names.len());
    let others: Vec<_> = names.iter().filter(|name| builtin(name) != Some(Builtin::Harmless)).collect();
    assert!(others.is_empty(), "not harmless: {others:?}");
}

/// A function of language `internal` names the server's code, not its function: what it names must not pass for something else.
async fn no_other_name_hides_a_function(major: Major) {
    let server = server!(major);
    let query = "select proname || ' ' || prosrc from pg_proc join pg_language l on l.oid = prolang where lanname = 'internal'";
    for pair in column(server.ask("bank", query).await) {
        let (name, code) = pair.split_once(' ').unwrap();
        let known = builtin(name) == Some(Builtin::Harmless);
        let dangerous = matches!(builtin(name), Some(Builtin::Special(_))) || NOT_KNOWN.contains(&name);
        let passes = builtin(code) == Some(Builtin::Harmless);
        assert!(known || !dangerous || !passes, "{name} is {code}, which is taken for harmless");
    }
}

async fn every_setting_is_known(major: Major) {
    let server = server!(major);
    let query = "select name from pg_settings where context = 'user' and name not like '%.%'";
    let names = column(server.ask("bank", query).await);
    assert!(names.len() > 100, "{} settings", names.len());
    let unknown = |name: &&String| setting(name) == SettingKind::Unknown && !NOT_SETTABLE.contains(&name.as_str());
    let unknown: Vec<_> = names.iter().filter(unknown).collect();
    assert!(unknown.is_empty(), "on no list: {unknown:?}");
}

fn column(rows: Vec<Vec<Option<String>>>) -> Vec<String> {
    rows.into_iter().map(|row| row[0].clone().unwrap()).collect()
}
