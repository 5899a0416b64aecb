//! Clients in numbers that want nothing good, or nothing at all: nobody else is to notice.

use std::io;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::client::{connect, enter, until_end, value};
use super::ground::{Ground, Latency};
use super::{figure, many};
use crate::harness::{
    Conn, Major, SSL_REQUEST, SigningKey, Stream, eventually, frame, key_set, run, startup_packet, stream, terminated,
};

/// How many are opened side by side.
const AT_ONCE: usize = 50;

#[test]
#[ignore = "minutes"]
fn ten_thousand_sockets_that_say_nothing() {
    const CROWD: usize = 9_900;
    const LOGIN: Duration = Duration::from_secs(30);
    run(async {
        let server = server!(Major::V15);
        let ground = Ground::of(&server, &[], &limits(LOGIN)).await;
        let startup = startup_packet(&[("user", "alice"), ("database", "open")]);
        let mut taken = Vec::new();
        for (what, said) in [
            ("nothing", &[][..]),
            ("half a request for TLS", &SSL_REQUEST[..4]),
            ("a request for TLS", &SSL_REQUEST),
            ("a start-up message and no password", &startup),
            ("a start-up message and no password, again", &startup),
        ] {
            let began = Instant::now();
            ground.seen();
            let sockets = many(CROWD, AT_ONCE, async |_| {
                let mut socket = connect(ground.gateway.port("open")).await.unwrap();
                socket.write_all(said).await.unwrap();
                socket
            })
            .await;
            let opened = began.elapsed();
            assert!(opened < LOGIN, "opening them took {opened:?}");
            sleep(Duration::from_millis(500)).await;
            let memory = ground.grown();
            let asked = Instant::now();
            enter(ground.gateway.port("open"), "open", &ground.token).await.expect("who means to log in is let in");
            let login = asked.elapsed();
            for mut socket in sockets {
                timeout(LOGIN, until_end(&mut socket)).await.expect("who does not log in is cut off");
            }
            let cut = began.elapsed();
            assert!(cut < opened + LOGIN + Duration::from_secs(5), "the last was cut after {cut:?}");
            let during = ground.seen();
            figure(&format!(
                "{CROWD} sockets that say {what}: {:.1} KiB each, a login among them took {login:.0?}, all cut off after {cut:.1?}",
                memory as f64 / CROWD as f64
            ));
            assert!(memory < 40 * CROWD as u64, "{memory} KiB");
            taken.push(memory);
            ground.recovers(&format!("sockets that say {what}"), &during).await;
        }
        // What the allocator keeps of those that are gone serves those that come: the same crowd takes no more when it comes again.
        let [.., first, again] = taken[..] else { unreachable!() };
        figure(&format!("the same crowd again took {} KiB more", again.saturating_sub(first)));
        assert!(again < first + first / 4, "{first} KiB, then {again} KiB");
        ground.gateway.verify();
    });
}

#[test]
#[ignore = "minutes"]
fn idle_sessions_cost_little() {
    const CROWD: usize = 1_500;
    run(async {
        let server = server!(Major::V15, &["max_connections=1600"]);
        let ground = Ground::of(&server, &[], "").await;
        let began = Instant::now();
        let sockets: Vec<TcpStream> = many(CROWD, 8, async |_| {
            let mut socket = enter(ground.gateway.port("open"), "open", &ground.token).await.unwrap();
            assert_eq!(value(&mut socket, "select 1").await.unwrap(), "1");
            socket
        })
        .await;
        let (took, opening) = (began.elapsed(), ground.seen());
        sleep(Duration::from_secs(5)).await;
        let (memory, opened, during) = (ground.grown(), ground.opened(), ground.seen());
        figure(&format!(
            "{CROWD} idle sessions: {:.1} KiB and {:.1} descriptors each; opened in {took:.1?}, in which the bystander saw {opening}",
            memory as f64 / CROWD as f64,
            opened as f64 / CROWD as f64
        ));
        assert!(memory <= 40 * CROWD as u64, "{memory} KiB for {CROWD} sessions");
        drop(sockets);
        eventually("they are gone upstream", Duration::from_secs(30), async || server.gateway_sessions().await == "1").await;
        ground.recovers("idle sessions", &during).await;
        ground.gateway.verify();
    });
}

#[test]
#[ignore = "minutes"]
fn a_byte_a_second_at_every_step_before_the_login() {
    const LOGIN: Duration = Duration::from_secs(5);
    run(async {
        let server = server!(Major::V15);
        let oauth = Conn::to("oauth", &server).set("auth = [\"oauth\"]").set("oauth = { issuer = \"corp\", scope = \"openid\" }");
        let corp = "[[issuers]]\nname = \"corp\"\nissuer = \"https://idp.corp.test\"\naudience = \"claviger\"\njwks_file = \"corp.json\"\n";
        let more = limits(LOGIN) + corp;
        let ground = Ground::prepared(&server, &[oauth], &more, |gateway| {
            std::fs::write(gateway.path("corp.json"), key_set(&[&SigningKey::new("k1")])).unwrap();
        })
        .await;
        let (authority, gateway) = (ground.gateway.authority(), &ground.gateway);
        let hello = crate::hostile::client_hello(gateway);
        let startup = |database| startup_packet(&[("user", "alice"), ("database", database), ("application_name", "slow")]);
        let password = frame(b'p', &terminated(&ground.token));
        let bearer = frame(b'p', &[terminated("OAUTHBEARER"), vec![0, 0, 1, 0], vec![b'x'; 200]].concat());
        // The listener, whether inside TLS, how many, what is said at once, and what follows byte by byte.
        let steps = [
            ("a request for TLS", "open", false, 500, vec![], SSL_REQUEST.to_vec()),
            ("a ClientHello", "bank", false, 500, SSL_REQUEST.to_vec(), hello),
            ("a start-up message", "open", false, 500, vec![], startup("open")),
            ("a password", "open", false, 500, startup("open"), password.clone()),
            ("a password inside TLS", "bank", true, 100, startup("bank"), password),
            ("a SASL message", "oauth", true, 100, startup("oauth"), bearer),
        ];
        ground.seen();
        let mut slow = Vec::new();
        for (what, listener, tls, count, at_once, bytes) in &steps {
            let (port, trusted) = (gateway.port(listener), tls.then_some(authority.as_path()));
            let streams = many(*count, AT_ONCE, async |_| (Instant::now(), stream(port, trusted).await)).await;
            for (began, stream) in streams {
                let (at_once, bytes) = (at_once.clone(), bytes.clone());
                slow.push((*what, tokio::spawn(async move { drip(stream, &at_once, &bytes).await.map(|()| began.elapsed()) })));
            }
        }
        let memory = ground.grown();
        enter(gateway.port("open"), "open", &ground.token).await.expect("who means to log in is let in");
        let mut lived: Vec<(&str, Vec<Duration>)> = steps.iter().map(|step| (step.0, Vec::new())).collect();
        for (what, ended) in slow {
            let ended = timeout(LOGIN * 3, ended).await.expect("who is slow is cut off").unwrap().unwrap();
            lived.iter_mut().find(|(step, _)| *step == what).unwrap().1.push(ended);
        }
        let during = ground.seen();
        for (what, lived) in lived {
            let (count, lived) = (lived.len(), Latency::of(lived));
            figure(&format!("{count} clients that send {what} a byte a second: cut off after p50/p99/max {lived}"));
            assert!(lived.max < LOGIN + Duration::from_secs(3), "{what}: {lived}");
        }
        figure(&format!("all of them at once: {memory} KiB more"));
        assert!(memory < 128 * 1024, "{memory} KiB");
        ground.recovers("a byte a second", &during).await;
    });
}

/// Says something, then more byte by byte, until the other side has had enough.
async fn drip(mut stream: Box<dyn Stream>, at_once: &[u8], bytes: &[u8]) -> io::Result<()> {
    let mut answer = [0; 1024];
    stream.write_all(at_once).await?;
    stream.flush().await?;
    for byte in bytes {
        let pause = sleep(Duration::from_secs(1));
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => break,
                read = stream.read(&mut answer) => if !matches!(read, Ok(1..)) { return Ok(()) },
            }
        }
        if stream.write_all(&[*byte]).await.and(stream.flush().await).is_err() {
            return Ok(());
        }
    }
    Err(io::Error::other("all of it was taken"))
}

/// Room for all of a crowd that comes from one address and proves nothing.
fn limits(login: Duration) -> String {
    format!("[limits]\nlogin_timeout = \"{}s\"\nunauthenticated = 20000\nunauthenticated_per_address = 20000\n", login.as_secs())
}
