//! What it means to change a setting for a session.

use std::collections::HashMap;
use std::sync::LazyLock;

/// What changing a setting does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingKind {
    /// How fast, how long or how results look; nothing that decides on a statement depends on it.
    Harmless,
    /// It changes how a text is read, or what an operator means. It may be set to one of these values, in lower case, and left or
    /// reset, if its session began with one of them.
    Pinned(&'static [&'static str]),
    /// It sends or logs what runs, with values. It may be set to one of these values.
    Leaking(&'static [&'static str]),
    /// The session becomes another: its role, or which of the server's checks are made.
    Escape,
    /// The search path.
    Path,
    /// An application's own (`app.tenant`). Row security policies and functions may read it.
    Custom,
    /// It is not known.
    Unknown,
}

/// What changing the setting of this name does; names are alike in either case.
pub fn setting(name: &str) -> SettingKind {
    let name = name.to_ascii_lowercase();
    match SETTINGS.get(name.as_str()) {
        Some(kind) => *kind,
        None if name.contains('.') && !EXTENSIONS.iter().any(|of| name.starts_with(of)) => SettingKind::Custom,
        None => SettingKind::Unknown,
    }
}

static SETTINGS: LazyLock<HashMap<&'static str, SettingKind>> = LazyLock::new(|| {
    let harmless = include_str!("settings.txt").lines().map(|name| (name, SettingKind::Harmless));
    harmless.chain(OTHERS.iter().copied()).collect()
});

const ON: &[&str] = &["on", "true", "yes", "1", "t", "y"];
const OFF: &[&str] = &["off", "false", "no", "0", "f", "n"];

/// Those that are known and not harmless (PostgreSQL manual, chapter 20).
const OTHERS: &[(&str, SettingKind)] = &[
    ("search_path", SettingKind::Path),
    ("client_encoding", SettingKind::Pinned(&["utf8", "utf-8", "unicode"])),
    ("standard_conforming_strings", SettingKind::Pinned(ON)),
    // In UTF-8, where no character hides a backslash, these two are alike.
    ("backslash_quote", SettingKind::Pinned(&["safe_encoding", "on", "true", "yes", "1"])),
    ("transform_null_equals", SettingKind::Pinned(OFF)),
    ("plpgsql.variable_conflict", SettingKind::Pinned(&["error"])),
    ("client_min_messages", SettingKind::Leaking(&["notice", "warning", "error"])),
    ("debug_print_parse", SettingKind::Leaking(OFF)),
    ("debug_print_plan", SettingKind::Leaking(OFF)),
    ("debug_print_rewritten", SettingKind::Leaking(OFF)),
    ("debug_pretty_print", SettingKind::Leaking(&["on", "true", "yes", "1", "t", "y", "off", "false", "no", "0", "f", "n"])),
    ("jit_dump_bitcode", SettingKind::Leaking(OFF)),
    ("backtrace_functions", SettingKind::Leaking(&[""])),
    ("log_duration", SettingKind::Leaking(OFF)),
    ("log_error_verbosity", SettingKind::Leaking(&[])),
    ("log_executor_stats", SettingKind::Leaking(OFF)),
    ("log_lock_failures", SettingKind::Leaking(OFF)),
    ("log_lock_waits", SettingKind::Leaking(OFF)),
    ("log_min_duration_sample", SettingKind::Leaking(&["-1"])),
    ("log_min_duration_statement", SettingKind::Leaking(&["-1"])),
    ("log_min_error_statement", SettingKind::Leaking(&[])),
    ("log_min_messages", SettingKind::Leaking(&[])),
    ("log_parameter_max_length", SettingKind::Leaking(&["0"])),
    ("log_parameter_max_length_on_error", SettingKind::Leaking(&["0"])),
    ("log_parser_stats", SettingKind::Leaking(OFF)),
    ("log_planner_stats", SettingKind::Leaking(OFF)),
    ("log_replication_commands", SettingKind::Leaking(OFF)),
    ("log_statement", SettingKind::Leaking(&["none"])),
    ("log_statement_sample_rate", SettingKind::Leaking(&["0"])),
    ("log_statement_stats", SettingKind::Leaking(OFF)),
    ("log_temp_files", SettingKind::Leaking(&["-1"])),
    ("log_transaction_sample_rate", SettingKind::Leaking(&["0"])),
    ("trace_notify", SettingKind::Leaking(OFF)),
    ("trace_sort", SettingKind::Leaking(OFF)),
    ("role", SettingKind::Escape),
    ("session_authorization", SettingKind::Escape),
    ("session_replication_role", SettingKind::Escape),
    // Turned off, it never shows more rows: what would be filtered fails. pg_dump does so.
    ("row_security", SettingKind::Escape),
    ("event_triggers", SettingKind::Escape),
    ("allow_system_table_mods", SettingKind::Escape),
    ("createrole_self_grant", SettingKind::Escape),
    ("lo_compat_privileges", SettingKind::Escape),
];

/// Prefixes of extensions' settings, which are not an application's own.
const EXTENSIONS: &[&str] = &[
    "auth_delay.",
    "auto_explain.",
    "basebackup_to_shell.",
    "basic_archive.",
    "citus.",
    "cron.",
    "dblink.",
    "passwordcheck.",
    "pg_cron.",
    "pg_net.",
    "pg_stat_statements.",
    "pg_wait_sampling.",
    "pgaudit.",
    "pgsodium.",
    "plperl.",
    "plpgsql.",
    "plpython.",
    "plpython3.",
    "pltcl.",
    "postgres_fdw.",
    "sepgsql.",
    "supautils.",
    "timescaledb.",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_what_they_do() {
        assert_eq!(setting("statement_timeout"), SettingKind::Harmless);
        assert_eq!(setting("TimeZone"), SettingKind::Harmless);
        assert_eq!(setting("SEARCH_PATH"), SettingKind::Path);
        assert_eq!(setting("role"), SettingKind::Escape);
        assert!(matches!(setting("standard_conforming_strings"), SettingKind::Pinned(values) if values.contains(&"on")));
        assert!(matches!(setting("client_min_messages"), SettingKind::Leaking(values) if !values.contains(&"log")));
        assert_eq!(setting("app.tenant"), SettingKind::Custom);
        assert_eq!(setting("auto_explain.log_analyze"), SettingKind::Unknown);
        assert_eq!(setting("dynamic_library_path"), SettingKind::Unknown);
    }

    #[test]
    fn no_setting_is_on_two_lists() {
        let harmless = include_str!("settings.txt").lines().count();
        assert_eq!(SETTINGS.len(), harmless + OTHERS.len());
    }
}
