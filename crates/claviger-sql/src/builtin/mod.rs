//! What is known of PostgreSQL's own functions and settings without asking the server.
//!
//! Every name in `pg_catalog` of PostgreSQL 15 and 18 that SQL can call was read and is on one of the lists here, whatever its
//! arguments; the few exceptions are named by the test that asks servers. A name that is on no list is not known: it must be taken
//! for the worst. So it is with a function of a later version, and with those that cannot be called (with arguments of type
//! `internal`).

mod extensions;
mod settings;

use std::collections::HashMap;
use std::sync::LazyLock;

use claviger_model::{Hazard, Verb};

pub use extensions::extension;
pub use settings::{SettingKind, setting};

/// What a function of the server's own does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Builtin {
    /// It computes from its arguments alone, or tells what everybody may know: the time, the catalog, counters. It may be volatile.
    Harmless,
    /// An aggregate that keeps every value it is given: its one row holds a whole table.
    Gathers,
    /// It does more.
    Special(Special),
}

/// What a function does beyond computing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Special {
    /// What is done.
    pub verb: Verb,
    /// What is dangerous about it.
    pub hazard: Option<Hazard>,
    /// To what it is done.
    pub target: Target,
}

/// What a [`Special`] function acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The server, or what cannot be named: the function stands for it.
    Itself,
    /// The sequence that its first argument names; the session's last one if it has none.
    Sequence,
    /// The setting that its first argument names; the second is the value, the third whether for the transaction only.
    Setting,
    /// The channel that its first argument names.
    Channel,
}

/// What the function of the server's own with this name does, whichever of its overloads is called; `None` if it is not known.
pub fn builtin(name: &str) -> Option<Builtin> {
    FUNCTIONS.get(name).copied()
}

static FUNCTIONS: LazyLock<HashMap<&'static str, Builtin>> = LazyLock::new(|| {
    let harmless = include_str!("harmless.txt").lines().map(|name| (name, Builtin::Harmless));
    let gathering = GATHERING.iter().map(|name| (*name, Builtin::Gathers));
    let special = SPECIAL.iter().flat_map(|(special, names)| names.iter().map(|name| (*name, Builtin::Special(*special))));
    harmless.chain(gathering).chain(special).collect()
});

const GATHERING: &[&str] = &[
    "array_agg",
    "json_agg",
    "json_agg_strict",
    "json_object_agg",
    "json_object_agg_strict",
    "json_object_agg_unique",
    "json_object_agg_unique_strict",
    "jsonb_agg",
    "jsonb_agg_strict",
    "jsonb_object_agg",
    "jsonb_object_agg_strict",
    "jsonb_object_agg_unique",
    "jsonb_object_agg_unique_strict",
    "range_agg",
    "string_agg",
    "xmlagg",
];

const fn itself(verb: Verb, hazard: Option<Hazard>) -> Special {
    Special { verb, hazard, target: Target::Itself }
}

const fn sequence(verb: Verb) -> Special {
    Special { verb, hazard: None, target: Target::Sequence }
}

/// PostgreSQL manual, chapter 9, mostly 9.15.3 (XML), 9.17 (sequences), 9.28 (administration) and 33.4 (large objects).
const SPECIAL: &[(Special, &[&str])] = &[
    // A table or a statement comes as text. (`ts_rewrite` with three arguments does not do so.)
    (
        itself(Verb::Execute, Some(Hazard::DynamicSql)),
        &[
            "cursor_to_xml",
            "cursor_to_xmlschema",
            "database_to_xml",
            "database_to_xml_and_xmlschema",
            "query_to_xml",
            "query_to_xml_and_xmlschema",
            "query_to_xmlschema",
            "schema_to_xml",
            "schema_to_xml_and_xmlschema",
            "table_to_xml",
            "table_to_xml_and_xmlschema",
            "ts_rewrite",
            "ts_stat",
        ],
    ),
    (
        itself(Verb::Control, Some(Hazard::FileAccess)),
        &[
            "lo_export",
            "lo_import",
            "pg_available_wal_summaries",
            "pg_current_logfile",
            "pg_hba_file_rules",
            "pg_ident_file_mappings",
            "pg_ls_archive_statusdir",
            "pg_ls_dir",
            "pg_ls_logdir",
            "pg_ls_logicalmapdir",
            "pg_ls_logicalsnapdir",
            "pg_ls_replslotdir",
            "pg_ls_summariesdir",
            "pg_ls_tmpdir",
            "pg_ls_waldir",
            "pg_read_binary_file",
            "pg_read_file",
            "pg_read_file_old",
            "pg_show_all_file_settings",
            "pg_stat_file",
            "pg_wal_summary_contents",
        ],
    ),
    (
        itself(Verb::Execute, Some(Hazard::LargeObject)),
        &[
            "lo_close",
            "lo_creat",
            "lo_create",
            "lo_from_bytea",
            "lo_get",
            "lo_lseek",
            "lo_lseek64",
            "lo_open",
            "lo_put",
            "lo_tell",
            "lo_tell64",
            "lo_truncate",
            "lo_truncate64",
            "lo_unlink",
            "loread",
            "lowrite",
        ],
    ),
    (Special { verb: Verb::Configure, hazard: Some(Hazard::SessionEscape), target: Target::Setting }, &["set_config"]),
    (Special { verb: Verb::Notify, hazard: None, target: Target::Channel }, &["pg_notify"]),
    (sequence(Verb::Update), &["nextval", "setval"]),
    (sequence(Verb::Read), &["currval", "lastval", "pg_get_sequence_data", "pg_sequence_last_value"]),
    // To let go is harmless.
    (
        itself(Verb::Lock, Some(Hazard::Blocking)),
        &[
            "pg_advisory_lock",
            "pg_advisory_lock_shared",
            "pg_advisory_xact_lock",
            "pg_advisory_xact_lock_shared",
            "pg_try_advisory_lock",
            "pg_try_advisory_lock_shared",
            "pg_try_advisory_xact_lock",
            "pg_try_advisory_xact_lock_shared",
        ],
    ),
    (itself(Verb::Execute, Some(Hazard::Wait)), &["pg_sleep", "pg_sleep_for", "pg_sleep_until"]),
    (
        itself(Verb::Maintain, None),
        &[
            "brin_desummarize_range",
            "brin_summarize_new_values",
            "brin_summarize_range",
            "gin_clean_pending_list",
            "pg_clear_attribute_stats",
            "pg_clear_relation_stats",
            "pg_restore_attribute_stats",
            "pg_restore_relation_stats",
        ],
    ),
    // The server reaches for another, or tells how it does.
    (itself(Verb::Control, Some(Hazard::Network)), &["pg_stat_get_wal_receiver", "pg_sync_replication_slots"]),
    // Everybody's changes, as rows.
    (
        itself(Verb::Control, Some(Hazard::MassExport)),
        &[
            "pg_logical_slot_get_binary_changes",
            "pg_logical_slot_get_changes",
            "pg_logical_slot_peek_binary_changes",
            "pg_logical_slot_peek_changes",
        ],
    ),
    // What others ask, and the values that the planner remembers.
    (
        itself(Verb::Control, None),
        &["pg_get_backend_memory_contexts", "pg_mcv_list_items", "pg_stat_get_activity", "pg_stat_get_backend_activity"],
    ),
    // Other sessions, the log, backups, replication, recovery, statistics, upgrades.
    (
        itself(Verb::Control, None),
        &[
            "binary_upgrade_add_sub_rel_state",
            "binary_upgrade_create_empty_extension",
            "binary_upgrade_logical_slot_has_caught_up",
            "binary_upgrade_replorigin_advance",
            "binary_upgrade_set_missing_value",
            "binary_upgrade_set_next_array_pg_type_oid",
            "binary_upgrade_set_next_attribute_versions",
            "binary_upgrade_set_next_heap_pg_class_oid",
            "binary_upgrade_set_next_heap_relfilenode",
            "binary_upgrade_set_next_index_pg_class_oid",
            "binary_upgrade_set_next_index_relfilenode",
            "binary_upgrade_set_next_multirange_array_pg_type_oid",
            "binary_upgrade_set_next_multirange_pg_type_oid",
            "binary_upgrade_set_next_pg_authid_oid",
            "binary_upgrade_set_next_pg_enum_oid",
            "binary_upgrade_set_next_pg_tablespace_oid",
            "binary_upgrade_set_next_pg_type_oid",
            "binary_upgrade_set_next_toast_pg_class_oid",
            "binary_upgrade_set_next_toast_relfilenode",
            "binary_upgrade_set_record_init_privs",
            "pg_backup_start",
            "pg_backup_stop",
            "pg_cancel_backend",
            "pg_config",
            "pg_copy_logical_replication_slot",
            "pg_copy_physical_replication_slot",
            "pg_create_logical_replication_slot",
            "pg_create_physical_replication_slot",
            "pg_create_restore_point",
            "pg_drop_replication_slot",
            "pg_extension_config_dump",
            "pg_import_system_collations",
            "pg_log_backend_memory_contexts",
            "pg_log_standby_snapshot",
            "pg_logical_emit_message",
            "pg_nextoid",
            "pg_promote",
            "pg_reload_conf",
            "pg_replication_origin_advance",
            "pg_replication_origin_create",
            "pg_replication_origin_drop",
            "pg_replication_origin_oid",
            "pg_replication_origin_progress",
            "pg_replication_origin_session_is_setup",
            "pg_replication_origin_session_progress",
            "pg_replication_origin_session_reset",
            "pg_replication_origin_session_setup",
            "pg_replication_origin_xact_reset",
            "pg_replication_origin_xact_setup",
            "pg_replication_slot_advance",
            "pg_rotate_logfile",
            "pg_rotate_logfile_old",
            "pg_show_replication_origin_status",
            "pg_start_backup",
            "pg_stat_reset",
            "pg_stat_reset_backend_stats",
            "pg_stat_reset_replication_slot",
            "pg_stat_reset_shared",
            "pg_stat_reset_single_function_counters",
            "pg_stat_reset_single_table_counters",
            "pg_stat_reset_slru",
            "pg_stat_reset_subscription_stats",
            "pg_stop_backup",
            "pg_stop_making_pinned_objects",
            "pg_switch_wal",
            "pg_terminate_backend",
            "pg_wal_replay_pause",
            "pg_wal_replay_resume",
        ],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_on_two_lists() {
        let harmless = include_str!("harmless.txt").lines();
        let special = SPECIAL.iter().flat_map(|(_, names)| names.iter().copied());
        let mut all: Vec<&str> = harmless.chain(GATHERING.iter().copied()).chain(special).collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!((all.len(), FUNCTIONS.len()), (count, count));
    }

    #[test]
    fn volatile_is_not_dangerous_and_stable_is_not_harmless() {
        for name in
            ["now", "random", "clock_timestamp", "gen_random_uuid", "txid_current", "pg_table_size", "has_table_privilege"]
        {
            assert_eq!(builtin(name), Some(Builtin::Harmless), "{name}");
        }
        let dynamic = Builtin::Special(itself(Verb::Execute, Some(Hazard::DynamicSql)));
        for name in ["query_to_xml", "table_to_xml", "database_to_xml", "ts_stat"] {
            assert_eq!(builtin(name), Some(dynamic), "{name}");
        }
        assert_eq!(builtin("json_agg"), Some(Builtin::Gathers));
        assert_eq!(builtin("no_such_function"), None);
        assert_eq!(builtin("domain_in"), None, "the checks of any domain run in it");
    }
}
