//! How clients arrive: the versions they speak, the settings they bring, the ways into TLS.

use std::time::Duration;

use crate::harness::{
    Conn, Gateway, Major, PERMIT_ALL, Raw, SSL_REQUEST, cancel_key, cancel_request, client_config, client_config_of, driver,
    error_field, frame, startup_of, startup_packet, terminated, text_value,
};

on_each_server!(
    every_lawful_opening,
    every_way_into_tls,
    versions_and_their_cancel_keys,
    settings_at_start_up,
    libpq_of_3_2,
    libpq_with_direct_tls
);

async fn every_lawful_opening(major: Major) {
    let server = server!(major);
    let gateway = Gateway::before(&server);
    let token = gateway.token(&["alice"]);
    let gss_request = [0, 0, 0, 8, 4, 210, 22, 48];

    // A client that would rather have GSSAPI, then TLS.
    let mut raw = Raw::plain(gateway.port("bank"));
    raw.send(&gss_request);
    assert_eq!(raw.byte(), Some(b'N'));
    raw.send(&SSL_REQUEST);
    assert_eq!(raw.byte(), Some(b'S'));
    raw.start_tls(&gateway.authority());
    raw.login("alice", "bank", &token).unwrap();

    // What is never let through.
    for (parameters, state) in [
        (&[("user", "alice"), ("replication", "database")][..], "0A000"),
        (&[("user", "alice"), ("replication", "true")], "0A000"),
        (&[("user", "alice"), ("user", "bob")], "08P01"),
    ] {
        let mut raw = gateway.raw("bank");
        raw.send(&startup_packet(parameters));
        assert_eq!(error_field(&raw.message().unwrap(), b'C'), state);
        assert_eq!(raw.message(), None);
    }
    // Replication that is not asked for is none.
    let mut raw = gateway.raw("bank");
    raw.enter(&startup_packet(&[("user", "alice"), ("replication", "false")]), &token).unwrap();
}

/// TLS that is asked for, and TLS that begins with the first byte and must name the protocol (manual, 55.2.10).
async fn every_way_into_tls(major: Major) {
    let server = server!(major);
    let gateway = Gateway::before(&server);
    let token = gateway.token(&["alice"]);
    let (port, trusted) = (gateway.port("bank"), gateway.authority());
    let named = Some(b"postgresql".to_vec());
    for (direct, alpn, expected) in [
        (false, &[][..], Some(None)),
        (false, &["postgresql"], Some(named.clone())),
        (false, &["h2", "postgresql"], Some(named.clone())),
        (true, &["postgresql"], Some(named)),
        // Who speaks something else only is in the wrong place.
        (false, &["h2"], None),
        (true, &["h2"], None),
    ] {
        let mut raw = Raw::plain(port);
        if !direct {
            raw.send(&SSL_REQUEST);
            assert_eq!(raw.byte(), Some(b'S'));
        }
        let agreed = raw.start_tls_of(client_config_of(&trusted, None, alpn));
        match expected {
            Some(expected) => {
                assert_eq!(agreed.unwrap(), expected, "{alpn:?}, direct: {direct}");
                raw.login("alice", "bank", &token).unwrap();
                assert_eq!(text_value(&raw.query("select 7")), "7");
            }
            None => assert!(agreed.is_err(), "{alpn:?}, direct: {direct}"),
        }
    }
    // Without a name there is no telling what the client takes this for.
    let mut raw = Raw::plain(port);
    if raw.start_tls_of(client_config_of(&trusted, None, &[])).is_ok() {
        raw.send(&startup_packet(&[("user", "alice")]));
        assert_eq!(raw.byte(), None);
    }
    // What comes in plain text behind the request is not taken for something inside TLS, in one write or in two.
    for pause in [Duration::ZERO, Duration::from_millis(100)] {
        let mut raw = Raw::plain(port);
        raw.send(&SSL_REQUEST);
        tokio::time::sleep(pause).await;
        raw.send(&startup_packet(&[("user", "mallory")]));
        if raw.start_tls_of(client_config(&trusted)).is_ok() {
            assert_eq!(raw.message().map(|(kind, _)| kind), None, "something was taken over into TLS");
        }
    }
    // A handshake that never goes on, and one that is none, end by themselves.
    let mut raw = Raw::plain(port);
    raw.send(&[0x16, 3, 1, 0, 5, 1, 2, 3, 4, 5]);
    raw.finish();
    gateway.session("bank", "alice").await;
}

/// Whatever the client speaks, and whatever the upstream: what is running can be cancelled, and each has a key of its own.
async fn versions_and_their_cancel_keys(major: Major) {
    let server = server!(major);
    let conns = ["3.0", "3.2"].map(|version| {
        let name = format!("up-{}", version.replace('.', "-"));
        Conn::to(&name, &server).set(&format!("max_protocol_version = \"{version}\""))
    });
    let mut gateway = Gateway::configure(&conns, PERMIT_ALL, "");
    gateway.add(&["user", "alice"]);
    gateway.start();
    let token = gateway.token(&["alice"]);
    // What is unknown is negotiated down (manual, 55.2.1); PostgreSQL 19's libpq asks for 3.9999 on purpose.
    let negotiated = |minor: u8, options: &[&str]| {
        let names: Vec<u8> = options.iter().flat_map(|name| terminated(name)).collect();
        (b'v', [&[0, 3, 0, minor, 0, 0, 0, u8::try_from(options.len()).unwrap()], names.as_slice()].concat())
    };
    for connection in ["up-3-0", "up-3-2"] {
        for (minor, option, expected, secret) in [
            (0, None, None, 4),
            (0, Some("_pq_.unheard"), Some(negotiated(0, &["_pq_.unheard"])), 4),
            (2, None, None, 32),
            (2, Some("_pq_.unheard"), Some(negotiated(2, &["_pq_.unheard"])), 32),
            (9999, Some("_pq_.test_protocol_negotiation"), Some(negotiated(2, &["_pq_.test_protocol_negotiation"])), 32),
        ] {
            let what = format!("3.{minor} with {option:?} by {connection}");
            let mut raw = gateway.raw(connection);
            let parameters = [("user", "alice"), (option.unwrap_or_default(), "on")];
            raw.send(&startup_of(minor, &parameters[..1 + usize::from(option.is_some())]));
            if let Some(expected) = expected {
                assert_eq!(raw.message().unwrap(), expected, "{what}");
            }
            assert_eq!(raw.message().unwrap(), (b'R', vec![0, 0, 0, 3]), "{what}");
            raw.send(&frame(b'p', &terminated(&token)));
            let answers = raw.until_ready();
            let key = cancel_key(&answers);
            assert_eq!(key.len(), 4 + secret, "{what}");
            raw.send(&frame(b'Q', &terminated("select pg_sleep(60)")));
            tokio::time::sleep(Duration::from_millis(200)).await;
            let mut canceller = gateway.raw(connection);
            canceller.send(&cancel_request(&key));
            assert_eq!(canceller.finish(), 0, "{what}");
            let answer = raw.until_ready();
            assert_eq!(error_field(&answer[answer.len() - 2], b'C'), "57014", "{what}");
        }
    }
}

async fn settings_at_start_up(major: Major) {
    let server = server!(major);
    let gateway = Gateway::before(&server);
    let token = gateway.token(&["alice"]);
    let mut raw = gateway.raw("bank");
    let parameters = [
        ("user", "alice"),
        ("database", "bank"),
        ("client_encoding", "LATIN1"),
        ("TimeZone", "Asia/Tokyo"),
        ("extra_float_digits", "2"),
        ("standard_conforming_strings", "on"),
        ("app.tenant", "7"),
        (
            "options",
            r#"-c statement_timeout=77s --work-mem=77kB -csearch_path="a\ b",public --timezone=CET -c application_name=inside"#,
        ),
    ];
    raw.enter(&startup_packet(&parameters), &token).unwrap();
    for (setting, value) in [
        ("client_encoding", "LATIN1"),
        ("TimeZone", "Asia/Tokyo"),
        ("extra_float_digits", "2"),
        ("app.tenant", "7"),
        ("statement_timeout", "77s"),
        ("work_mem", "77kB"),
        ("search_path", "\"a b\",public"),
    ] {
        assert_eq!(text_value(&raw.query(&format!("show {setting}"))), value, "{setting}");
    }
    assert_eq!(raw.query("select chr(233)")[1].1, [0, 1, 0, 0, 0, 1, 233], "bytes pass as they are");
    assert_eq!(gateway.leaves_of("SESSION_OPEN")[0]["application"], "inside");

    // What would make the session another's, load code or change how a text is read.
    for (name, value) in [
        ("role", "postgres"),
        ("Session_Authorization", "postgres"),
        ("session_preload_libraries", "auto_explain"),
        ("local_preload_libraries", "x"),
        ("session_replication_role", "replica"),
        ("standard_conforming_strings", "off"),
        ("no_such_setting", "1"),
        ("options", "-c role=postgres"),
        ("options", "--session-authorization=postgres"),
        ("options", "-c work_mem=77kB -crole=postgres"),
        ("options", r"-c \role=postgres"),
        ("options", "-e"),
        ("options", "-c"),
    ] {
        let mut raw = gateway.raw("bank");
        raw.send(&startup_packet(&[("user", "alice"), (name, value)]));
        let error = raw.message().unwrap();
        assert_eq!(
            (error_field(&error, b'S').as_str(), error_field(&error, b'C').as_str()),
            ("FATAL", "0A000"),
            "{name}={value}"
        );
        assert_eq!(raw.message(), None, "{name}={value}");
    }

    // What passes and is wrong, the server says itself.
    for (name, value, said) in [("TimeZone", "Moon/Base", "Moon/Base"), ("work_mem", "much", "work_mem")] {
        let error = gateway.raw("bank").enter(&startup_packet(&[("user", "alice"), (name, value)]), &token).unwrap_err();
        assert_eq!(error_field(&error, b'C'), "22023", "{name}={value}");
        assert!(error_field(&error, b'M').contains(said), "{error:?}");
    }
}

/// A real client that begins with TLS.
async fn libpq_with_direct_tls(major: Major) {
    let server = server!(major);
    let gateway = Gateway::before(&server);
    driver(&gateway, "psycopg_sync", &[("PGSSLNEGOTIATION", "direct")]);
}

/// A real client that insists on the newest version there is.
async fn libpq_of_3_2(major: Major) {
    let server = server!(major);
    let gateway = Gateway::before(&server);
    driver(&gateway, "psycopg_sync", &[("PGMINPROTOCOLVERSION", "3.2"), ("PGMAXPROTOCOLVERSION", "3.2")]);
}
