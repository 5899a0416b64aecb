//! What is known of the C functions of extensions that are often there.

use claviger_model::{Hazard, Verb};

use super::{Builtin, Special, Target, itself};

/// What a function of this extension does that is written in C or is one of the server's own under another name; `None` if it is
/// not known. Functions in SQL or PL/pgSQL are to be read like anybody's.
pub fn extension(extension: &str, function: &str) -> Option<Builtin> {
    let named = EXCEPTIONS.iter().find(|(of, functions, _)| *of == extension && functions.contains(&function));
    let whole = || WHOLLY.iter().find(|(of, _)| *of == extension).map(|(_, does)| *does);
    let harmless = || HARMLESS.contains(&extension).then_some(Builtin::Harmless);
    named.map(|(_, _, does)| *does).or_else(whole).or_else(harmless)
}

/// Types, operators, text and arithmetic: what is not an exception computes from its arguments alone, or is a trigger that changes
/// nothing but the row that it fires for.
const HARMLESS: &[&str] = &[
    "bloom",
    "btree_gin",
    "btree_gist",
    "citext",
    "cube",
    "dict_int",
    "dict_xsyn",
    "earthdistance",
    "fuzzystrmatch",
    "hstore",
    "insert_username",
    "intagg",
    "intarray",
    "isn",
    "ltree",
    "moddatetime",
    "pg_freespacemap",
    "pg_trgm",
    "pgcrypto",
    "seg",
    "tsm_system_rows",
    "tsm_system_time",
    "unaccent",
    "uuid-ossp",
    "vector",
];

const fn special(verb: Verb, hazard: Hazard) -> Builtin {
    Builtin::Special(itself(verb, Some(hazard)))
}

const LOOKS_INTO_THE_SERVER: Builtin = Builtin::Special(itself(Verb::Control, None));

/// Extensions of which every function does the same.
const WHOLLY: &[(&str, Builtin)] = &[
    ("adminpack", special(Verb::Control, Hazard::FileAccess)),
    ("dblink", special(Verb::Execute, Hazard::Network)),
    ("file_fdw", special(Verb::Control, Hazard::FileAccess)),
    ("lo", special(Verb::Execute, Hazard::LargeObject)),
    ("pageinspect", LOOKS_INTO_THE_SERVER),
    ("pg_buffercache", LOOKS_INTO_THE_SERVER),
    ("pg_logicalinspect", special(Verb::Control, Hazard::FileAccess)),
    ("pg_prewarm", Builtin::Special(itself(Verb::Maintain, None))),
    ("pg_stat_statements", LOOKS_INTO_THE_SERVER),
    ("pg_surgery", LOOKS_INTO_THE_SERVER),
    ("pg_walinspect", LOOKS_INTO_THE_SERVER),
    ("postgres_fdw", special(Verb::Execute, Hazard::Network)),
];

/// Functions that are otherwise than their extension, or the only ones of it that are known.
const EXCEPTIONS: &[(&str, &[&str], Builtin)] = &[
    ("autoinc", &["autoinc"], Builtin::Special(Special { verb: Verb::Update, hazard: None, target: Target::Sequence })),
    ("intagg", &["int_array_aggregate"], Builtin::Gathers),
    ("tablefunc", &["normal_rand"], Builtin::Harmless),
    ("tablefunc", &["connectby", "crosstab", "crosstab2", "crosstab3", "crosstab4"], special(Verb::Execute, Hazard::DynamicSql)),
    (
        "tcn",
        &["triggered_change_notification"],
        Builtin::Special(Special { verb: Verb::Notify, hazard: None, target: Target::Channel }),
    ),
    (
        "xml2",
        &["xml_encode_special_chars", "xml_valid", "xpath_bool", "xpath_list", "xpath_nodeset", "xpath_number", "xpath_string"],
        Builtin::Harmless,
    ),
    ("xml2", &["xpath_table"], special(Verb::Execute, Hazard::DynamicSql)),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extension_is_judged_function_by_function() {
        assert_eq!(extension("citext", "citext_eq"), Some(Builtin::Harmless));
        assert_eq!(extension("tablefunc", "crosstab"), Some(special(Verb::Execute, Hazard::DynamicSql)));
        assert_eq!(extension("tablefunc", "normal_rand"), Some(Builtin::Harmless));
        assert_eq!(extension("intagg", "int_array_aggregate"), Some(Builtin::Gathers));
        assert_eq!(extension("intagg", "int_array_enum"), Some(Builtin::Harmless));
        assert_eq!(extension("dblink", "dblink_exec"), Some(special(Verb::Execute, Hazard::Network)));
        assert_eq!(extension("xml2", "xslt_process"), None);
        assert_eq!(extension("nobody_knows", "f"), None);
    }
}
