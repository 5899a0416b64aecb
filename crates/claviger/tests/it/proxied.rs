//! Clients behind a load balancer that says who they are: the PROXY protocol.

use std::time::Duration;

use crate::harness::{
    Conn, Gateway, Major, Raw, SSL_REQUEST, Server, cancel_key, cancel_request, error_field, frame, run, terminated, text_value,
};

/// Only clients from this network may connect.
const FROM_OUTSIDE: &str = r#"
    @id("outside") permit (principal, action == Action::"connect", resource)
    when { context.client_address.isInRange(ip("203.0.113.0/24")) || context.client_address.isInRange(ip("2001:db8::/32")) };"#;

/// A header with this command, family and body.
fn header(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[command, family], &length, body].concat()
}

/// Of a client at 203.0.113.N, port 4711, with something that the balancer adds.
fn of_client(last: u8) -> Vec<u8> {
    header(0x21, 0x11, &[203, 0, 113, last, 127, 0, 0, 1, 0x12, 0x67, 0x15, 0x38, 4, 0, 2, 7, 7])
}

/// A connection on which these bytes come first, then a request for TLS; `None` if it is closed without a word.
fn open(gateway: &Gateway, connection: &str, first: &[u8]) -> Option<Raw> {
    let mut raw = Raw::plain(gateway.port(connection));
    raw.send(first);
    raw.send(&SSL_REQUEST);
    if raw.byte()? != b'S' {
        return None;
    }
    raw.start_tls(&gateway.authority());
    Some(raw)
}

fn gateway(server: &Server) -> Gateway {
    let conns = [
        Conn::to("behind", server).set("proxy_protocol = [\"192.0.2.1\", \"127.0.0.0/8\"]"),
        Conn::to("beside", server).set("proxy_protocol = [\"192.0.2.1\"]"),
        Conn::to("bare", server),
    ];
    let mut gateway = Gateway::configure(&conns, FROM_OUTSIDE, "");
    gateway.add(&["user", "alice"]);
    gateway.start();
    gateway
}

#[test]
fn a_balancer_says_whose_connection_it_is() {
    run(async {
        let server = server!(Major::V15);
        let gateway = gateway(&server);
        let token = gateway.token(&["alice"]);
        let v6 = header(0x21, 0x21, &[&[0x20, 1, 0x0d, 0xb8][..], &[0; 11], &[7], &[0; 16], &[0x12, 0x67, 0, 1]].concat());
        for (first, client) in [(of_client(7), "203.0.113.7:4711"), (v6, "[2001:db8::7]:4711")] {
            let mut raw = open(&gateway, "behind", &first).expect("the header is good");
            let answers = raw.login("alice", "behind", &token).expect("policy lets in who is there");
            assert_eq!(gateway.leaves_of("SESSION_OPEN").pop().unwrap()["client"], client);
            // Cancel requests come by the same way.
            raw.send(&frame(b'Q', &terminated("select pg_sleep(60)")));
            tokio::time::sleep(Duration::from_millis(200)).await;
            let mut canceller = open(&gateway, "behind", &of_client(8)).unwrap();
            canceller.send(&cancel_request(&cancel_key(&answers)));
            assert_eq!(canceller.finish(), 0);
            let answer = raw.until_ready();
            assert_eq!(error_field(&answer[answer.len() - 2], b'C'), "57014");
            assert_eq!(text_value(&raw.query("select 1")), "1");
        }
        // What it says of itself, or does not say, is its own address; policy does not let that in.
        for first in [header(0x20, 0, &[]), header(0x20, 0x11, &of_client(7)[16..]), header(0x21, 0, &[])] {
            let error = open(&gateway, "behind", &first).unwrap().login("alice", "behind", &token).unwrap_err();
            assert_eq!(error_field(&error, b'C'), "42501");
            let client = gateway.leaves_of("SESSION_REFUSED").pop().unwrap()["client"].to_string();
            assert!(client.contains("127.0.0.1:"), "{client}");
        }
        // In pieces it is the same.
        let mut raw = Raw::plain(gateway.port("behind"));
        for piece in of_client(9).chunks(5) {
            raw.send(piece);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        raw.send(&SSL_REQUEST);
        assert_eq!(raw.byte(), Some(b'S'));
        gateway.verify();
    });
}

#[test]
fn nobody_else_is_believed() {
    run(async {
        let server = server!(Major::V15);
        let gateway = gateway(&server);
        let token = gateway.token(&["alice"]);
        // What is no header of version 2, where one is due.
        for first in [
            Vec::new(),
            b"PROXY TCP4 203.0.113.7 127.0.0.1 4711 5432\r\n".to_vec(),
            header(0x11, 0x11, &[0; 12]),
            header(0x22, 0x11, &[0; 12]),
            header(0x21, 0x12, &[0; 12]),
            header(0x21, 0x31, &[0; 216]),
            header(0x21, 0x11, &[0; 11]),
            header(0x21, 0x11, &[0; 5000]),
        ] {
            assert!(open(&gateway, "behind", &first).is_none(), "{first:?}");
        }
        // A balancer that says nothing is not waited for for ever.
        let mut silent = Raw::plain(gateway.port("behind"));
        silent.send(&of_client(7)[..10]);
        assert_eq!(silent.byte(), None);

        // From other addresses, and where nobody is named, a header is nothing that a client may say.
        for connection in ["beside", "bare"] {
            let mut raw = Raw::plain(gateway.port(connection));
            raw.send(&of_client(7));
            assert_eq!(error_field(&raw.message().expect("an error"), b'C'), "08P01", "{connection}");
            assert_eq!(raw.message(), None);
            // Without one it is a client of its own address.
            let error = open(&gateway, connection, &[]).unwrap().login("alice", connection, &token).unwrap_err();
            assert_eq!(error_field(&error, b'C'), "42501");
            let client = gateway.leaves_of("SESSION_REFUSED").pop().unwrap()["client"].to_string();
            assert!(client.contains("127.0.0.1:"), "{client}");
        }
        assert!(gateway.leaves_of("SESSION_OPEN").is_empty());
        gateway.verify();
    });
}
