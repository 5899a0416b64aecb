//! Where a client is led: by the listener's own connection, or by what it names on a shared one.

use crate::harness::{Conn, Gateway, Major, PERMIT_ALL, Raw, error_field, free_port, run};

#[test]
fn a_listener_of_its_own_leads_to_its_connection_whatever_the_client_says() {
    run(async {
        let server = server!(Major::V15);
        let gateway = Gateway::before(&server);
        let token = gateway.token(&["alice"]);
        for database in ["bank", "vault", "postgres", "no-such"] {
            let mut raw = gateway.raw("bank");
            raw.login("alice@vault", database, &token).unwrap();
            assert_eq!(database_of(&mut raw), "bank", "asked for {database}");
        }
    });
}

#[test]
fn a_shared_listener_leads_where_the_client_says() {
    run(async {
        let server = server!(Major::V15);
        let port = free_port();
        let listener = format!("[[listeners]]\nkind = \"postgres\"\nlisten = \"127.0.0.1:{port}\"\n");
        let conns = [
            Conn::to("bank", &server).on_shared_listener(),
            Conn::to("safe", &server).database("vault").on_shared_listener(),
            Conn::to("closed", &server).on_shared_listener(),
        ];
        let policies =
            format!("{PERMIT_ALL}\nforbid (principal, action == Action::\"connect\", resource == Connection::\"closed\");");
        let mut gateway = Gateway::configure(&conns, &policies, &listener);
        gateway.add(&["user", "alice"]);
        gateway.start();
        let token = gateway.token(&["alice"]);
        let lead = |user: &str, database: &str| {
            let mut raw = Raw::tls(port, &gateway.authority());
            raw.login(user, database, &token).map(|_| database_of(&mut raw)).map_err(|error| error_field(&error, b'C'))
        };
        for (user, database, expected) in [
            ("alice", "bank", Ok("bank")),
            ("alice", "safe", Ok("vault")),
            ("alice@safe", "whatever", Ok("vault")),
            ("alice@corp.test@bank", "whatever", Ok("bank")),
            ("alice@safe", "safe", Ok("vault")),
            // Two different answers to one question are none.
            ("alice@safe", "bank", Err("3D000")),
            ("alice", "vault", Err("3D000")),
            ("alice@nowhere", "nowhere", Err("3D000")),
            ("alice", "closed", Err("42501")),
        ] {
            let found = lead(user, database);
            assert_eq!(found.as_deref().map_err(String::as_str), expected, "user={user} dbname={database}");
        }
        // Whether a connection exists is for those with a token to know.
        let mut raw = Raw::tls(port, &gateway.authority());
        let error = raw.login("alice", "nowhere", "no token").unwrap_err();
        assert_eq!(error_field(&error, b'C'), "28000");
    });
}

fn database_of(raw: &mut Raw) -> String {
    let answer = raw.query("select current_database()");
    let row = &answer.iter().find(|(kind, _)| *kind == b'D').unwrap_or_else(|| panic!("{answer:?}")).1;
    String::from_utf8(row[6..].to_vec()).unwrap()
}
