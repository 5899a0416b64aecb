//! Which tables a session's transaction holds, and who waits for it.

use bytes::Bytes;
use serde::Deserialize;

/// The question, of a process (its one parameter, as text): one text. Nothing but `pg_catalog` must be in its search path.
/// Catalogs are read by everybody and held by nobody. Those that wait are looked through in part if they are very many.
pub const LOCKS: &str = "with own as (select a.pid from pg_stat_activity a \
        where a.pid = $1::text::int and a.usename = session_user and a.datname = current_database()), \
    held as (select quote_ident(n.nspname) || '.' || quote_ident(c.relname) as table, \
            string_agg(distinct l.mode, ', ' order by l.mode) as modes \
        from own join pg_locks l on l.pid = own.pid join pg_class c on c.oid = l.relation join pg_namespace n on n.oid = c.relnamespace \
        where l.granted and l.locktype = 'relation' and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S') \
            and l.database = (select d.oid from pg_database d where d.datname = current_database()) \
            and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast') \
        group by 1 order by 1 limit 101), \
    others as (select distinct l.pid from pg_locks l where not l.granted order by l.pid limit 200) \
    select json_build_object('own', exists (select from own), \
        'held', coalesce((select json_agg(json_build_array(h.table, h.modes)) from held h), '[]'), \
        'waiting', (select count(*) from others, own where own.pid = any (pg_blocking_pids(others.pid))))::text";

/// The most tables that are named.
const MOST: usize = 100;

/// What a session's transaction holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Locks {
    /// The tables, and how it holds them, in the server's words (PostgreSQL manual, 13.3).
    pub held: Vec<(String, String)>,
    /// How many sessions wait for it.
    pub waiting: u64,
    /// Whether there are more tables than are named.
    #[serde(default)]
    pub more: bool,
    /// Whether the process is one of the asking role's on this database.
    own: bool,
}

impl Locks {
    /// Reads the answer to [`LOCKS`]. `None` if it is none, or about somebody else's process.
    pub fn read(rows: &[Vec<Option<Bytes>>]) -> Option<Self> {
        let [row] = rows else { return None };
        let mut locks: Self = serde_json::from_slice(row.first()?.as_deref()?).ok()?;
        locks.more = locks.held.len() > MOST;
        locks.held.truncate(MOST);
        locks.own.then_some(locks)
    }
}
