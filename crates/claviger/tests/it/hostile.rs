//! Clients that do not mean well, or do not know how: cut messages, nonsense, huge lengths, silence.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustls::ClientConnection;
use rustls::pki_types::ServerName;

use crate::harness::{
    Conn, Gateway, Major, PERMIT_ALL, Raw, SSL_REQUEST, Server, Session, error_field, eventually, frame, run, startup_packet,
    terminated,
};

/// How much memory no hostile client may make the gateway take, in KiB.
const BOUND: u64 = 96 * 1024;

/// A gateway with a listener that takes plain text, so that thousands of connections cost little, and a session that must
/// go on working whatever else happens.
struct Siege {
    gateway: Gateway,
    bystander: Session,
    token: String,
    memory: u64,
}

impl Siege {
    async fn of(server: &Server, limits: &str) -> Self {
        let conns = [Conn::to("bank", server), Conn::to("open", server).plaintext()];
        let mut gateway = Gateway::configure(&conns, PERMIT_ALL, limits);
        gateway.add(&["user", "alice"]);
        gateway.start();
        let bystander = gateway.session("bank", "alice").await;
        let token = gateway.token(&["alice"]);
        let memory = resident(&gateway);
        Self { gateway, bystander, token, memory }
    }

    fn open(&self) -> Raw {
        Raw::plain(self.gateway.port("open"))
    }

    fn logged_in(&self) -> Raw {
        let mut raw = self.open();
        raw.login("alice", "open", &self.token).unwrap();
        raw
    }

    /// The bystander has noticed nothing, others can still log in, and the memory is bounded.
    async fn holds(&self) {
        assert_eq!(self.bystander.value("select count(*) from customers").await, "3");
        self.logged_in();
        let grown = resident(&self.gateway).saturating_sub(self.memory);
        assert!(grown < BOUND, "{grown} KiB more than at the beginning");
    }
}

/// Memory that the gateway has, in KiB.
pub(crate) fn resident(gateway: &Gateway) -> u64 {
    resident_of(gateway.process_id()).expect("the gateway runs")
}

/// Memory that a process has, in KiB; `None` if it has ended.
pub(crate) fn resident_of(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

pub(crate) fn client_hello(gateway: &Gateway) -> Vec<u8> {
    let config = crate::harness::client_config(&gateway.authority());
    let mut tls = ClientConnection::new(config, ServerName::try_from("localhost").unwrap()).unwrap();
    let mut hello = Vec::new();
    tls.write_tls(&mut hello).unwrap();
    hello
}

#[test]
fn every_message_before_the_login_can_be_cut_anywhere() {
    run(async {
        let server = server!(Major::V15);
        let siege = Siege::of(&server, "").await;
        let startup = startup_packet(&[("user", "alice"), ("database", "open"), ("application_name", "cut")]);
        let password = frame(b'p', &terminated(&siege.token));
        let cancel = [&[0, 0, 0, 16, 4, 210, 22, 46], &[1; 8][..]].concat();
        let hello = client_hello(&siege.gateway);
        // What was sent before, whole, and the message that is cut.
        for (before, message) in [
            (Vec::new(), SSL_REQUEST.to_vec()),
            (Vec::new(), cancel),
            (Vec::new(), startup.clone()),
            (SSL_REQUEST.to_vec(), hello),
            (startup, password),
        ] {
            for cut in 0..message.len() {
                let mut raw = siege.open();
                raw.send(&before);
                raw.send(&message[..cut]);
                raw.finish();
            }
            siege.holds().await;
        }
        assert_eq!(siege.gateway.leaves_of("SESSION_OPEN").len(), 6, "nobody got in with half a message");
    });
}

#[test]
fn every_message_of_a_session_can_be_cut_anywhere() {
    run(async {
        let server = server!(Major::V15);
        let siege = Siege::of(&server, "").await;
        let insert = "insert into customers values (66, 'cut', null)";
        let pipeline = [
            frame(b'P', &[&[0], terminated(insert).as_slice(), &[0, 0]].concat()),
            frame(b'B', &[0; 8]),
            frame(b'E', &[0; 5]),
            frame(b'S', &[]),
        ]
        .concat();
        for message in [frame(b'Q', &terminated(insert)), pipeline[..pipeline.len() - 5].to_vec()] {
            for cut in (0..message.len()).step_by(2) {
                let mut raw = siege.logged_in();
                raw.send(&message[..cut]);
                raw.finish();
            }
        }
        siege.holds().await;
        eventually("all of them are gone upstream", Duration::from_secs(5), async || {
            server.gateway_sessions().await.parse::<u32>().unwrap() <= 2
        })
        .await;
        assert_eq!(server.value("bank", "select count(*) from customers where id = 66").await, "0");
        siege.gateway.verify();
    });
}

#[test]
fn nonsense_is_answered_or_hung_up_on() {
    run(async {
        let server = server!(Major::V15);
        let siege = Siege::of(&server, "").await;
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
        for round in 0..400 {
            let mut raw = siege.open();
            if round % 4 == 1 {
                raw.send(&startup_packet(&[("user", "alice"), ("database", "open")]));
            }
            let mut bytes = dice.bytes(1 + round * 7 % 900);
            if round % 4 == 2 {
                // A length that makes sense, so that what follows is read.
                let length = u32::try_from(bytes.len().max(8)).unwrap().to_be_bytes();
                bytes.splice(..4.min(bytes.len()), length);
            }
            if round % 4 == 3 {
                bytes = [startup_packet(&[]), bytes].concat();
            }
            raw.send(&bytes);
            raw.finish();
        }
        siege.holds().await;
        for round in 0..60 {
            let mut raw = siege.logged_in();
            let kind = b"QPBEDCHSXdcfFp\0\xff"[round % 16];
            raw.send(&frame(kind, &dice.bytes(round * 5)));
            raw.finish();
        }
        siege.holds().await;
        siege.gateway.verify();
    });
}

#[test]
fn huge_lengths_take_no_room() {
    run(async {
        let server = server!(Major::V15);
        let siege = Siege::of(&server, "").await;
        let huge = 0x7fff_ffff_u32.to_be_bytes();
        let startup = startup_packet(&[("user", "alice"), ("database", "open")]);
        let before_login: [Vec<u8>; 4] = [
            [&huge[..], &[0, 3, 0, 0]].concat(),
            [&0xffff_ffff_u32.to_be_bytes()[..], &[0, 3, 0, 0]].concat(),
            [startup.as_slice(), b"p", &huge].concat(),
            [startup.as_slice(), b"Q", &huge].concat(),
        ];
        for bytes in before_login {
            let mut raw = siege.open();
            raw.send(&bytes);
            flood(&mut raw);
            raw.finish();
            siege.holds().await;
        }
        for kind in *b"QPBEDCHSdfp" {
            let mut raw = siege.logged_in();
            raw.send(&[&[kind][..], &huge].concat());
            flood(&mut raw);
            raw.finish();
        }
        siege.holds().await;
        // Too long for the limit is an error and not the end of the gateway; it names the limit's kind.
        let mut raw = siege.logged_in();
        raw.send(&[b"Q".as_slice(), &huge].concat());
        let error = raw.message().expect("an error");
        assert_eq!(error_field(&error, b'C'), "54000");
    });
}

/// Sends more than any buffer should hold, until the other side has had enough.
fn flood(raw: &mut Raw) {
    let block = vec![b' '; 1 << 20];
    for _ in 0..24 {
        raw.send(&block);
    }
}

#[test]
fn silence_delays_nobody_and_is_ended() {
    run(async {
        let server = server!(Major::V15);
        let siege = Siege::of(&server, "[limits]\nlogin_timeout = \"3s\"\n").await;
        let began = Instant::now();
        let mut idle: Vec<TcpStream> = (0..300)
            .map(|n| {
                let mut socket = TcpStream::connect(("127.0.0.1", siege.gateway.port("bank"))).unwrap();
                if n % 3 == 1 {
                    socket.write_all(&SSL_REQUEST).unwrap();
                } else if n % 3 == 2 {
                    socket.write_all(&[0, 0, 0]).unwrap();
                }
                socket
            })
            .collect();
        let asked = Instant::now();
        siege.gateway.login("bank", "alice", &siege.token).await.unwrap();
        // Before any of them has been ended.
        assert!(asked.elapsed() < Duration::from_millis(2500), "a login took {:?}", asked.elapsed());
        siege.holds().await;
        for socket in &mut idle {
            socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            let mut rest = Vec::new();
            // An end or a reset; a timeout would be neither.
            if let Err(error) = socket.read_to_end(&mut rest) {
                assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
            }
        }
        assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
        siege.holds().await;
    });
}

#[test]
fn a_client_that_does_not_read_holds_back_only_itself() {
    run(async {
        let server = server!(Major::V15);
        let siege = Siege::of(&server, "").await;
        let mut stuck = siege.logged_in();
        stuck.send(&frame(b'Q', &terminated("select n, repeat('x', 1000) from generate_series(1, 2000000) n")));
        let mut greedy = siege.logged_in();
        // Requests without end, and nobody reads the answers.
        let many: Vec<u8> = (0..20_000).flat_map(|_| frame(b'Q', &terminated("select repeat('y', 1000)"))).collect();
        let sender = std::thread::spawn(move || {
            greedy.set_write_timeout(Duration::from_secs(2));
            greedy.send(&many);
            greedy
        });
        for _ in 0..6 {
            tokio::time::sleep(Duration::from_millis(400)).await;
            siege.holds().await;
        }
        drop((stuck, sender.join().unwrap()));
        eventually("they are gone upstream", Duration::from_secs(10), async || {
            server.gateway_sessions().await.parse::<u32>().unwrap() <= 2
        })
        .await;
    });
}

#[test]
fn bytes_smuggled_before_tls_are_not_taken() {
    run(async {
        let server = server!(Major::V15);
        let siege = Siege::of(&server, "").await;
        // CVE-2021-23214: what comes in one packet with the request for TLS must not count as said inside it.
        let mut raw = Raw::plain(siege.gateway.port("bank"));
        let startup = startup_packet(&[("user", "alice"), ("database", "bank")]);
        raw.send(&[SSL_REQUEST.as_slice(), &startup].concat());
        let answer = raw.byte();
        assert!(matches!(answer, None | Some(b'E' | b'S')), "{answer:?}");
        if answer == Some(b'S') {
            assert_eq!(raw.byte(), None, "the gateway hangs up");
        }
        siege.holds().await;
    });
}

#[test]
fn a_full_gateway_turns_away_and_lets_in_again() {
    run(async {
        let server = server!(Major::V15);
        let mut gateway = Gateway::configure(&[Conn::to("bank", &server)], PERMIT_ALL, "[limits]\nconnections = 3\n");
        gateway.add(&["user", "alice"]);
        gateway.start();
        let token = gateway.token(&["alice"]);
        eventually("there is room", Duration::from_secs(2), async || gateway.login("bank", "alice", &token).await.is_ok()).await;
        let mut crowd: Vec<TcpStream> =
            (0..3).map(|_| TcpStream::connect(("127.0.0.1", gateway.port("bank"))).unwrap()).collect();
        tokio::time::sleep(Duration::from_millis(200)).await;
        let mut turned_away = TcpStream::connect(("127.0.0.1", gateway.port("bank"))).unwrap();
        turned_away.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        assert_eq!(turned_away.read(&mut [0; 16]).unwrap_or(0), 0);
        crowd.clear();
        let mut session = None;
        for _ in 0..50 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let mut raw = Raw::plain(gateway.port("bank"));
            raw.send(&SSL_REQUEST);
            if raw.byte() == Some(b'S') {
                session = Some(raw);
                break;
            }
        }
        assert!(session.is_some(), "room that is given back is used again");
    });
}

/// A generator of the same numbers each time (xorshift).
struct Dice(u64);

impl Dice {
    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count)
            .map(|_| {
                self.0 ^= self.0 << 13;
                self.0 ^= self.0 >> 7;
                self.0 ^= self.0 << 17;
                self.0.to_be_bytes()[0]
            })
            .collect()
    }
}
