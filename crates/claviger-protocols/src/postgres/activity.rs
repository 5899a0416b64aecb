//! Who has sessions on a server, as the server tells it (PostgreSQL manual, 27.2.3, `pg_stat_activity`).

use bytes::Bytes;

/// The question. Every name is written in full, so that nothing in the role's search path can answer in its place.
pub const QUESTION: &str = "select a.pid::pg_catalog.text, a.usename::pg_catalog.text, a.datname::pg_catalog.text, \
    pg_catalog.host(a.client_addr), a.client_port::pg_catalog.text, a.application_name, \
    pg_catalog.to_char(pg_catalog.timezone('UTC', a.backend_start), 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), a.backend_type, \
    (a.pid operator(pg_catalog.=) pg_catalog.pg_backend_pid())::pg_catalog.text \
    from pg_catalog.pg_stat_activity a";

/// One session, as far as whoever asked may see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// Its process.
    pub process: i32,
    /// Its user; background processes have none.
    pub user: Option<String>,
    /// Its database; background processes have none, nor have those that replicate the whole server.
    pub database: Option<String>,
    /// The client's address; none for a Unix socket.
    pub address: Option<String>,
    /// The client's port; -1 for a Unix socket.
    pub port: Option<i32>,
    /// What the client calls itself.
    pub application: Option<String>,
    /// Since when.
    pub since: Option<String>,
    /// What kind of process it is; `None` if that is hidden from the role, and with it whence the client came.
    pub kind: Option<String>,
    /// Whether it is the session that asked.
    pub asking: bool,
}

impl Activity {
    /// Whether a client is at the other end, rather than a process of the server's own.
    pub fn is_of_client(&self) -> bool {
        match self.kind.as_deref() {
            Some(kind) => matches!(kind, "client backend" | "walsender"),
            None => self.user.is_some() && self.database.is_some(),
        }
    }

    /// Whether the role may not see whence the client came.
    pub fn is_hidden(&self) -> bool {
        self.kind.is_none()
    }
}

/// Reads the answer to the [`QUESTION`]. `None` if it is not one.
pub fn read(rows: &[Vec<Option<Bytes>>]) -> Option<Vec<Activity>> {
    rows.iter().map(|row| activity(row)).collect()
}

fn activity(row: &[Option<Bytes>]) -> Option<Activity> {
    let [process, user, database, address, port, application, since, kind, asking] = row else { return None };
    let text = |value: &Option<Bytes>| value.as_ref().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    Some(Activity {
        process: text(process)?.parse().ok()?,
        user: text(user),
        database: text(database),
        address: text(address),
        port: text(port).and_then(|port| port.parse().ok()),
        application: text(application).filter(|application| !application.is_empty()),
        since: text(since),
        kind: text(kind),
        asking: text(asking).as_deref() == Some("true"),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn row(values: [Option<&'static str>; 9]) -> Vec<Option<Bytes>> {
        values.into_iter().map(|value| value.map(|text| Bytes::from_static(text.as_bytes()))).collect()
    }

    #[test]
    fn what_is_hidden_is_told_from_what_is_not_there() {
        let rows = [
            row([
                Some("7"),
                Some("keeper"),
                Some("bank"),
                Some("10.0.0.7"),
                Some("5000"),
                Some("x"),
                Some("now"),
                Some("client backend"),
                Some("true"),
            ]),
            row([
                Some("8"),
                Some("postgres"),
                Some("bank"),
                None,
                Some("-1"),
                Some(""),
                Some("now"),
                Some("client backend"),
                Some("false"),
            ]),
            row([Some("9"), Some("other"), Some("bank"), None, None, Some("psql"), None, None, Some("false")]),
            row([Some("10"), None, None, None, None, Some(""), None, None, Some("false")]),
            row([Some("11"), None, None, None, None, Some(""), Some("now"), Some("walwriter"), Some("false")]),
        ];
        let all = read(&rows).unwrap();
        let seen = |n: usize| all.get(n).map(|one| (one.is_of_client(), one.is_hidden())).unwrap();
        assert_eq!(
            [seen(0), seen(1), seen(2), seen(3), seen(4)],
            [(true, false), (true, false), (true, true), (false, true), (false, false)]
        );
        assert!(all.first().unwrap().asking);
        assert_eq!(read(&[vec![None]]), None);
    }
}
