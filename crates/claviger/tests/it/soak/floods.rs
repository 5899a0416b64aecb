//! Clients that ask for too much, too often or in too small pieces: it is their own affair.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::client::{ask, connect, enter, until_end, value};
use super::ground::{Ground, Peak};
use super::{figure, many};
use crate::harness::{
    Major, Raw, cancel_key, cancel_request, error_field, eventually, frame, random, run, startup_packet, terminated, text_value,
};

/// What no crowd of sessions may make the gateway take, in KiB: each session's limits are far below a hundredth of it.
const BOUND: u64 = 192 * 1024;

#[test]
#[ignore = "minutes"]
fn floods_of_cancel_requests() {
    const WRONG: usize = 5_000;
    const RIGHT: usize = 1_000;
    run(async {
        let server = server!(Major::V15);
        let ground = Ground::of(&server, &[], "").await;
        let port = ground.gateway.port("open");
        let flood = async |key: &dyn Fn() -> Vec<u8>, count| {
            many(count, 32, async |_| {
                let mut socket = connect(port).await.unwrap();
                socket.write_all(&cancel_request(&key())).await.unwrap();
                timeout(Duration::from_secs(20), until_end(&mut socket)).await.expect("a request to cancel has an end");
            })
            .await;
        };
        ground.seen();
        let began = Instant::now();
        flood(&|| random::<8>().to_vec(), WRONG).await;
        let (took, during) = (began.elapsed(), ground.seen());
        figure(&format!("{WRONG} requests to cancel with wrong keys in {took:.1?}"));
        ground.recovers("cancel requests with wrong keys", &during).await;

        let mut victim = Raw::plain(port);
        let key = cancel_key(&victim.login("alice", "open", &ground.token).unwrap());
        let sleeping = std::thread::spawn(move || {
            let answer = victim.query("select pg_sleep(15)");
            (victim, answer)
        });
        sleep(Duration::from_millis(500)).await;
        ground.seen();
        let began = Instant::now();
        flood(&|| key.clone(), RIGHT).await;
        let (took, during) = (began.elapsed(), ground.seen());
        figure(&format!("{RIGHT} requests to cancel with the right key in {took:.1?}"));
        let (mut victim, answer) = sleeping.join().unwrap();
        let error = answer.iter().find(|(kind, _)| *kind == b'E').expect("it is cancelled");
        assert_eq!(error_field(error, b'C'), "57014");
        assert_eq!(text_value(&victim.query("select 7")), "7", "none of them hits a later statement");
        ground.recovers("cancel requests with the right key", &during).await;
        ground.gateway.verify();
    });
}

#[test]
#[ignore = "minutes"]
fn clients_that_never_read() {
    const STUCK: usize = 50;
    const EACH: u64 = 4 * 1024;
    run(async {
        let server = server!(Major::V15);
        let ground = Ground::of(&server, &[], "").await;
        let port = ground.gateway.port("open");
        ground.seen();
        let peak = Peak::of(&ground.gateway);
        let stuck = many(STUCK, 10, async |_| {
            let mut socket = enter(port, "open", &ground.token).await.unwrap();
            // Row by row: a function in FROM would be kept on the server's disk first, fifty times.
            ask(&mut socket, "select generate_series(1, 10000000), repeat('x', 1000)").await.unwrap();
            socket
        })
        .await;
        // More than the session's limits and the kernel's buffers hold together, and nobody reads the answers.
        let requests = frame(b'Q', &terminated("select repeat('y', 1000)")).repeat(1_000_000);
        let greedy = many(STUCK, 10, async |_| {
            let mut socket = enter(port, "open", &ground.token).await.unwrap();
            let sent = timeout(Duration::from_secs(2), socket.write_all(&requests)).await;
            assert!(sent.is_err(), "who does not read is not listened to");
            socket
        })
        .await;
        sleep(Duration::from_secs(10)).await;
        let (memory, during) = (peak.growth(), ground.seen());
        figure(&format!("{} clients that never read: {memory} KiB at the most", STUCK * 2));
        // A mebibyte that waits in either direction, and what is known of some thousands of operations.
        assert!(memory < EACH * 2 * STUCK as u64, "{memory} KiB");
        enter(port, "open", &ground.token).await.unwrap();
        drop((stuck, greedy));
        eventually("they are gone upstream", Duration::from_secs(30), async || server.gateway_sessions().await == "1").await;
        ground.recovers("clients that never read", &during).await;
        ground.gateway.verify();
    });
}

#[test]
#[ignore = "minutes"]
fn a_hundred_thousand_operations_before_a_sync() {
    const PAIRS: usize = 50_000;
    run(async {
        let server = server!(Major::V15);
        let ground = Ground::of(&server, &[], "").await;
        let pair = [
            frame(b'P', &[&[0], terminated("select 1").as_slice(), &[0, 0]].concat()),
            frame(b'B', &[0; 8]),
            frame(b'E', &[0; 5]),
        ]
        .concat();
        let pipeline = [pair.repeat(PAIRS), frame(b'S', &[])].concat();
        ground.seen();
        let (peak, began) = (Peak::of(&ground.gateway), Instant::now());
        let socket = enter(ground.gateway.port("open"), "open", &ground.token).await.unwrap();
        let (mut reading, mut writing) = socket.into_split();
        let sent = tokio::spawn(async move {
            writing.write_all(&pipeline).await.unwrap();
            writing
        });
        let rows = timeout(Duration::from_secs(120), rows_until_ready(&mut reading)).await.expect("it comes to its end");
        let (took, memory, during) = (began.elapsed(), peak.growth(), ground.seen());
        assert_eq!(rows, PAIRS);
        figure(&format!("{} operations before a Sync in {took:.1?}, {memory} KiB at the most", PAIRS * 2));
        assert!(memory < BOUND, "{memory} KiB");
        drop((sent.await.unwrap(), reading));
        ground.recovers("a hundred thousand operations before a Sync", &during).await;
        ground.gateway.verify();
    });
}

/// Counts rows up to the server's readiness.
async fn rows_until_ready(socket: &mut (impl AsyncReadExt + Unpin)) -> usize {
    let mut socket = tokio::io::BufReader::with_capacity(64 * 1024, socket);
    let mut rows = 0;
    loop {
        let kind = socket.read_u8().await.unwrap();
        let mut body = vec![0; usize::try_from(socket.read_u32().await.unwrap()).unwrap() - 4];
        socket.read_exact(&mut body).await.unwrap();
        match kind {
            b'D' => rows += 1,
            b'Z' => return rows,
            b'E' => panic!("{}", String::from_utf8_lossy(&body)),
            _ => {}
        }
    }
}

#[test]
#[ignore = "minutes"]
fn clients_that_send_a_byte_in_each_packet() {
    const CLIENTS: usize = 50;
    run(async {
        let server = server!(Major::V15);
        let ground = Ground::of(&server, &[], "").await;
        let port = ground.gateway.port("open");
        let startup = startup_packet(&[("user", "alice"), ("database", "open")]);
        let password = frame(b'p', &terminated(&ground.token));
        let question = frame(b'Q', &terminated("select 'byte by byte'"));
        ground.seen();
        let began = Instant::now();
        let clients: Vec<TcpStream> = many(CLIENTS, CLIENTS, async |_| {
            let mut socket = connect(port).await.unwrap();
            for message in [&startup, &password].into_iter().chain(std::iter::repeat_n(&question, 10)) {
                for byte in message {
                    socket.write_all(&[*byte]).await.unwrap();
                    tokio::task::yield_now().await;
                }
            }
            socket
        })
        .await;
        for mut socket in clients {
            // The eleven answers that have come are passed over.
            let mut ready = 0;
            while ready < 11 {
                ready += usize::from(super::client::message(&mut socket).await.unwrap().0 == b'Z');
            }
            assert_eq!(value(&mut socket, "select 1").await.unwrap(), "1");
        }
        let (took, during) = (began.elapsed(), ground.seen());
        figure(&format!("{CLIENTS} clients that send byte by byte: logged in and ten statements in {took:.1?}"));
        ground.recovers("a byte in each packet", &during).await;
    });
}
