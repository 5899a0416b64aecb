//! The settings that a client may bring along at start-up, by themselves or inside `options` (PostgreSQL manual, 20.1.4).
//!
//! What a session could set by a statement anyway, and what does not change how a statement's text is read, passes. What says
//! who runs a statement, loads code or turns the session into another kind of session does not; neither does what is unknown.

use bytes::Bytes;
use claviger_model::{Refusal, RefusalKind};

/// Core settings of PostgreSQL that any session may change, in lower case and sorted. Left out on purpose: `role`,
/// `session_authorization`, `local_preload_libraries` and its like, and what changes the meaning of a text:
/// `backslash_quote`, `transform_null_equals`. `standard_conforming_strings` passes only as what it is anyway.
const PASSING: &[&str] = &[
    "array_nulls",
    "backend_flush_after",
    "bytea_output",
    "check_function_bodies",
    "client_connection_check_interval",
    "client_encoding",
    "client_min_messages",
    "commit_siblings",
    "constraint_exclusion",
    "cpu_index_tuple_cost",
    "cpu_operator_cost",
    "cpu_tuple_cost",
    "cursor_tuple_fraction",
    "datestyle",
    "default_statistics_target",
    "default_table_access_method",
    "default_tablespace",
    "default_text_search_config",
    "default_toast_compression",
    "default_transaction_deferrable",
    "default_transaction_isolation",
    "default_transaction_read_only",
    "effective_cache_size",
    "effective_io_concurrency",
    "escape_string_warning",
    "exit_on_error",
    "extra_float_digits",
    "force_parallel_mode",
    "from_collapse_limit",
    "gin_fuzzy_search_limit",
    "gin_pending_list_limit",
    "hash_mem_multiplier",
    "icu_validation_level",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "intervalstyle",
    "io_combine_limit",
    "join_collapse_limit",
    "lc_messages",
    "lc_monetary",
    "lc_numeric",
    "lc_time",
    "lock_timeout",
    "maintenance_io_concurrency",
    "maintenance_work_mem",
    "max_parallel_maintenance_workers",
    "max_parallel_workers",
    "max_parallel_workers_per_gather",
    "min_parallel_index_scan_size",
    "min_parallel_table_scan_size",
    "parallel_leader_participation",
    "parallel_setup_cost",
    "parallel_tuple_cost",
    "password_encryption",
    "plan_cache_mode",
    "quote_all_identifiers",
    "random_page_cost",
    "recursive_worktable_factor",
    "restrict_nonsystem_relation_kind",
    "row_security",
    "scram_iterations",
    "search_path",
    "seq_page_cost",
    "statement_timeout",
    "stats_fetch_consistency",
    "synchronize_seqscans",
    "synchronous_commit",
    "tcp_keepalives_count",
    "tcp_keepalives_idle",
    "tcp_keepalives_interval",
    "tcp_user_timeout",
    "temp_buffers",
    "temp_tablespaces",
    "timezone",
    "timezone_abbreviations",
    "transaction_deferrable",
    "transaction_isolation",
    "transaction_read_only",
    "transaction_timeout",
    "work_mem",
    "xmlbinary",
    "xmloption",
];

/// Families of such settings, by how their names begin.
const PASSING_FAMILIES: &[&str] = &["debug_", "enable_", "geqo", "jit", "vacuum_"];

/// Members of those families that a session may not change by itself.
const NOT_PASSING: &[&str] = &["jit_debugging_support", "jit_profiling_support"];

/// The longest part of a setting's name that an error quotes.
const QUOTED: usize = 63;

/// Checks that a setting may pass. A setting with a dot in its name is an application's or an extension's own.
pub(super) fn check(name: &str, value: &[u8]) -> Result<(), Refusal> {
    let lower = name.to_ascii_lowercase();
    let passes = match lower.as_str() {
        "standard_conforming_strings" => is_on(value),
        _ if NOT_PASSING.contains(&lower.as_str()) => false,
        _ => {
            PASSING.binary_search(&lower.as_str()).is_ok()
                || PASSING_FAMILIES.iter().any(|family| lower.starts_with(family))
                || is_custom(&lower)
        }
    };
    if passes {
        return Ok(());
    }
    let name: String = name.chars().take(QUOTED).map(|c| if c.is_ascii_graphic() { c } else { '?' }).collect();
    Err(Refusal::new(RefusalKind::Unsupported, format!("the start-up setting `{name}` does not pass this gateway")))
}

/// What of such settings can only make statements slower or faster, end them, or tell more or less about them; sorted.
const NEUTRAL: &[&str] = &[
    "backend_flush_after",
    "client_connection_check_interval",
    "client_min_messages",
    "commit_siblings",
    "cursor_tuple_fraction",
    "default_statistics_target",
    "effective_cache_size",
    "effective_io_concurrency",
    "force_parallel_mode",
    "from_collapse_limit",
    "gin_pending_list_limit",
    "hash_mem_multiplier",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "io_combine_limit",
    "join_collapse_limit",
    "lc_messages",
    "lock_timeout",
    "maintenance_io_concurrency",
    "maintenance_work_mem",
    "parallel_leader_participation",
    "plan_cache_mode",
    "random_page_cost",
    "recursive_worktable_factor",
    "scram_iterations",
    "seq_page_cost",
    "statement_timeout",
    "stats_fetch_consistency",
    "synchronous_commit",
    "temp_buffers",
    "transaction_timeout",
    "work_mem",
];

/// Families of those.
const NEUTRAL_FAMILIES: &[&str] =
    &["cpu_", "debug_", "enable_", "geqo", "jit", "max_parallel_", "min_parallel_", "parallel_", "tcp_", "vacuum_"];

/// Those of these settings that may alter what statements do.
pub(super) fn altering(settings: &[(String, Bytes)]) -> Vec<(String, Bytes)> {
    let is_neutral = |name: &str| {
        NEUTRAL.binary_search(&name).is_ok() || !is_custom(name) && NEUTRAL_FAMILIES.iter().any(|family| name.starts_with(family))
    };
    let lower = settings.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone()));
    lower.filter(|(name, _)| !is_neutral(name)).collect()
}

/// Whether a setting says what is so anyway. Older clients (Npgsql before 5) switch TLS renegotiation off, which no server knows
/// any more, and not every one takes it.
pub(super) fn is_obsolete(name: &str, value: &[u8]) -> bool {
    name.eq_ignore_ascii_case("ssl_renegotiation_limit") && value == b"0"
}

/// The settings inside `options`: words apart by white space, in which a backslash takes the next byte as it is.
pub(super) fn in_options(options: &[u8]) -> Result<Vec<(String, Bytes)>, Refusal> {
    let mut settings = Vec::new();
    let mut words = words(options).into_iter();
    while let Some(word) = words.next() {
        let setting = match word.as_slice() {
            b"-c" => words.next().ok_or_else(malformed)?,
            [b'-', b'c', rest @ ..] => rest.to_vec(),
            [b'-', b'-', rest @ ..] if !rest.is_empty() => rest.to_vec(),
            _ => return Err(malformed()),
        };
        let at = setting.iter().position(|byte| *byte == b'=').ok_or_else(malformed)?;
        let (name, value) = setting.split_at(at);
        let name = std::str::from_utf8(name).map_err(|_| malformed())?.replace('-', "_");
        settings.push((name, Bytes::copy_from_slice(value.get(1..).unwrap_or_default())));
    }
    Ok(settings)
}

/// Splits as the server does (`pg_split_opts`).
fn words(options: &[u8]) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut escaped = false;
    for byte in options {
        match byte {
            _ if escaped => {
                word.get_or_insert_default().push(*byte);
                escaped = false;
            }
            b'\\' => {
                word.get_or_insert_default();
                escaped = true;
            }
            b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r' => words.extend(word.take()),
            _ => word.get_or_insert_default().push(*byte),
        }
    }
    words.extend(word);
    words
}

fn malformed() -> Refusal {
    Refusal::new(RefusalKind::Unsupported, "of `options` only `-c NAME=VALUE` and `--NAME=VALUE` pass this gateway")
}

/// A name of two or more parts, each an identifier.
fn is_custom(name: &str) -> bool {
    let plain = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
            && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '$'))
    };
    name.contains('.') && name.split('.').all(plain)
}

/// Whether the server reads this as true (`parse_bool`): a beginning of a word that leaves no doubt, in any case.
fn is_on(value: &[u8]) -> bool {
    let value = value.to_ascii_lowercase();
    matches!(value.as_slice(), b"on" | b"1") || [&b"true"[..], b"yes"].iter().any(|word| begins(word, &value))
}

/// Whether the server reads this as false.
pub(super) fn is_off(value: &[u8]) -> bool {
    let value = value.to_ascii_lowercase();
    matches!(value.as_slice(), b"of" | b"off" | b"0") || [&b"false"[..], b"no"].iter().any(|word| begins(word, &value))
}

fn begins(word: &[u8], value: &[u8]) -> bool {
    !value.is_empty() && word.starts_with(value)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_list_can_be_searched() {
        assert!(PASSING.is_sorted() && NEUTRAL.is_sorted());
    }

    #[test]
    fn what_ordinary_clients_send_passes_and_what_changes_the_session_does_not() {
        for (name, value) in [
            ("TimeZone", "UTC"),
            ("DateStyle", "ISO"),
            ("extra_float_digits", "3"),
            ("search_path", "shop,public"),
            ("statement_timeout", "5s"),
            ("enable_seqscan", "off"),
            ("jit", "off"),
            ("app.tenant", "7"),
            ("Standard_Conforming_Strings", "ON"),
            ("standard_conforming_strings", "tr"),
        ] {
            assert!(check(name, value.as_bytes()).is_ok(), "{name}");
        }
        for (name, value) in [
            ("role", "postgres"),
            ("ROLE", "postgres"),
            ("session_authorization", "postgres"),
            ("session_preload_libraries", "x"),
            ("local_preload_libraries", "x"),
            ("session_replication_role", "replica"),
            ("standard_conforming_strings", "off"),
            ("standard_conforming_strings", ""),
            ("standard_conforming_strings", "o"),
            ("jit_profiling_support", "on"),
            ("log_statement", "none"),
            ("is_superuser", "on"),
            ("user", "postgres"),
            ("", ""),
            (".", "x"),
            ("a.", "x"),
            ("a.b c", "x"),
        ] {
            assert!(check(name, value.as_bytes()).is_err(), "{name}={value}");
        }
    }

    #[test]
    fn options_are_split_as_the_server_splits_them() {
        for (options, expected) in [
            ("", &[][..]),
            ("  ", &[]),
            ("-c a=1", &[("a", "1")]),
            ("-ca=1 --b-c=2\t-c\nd=", &[("a", "1"), ("b_c", "2"), ("d", "")]),
            (r"-c search_path=a\ b,c\\d", &[("search_path", r"a b,c\d")]),
            (r"-c a=\", &[("a", "")]),
            ("-c a=b=c", &[("a", "b=c")]),
        ] {
            let expected: Vec<_> = expected.iter().map(|(name, value)| ((*name).to_owned(), Bytes::from(*value))).collect();
            assert_eq!(in_options(options.as_bytes()).unwrap(), expected, "{options}");
        }
        for options in ["-c", "-c a", "--", "--a", "-e", "a=b", "-B 5", r"\ -c", "-d 5"] {
            assert!(in_options(options.as_bytes()).is_err(), "{options}");
        }
    }

    #[test]
    fn replication_is_off_only_where_the_server_says_so() {
        for off in ["f", "FALSE", "of", "off", "n", "no", "0"] {
            assert!(is_off(off.as_bytes()), "{off}");
        }
        for on in ["", "o", "on", "1", "t", "true", "database", "falsey", "00"] {
            assert!(!is_off(on.as_bytes()), "{on}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_in_options_is_judged(options in proptest::collection::vec(any::<u8>(), 0..80)) {
            for (name, value) in in_options(&options).unwrap_or_default() {
                let _ = check(&name, &value);
            }
        }
    }
}
