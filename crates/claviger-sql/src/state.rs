//! What a server says of a session's state.

use std::sync::Arc;

use bytes::Bytes;

/// The question: one row of seven texts. Every name is written in full, so that nothing in the search path can answer in its place.
pub const STATE: &str = "select pg_catalog.array_to_json(pg_catalog.current_schemas(true))::pg_catalog.text, \
    current_user::pg_catalog.text, session_user::pg_catalog.text, \
    pg_catalog.current_setting('client_encoding'), pg_catalog.current_setting('standard_conforming_strings'), \
    pg_catalog.current_schema()::pg_catalog.text, pg_catalog.current_setting('search_path')";

/// What of a session's state only the server knows for certain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The schemas that names are looked for in, in order.
    pub path: Vec<Arc<str>>,
    /// The schema that new things go to that are named without one, if there is any.
    pub creates_in: Option<Arc<str>>,
    /// Whether the search path names the schema of temporary tables, which else comes first as soon as there are any.
    pub names_temporary: bool,
    /// The role that statements run as.
    pub role: Arc<str>,
    /// The role that the session belongs to.
    pub login: Arc<str>,
    /// Whether texts that are UTF-8 are read as UTF-8.
    pub is_utf8: bool,
    /// Whether a backslash in a plain string is just that (PostgreSQL manual, 20.13.1, `standard_conforming_strings`).
    pub is_conforming: bool,
}

impl State {
    /// Reads the answer to [`STATE`]. `None` if it is not one.
    pub fn read(rows: &[Vec<Option<Bytes>>]) -> Option<Self> {
        let [row] = rows else { return None };
        let [Some(path), Some(role), Some(login), Some(encoding), Some(conforming), creates_in, Some(setting)] = row.as_slice()
        else {
            return None;
        };
        let text = |bytes: &Bytes| std::str::from_utf8(bytes).ok().map(Arc::from);
        let path: Vec<String> = serde_json::from_slice(path).ok()?;
        Some(Self {
            path: path.into_iter().map(Arc::from).collect(),
            creates_in: creates_in.as_ref().and_then(text),
            names_temporary: text(setting)?.to_ascii_lowercase().contains("pg_temp"),
            role: text(role)?,
            login: text(login)?,
            is_utf8: matches!(&**encoding, b"UTF8" | b"SQL_ASCII"),
            is_conforming: **conforming == *b"on",
        })
    }

    /// Whether the server reads a text as it stands: what is not ASCII only as UTF-8, and what has backslashes only where they mean
    /// nothing in plain strings.
    pub fn reads(&self, text: &[u8]) -> bool {
        (self.is_utf8 || text.is_ascii()) && (self.is_conforming || !text.contains(&b'\\'))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;

    fn row(values: [&'static str; 7]) -> Vec<Vec<Option<Bytes>>> {
        vec![values.map(|value| Some(Bytes::from_static(value.as_bytes()))).to_vec()]
    }

    #[test]
    fn the_state_is_read_and_tells_which_texts_are_read_as_they_stand() {
        let state = State::read(&row([r#"["pg_catalog","a\"b"]"#, "r", "l", "UTF8", "on", "c", "\"$user\", PG_TEMP"])).unwrap();
        assert_eq!((state.path.len(), &*state.path[1], &*state.role, &*state.login), (2, "a\"b", "r", "l"));
        assert_eq!((state.creates_in.as_deref(), state.names_temporary), (Some("c"), true));
        assert!(state.reads("select 'ü\\'".as_bytes()));
        let latin = State::read(&row(["[]", "r", "l", "LATIN1", "off", "c", ""])).unwrap();
        assert!(!latin.reads("select 'ü'".as_bytes()) && !latin.reads(b"select '\\'") && latin.reads(b"select 1"));
        for wrong in [vec![], vec![vec![None; 7]], vec![vec![]], row(["x", "r", "l", "UTF8", "on", "c", ""])] {
            assert_eq!(State::read(&wrong), None);
        }
    }
}
